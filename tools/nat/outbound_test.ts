/** Guests' frames: what leaves, as what, and what is refused; in both versions of IP. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Block, Checksum } from "../../kernel/block.ts";
import { get16, put16 } from "../../kernel/wire/bytes.ts";
import { pseudoSum } from "../../kernel/wire/checksum.ts";
import { parseTcp, TCP_ACK, TCP_RST, TCP_SYN } from "../../kernel/wire/tcp.ts";
import { ip, ipPacket, pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { packet6 } from "../../tests/kit/ip/story6.ts";
import { dnsQuestion, dnsRead } from "../../tests/kit/nat/dns_relay.ts";
import { FAMILIES, type FamilyPacket, type FamilySegment } from "../../tests/kit/nat/families.ts";
import { assertSound, endsOf, gotOf, sentOf, swapped } from "../../tests/kit/nat/steps.ts";

for (const family of FAMILIES) {
  const { name, is6, host, remote, other, guest, router, dns, loopback, codes } = family;
  const { headerLen: at, hopsAt } = family;
  const second = is6 ? "fd00:0:0:2::16" : "10.0.2.16";
  const metadata = is6 ? "fd00:ec2::254" : "169.254.169.254";
  const reply = (options: FamilyPacket = {}) =>
    family.udp({ src: remote, dst: host, srcPort: 9, dstPort: 4000, ...options });
  const segmentIn = (options: FamilySegment) => family.tcp({ src: remote, dst: host, srcPort: 80, ...options });
  const codeOf = (error: Uint8Array) => [error[at], error[at + 1]];

  Deno.test(`${name}: akaros 23: UDP, TCP and echo leave from the host, and answers come back to the guest`, () => {
    const kit = family.kit();
    for (const packet of [family.udp({ payload: pattern(33) }), family.tcp({ payload: pattern(7) }), family.echo()]) {
      const sent = sentOf(kit.out(packet));
      assertSound(sent.packet);
      const shown = is6 ? `[${host}]` : host;
      assertEquals(endsOf(sent.packet), endsOf(packet).replace(is6 ? `[${guest}]` : guest, shown));
      assertEquals(sent.packet[hopsAt], 63);
      const got = gotOf(kit.back(swapped(sent.packet), sent.map));
      assertSound(got);
      assertEquals(endsOf(got), endsOf(swapped(packet)));
      assertEquals(got[hopsAt], 62);
    }
  });

  Deno.test(`${name}: one guest port has one host port for every remote (RFC 4787 REQ-1), or one per remote`, () => {
    const count = (mapping: "endpoint" | "address" | "address-port") => {
      const kit = family.kit({ mapping });
      const remotes = [[remote, 9], [remote, 10], [other, 9], [remote, 9]] as const;
      return new Set(remotes.map(([dst, dstPort]) => kit.out(family.udp({ dst, dstPort })).map!.hostPort)).size;
    };
    assertEquals([count("endpoint"), count("address"), count("address-port")], [1, 2, 3]);
  });

  Deno.test(`${name}: RFC 7857 5, 6: UDP and TCP may be mapped and filtered apart from each other`, () => {
    const kit = family.kit({ mapping: { tcp: "address" }, filtering: { tcp: "address-port", udp: "endpoint" } });
    const tcp = (options: FamilySegment = {}) => family.tcp({ flags: TCP_ACK, ...options });
    const ports = (make: (options: FamilyPacket) => Uint8Array) =>
      new Set([remote, other].map((dst) => kit.out(make({ dst })).map!.hostPort)).size;
    assertEquals([ports(family.udp), ports(tcp)], [1, 2]);
    const { map } = sentOf(kit.out(tcp()));
    const reason = (src: string, srcPort: number) =>
      kit.back(tcp({ src, dst: host, srcPort, dstPort: map.hostPort }), map).reason;
    assertEquals([reason(remote, 80), reason(remote, 81), reason(other, 80)], ["none", "filtered", "filtered"]);
    assertEquals(kit.back(reply({ src: other, srcPort: 81 }), sentOf(kit.out(family.udp())).map).reason, "none");
  });

  Deno.test(`${name}: akaros 31: hops count down by one each way; TOS or traffic class stays`, () => {
    const kit = family.kit();
    const tosOf = (packet: Uint8Array) => is6 ? (get16(packet, 0) >>> 4) & 0xff : packet[1];
    const { packet, map } = sentOf(kit.out(family.udp({ tos: 0xb9, hops: 9 })));
    assertEquals([packet[hopsAt], tosOf(packet)], [8, 0xb9]);
    const got = gotOf(kit.back(reply({ tos: 0xb9, hops: 50 }), map));
    assertEquals([got[hopsAt], tosOf(got)], [49, 0xb9]);
    assertEquals(kit.out(family.udp({ hops: 0 })).reason, "ttl");
  });

  Deno.test(`${name}: a checksum that was wrong before is wrong afterwards`, () => {
    const packet = family.udp({ payload: pattern(10) });
    packet[at + 10]! ^= 0x10;
    assertThrows(() => assertSound(sentOf(family.kit().out(packet)).packet));
  });

  Deno.test(`${name}: an owed checksum stays owed: only the addresses in its pseudo-header change`, () => {
    const block = Block.from(family.tcp({ flags: TCP_ACK, payload: pattern(100) }));
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + at;
    block.checksumField = block.rp + at + 16;
    put16(block.buf, block.checksumField, pseudoSum(ip(guest), ip(remote), 6, 120));
    const sent = family.kit().out(block).block!;
    assertEquals(sent.checksum, Checksum.Owed);
    const expected = pseudoSum(ip(host), ip(remote), 6, 120);
    assertEquals(get16(sent.buf, sent.checksumField) % 0xffff, expected % 0xffff);
  });

  Deno.test(`${name}: akaros 26: the router's address is the host's loopback, off unless asked for`, () => {
    assertEquals(family.kit().out(family.udp({ dst: router })).reason, "policy-loopback");
    assertEquals(family.kit().out(family.udp({ dst: loopback })).reason, "policy-loopback");
    const kit = family.kit({ policy: { loopback: true } });
    const { packet, map } = sentOf(kit.out(family.udp({ dst: router, dstPort: 7 })));
    assertEquals([endsOf(packet), `${map.bound}`], [family.ends(loopback, 4000, loopback, 7), loopback]);
    assertSound(packet);
    const got = gotOf(kit.back(family.udp({ src: loopback, dst: loopback, srcPort: 7, dstPort: 4000 }), map));
    assertEquals(endsOf(got), family.ends(router, 7, guest, 4000));
    assertSound(got);
  });

  Deno.test(`${name}: a connection to the name server goes to its port of the host, its segments come from it`, () => {
    const kit = family.kit({ filtering: "address-port" });
    const syn = family.tcp({ dst: dns, dstPort: 53, hops: 1 });
    assertEquals(kit.out(syn.slice()).reason, "no-service", "no program answers yet");
    family.context(kit).nameServer = { addr: ip(host), port: 5353 };
    const { packet, map } = sentOf(kit.out(syn));
    assertEquals(endsOf(packet), family.ends(host, 4000, host, 5353));
    assertSound(packet);
    const answer = { src: host, dst: host, srcPort: 5353, dstPort: 4000, flags: TCP_SYN | TCP_ACK };
    const got = gotOf(kit.back(family.tcp(answer), map));
    assertEquals(endsOf(got), family.ends(dns, 53, guest, 4000));
    assertSound(got);
    for (const lie of [{ src: other }, { srcPort: 53 }]) {
      assertEquals(kit.back(family.tcp({ ...answer, ...lie }), map).reason, "filtered");
    }
    assertEquals(kit.nat.dnsGuest(4000, is6)?.addr.equals(ip(guest)), true);
    assertEquals([kit.nat.dnsGuest(4001, is6), kit.nat.dnsGuest(4000, !is6)], [null, null]);
  });

  Deno.test(`${name}: a question over UDP is the relay's: no map, no port, its answer is the name server's`, () => {
    const kit = family.kit();
    const payload = dnsQuestion("gateway.internal", { edns: 0 });
    const got = gotOf(kit.out(family.udp({ dst: dns, dstPort: 53, hops: 1, payload })));
    assertSound(got);
    assertEquals([endsOf(got), kit.nat.table.count()], [family.ends(dns, 53, guest, 4000), 0]);
    assertEquals(dnsRead(got.slice(at + 8)).answers.length, 1);
  });

  Deno.test(`${name}: echo queries are mapped by identifier; one that the host uses becomes another`, () => {
    const kit = family.kit();
    kit.ports.taken.add(77);
    const { packet, map } = sentOf(kit.out(family.echo({ payload: pattern(56) })));
    assertEquals([endsOf(packet), map.hostPort], [family.ends(host, 78, remote, 78), 78]);
    assertSound(packet);
    const got = gotOf(kit.back(swapped(packet), map));
    assertEquals(endsOf(got), family.ends(remote, 77, guest, 77));
    assertSound(got);
    assertEquals(kit.back(family.echo({ src: remote, dst: host, srcPort: 78 }), map).reason, "unmapped");
    assertEquals(kit.out(swapped(family.echo({ src: remote, dst: guest }))).reason, "icmp-type");
  });

  Deno.test(`${name}: akaros 21: ping of the router is answered by the router, of any size that the link takes`, () => {
    const kit = family.kit();
    for (const dst of [router, dns]) {
      const got = gotOf(kit.out(family.echo({ dst, srcPort: 5, payload: pattern(1000), hops: 1 })));
      assertEquals([endsOf(got), got.slice(at + 8)], [family.ends(dst, 5, guest, 5), pattern(1000)]);
      assertEquals(got[hopsAt], 64);
      assertSound(got);
    }
  });

  Deno.test(`${name}: akaros 31: a SYN offers no more than the guest's link carries, either way`, () => {
    const kit = family.kit({ mtu: 1280 });
    const mssOf = (packet: Uint8Array) => parseTcp(packet, at, packet.length)!.options.mss;
    const { packet, map } = sentOf(kit.out(family.tcp({ mss: 1460 })));
    assertSound(packet);
    assertEquals(mssOf(packet), 1280 - at - 20);
    const got = gotOf(kit.back(segmentIn({ dstPort: map.hostPort, flags: TCP_SYN | TCP_ACK, mss: 9000 }), map));
    assertSound(got);
    assertEquals(mssOf(got), 1280 - at - 20);
  });

  Deno.test(`${name}: at the cap of TCP, closing connections go, then half open ones, established never`, () => {
    const kit = family.kit({ guestCaps: { tcp: 3 } });
    const establish = (srcPort: number) => {
      const { map } = sentOf(kit.out(family.tcp({ srcPort })));
      kit.back(segmentIn({ dstPort: map.hostPort, flags: TCP_SYN | TCP_ACK }), map);
      kit.out(family.tcp({ srcPort, flags: TCP_ACK }));
      return map;
    };
    const first = establish(1001);
    kit.out(family.tcp({ srcPort: 1002 }));
    kit.out(family.tcp({ srcPort: 1003 }));
    kit.out(family.tcp({ srcPort: 1003, flags: TCP_RST }));
    establish(1004);
    assertEquals([...kit.nat.table.maps()].map((map) => map.guestPort).sort(), [1001, 1002, 1004]);
    establish(1005);
    const refused = kit.out(family.tcp({ srcPort: 1006 }));
    assertEquals([refused.reason, first.live], ["guest-cap", true]);
    assertEquals(codeOf(gotOf(refused)), codes.prohibited);
  });

  Deno.test(`${name}: a host without ports refuses the map, and the guest hears of it`, () => {
    const kit = family.kit();
    kit.ports.isFull = true;
    const refused = kit.out(family.udp());
    assertEquals([refused.reason, refused.toGuest.length], ["no-port", 1]);
    assertEquals(family.kit({ reject: false, guestCaps: { udp: 0 } }).out(family.udp()).toGuest.length, 0);
  });

  Deno.test(`${name}: when the host has no conversation left, the map that costs least makes room`, () => {
    const kit = family.kit();
    kit.ports.max = 3;
    for (const srcPort of [4000, 4001, 4002]) kit.out(family.udp({ srcPort }));
    assertEquals(sentOf(kit.out(family.udp({ srcPort: 4003, dstPort: 53 }))).map.class, 1);
    assertEquals([...kit.nat.table.maps()].map((map) => map.guestPort).sort(), [4001, 4002, 4003]);
    // An established connection is not given up: the new one is refused.
    const tcp = family.kit();
    tcp.ports.max = 1;
    const { map } = sentOf(tcp.out(family.tcp()));
    tcp.back(segmentIn({ dstPort: map.hostPort, flags: TCP_SYN | TCP_ACK }), map);
    tcp.out(family.tcp({ flags: TCP_ACK }));
    assertEquals([tcp.out(family.tcp({ srcPort: 4001 })).reason, map.live], ["no-port", true]);
  });

  Deno.test(`${name}: akaros 19: protocols without ports are refused and counted, and the guest hears of it`, () => {
    const kit = family.kit();
    sentOf(kit.out(family.udp()));
    for (const protocol of [47, 132, 255]) {
      const payload = pattern(20);
      const packet = is6
        ? packet6({ src: guest, dst: remote, nextHeader: protocol, payload })
        : ipPacket({ src: guest, dst: remote, protocol, payload });
      const refused = kit.out(packet);
      const error = gotOf(refused);
      assertSound(error);
      assertEquals([refused.reason, ...codeOf(error)], ["protocol", ...codes.protocol]);
      assertEquals(error.slice(at + 8), packet);
    }
    assertEquals([kit.refused("protocol"), kit.nat.table.count()], [3, 1]);
  });

  Deno.test(`${name}: RFC 7857 7.1: a guest that refuses calls does not keep its map alive by that`, () => {
    const kit = family.kit({ filtering: "endpoint" });
    const { map } = sentOf(kit.out(family.tcp({ flags: TCP_RST })));
    const refuse = () => sentOf(kit.out(family.tcp({ dst: other, dstPort: 99, flags: TCP_RST | TCP_ACK })));
    kit.back(family.tcp({ src: other, dst: host, srcPort: 99, dstPort: map.hostPort }), map);
    refuse();
    kit.now = 100_000;
    refuse();
    assertEquals(kit.nat.table.nextExpiry(), 240_000);
    // A reset that ends what was open does start the time that a closing connection has (RFC 7857 2.2).
    sentOf(kit.out(family.tcp({ dstPort: 81 })));
    kit.now = 150_000;
    sentOf(kit.out(family.tcp({ dstPort: 81, flags: TCP_RST })));
    assertEquals(kit.nat.table.nextExpiry(), 390_000);
  });

  Deno.test(`${name}: ICMP errors of our own are limited in rate`, () => {
    const kit = family.kit();
    let made = 0;
    for (let i = 0; i < 200; i++) made += kit.out(family.udp({ dst: metadata })).toGuest.length;
    assertEquals([made, kit.refused("policy-metadata"), kit.refused("icmp-rate")], [50, 200, 150]);
  });

  Deno.test(`${name}: akaros 32: bytes borrowed from the guest are translated without a copy`, () => {
    const packet = family.tcp({ flags: TCP_ACK, payload: pattern(3000) });
    const block = Block.from(packet.slice(0, 178));
    block.extents = [packet.slice(178)];
    const sent = family.kit().out(block).block!;
    assertEquals(sent.extents!.length, 1);
    assertSound(sent.bytes());
    assertEquals(endsOf(sent.bytes()), family.ends(host, 4000, remote, 80));
  });

  Deno.test(`${name}: a hairpin reaches another guest's port by the host's address, and keeps nothing borrowed`, () => {
    const kit = family.kit({ filtering: "endpoint" });
    const { map } = sentOf(kit.out(family.udp({ src: second, srcPort: 777 })));
    const packet = family.udp({ dst: host, dstPort: map.hostPort, payload: pattern(900) });
    const block = Block.from(packet.slice(0, 178));
    const borrowed = packet.slice(178);
    block.extents = [borrowed];
    const got = gotOf(kit.out(block));
    borrowed.fill(0);
    assertEquals(endsOf(got), family.ends(host, 4000, second, 777));
    assertEquals(got.slice(at + 8), pattern(900));
    assertSound(got);
    assert(kit.nat.counters.sent === 1);
  });
}
