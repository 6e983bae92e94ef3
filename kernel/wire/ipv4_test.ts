import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { assertRoundTrip, assertSafe, hex, ipv4Addrs, u16, u8 } from "../../tests/kit/ip/wire.ts";
import { IpAddr, parseIpAddr } from "./ip_addr.ts";
import { IP_PROTO_UDP } from "./ip_proto.ts";
import * as ipv4 from "./ipv4.ts";

const HEADER = hex(`
  45 00 00 73        # version 4, 5 words; TOS; total length 115
  00 00 40 00        # id; don't fragment
  40 11 b8 61        # TTL 64, UDP, checksum
  c0 a8 00 01        # 192.168.0.1
  c0 a8 00 c7        # 192.168.0.199
`);
const PACKET = new Uint8Array(115);
PACKET.set(HEADER);

/** An IGMP report: router alert option (RFC 2113), and 8 bytes of payload. */
const ALERT = hex(`
  46 00 00 20  00 07 00 00  01 02 3a ba
  0a 00 00 01  e0 00 00 16
  94 04 00 00        # router alert, copied into fragments
  16 00 09 04  e0 00 00 fb
`);

const records: fc.Arbitrary<ipv4.Ipv4Fields> = fc.record({
  src: ipv4Addrs,
  dst: ipv4Addrs,
  protocol: u8,
  payloadLen: fc.nat(1500),
  tos: u8,
  id: u16,
  dontFragment: fc.boolean(),
  moreFragments: fc.boolean(),
  fragOffset: fc.nat(0x1fff).map((units) => units * 8),
  ttl: u8,
  options: fc.nat(10).chain((words) => fc.uint8Array({ minLength: 4 * words, maxLength: 4 * words })),
});

Deno.test("parseIpv4() reads every field", () => {
  const expected: ipv4.Ipv4Header = {
    src: parseIpAddr("192.168.0.1")!,
    dst: parseIpAddr("192.168.0.199")!,
    protocol: IP_PROTO_UDP,
    payloadLen: 95,
    tos: 0,
    id: 0,
    dontFragment: true,
    moreFragments: false,
    fragOffset: 0,
    ttl: 64,
    options: new Uint8Array(0),
    headerLen: 20,
    totalLen: 115,
  };
  assertEquals(ipv4.parseIpv4(PACKET, 0, PACKET.length), expected);
  assert(ipv4.ipv4ChecksumOk(PACKET, 0));
});

Deno.test("parseIpv4() shows options as a view of the packet", () => {
  const header = ipv4.parseIpv4(ALERT, 0, ALERT.length)!;
  assertEquals(header.options, hex("94 04 00 00"));
  assert(header.options.buffer === ALERT.buffer);
  assertEquals([header.headerLen, header.payloadLen], [24, 8]);
  assert(ipv4.ipv4ChecksumOk(ALERT, 0));
});

Deno.test("parseIpv4() allows link padding behind the total length", () => {
  const padded = new Uint8Array(60);
  padded.set(ALERT);
  assertEquals(ipv4.parseIpv4(padded, 0, 60)?.totalLen, 32);
});

Deno.test("parseIpv4() refuses wrong versions and lengths that do not fit each other", () => {
  const broken: [string, number, number][] = [
    ["version 6", 0, 0x65],
    ["IHL 4", 0, 0x44],
    ["a header longer than the total length", 3, 19],
    ["a total length longer than the buffer", 3, 116],
  ];
  for (const [what, at, value] of broken) {
    const packet = PACKET.slice();
    packet[at] = value;
    assertEquals(ipv4.parseIpv4(packet, 0, packet.length), null, what);
  }
  assertEquals(ipv4.parseIpv4(PACKET, 0, 19), null);
  assertEquals(ipv4.parseIpv4(ALERT, 0, 23), null, "options that do not fit");
});

Deno.test("parseQuotedIpv4() takes a packet that was cut behind its header, and no other flaw", () => {
  assertEquals(ipv4.parseIpv4(PACKET, 0, 28), null);
  assertEquals(ipv4.parseQuotedIpv4(PACKET, 0, 28)?.payloadLen, 95);
  assertEquals(ipv4.parseQuotedIpv4(ALERT, 0, 23), null);
});

Deno.test("ipv4ChecksumOk() sees a changed bit", () => {
  const packet = PACKET.slice();
  packet[8] = 63;
  assert(!ipv4.ipv4ChecksumOk(packet, 0));
});

Deno.test("emitIpv4() fills in what is left out, and pads options", () => {
  const buf = new Uint8Array(60).fill(0xee);
  const fields = { src: IpAddr.v4(0x0a000001), dst: IpAddr.v4(0x0a000002), protocol: 17, payloadLen: 8 };
  assertEquals(ipv4.emitIpv4({ ...fields, options: hex("94 04 00 00 01") }, buf, 0), 28);
  const header = ipv4.parseIpv4(buf, 0, 36)!;
  assertEquals([header.ttl, header.id, header.tos, header.dontFragment], [64, 0, 0, false]);
  assertEquals(header.options, hex("94 04 00 00 01 00 00 00"));
  assert(ipv4.ipv4ChecksumOk(buf, 0));
});

Deno.test("emitIpv4() may write a header over itself", () => {
  const packet = ALERT.slice();
  assertEquals(ipv4.emitIpv4(ipv4.parseIpv4(packet, 0, packet.length)!, packet, 0), 24);
  assertEquals(packet, ALERT);
});

Deno.test("the accessors agree with parseIpv4()", () => {
  fc.assert(
    fc.property(records, (record) => {
      const buf = new Uint8Array(2000);
      ipv4.emitIpv4(record, buf, 3);
      const header = ipv4.parseIpv4(buf, 3, 2000)!;
      assertEquals(ipv4.ipv4HeaderLen(buf, 3), header.headerLen);
      assertEquals(ipv4.ipv4TotalLen(buf, 3), header.totalLen);
      assertEquals(ipv4.ipv4Tos(buf, 3), header.tos);
      assertEquals(ipv4.ipv4Id(buf, 3), header.id);
      assertEquals(ipv4.ipv4IsFragment(buf, 3), header.moreFragments || header.fragOffset > 0);
      assertEquals(ipv4.ipv4FragOffset(buf, 3), header.fragOffset);
      assertEquals(ipv4.ipv4DontFragment(buf, 3), header.dontFragment);
      assertEquals(ipv4.ipv4Ttl(buf, 3), header.ttl);
      assertEquals(ipv4.ipv4Protocol(buf, 3), header.protocol);
      assertEquals([ipv4.ipv4SrcWord(buf, 3), ipv4.ipv4DstWord(buf, 3)], [header.src.w3, header.dst.w3]);
      assertEquals([ipv4.ipv4Src(buf, 3), ipv4.ipv4Dst(buf, 3)], [header.src, header.dst]);
    }),
    fuzz(100),
  );
});

Deno.test("every setter writes its field and leaves the header as if it had been emitted so", () => {
  fc.assert(
    fc.property(records, records, (before, after) => {
      const buf = new Uint8Array(2000);
      const at = 5;
      const headerLen = ipv4.emitIpv4(before, buf, at);
      ipv4.setIpv4Tos(buf, at, after.tos!);
      ipv4.setIpv4TotalLen(buf, at, headerLen + after.payloadLen);
      ipv4.setIpv4Id(buf, at, after.id!);
      ipv4.setIpv4Fragment(buf, at, after.fragOffset!, after.moreFragments!);
      assertEquals(ipv4.ipv4DontFragment(buf, at), before.dontFragment);
      ipv4.setIpv4DontFragment(buf, at, after.dontFragment!);
      ipv4.setIpv4Ttl(buf, at, after.ttl!);
      ipv4.setIpv4Src(buf, at, after.src);
      ipv4.setIpv4Dst(buf, at, after.dst);
      assert(ipv4.ipv4ChecksumOk(buf, at));
      const expected = new Uint8Array(2000);
      ipv4.emitIpv4({ ...after, protocol: before.protocol, options: before.options! }, expected, at);
      assertEquals(buf, expected);
    }),
    fuzz(200),
  );
});

Deno.test("a setter keeps damage visible: a wrong checksum stays wrong", () => {
  const packet = PACKET.slice();
  packet[11] = packet[11]! ^ 1;
  ipv4.setIpv4Ttl(packet, 0, 63);
  assert(!ipv4.ipv4ChecksumOk(packet, 0));
});

Deno.test("copiedIpv4Options() keeps those with the copied flag, padded (RFC 791 3.1)", () => {
  const options = hex(`
    01                 # no operation
    07 07 04 00 00 00 00  # record route: first fragment only
    83 03 04           # loose source route, empty: every fragment
    94 04 00 00        # router alert: every fragment
    00                 # end
  `);
  assertEquals(ipv4.copiedIpv4Options(options), hex("83 03 04 94 04 00 00 00"));
  assertEquals(ipv4.copiedIpv4Options(new Uint8Array(0)), new Uint8Array(0));
});

Deno.test("copiedIpv4Options() stops at a length of 0 and at one that leads out", () => {
  assertEquals(ipv4.copiedIpv4Options(hex("94 04 00 00 83 00 00 00")), hex("94 04 00 00"));
  assertEquals(ipv4.copiedIpv4Options(hex("94 04 00 00 83 05 00 00")), hex("94 04 00 00"));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (options) => {
      const copied = ipv4.copiedIpv4Options(options);
      assert(copied.length <= (options.length + 3 & ~3));
      assertEquals(ipv4.copiedIpv4Options(copied), copied);
    }),
    fuzz(200),
  );
});

Deno.test("formatIpv4() prints unusual fields", () => {
  const header = ipv4.parseIpv4(PACKET, 0, PACKET.length)!;
  assertEquals(ipv4.formatIpv4(header), "192.168.0.1 > 192.168.0.199 udp len 115 ttl 64 df");
  const piece = { ...header, dontFragment: false, moreFragments: true, fragOffset: 1480, id: 7, tos: 3 };
  assertEquals(
    ipv4.formatIpv4({ ...piece, options: hex("00000000") }),
    "192.168.0.1 > 192.168.0.199 udp len 115 ttl 64 tos 0x3 frag 7@1480+ options 4",
  );
});

Deno.test("IPv4 headers are read back as they were emitted", () => {
  assertRoundTrip(records, { emit: ipv4.emitIpv4, parse: ipv4.parseIpv4, payloadLen: (r) => r.payloadLen });
});

Deno.test("parseIpv4() and parseQuotedIpv4() survive any bytes", () => {
  assertSafe(ipv4.parseIpv4, [PACKET, ALERT]);
  assertSafe(ipv4.parseQuotedIpv4, [PACKET, ALERT]);
});

Deno.test("putIpv4() and putIpv4Id() write what emitIpv4() writes, into a buffer with old bytes", () => {
  const headers = fc.record({ src: ipv4Addrs, dst: ipv4Addrs, protocol: u8, ttl: u8, tos: u8, id: u16 });
  fc.assert(
    fc.property(headers, fc.nat(60_000), fc.boolean(), (header, payloadLen, dontFragment) => {
      const expected = new Uint8Array(20);
      ipv4.emitIpv4({ ...header, id: dontFragment ? 0 : header.id, payloadLen, dontFragment }, expected, 0);
      const buf = new Uint8Array(22).fill(0xee);
      ipv4.putIpv4(header, 20 + payloadLen, buf, 2);
      if (!dontFragment) ipv4.putIpv4Id(buf, 2, header.id);
      ipv4.setIpv4Checksum(buf, 2, 20);
      assertEquals(buf.subarray(2), expected);
    }),
    fuzz(100),
  );
});
