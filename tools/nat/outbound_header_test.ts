/** Guests' frames: which may leave, what of their headers stays, and why the others do not; in both versions of IP. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, Checksum, Segment } from "../../kernel/block.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { get16, put16 } from "../../kernel/wire/bytes.ts";
import { pseudoSum } from "../../kernel/wire/checksum.ts";
import { ipv4HeaderLen, ipv4Tos, ipv4Ttl, parseIpv4, setIpv4Checksum } from "../../kernel/wire/ipv4.ts";
import { MAC_BROADCAST } from "../../kernel/wire/mac_addr.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { ip, ipPacket, pattern, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { header6, packet6 } from "../../tests/kit/ip/story6.ts";
import { u16 } from "../../tests/kit/ip/wire.ts";
import { FAMILIES, type Family, type FamilyPacket } from "../../tests/kit/nat/families.ts";
import {
  assertSound,
  DNS,
  DNS6,
  endsOf,
  framed,
  gotOf,
  GUEST,
  GUEST6,
  GUEST_LL,
  GUEST_MAC,
  type NatKit,
  REMOTE,
  REMOTE6,
  ROUTER,
  ROUTER6,
  ROUTER_LL,
  sentOf,
  swapped,
  udp6,
} from "../../tests/kit/nat/steps.ts";

const udp4 = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 9, ttl: 64, ...options });

/** What differs between the versions in these tests. */
interface Own {
  /** The longest header that there is, with 30 bytes of data behind it. */
  longest(hops: number): Uint8Array;
  /** Protocols without ports, and those that end here without an error. */
  readonly protocols: readonly number[];
  /** A packet of a protocol. */
  raw(protocol: number, dst?: string): Uint8Array;
  /** Another guest of the same network. */
  readonly second: string;
  /** Pings that are answered here. */
  readonly pings: readonly (readonly [src: string, dst: string])[];
  /** Packets that do not leave, each with the reason. */
  refused(): readonly (readonly [Uint8Array, string])[];
}

const IPV4: Own = {
  longest: (ttl) => {
    const options = new Uint8Array([7, 7, 4, 1, 2, 3, 4, 0]);
    return udp4({ tos: 0xb9, id: 0x1234, dontFragment: true, options, ttl, payload: pattern(30) });
  },
  protocols: [2, 47, 132, 0, 255],
  raw: (protocol, dst = REMOTE) => ipPacket({ src: GUEST, dst, protocol, payload: pattern(8) }),
  second: "10.0.2.16",
  pings: [[GUEST, ROUTER], [GUEST, DNS]],
  refused: () => [
    ...["224.0.0.251", "255.255.255.255", "10.0.2.255", "10.0.0.255", "0.0.0.0", "240.0.0.1", GUEST].map((dst) =>
      [udp4({ dst }), "destination"] as const
    ),
    ...["10.0.2.2", "10.0.2.3", "10.0.2.255", "10.0.0.1", "8.8.8.8", "0.0.0.0"].map((src) =>
      [udp4({ src }), "source"] as const
    ),
    [udp4({ dst: "10.0.2.77" }), "on-link"],
    [udp4({ dst: "127.0.0.1" }), "policy-loopback"],
    [udp4({ dst: "169.254.9.9" }), "policy-link-local"],
    [udp4({ dst: "169.254.169.254" }), "policy-metadata"],
    [udp4({ dst: ROUTER }), "policy-loopback"],
    [udp4({ dst: "198.51.100.1" }), "policy-denied"],
    [udp4({ dst: DNS, dstPort: 54 }), "no-service"],
    [udp4().subarray(0, 19), "short"],
    [udp4().subarray(0, 27), "bad-ip"],
  ],
};

const IPV6: Own = {
  longest: (hopLimit) => {
    // Hop-by-hop and destination options.
    const udp = udp6({ payload: pattern(30) }).subarray(40);
    const payload = new Uint8Array([60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0, ...udp]);
    const marks = { trafficClass: 0xb9, flowLabel: 0xabcde };
    return packet6({ src: GUEST6, dst: REMOTE6, nextHeader: 0, hopLimit, ...marks, payload });
  },
  protocols: [2, 47, 132, 255],
  raw: (nextHeader, dst = REMOTE6) => packet6({ src: GUEST6, dst, nextHeader, payload: pattern(8) }),
  second: "fd00:0:0:2::16",
  pings: [[GUEST6, ROUTER6], [GUEST6, DNS6], [GUEST6, ROUTER_LL], [GUEST_LL, ROUTER_LL]],
  refused: () => [
    ...["2001:db8::77", ROUTER6, "fd00:0:0:2::", GUEST_LL, "::", "ff02::1"].map((src) =>
      [udp6({ src }), "source"] as const
    ),
    [udp6({ dst: "ff02::fb" }), "link-broadcast"],
    [udp6({ dst: "fd00:0:0:2::99" }), "on-link"],
    [udp6({ dst: "::1" }), "policy-loopback"],
    ...["::", "::10.0.0.1"].map((dst) => [udp6({ dst }), "destination"] as const),
    [toMapped(), "destination"],
    [udp6({ dst: "fe80::9" }), "policy-link-local"],
    [udp6({ dst: "fd00:ec2::254" }), "policy-metadata"],
    [udp6({ dst: ROUTER6 }), "policy-loopback"],
    [udp6({ dst: "2001:db8:bad::1" }), "policy-denied"],
    [udp6({ dst: DNS6, dstPort: 54 }), "no-service"],
    [udp6({ checksum: 0 }), "bad-transport"],
    [udp6().subarray(0, 39), "short"],
    [udp6().subarray(0, 47), "bad-ip"],
    [packet6({ src: GUEST6, dst: REMOTE6, nextHeader: 43, payload: routing(17) }), "source-route"],
    [packet6({ src: GUEST6, dst: REMOTE6, nextHeader: 51, payload: authentication() }), "protocol"],
  ],
};

/** A datagram to ::ffff:10.0.0.1. */
function toMapped(): Uint8Array {
  const packet = udp6();
  packet.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1], 24);
  return packet;
}

/** A routing header of type 0 before a protocol. */
function routing(next: number): Uint8Array {
  return new Uint8Array([next, 2, 0, 1, ...new Uint8Array(20), ...pattern(8)]);
}

/** An authentication header before a datagram. */
function authentication(): Uint8Array {
  return new Uint8Array([17, 2, 0, 0, ...new Uint8Array(12), ...udp6().subarray(40)]);
}

/** The header of `packet` before its UDP, without what a NAT rewrites: addresses, hops, checksum. */
function kept(packet: Uint8Array, { is6 }: Family): number[] {
  const header = packet.slice(0, is6 ? 56 : ipv4HeaderLen(packet, 0));
  if (is6) header.fill(0, 7, 40);
  else header.fill(0, 8, 9).fill(0, 10, 20);
  return [...header];
}

for (const family of FAMILIES) {
  const { name, is6, host, remote, guest, router, dns, codes, headerLen, hopsAt } = family;
  const own = is6 ? IPV6 : IPV4;
  const reply = (options: FamilyPacket = {}) =>
    family.udp({ src: remote, dst: host, srcPort: 9, dstPort: 4000, ...options });

  Deno.test(`${name}: akaros 31: hops count down one each way; all else in a header stays, options too`, () => {
    const kit = family.kit();
    const packet = own.longest(9);
    const { packet: sent, map } = sentOf(kit.out(packet.slice()));
    assertSound(sent);
    assertEquals([endsOf(sent), sent[hopsAt]], [family.ends(host, 4000, remote, 9), 8]);
    assertEquals(kept(sent, family), kept(packet, family));
    const answer = swapped(own.longest(50));
    answer.set(swapped(sent).subarray(is6 ? 8 : 12, headerLen), is6 ? 8 : 12);
    if (!is6) setIpv4Checksum(answer, 0, ipv4HeaderLen(answer, 0));
    const got = gotOf(kit.back(answer, map));
    assertEquals([endsOf(got), got[hopsAt]], [family.ends(remote, 9, guest, 4000), 49]);
    assertEquals(kept(got, family), kept(packet, family));
    if (is6) {
      assertEquals([header6(sent).trafficClass, header6(sent).flowLabel], [0xb9, 0xabcde]);
    } else {
      const { tos, id, dontFragment, ttl } = parseIpv4(sent, 0, sent.length)!;
      assertEquals({ tos, id, dontFragment, ttl }, { tos: 0xb9, id: 0x1234, dontFragment: true, ttl: 8 });
      assertEquals([ipv4Ttl(got, 0), ipv4Tos(got, 0), ipv4HeaderLen(got, 0)], [49, 0xb9, 28]);
    }
  });

  Deno.test(`${name}: akaros 20: a UDP checksum that comes out as 0 is 0xffff; one left out stays so`, () => {
    const kit = family.kit();
    const field = headerLen + 6;
    const sumOf = (word: number) => {
      const { packet } = sentOf(kit.out(family.udp({ payload: new Uint8Array([word >>> 8, word & 255]) })));
      return { packet, sum: get16(packet, field) };
    };
    fc.assert(
      fc.property(u16, (word) => {
        const { packet, sum } = sumOf(word);
        assertSound(packet);
        assert(sum !== 0);
      }),
      fuzz(500),
    );
    // For one payload the sum comes out as 0xffff.
    let seen = false;
    for (let word = 0; word < 0x10000 && !seen; word++) seen = sumOf(word).sum === 0xffff;
    assert(seen);
    const bare = (packet: Uint8Array) => {
      put16(packet, field, 0);
      return packet;
    };
    const outcome = kit.out(bare(family.udp({ payload: pattern(9) })));
    if (is6) return assertEquals(outcome.reason, "bad-transport");
    const { packet, map } = sentOf(outcome);
    assertEquals(get16(packet, field), 0);
    assertEquals(get16(gotOf(kit.back(bare(reply()), map)), field), 0);
  });

  Deno.test(`${name}: akaros 26: nothing leaves to where no guest may send, or from what is not a guest's`, () => {
    const kit = family.kit({ policy: { deny: ["udp:198.51.100.1:1-99", "udp:[2001:db8:bad::/48]:1-99"] } });
    const counts = new Map<string, number>();
    for (const [packet, reason] of own.refused()) {
      // A second apart: the limit of error messages is not what is tested here.
      kit.now += 1000;
      const { reason: got } = kit.out(packet);
      assertEquals({ packet: `${packet}`, reason: got }, { packet: `${packet}`, reason });
      counts.set(reason, (counts.get(reason) ?? 0) + 1);
    }
    for (const [reason, count] of counts) assertEquals({ reason, count: kit.refused(reason) }, { reason, count });
    assertEquals(kit.nat.table.count(), 0);
  });

  Deno.test(`${name}: akaros 26: a frame for others, or of another kind, carries nothing out`, () => {
    const kit = family.kit();
    const type = is6 ? 0x86dd : 0x800;
    const frame = (options: Parameters<typeof framed>[1]) => kit.frame(framed(family.udp(), { type, ...options }));
    assertEquals(frame({ dst: MAC_BROADCAST }).reason, "link-broadcast");
    assertEquals(frame({ dst: GUEST_MAC }).reason, "other-mac");
    assertEquals(frame({ type: 0x8100 }).reason, "ethertype");
    assertEquals(frame({}).reason, "none");
  });

  Deno.test(`${name}: akaros 19: of any protocol without ports the sender hears; of one to a group it does not`, () => {
    const kit = family.kit();
    // A guest of IPv6 is heard of by what it sends.
    if (is6) sentOf(kit.out(family.udp()));
    for (const protocol of own.protocols) {
      const packet = own.raw(protocol);
      const refusal = kit.out(packet);
      const error = gotOf(refusal);
      assertSound(error);
      assertEquals([refusal.reason, error[headerLen], error[headerLen + 1]], ["protocol", ...codes.protocol]);
      assertEquals(error.slice(headerLen + 8), packet);
    }
    assertEquals(kit.refused("protocol"), own.protocols.length);
    if (is6) return assertEquals(kit.out(own.raw(2, "ff02::16")).toGuest, []);
    // IGMP as hosts send it: to a group, so no error is sent.
    const igmp = ipPacket({ src: GUEST, dst: "224.0.0.22", protocol: 2, options: pattern(4), payload: pattern(8) });
    igmp.set([148, 4, 0, 0], 20);
    setIpv4Checksum(igmp, 0, 24);
    assertEquals(kit.frame(framed(igmp, { dst: MAC_BROADCAST })).toGuest, []);
    assertEquals(kit.out(igmp).toGuest, []);
    assertEquals([kit.refused("protocol"), kit.nat.table.count()], [7, 0]);
  });

  Deno.test(`${name}: an error says what is wrong, and comes from the router: policy, hops, service, protocol`, () => {
    const kit = family.kit();
    const told = (packet: Uint8Array) => {
      const got = gotOf(kit.out(packet));
      assertSound(got);
      const src = is6 ? `${header6(got).src}` : `${parseIpv4(got, 0, got.length)!.src}`;
      return { src, code: [got[headerLen], got[headerLen + 1]], rest: get16(got, headerLen + 6) };
    };
    const metadata = is6 ? "fd00:ec2::254" : "169.254.169.254";
    assertEquals(told(family.udp({ dst: metadata })), { src: router, code: codes.prohibited, rest: 0 });
    assertEquals(told(family.udp({ hops: 1 })), { src: router, code: codes.hops, rest: 0 });
    assertEquals(told(family.udp({ dst: dns, dstPort: 5353 })), { src: router, code: codes.port, rest: 0 });
    sentOf(kit.out(family.udp()));
    // ICMPv6 points at the next header that it does not know.
    assertEquals(told(own.raw(132)), { src: router, code: codes.protocol, rest: is6 ? 6 : 0 });
    assertEquals(kit.out(family.udp({ hops: 0 })).reason, "ttl");
  });

  Deno.test(`${name}: one map for all remotes of a port, and another for each address and port of guests`, () => {
    const kit = family.kit();
    const packets = [{}, { dst: family.other }, { srcPort: 4001 }, { src: own.second }].map(family.udp);
    const maps = packets.map((packet) => sentOf(kit.out(packet)).map);
    assertEquals(maps[0], maps[1]);
    assertEquals(new Set(maps.map(({ hostPort }) => hostPort)).size, 3);
  });

  Deno.test(`${name}: the router's and the name server's addresses answer an echo, with hops of their own`, () => {
    const kit = family.kit();
    for (const [src, dst] of own.pings) {
      const got = gotOf(kit.out(family.echo({ src, dst, hops: 3, tos: 2 })));
      assertEquals(endsOf(got), family.ends(dst, 77, src, 77));
      const tos = is6 ? header6(got).trafficClass : ipv4Tos(got, 0);
      assertEquals([got[headerLen], got[hopsAt], tos], [is6 ? 129 : 0, 64, 2]);
      assertSound(got);
    }
  });

  Deno.test(`${name}: an owed checksum stays owed, and a segment uncut`, () => {
    const kit = family.kit();
    sentOf(kit.out(family.tcp()));
    const sent = segmentOut(kit, family, Block.from(family.tcp({ flags: 16, payload: pattern(3000) })));
    const { checksum, segment, segmentSize } = sent;
    const kind = is6 ? Segment.Tcp6 : Segment.Tcp4;
    assertEquals({ checksum, segment, segmentSize }, { checksum: Checksum.Owed, segment: kind, segmentSize: 1000 });
    assert(finishChecksum(sent));
    assertSound(sent.bytes());
  });
}

/** What leaves of a TCP packet of 3000 bytes that owes its checksum and is to be cut into pieces of 1000. */
function segmentOut(kit: NatKit, { is6, headerLen, guest, remote }: Family, block: Block): Block {
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + headerLen;
  block.checksumField = block.checksumStart + 16;
  block.segment = is6 ? Segment.Tcp6 : Segment.Tcp4;
  block.segmentSize = 1000;
  block.segmentHeaderLen = headerLen + 20;
  put16(block.buf, block.checksumField, pseudoSum(ip(guest), ip(remote), 6, 3020));
  const { block: sent } = kit.out(block);
  assert(sent !== null);
  return sent;
}
