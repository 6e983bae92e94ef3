import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { assertRoundTrip, assertSafe, hex, ipv6Addrs, u16, u32, u8 } from "../../tests/kit/ip/wire.ts";
import { parseIpAddr } from "./ip_addr.ts";
import {
  IP_PROTO_DEST_OPTIONS,
  IP_PROTO_FRAGMENT,
  IP_PROTO_HOP_BY_HOP,
  IP_PROTO_ICMP6,
  IP_PROTO_TCP,
  IP_PROTO_UDP,
} from "./ip_proto.ts";
import * as ipv6 from "./ipv6.ts";

/** An MLD report: hop-by-hop options with a router alert before ICMPv6. */
const REPORT = hex(`
  6b 81 23 45        # version 6, class 0xb8, flow 0x12345
  00 20 00 01        # payload 32; hop-by-hop options next; 1 hop
  fe 80 00 00 00 00 00 00 50 54 00 ff fe 12 34 56
  ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 16
  3a 00 05 02 00 00 01 00                          # ICMPv6 next, 8 bytes: router alert, padding
  8f 00 00 00 00 00 00 01 04 00 00 00              # report with one record …
  ff 02 00 00 00 00 00 00 00 00 00 00              # … cut to 24 bytes
`);

const records: fc.Arbitrary<ipv6.Ipv6Fields> = fc.record({
  src: ipv6Addrs,
  dst: ipv6Addrs,
  nextHeader: u8,
  payloadLen: fc.nat(1500),
  trafficClass: u8,
  flowLabel: fc.nat(0xfffff),
  hopLimit: u8,
});

/** A packet whose fixed header names `kinds[0]`, followed by one minimal header per kind but the last. */
function chain(...kinds: number[]): Uint8Array {
  const payloadLen = (kinds.length - 1) * 8 + 8;
  const packet = new Uint8Array(40 + payloadLen);
  const addr = parseIpAddr("::1")!;
  ipv6.emitIpv6({ src: addr, dst: addr, nextHeader: kinds[0]!, payloadLen }, packet, 0);
  kinds.slice(1).forEach((kind, i) => packet[40 + 8 * i] = kind);
  return packet;
}

Deno.test("parseIpv6() reads every field, and the accessors agree", () => {
  const header = ipv6.parseIpv6(REPORT, 0, REPORT.length)!;
  assertEquals(header, {
    src: parseIpAddr("fe80::5054:ff:fe12:3456")!,
    dst: parseIpAddr("ff02::16")!,
    nextHeader: IP_PROTO_HOP_BY_HOP,
    payloadLen: 32,
    trafficClass: 0xb8,
    flowLabel: 0x12345,
    hopLimit: 1,
  });
  assertEquals([ipv6.ipv6PayloadLen(REPORT, 0), ipv6.ipv6NextHeader(REPORT, 0)], [32, 0]);
  assertEquals([ipv6.ipv6HopLimit(REPORT, 0), ipv6.ipv6TrafficClass(REPORT, 0)], [1, 0xb8]);
  assertEquals([ipv6.ipv6Src(REPORT, 0), ipv6.ipv6Dst(REPORT, 0)], [header.src, header.dst]);
});

Deno.test("parseIpv6() refuses other versions and short packets; parseQuotedIpv6() takes a cut one", () => {
  assertEquals(ipv6.parseIpv6(REPORT, 0, REPORT.length - 1), null);
  assertEquals(ipv6.parseQuotedIpv6(REPORT, 0, 40)?.payloadLen, 32);
  assertEquals(ipv6.parseQuotedIpv6(REPORT, 0, 39), null);
  const four = REPORT.slice();
  four[0] = 0x4b;
  assertEquals(ipv6.parseIpv6(four, 0, four.length), null);
});

Deno.test("walkIpv6() steps over hop-by-hop options and reports where the next protocol was named", () => {
  assertEquals(ipv6.walkIpv6(REPORT, 0, REPORT.length), {
    protocol: IP_PROTO_ICMP6,
    at: 48,
    namedAt: 40,
    fragmentAt: -1,
    fragmentNamedAt: -1,
    isLaterFragment: false,
  });
});

Deno.test("walkIpv6() goes on behind the fragment header of a first fragment", () => {
  const packet = chain(IP_PROTO_DEST_OPTIONS, IP_PROTO_FRAGMENT, IP_PROTO_UDP);
  packet[51] = 1; // more fragments
  assertEquals(ipv6.walkIpv6(packet, 0, packet.length), {
    protocol: IP_PROTO_UDP,
    at: 56,
    namedAt: 48,
    fragmentAt: 48,
    fragmentNamedAt: 40,
    isLaterFragment: false,
  });
});

Deno.test("walkIpv6() stops behind the fragment header of a later fragment: no header follows", () => {
  const packet = chain(IP_PROTO_FRAGMENT, IP_PROTO_DEST_OPTIONS, IP_PROTO_UDP);
  packet[43] = 8; // offset 8
  const walk = ipv6.walkIpv6(packet, 0, packet.length)!;
  assertEquals([walk.protocol, walk.at, walk.isLaterFragment], [IP_PROTO_DEST_OPTIONS, 48, true]);
});

Deno.test("walkIpv6() counts an authentication header in words of four bytes (RFC 4302 2.2)", () => {
  const packet = chain(51, IP_PROTO_TCP, 0, 0);
  packet[41] = 1; // 12 bytes
  assertEquals(ipv6.walkIpv6(packet, 0, packet.length)?.at, 52);
});

Deno.test("walkIpv6() refuses what leads out, late hop-by-hop options, two fragment headers, endless chains", () => {
  const out = chain(IP_PROTO_DEST_OPTIONS, IP_PROTO_UDP);
  out[41] = 2;
  assertEquals(ipv6.walkIpv6(out, 0, out.length), null);
  assertEquals(ipv6.walkIpv6(out, 0, 47), null);
  assertEquals(ipv6.walkIpv6(out, 0, 39), null);
  const late = chain(IP_PROTO_DEST_OPTIONS, IP_PROTO_HOP_BY_HOP, IP_PROTO_UDP);
  assertEquals(ipv6.walkIpv6(late, 0, late.length), null);
  const twice = chain(IP_PROTO_FRAGMENT, IP_PROTO_FRAGMENT, IP_PROTO_UDP);
  assertEquals(ipv6.walkIpv6(twice, 0, twice.length), null);
  const most = chain(...new Array(ipv6.EXTENSION_HEADERS_MAX).fill(IP_PROTO_DEST_OPTIONS), IP_PROTO_UDP);
  assertEquals(ipv6.walkIpv6(most, 0, most.length)?.protocol, IP_PROTO_UDP);
  const more = chain(...new Array(ipv6.EXTENSION_HEADERS_MAX + 1).fill(IP_PROTO_DEST_OPTIONS), IP_PROTO_UDP);
  assertEquals(ipv6.walkIpv6(more, 0, more.length), null);
});

Deno.test("walkIpv6() allows a transport header that is not there: its parser will say so", () => {
  const packet = chain(IP_PROTO_UDP);
  assertEquals(ipv6.walkIpv6(packet, 0, 40)?.at, 40);
});

Deno.test("the setters write their fields and nothing else", () => {
  fc.assert(
    fc.property(records, records, (before, after) => {
      const buf = new Uint8Array(50);
      const expected = new Uint8Array(50);
      ipv6.emitIpv6(before, buf, 5);
      ipv6.emitIpv6({ ...after, flowLabel: before.flowLabel! }, expected, 5);
      ipv6.setIpv6PayloadLen(buf, 5, after.payloadLen);
      ipv6.setIpv6NextHeader(buf, 5, after.nextHeader);
      ipv6.setIpv6HopLimit(buf, 5, after.hopLimit!);
      ipv6.setIpv6TrafficClass(buf, 5, after.trafficClass!);
      ipv6.setIpv6Src(buf, 5, after.src);
      ipv6.setIpv6Dst(buf, 5, after.dst);
      assertEquals(buf, expected);
    }),
    fuzz(100),
  );
});

Deno.test("formatIpv6() prints unusual fields", () => {
  const header = ipv6.parseIpv6(REPORT, 0, REPORT.length)!;
  const text = "fe80::5054:ff:fe12:3456 > ff02::16 hop-by-hop len 72 hops 1";
  assertEquals(ipv6.formatIpv6(header), `${text} class 0xb8 flow 0x12345`);
  assertEquals(ipv6.formatIpv6({ ...header, trafficClass: 0, flowLabel: 0 }), text);
});

Deno.test("IPv6 headers and fragment headers are read back as they were emitted", () => {
  assertRoundTrip(records, { emit: ipv6.emitIpv6, parse: ipv6.parseIpv6, payloadLen: (r) => r.payloadLen });
  const fragments = fc.record({
    nextHeader: u8,
    fragOffset: fc.nat(0x1fff).map((units) => units * 8),
    moreFragments: fc.boolean(),
    id: u32,
  });
  assertRoundTrip(fragments, { emit: ipv6.emitIpv6Fragment, parse: ipv6.parseIpv6Fragment });
});

Deno.test("emitIpv6() fills in what is left out", () => {
  const buf = new Uint8Array(40);
  const addr = parseIpAddr("::1")!;
  ipv6.emitIpv6({ src: addr, dst: addr, nextHeader: 59, payloadLen: 0 }, buf, 0);
  const header = ipv6.parseIpv6(buf, 0, 40)!;
  assertEquals([header.hopLimit, header.trafficClass, header.flowLabel], [64, 0, 0]);
});

Deno.test("parseIpv6(), walkIpv6() and parseIpv6Fragment() survive any bytes", () => {
  const packets = [REPORT, chain(60, 44, 43, 17), chain(0, 43, 51, 6)];
  assertSafe(ipv6.parseIpv6, packets);
  assertSafe(ipv6.parseQuotedIpv6, packets);
  assertSafe(ipv6.walkIpv6, packets);
  assertSafe(ipv6.parseIpv6Fragment, [hex("1100000100000007")]);
});

Deno.test("walkIpv6() never leads beyond the end", () => {
  fc.assert(
    fc.property(u16, fc.uint8Array({ minLength: 40, maxLength: 200 }), (kind, packet) => {
      packet[6] = [0, 43, 44, 51, 60, 17][kind % 6]!;
      const walk = ipv6.walkIpv6(packet, 0, packet.length);
      assert(walk === null || walk.at <= packet.length);
    }),
    fuzz(200),
  );
});

Deno.test("putIpv6() writes what emitIpv6() writes, into a buffer with old bytes", () => {
  const headers = fc.record({ src: ipv6Addrs, dst: ipv6Addrs, protocol: u8, ttl: u8, tos: u8 });
  fc.assert(
    fc.property(headers, u16, (header, payloadLen) => {
      const { src, dst, protocol: nextHeader, ttl: hopLimit, tos: trafficClass } = header;
      const expected = new Uint8Array(40);
      ipv6.emitIpv6({ src, dst, nextHeader, hopLimit, trafficClass, payloadLen }, expected, 0);
      const buf = new Uint8Array(42).fill(0xee);
      ipv6.putIpv6(header, payloadLen, buf, 2);
      assertEquals(buf.subarray(2), expected);
    }),
    fuzz(100),
  );
});

Deno.test("a fragment header is read and changed in place", () => {
  const cases = [
    { fragOffset: 0, moreFragments: false, isPiece: false },
    { fragOffset: 0, moreFragments: true, isPiece: true },
    { fragOffset: 65528, moreFragments: false, isPiece: true },
  ];
  for (const { fragOffset, moreFragments, isPiece } of cases) {
    const buf = new Uint8Array(8);
    const fragment = { nextHeader: 17, fragOffset, id: 7 };
    ipv6.emitIpv6Fragment({ ...fragment, moreFragments }, buf, 0);
    assertEquals(ipv6.ipv6IsPiece(buf, 0), isPiece);
    assertEquals(ipv6.ipv6FragOffset(buf, 0), fragOffset);
    ipv6.clearIpv6MoreFragments(buf, 0);
    assertEquals(ipv6.parseIpv6Fragment(buf, 0, 8), { ...fragment, moreFragments: false });
  }
});
