/** Packets of the network: whom they reach, filtered, forwarded, cut or answered. */

import { assertEquals, assertNotEquals } from "@std/assert";
import { Block, Checksum, Segment } from "../../kernel/block.ts";
import { icmpNextHopMtu } from "../../kernel/wire/icmp.ts";
import { parseIpv4 } from "../../kernel/wire/ipv4.ts";
import { TCP_ACK, TCP_SYN } from "../../kernel/wire/tcp.ts";
import { ip, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import {
  assertSound,
  endsOf,
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
import { Decision } from "./decision.ts";

const udp = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 9, ttl: 64, ...options });
const reply = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: REMOTE, dst: HOST, srcPort: 9, dstPort: 4000, ttl: 64, ...options });

Deno.test("The filter lets in whom the guest has sent to: anybody, the address, or address and port", () => {
  const passed = (filtering: "endpoint" | "address" | "address-port") => {
    const { out, back } = natKit({ filtering });
    const { map } = sentOf(out(udp()));
    return [[REMOTE, 9], [REMOTE, 10], ["192.0.2.10", 9]].map(([src, srcPort]) =>
      back(reply({ src: src as string, srcPort: srcPort as number }), map).toGuest.length
    );
  };
  assertEquals(passed("endpoint"), [1, 1, 1]);
  assertEquals(passed("address"), [1, 1, 0]);
  assertEquals(passed("address-port"), [1, 0, 0]);
});

Deno.test("A remote that the guest has not sent to for a lifetime is filtered though the map lives", () => {
  const kit = natKit({ filtering: "address" });
  const { map } = sentOf(kit.out(udp()));
  for (let minute = 1; minute <= 6; minute++) {
    kit.now = minute * 60_000;
    kit.out(udp({ dst: "192.0.2.10" }));
  }
  assertEquals(kit.back(reply(), map).reason, "filtered");
  assertEquals(kit.back(reply({ src: "192.0.2.10" }), map).toGuest.length, 1);
});

Deno.test("Packets whose time ends here are answered: the guest by the router, the network by the host", () => {
  const { out, back } = natKit();
  const { map } = sentOf(out(udp()));
  const refused = out(udp({ ttl: 1, dstPort: 33434 }));
  assertEquals([refused.reason, refused.kind], ["ttl", Decision.Drop]);
  const error = gotOf(refused);
  assertEquals([`${parseIpv4(error, 0, error.length)!.src}`, error[20]], [ROUTER, 11]);
  const inbound = back(reply({ ttl: 1 }), map);
  assertEquals([inbound.reason, inbound.kind], ["ttl", Decision.Send]);
  const toRemote = inbound.block!.bytes();
  assertSound(toRemote);
  assertEquals(endsOf(toRemote.subarray(28)), `${REMOTE}:9 > ${HOST}:4000`);
});

Deno.test("Maps of the world and of the loopback are apart: neither takes the other's packets", () => {
  const { out, back } = natKit({ policy: { loopback: true }, filtering: "endpoint" });
  const world = sentOf(out(udp())).map;
  const host = sentOf(out(udp({ dst: ROUTER }))).map;
  assertNotEquals(world, host);
  assertEquals(back(udpPacket({ src: "127.0.0.1", dst: HOST, dstPort: world.hostPort }), world).reason, "filtered");
  assertEquals(back(reply({ dstPort: host.hostPort }), host).reason, "filtered");
});

Deno.test("akaros 22: inbound packets above the guest's MTU are cut, or with DF refused with the MTU", () => {
  const { out, back } = natKit({ mtu: 1280 });
  const { map } = sentOf(out(udp()));
  const { toGuest } = back(reply({ payload: pattern(4000) }), map);
  assertEquals(toGuest.map((piece) => piece.length), [1276, 1276, 1276, 260]);
  for (const piece of toGuest) assertSound(piece);
  const refused = back(reply({ payload: pattern(1400), dontFragment: true }), map);
  assertEquals([refused.reason, refused.kind], ["too-big", Decision.Send]);
  const error = refused.block!.bytes();
  assertEquals([error[20], error[21], icmpNextHopMtu(error, 20)], [3, 4, 1280]);
  assertEquals(endsOf(error.subarray(28)), `${REMOTE}:9 > ${HOST}:4000`);
});

Deno.test("What came in fragments is cut again for the guest, whatever DF says, and whatever its size", () => {
  const { out, back } = natKit({ mtu: 1280 });
  const { map } = sentOf(out(udp()));
  for (const size of [1253, 1300, 1400, 1452, 1472, 1473, 9000]) {
    const block = Block.from(reply({ payload: pattern(size), dontFragment: true }));
    block.fragmentMax = 1280;
    const { toGuest, reason } = back(block, map);
    assertEquals([reason, toGuest.length > 1], ["none", true], `${size}`);
    for (const piece of toGuest) assertSound(piece);
    assertEquals(toGuest.reduce((sum, piece) => sum + piece.length - 20, 0), size + 8);
  }
});

Deno.test("Use keeps a map alive; from the network only if told so (RFC 4787 REQ-6, RFC 7857)", () => {
  for (const inboundRefresh of [true, false]) {
    const kit = natKit({ inboundRefresh });
    const { map } = sentOf(kit.out(udp()));
    kit.now = 100_000;
    kit.back(reply(), map);
    assertEquals(kit.nat.nextExpiry(), inboundRefresh ? 400_000 : 300_000);
  }
});

Deno.test("A forward lets everybody in, answers by itself, and keeps the client's address", () => {
  const { nat, out, back } = natKit();
  const { map } = nat.addForward("tcp:2222:22");
  const syn = tcpPacket({ src: REMOTE, dst: HOST, srcPort: 5555, dstPort: 2222 });
  assertEquals(endsOf(gotOf(back(syn, map))), `${REMOTE}:5555 > ${GUEST}:22`);
  const answer = tcpPacket({ srcPort: 22, dstPort: 5555, flags: TCP_SYN | TCP_ACK });
  assertEquals(endsOf(sentOf(out(answer)).packet), `${HOST}:2222 > ${REMOTE}:5555`);
  nat.expire(1e12);
  assertEquals(sentOf(out(answer)).map, map);
});

Deno.test("akaros 33: clients on the host come to a forward as the router, and get answers", () => {
  for (const style of ["qemu", "real"] as const) {
    const real = { style, subnet: "10.0.0.0/24", router: "10.0.0.254", guestMac: undefined } as const;
    const kit = natKit(style === "real" ? { ...real, guestMac: null } : {});
    const guest = style === "real" ? HOST : GUEST;
    const router = style === "real" ? "10.0.0.254" : ROUTER;
    kit.nat.table.addGuest(ip(guest), GUEST_MAC);
    const { map } = kit.nat.addForward("udp:53:5353");
    for (const [src, port] of [["127.0.0.1", 40], ["127.0.0.5", 41], [HOST, 42]] as const) {
      const got = gotOf(kit.back(udpPacket({ src, dst: src, srcPort: port, dstPort: 53 }), map));
      const seen = style === "qemu" && src === HOST ? HOST : router;
      assertEquals(endsOf(got), `${seen}:${port} > ${guest}:5353`);
      const answer = udpPacket({ src: guest, dst: seen, srcPort: 5353, dstPort: port });
      assertEquals(endsOf(sentOf(kit.out(answer)).packet), `${src}:53 > ${src}:${port}`);
    }
  }
});

Deno.test("Two forwards to one guest port answer each by its own", () => {
  const { nat, out, back } = natKit();
  const maps = ["udp:1000:7", "udp:2000:7"].map((spec) => nat.addForward(spec).map);
  maps.forEach((map, i) => {
    back(reply({ srcPort: 50 + i, dstPort: map.hostPort }), map);
    assertEquals(
      endsOf(sentOf(out(udp({ srcPort: 7, dstPort: 50 + i }))).packet),
      `${HOST}:${i + 1}000 > ${REMOTE}:5${i}`,
    );
  });
});

Deno.test("A range of ports is one map: each host port stands for the guest port of the same place", () => {
  const { nat, out, back } = natKit();
  const { map } = nat.addForward("udp:8000-8009:70");
  assertEquals(endsOf(gotOf(back(reply({ dstPort: 8003 }), map))), `${REMOTE}:9 > ${GUEST}:73`);
  assertEquals(endsOf(sentOf(out(udp({ srcPort: 73 }))).packet), `${HOST}:8003 > ${REMOTE}:9`);
  assertEquals(back(reply({ dstPort: 8010 }), map).reason, "unmapped");
});

Deno.test("Martians from the network are dropped", () => {
  const { nat, back } = natKit();
  const { map } = nat.addForward("udp:53:53");
  for (const src of ["0.0.0.0", "224.0.0.1", "255.255.255.255", GUEST]) {
    assertEquals([src, back(reply({ src, dstPort: 53 }), map).reason], [src, "martian-in"]);
  }
});

Deno.test("A remote that goes on sending stays let in, where packets from the network keep a map alive", () => {
  const kit = natKit();
  const { map } = sentOf(kit.out(udp()));
  for (let minute = 1; minute <= 21; minute += 4) {
    kit.now = minute * 60_000;
    assertEquals([minute, kit.back(reply(), map).toGuest.length], [minute, 1]);
    kit.nat.expire(kit.now);
  }
});

Deno.test("What the host's own programs send is cut for the guest, whatever DF says: no path is to be found", () => {
  const { nat, back } = natKit();
  const { map } = nat.addForward("udp:53:53");
  for (const src of ["127.0.0.1", HOST]) {
    const packet = udpPacket({ src, dst: src, dstPort: 53, dontFragment: true, payload: pattern(4000) });
    assertEquals([src, back(packet, map).toGuest.length], [src, 3]);
  }
});

Deno.test("A forward bound to one address is no way out by another", () => {
  const { nat, out, back } = natKit();
  const { map } = nat.addForward("udp:127.0.0.1:5353:53");
  const world = sentOf(out(udp({ srcPort: 53 })));
  assertEquals([world.map === map, endsOf(world.packet)], [false, `${HOST}:53 > ${REMOTE}:9`]);
  back(udpPacket({ src: "127.0.0.1", dst: "127.0.0.1", srcPort: 77, dstPort: 5353 }), map);
  assertEquals(sentOf(out(udp({ srcPort: 53, dst: ROUTER, dstPort: 77 }))).map, map);
});

Deno.test("An uncut segment is as large as its pieces will be: it fits, or is answered with the MTU", () => {
  const { out, back } = natKit({ mtu: 1280, mss: 0 });
  const { map } = sentOf(out(tcpPacket()));
  const ends = { src: REMOTE, dst: HOST, srcPort: 80, dstPort: 4000 };
  const uncut = (segmentSize: number) => {
    const block = Block.from(tcpPacket({ ...ends, flags: TCP_ACK, data: pattern(20_000) }));
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + 20;
    block.checksumField = block.rp + 36;
    block.segment = Segment.Tcp4;
    block.segmentSize = segmentSize;
    block.segmentHeaderLen = 40;
    return back(block, map);
  };
  assertEquals([uncut(1240).reason, uncut(1240).frames.length], ["none", 1]);
  const refused = uncut(1241);
  assertEquals([refused.reason, icmpNextHopMtu(refused.block!.bytes(), 20)], ["too-big", 1280]);
});

Deno.test("ICMP errors to the network are limited in rate as those to guests are", () => {
  const kit = natKit();
  const { map } = sentOf(kit.out(udp()));
  let told = 0;
  for (let i = 0; i < 200; i++) told += kit.back(reply({ ttl: 1 }), map).block === null ? 0 : 1;
  assertEquals([told, kit.refused("ttl"), kit.refused("icmp-rate")], [50, 200, 150]);
});
