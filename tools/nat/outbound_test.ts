/** Guests' frames: what leaves, as what, and what is refused. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Checksum } from "../../kernel/block.ts";
import { pseudoSum } from "../../kernel/wire/checksum.ts";
import { MAC_BROADCAST } from "../../kernel/wire/mac_addr.ts";
import { ipv4HeaderLen, ipv4Tos, ipv4Ttl, parseIpv4, setIpv4Checksum } from "../../kernel/wire/ipv4.ts";
import { parseTcp, TCP_ACK, TCP_RST, TCP_SYN, tcpChecksumOk } from "../../kernel/wire/tcp.ts";
import { dnsQuestion, dnsRead } from "../../tests/kit/nat/dns_relay.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { echoPacket, icmpErrorPacket, ip, ipPacket, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { u16 } from "../../tests/kit/ip/wire.ts";
import { translateOutbound } from "./outbound.ts";
import {
  assertSound,
  DNS,
  endsOf,
  framed,
  gotOf,
  GUEST,
  GUEST_MAC,
  HOST,
  natKit,
  REMOTE,
  ROUTER,
  sentOf,
  tcpPacket,
} from "../../tests/kit/nat/steps.ts";

const udp = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 9, ttl: 64, ...options });
const reply = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: REMOTE, dst: HOST, srcPort: 9, dstPort: 4000, ttl: 64, ...options });

Deno.test("A datagram leaves from the host's address and its answer comes back to the guest", () => {
  const { out, back } = natKit();
  const { packet, map } = sentOf(out(udp({ payload: pattern(100) })));
  assertEquals(endsOf(packet), `${HOST}:4000 > ${REMOTE}:9`);
  assertSound(packet);
  const got = gotOf(back(reply({ payload: pattern(50) }), map));
  assertEquals(endsOf(got), `${REMOTE}:9 > ${GUEST}:4000`);
  assertSound(got);
});

Deno.test("One guest port has one host port for every remote (RFC 4787 REQ-1), and per remote where told so", () => {
  const maps = (mapping: "endpoint" | "address" | "address-port") => {
    const { out } = natKit({ mapping });
    const remotes = [[REMOTE, 9], [REMOTE, 10], ["192.0.2.10", 9], [REMOTE, 9]] as const;
    return new Set(remotes.map(([dst, dstPort]) => out(udp({ dst, dstPort })).map!.hostPort)).size;
  };
  assertEquals([maps("endpoint"), maps("address"), maps("address-port")], [1, 2, 3]);
});

Deno.test("RFC 7857 5, 6: UDP and TCP may be mapped and filtered apart from each other", () => {
  const { out, back } = natKit({ mapping: { tcp: "address" }, filtering: { tcp: "address-port", udp: "endpoint" } });
  const ports = (make: typeof udp) =>
    new Set([REMOTE, "192.0.2.10"].map((dst) => out(make({ dst })).map!.hostPort)).size;
  const tcp = (options: object = {}) => tcpPacket({ flags: TCP_ACK, ...options });
  assertEquals([ports(udp), ports(tcp)], [1, 2]);
  const { map } = sentOf(out(tcp()));
  const stranger = { src: "203.0.113.1", dst: HOST, srcPort: 81 };
  const why = (src: string, srcPort: number) =>
    back(tcpPacket({ src, dst: HOST, srcPort, dstPort: map.hostPort, flags: TCP_ACK }), map).reason;
  assertEquals([why(REMOTE, 80), why(REMOTE, 81), why("203.0.113.1", 80)], ["none", "filtered", "filtered"]);
  assertEquals(back(reply({ ...stranger }), sentOf(out(udp())).map).reason, "none");
});

Deno.test("akaros 31: TTL counts down one hop each way; TOS, id, DF and options stay as they are", () => {
  const { out, back } = natKit();
  const options = new Uint8Array([7, 7, 4, 1, 2, 3, 4, 0]);
  const header = { tos: 0xb9, id: 0x1234, dontFragment: true, options, ttl: 9 };
  const { packet, map } = sentOf(out(udp({ ...header, payload: pattern(30) })));
  const sent = parseIpv4(packet, 0, packet.length)!;
  assertEquals({ ...sent, options: [...sent.options] }, {
    ...{ ...sent, tos: 0xb9, id: 0x1234, dontFragment: true, options: [...options], ttl: 8, headerLen: 28 },
  });
  assertSound(packet);
  const got = gotOf(back(reply({ ...header, ttl: 50 }), map));
  assertEquals([ipv4Ttl(got, 0), ipv4Tos(got, 0), ipv4HeaderLen(got, 0)], [49, 0xb9, 28]);
});

Deno.test("akaros 20: a UDP checksum of 0 stays 0, and one that comes out as 0 is 0xffff", () => {
  const { out, back } = natKit();
  const { packet, map } = sentOf(out(udp({ checksum: 0, payload: pattern(9) })));
  assertEquals([packet[26], packet[27]], [0, 0]);
  const got = gotOf(back(reply({ checksum: 0 }), map));
  assertEquals([got[26], got[27]], [0, 0]);
  fc.assert(
    fc.property(u16, (word) => {
      const payload = new Uint8Array([word >>> 8, word & 255]);
      const sent = sentOf(out(udp({ payload }))).packet;
      assertSound(sent);
      assert(sent[26] !== 0 || sent[27] !== 0);
    }),
    fuzz(500),
  );
  // For this payload the sum comes out as 0xffff.
  let seen = false;
  for (let word = 0; word < 0x10000 && !seen; word++) {
    const sent = sentOf(out(udp({ payload: new Uint8Array([word >>> 8, word & 255]) }))).packet;
    seen = sent[26] === 0xff && sent[27] === 0xff;
  }
  assert(seen);
});

Deno.test("A checksum that was wrong before is wrong afterwards", () => {
  const { out } = natKit();
  const packet = udp({ payload: pattern(10) });
  packet[30]! ^= 0x10;
  assertThrows(() => assertSound(sentOf(out(packet)).packet));
});

Deno.test("An owed checksum stays owed: only the addresses in its pseudo-header change", () => {
  const block = framed(tcpPacket({ flags: TCP_ACK, data: pattern(100) }));
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + 34;
  block.checksumField = block.rp + 50;
  const folded = pseudoSum(ip(GUEST), ip(REMOTE), 6, 120);
  block.buf[block.checksumField] = folded >>> 8;
  block.buf[block.checksumField + 1] = folded & 255;
  const expected = pseudoSum(ip(HOST), ip(REMOTE), 6, 120);
  const sent = natKit().frame(block).block!;
  assertEquals(sent.checksum, Checksum.Owed);
  const field = (sent.buf[sent.checksumField]! << 8) | sent.buf[sent.checksumField + 1]!;
  assertEquals(field % 0xffff, expected % 0xffff);
});

Deno.test("akaros 26: the router's address is the host's loopback, off unless asked for", () => {
  assertEquals(natKit().out(udp({ dst: ROUTER })).reason, "policy-loopback");
  assertEquals(natKit().out(udp({ dst: "127.0.0.1" })).reason, "policy-loopback");
  const { out, back } = natKit({ policy: { loopback: true } });
  const { packet, map } = sentOf(out(udp({ dst: ROUTER, dstPort: 7 })));
  assertEquals([endsOf(packet), `${map.bound}`], [`127.0.0.1:4000 > 127.0.0.1:7`, "127.0.0.1"]);
  assertSound(packet);
  const got = gotOf(back(udpPacket({ src: "127.0.0.1", dst: "127.0.0.1", srcPort: 7, dstPort: 4000 }), map));
  assertEquals(endsOf(got), `${ROUTER}:7 > ${GUEST}:4000`);
  assertSound(got);
});

Deno.test("The router's address is the loopback of the machine behind the uplink with farLoopback", () => {
  const { out, back, error } = natKit({ policy: { loopback: true }, farLoopback: true });
  const { packet, map } = sentOf(out(udp({ dst: ROUTER, dstPort: 7 })));
  assertEquals([endsOf(packet), map.bound], [`${HOST}:${map.hostPort} > 127.0.0.1:7`, null]);
  assertSound(packet);
  const answer = { src: "127.0.0.1", dst: HOST, srcPort: 7, dstPort: map.hostPort };
  const got = gotOf(back(udpPacket(answer), map));
  assertEquals(endsOf(got), `${ROUTER}:7 > ${GUEST}:4000`);
  assertSound(got);
  assertEquals(back(udpPacket({ ...answer, src: REMOTE }), map).reason, "filtered", "nobody from outside");
  const refused = icmpErrorPacket({ type: 3, code: 3, packet }, { src: "127.0.0.1", dst: HOST });
  assertEquals(endsOf(gotOf(error(refused, map)).slice(28)), `${GUEST}:4000 > ${ROUTER}:7`);
  assertEquals(out(udp({ dst: "127.0.0.1" })).reason, "policy-loopback");
});

Deno.test("The far machine answers a datagram to its loopback from its own address, by that map alone", () => {
  const far = { policy: { loopback: true }, farLoopback: true, farPeer: "10.0.0.9" };
  const { out, back } = natKit({ ...far, mtu: 1280 });
  const { map } = sentOf(out(udp({ dst: ROUTER, dstPort: 7 })));
  const answer = { src: "10.0.0.9", dst: HOST, srcPort: 7, dstPort: map.hostPort, ttl: 1 };
  const got = gotOf(back(udpPacket(answer), map));
  assertEquals(endsOf(got), `${ROUTER}:7 > ${GUEST}:4000`);
  assertSound(got);
  // As what comes from the host: no hop is counted, and no path is to be found.
  const large = back(udpPacket({ ...answer, dontFragment: true, payload: pattern(1400) }), map);
  assertEquals(large.toGuest.length, 2);
  const world = sentOf(out(udp({ dstPort: 9 }))).map;
  const tcp = sentOf(out(tcpPacket({ dst: ROUTER }))).map;
  const rows = [
    back(udpPacket({ ...answer, src: "10.0.0.8" }), map),
    back(udpPacket({ ...answer, dstPort: world.hostPort }), world),
    back(tcpPacket({ src: "10.0.0.9", dst: HOST, srcPort: 80, dstPort: tcp.hostPort, flags: 18 }), tcp),
  ];
  assertEquals(rows.map(({ reason }) => reason), rows.map(() => "filtered"));
});

Deno.test("Without farLoopback, or before anything was asked, the peer's address is nobody's", () => {
  for (const options of [{ farLoopback: false }, { filtering: "address-port" as const, farLoopback: true }]) {
    const { out, back } = natKit({ policy: { loopback: true }, farPeer: "10.0.0.9", ...options });
    const { map } = sentOf(out(udp({ dst: ROUTER, dstPort: 7 })));
    const other = udpPacket({ src: "10.0.0.9", dst: HOST, srcPort: 8, dstPort: map.hostPort });
    assertEquals(back(other, map).reason, "filtered");
  }
});

Deno.test("A connection to the name server goes to its port of the host, and its segments come from the server", () => {
  const { nat, out, back } = natKit({ filtering: "address-port" });
  const syn = tcpPacket({ dst: DNS, dstPort: 53, ttl: 1 });
  assertEquals(out(syn).reason, "no-service", "there is no ports yet");
  nat.v4.nameServer = { addr: ip(HOST), port: 5353 };
  const { packet, map } = sentOf(out(syn));
  assertEquals(endsOf(packet), `${HOST}:4000 > ${HOST}:5353`);
  assertSound(packet);
  const answer = { src: HOST, dst: HOST, srcPort: 5353, dstPort: 4000, flags: TCP_SYN | TCP_ACK };
  const got = gotOf(back(tcpPacket(answer), map));
  assertEquals(endsOf(got), `${DNS}:53 > ${GUEST}:4000`);
  assertSound(got);
  for (const lie of [{ src: "9.9.9.9" }, { srcPort: 53 }]) {
    assertEquals(back(tcpPacket({ ...answer, ...lie }), map).reason, "filtered");
  }
  assertEquals([nat.dnsGuest(4000, false)?.addr.equals(ip(GUEST)), nat.dnsGuest(4001, false)], [true, null]);
});

Deno.test("A question over UDP is the relay's: no map, no port, and its answer comes from the name server", () => {
  const { nat, out } = natKit();
  const outcome = out(udp({ dst: DNS, dstPort: 53, ttl: 1, payload: dnsQuestion("gateway.internal", { edns: 0 }) }));
  const got = gotOf(outcome);
  assertSound(got);
  assertEquals([endsOf(got), nat.table.count()], [`${DNS}:53 > ${GUEST}:4000`, 0]);
  assertEquals(dnsRead(got.slice(28)).answers.length, 1);
});

Deno.test("Echo queries are mapped by identifier; an identifier that the host uses becomes another", () => {
  const { out, back, ports } = natKit();
  ports.taken.add(77);
  const { packet, map } = sentOf(out(echoPacket({ src: GUEST, dst: REMOTE, id: 77, data: pattern(56) })));
  assertEquals([endsOf(packet), map.hostPort], [`${HOST}:78 > ${REMOTE}:78`, 78]);
  assertSound(packet);
  const answer = echoPacket({ src: REMOTE, dst: HOST, id: 78, reply: true, data: pattern(56) });
  const got = gotOf(back(answer, map));
  assertEquals(endsOf(got), `${REMOTE}:77 > ${GUEST}:77`);
  assertSound(got);
  assertEquals(back(echoPacket({ src: REMOTE, dst: HOST, id: 78 }), map).reason, "unmapped");
  assertEquals(out(echoPacket({ src: GUEST, dst: REMOTE, reply: true })).reason, "icmp-type");
});

Deno.test("akaros 21: ping of the router is answered by the router, of any size that the link takes", () => {
  const { out } = natKit();
  for (const dst of [ROUTER, DNS]) {
    const got = gotOf(out(echoPacket({ src: GUEST, dst, id: 5, seq: 6, data: pattern(1000), ttl: 1 })));
    assertEquals([endsOf(got), got.slice(28)], [`${dst}:5 > ${GUEST}:5`, pattern(1000)]);
    assertSound(got);
  }
});

Deno.test("akaros 31: a SYN offers no more than the guest's link carries; other options stay", () => {
  const { out, back } = natKit({ mtu: 1280 });
  const tcpOptions = { mss: 1460, windowScale: 7, sackPermitted: true };
  const { packet, map } = sentOf(out(tcpPacket({ tcpOptions })));
  assertSound(packet);
  const sent = parseTcp(packet, 20, packet.length)!.options;
  assertEquals([sent.mss, sent.windowScale, sent.sackPermitted], [1240, 7, true]);
  const synAck = { src: REMOTE, dst: HOST, srcPort: 80, dstPort: map.hostPort, flags: TCP_SYN | TCP_ACK, tcpOptions };
  const got = gotOf(back(tcpPacket(synAck), map));
  assertSound(got);
  assertEquals(parseTcp(got, 20, got.length)!.options.mss, 1240);
});

Deno.test("At the cap of TCP, closing connections go, then half open ones, established never (RFC 5382 REQ-5)", () => {
  const kit = natKit({ guestCaps: { tcp: 3 } });
  const establish = (srcPort: number) => {
    const { map } = sentOf(kit.out(tcpPacket({ srcPort })));
    kit.back(
      tcpPacket({ src: REMOTE, dst: HOST, srcPort: 80, dstPort: map.hostPort, flags: TCP_SYN | TCP_ACK }),
      map,
    );
    kit.out(tcpPacket({ srcPort, flags: TCP_ACK }));
    return map;
  };
  const first = establish(1001);
  kit.out(tcpPacket({ srcPort: 1002 }));
  kit.out(tcpPacket({ srcPort: 1003 }));
  kit.out(tcpPacket({ srcPort: 1003, flags: TCP_RST }));
  establish(1004);
  assertEquals([...kit.nat.table.maps()].map((map) => map.guestPort).sort(), [1001, 1002, 1004]);
  establish(1005);
  const refused = kit.out(tcpPacket({ srcPort: 1006 }));
  assertEquals([refused.reason, first.live], ["guest-cap", true]);
  const error = gotOf(refused);
  assertEquals([error[20], error[21]], [3, 13]);
});

Deno.test("A host without ports refuses the map, and the guest is told", () => {
  const { out, ports } = natKit();
  ports.isFull = true;
  const refused = out(udp());
  assertEquals([refused.reason, refused.toGuest.length], ["no-port", 1]);
  assertEquals(natKit({ reject: false, guestCaps: { udp: 0 } }).out(udp()).toGuest.length, 0);
});

Deno.test("When the host has no conversation left, the map that costs least makes room", () => {
  const kit = natKit();
  kit.ports.max = 3;
  for (const srcPort of [4000, 4001, 4002]) kit.out(udp({ srcPort }));
  assertEquals(sentOf(kit.out(udp({ srcPort: 4003, dstPort: 53 }))).map.class, 1);
  assertEquals([...kit.nat.table.maps()].map((map) => map.guestPort).sort(), [4001, 4002, 4003]);
  // An established connection is not given up: the new one is refused.
  const tcp = natKit();
  tcp.ports.max = 1;
  const { map } = sentOf(tcp.out(tcpPacket()));
  tcp.back(tcpPacket({ src: REMOTE, dst: HOST, srcPort: 80, dstPort: 4000, flags: TCP_SYN | TCP_ACK }), map);
  tcp.out(tcpPacket({ flags: TCP_ACK }));
  assertEquals([tcp.out(tcpPacket({ srcPort: 4001 })).reason, map.live], ["no-port", true]);
});

Deno.test("akaros 26: nothing leaves to groups, broadcasts, nobody, or from an address that is not a guest's", () => {
  const { out, frame, refused } = natKit();
  for (const dst of ["224.0.0.251", "255.255.255.255", "10.0.2.255", "10.0.0.255", "0.0.0.0", "240.0.0.1", GUEST]) {
    assertEquals([dst, out(udp({ dst })).reason], [dst, "destination"]);
  }
  for (const src of ["10.0.2.2", "10.0.2.3", "10.0.2.255", "10.0.0.1", "8.8.8.8", "0.0.0.0"]) {
    assertEquals([src, out(udp({ src })).reason], [src, "source"]);
  }
  assertEquals(out(udp({ dst: "10.0.2.77" })).reason, "on-link");
  assertEquals(frame(framed(udp(), { dst: MAC_BROADCAST })).reason, "link-broadcast");
  assertEquals(frame(framed(udp(), { dst: GUEST_MAC })).reason, "other-mac");
  assertEquals(frame(framed(udp(), { type: 0x86dd })).reason, "ipv6");
  assertEquals(frame(framed(udp(), { type: 0x8100 })).reason, "ethertype");
  assertEquals(refused("destination"), 7);
});

Deno.test("akaros 19: protocols without ports are dropped and counted, and who asked is told so", () => {
  const { out, frame, refused, nat } = natKit();
  for (const protocol of [2, 47, 132, 0, 255]) {
    const refusal = out(ipPacket({ src: GUEST, dst: REMOTE, protocol, payload: pattern(8) }));
    const error = gotOf(refusal);
    assertSound(error);
    assertEquals([refusal.reason, error[20], error[21], error[28 + 9]], ["protocol", 3, 2, protocol]);
  }
  // IGMP as hosts send it: to a group, and nobody is told.
  const igmp = ipPacket({ src: GUEST, dst: "224.0.0.22", protocol: 2, options: pattern(4), payload: pattern(8) });
  igmp.set([148, 4, 0, 0], 20);
  setIpv4Checksum(igmp, 0, 24);
  assertEquals(frame(framed(igmp, { dst: MAC_BROADCAST })).toGuest, []);
  assertEquals(out(igmp).toGuest, []);
  assertEquals([refused("protocol"), nat.table.count()], [7, 0]);
});

Deno.test("RFC 7857 7.1: a guest that refuses who calls does not keep its map alive by that", () => {
  const kit = natKit({ filtering: "endpoint" });
  const { map } = sentOf(kit.out(tcpPacket({ flags: TCP_RST })));
  const probe = () => {
    kit.back(tcpPacket({ src: "203.0.113.1", dst: HOST, srcPort: 99, dstPort: map.hostPort }), map);
    sentOf(kit.out(tcpPacket({ dst: "203.0.113.1", dstPort: 99, flags: TCP_RST | TCP_ACK })));
  };
  probe();
  kit.now = 100_000;
  sentOf(kit.out(tcpPacket({ dst: "203.0.113.1", dstPort: 99, flags: TCP_RST | TCP_ACK })));
  assertEquals(kit.nat.nextExpiry(), 240_000);
  // A reset that ends what was open does start the time that a closing connection has (RFC 7857 2.2).
  sentOf(kit.out(tcpPacket({ dstPort: 81 })));
  kit.now = 150_000;
  sentOf(kit.out(tcpPacket({ dstPort: 81, flags: TCP_RST })));
  assertEquals(kit.nat.nextExpiry(), 390_000);
});

Deno.test("ICMP errors of our own are limited in rate", () => {
  const kit = natKit();
  let told = 0;
  for (let i = 0; i < 200; i++) told += kit.out(udp({ dst: "169.254.169.254" })).toGuest.length;
  assertEquals([told, kit.refused("policy-metadata"), kit.refused("icmp-rate")], [50, 200, 150]);
});

Deno.test("akaros 32: bytes borrowed from the guest are translated without looking at them twice", () => {
  const packet = tcpPacket({ flags: TCP_ACK, data: pattern(3000) });
  const block = framed(packet.slice(0, 178));
  block.extents = [packet.slice(178)];
  const outcome = natKit().frame(block);
  assertEquals(outcome.block!.extents!.length, 1);
  const sent = outcome.block!.bytes();
  assertSound(sent);
  assertEquals(endsOf(sent), `${HOST}:4000 > ${REMOTE}:80`);
  assert(tcpChecksumOk(sent, 20, sent.length, ip(HOST), ip(REMOTE)));
});

Deno.test("A hairpin keeps nothing that was only borrowed from the guest that sent it", () => {
  const { nat, out } = natKit({ filtering: "endpoint" });
  sentOf(out(udp({ src: "10.0.2.16", srcPort: 777 })));
  const packet = udp({ dst: HOST, dstPort: 777, payload: pattern(900) });
  const block = framed(packet.slice(0, 178));
  const borrowed = packet.slice(178);
  block.extents = [borrowed];
  translateOutbound(nat, block, 0);
  const [frame] = nat.takeFrames();
  borrowed.fill(0);
  assertEquals([frame!.extents, frame!.bytes().slice(14 + 28)], [null, pattern(900)]);
});
