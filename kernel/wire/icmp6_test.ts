import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { assertRoundTrip, assertSafe, hex, ipv6Addrs, u16, u32, u8 } from "../../tests/kit/ip/wire.ts";
import { addrSum } from "./checksum.ts";
import * as icmp6 from "./icmp6.ts";
import { parseIpAddr } from "./ip_addr.ts";
import { IP_PROTO_UDP } from "./ip_proto.ts";
import { udpDstPort } from "./udp.ts";

const SRC = parseIpAddr("fe80::5054:ff:fe12:3456")!;
const DST = parseIpAddr("fe80::2")!;

const ECHO = hex("80 00 96 89  00 07 00 01  68 69");

/** What a router answers to a fragmented datagram that is too big. */
const TOO_BIG = hex(`
  02 00 00 00        # packet too big
  00 00 05 00        # MTU 1280
  60 00 00 00 05 78 2c 40                          # IPv6, payload 1400, fragment header next, 64 hops
  20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01  # 2001:db8::1
  20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02  # 2001:db8::2
  11 00 00 01 00 00 00 07                          # udp follows, offset 0, more fragments, id 7
  9c 40 00 35 0b b8 00 00                          # 40000 > 53
`);

Deno.test("parseIcmp6() reads an echo request whose checksum covers the addresses", () => {
  assertEquals(icmp6.parseIcmp6(ECHO, 0, ECHO.length), { type: 128, code: 0, checksum: 0x9689, rest: 0x00070001 });
  assertEquals([icmp6.icmp6Type(ECHO, 0), icmp6.icmp6EchoId(ECHO, 0), icmp6.icmp6EchoSeq(ECHO, 0)], [128, 7, 1]);
  assert(icmp6.icmp6ChecksumOk(ECHO, 0, ECHO.length, { src: SRC, dst: DST }));
  assert(!icmp6.icmp6ChecksumOk(ECHO, 0, ECHO.length, { src: SRC, dst: SRC }));
  assertEquals(icmp6.parseIcmp6(ECHO, 0, 7), null);
});

Deno.test("emitIcmp6Echo() and setIcmp6Checksum() write the message that was captured", () => {
  const buf = new Uint8Array(ECHO.length);
  assertEquals(icmp6.emitIcmp6Echo({ reply: false, id: 7, seq: 1, data: hex("6869") }, buf, 0), ECHO.length);
  icmp6.setIcmp6Checksum(buf, 0, buf.length, { src: SRC, dst: DST });
  assertEquals(buf, ECHO);
});

Deno.test("rewritten types, identifiers and addresses leave the checksum that a full sum gives", () => {
  fc.assert(
    fc.property(ipv6Addrs, ipv6Addrs, ipv6Addrs, u16, fc.uint8Array({ maxLength: 40 }), (src, dst, to, id, data) => {
      const buf = new Uint8Array(60);
      const end = icmp6.emitIcmp6Echo({ reply: false, id: 1, seq: 2, data }, buf, 0);
      icmp6.setIcmp6Checksum(buf, 0, end, { src, dst });
      icmp6.setIcmp6Type(buf, 0, icmp6.ICMP6_ECHO_REPLY);
      icmp6.setIcmp6EchoId(buf, 0, id);
      icmp6.adjustIcmp6Checksum(buf, 0, addrSum(dst), addrSum(to));
      const expected = new Uint8Array(60);
      icmp6.emitIcmp6Echo({ reply: true, id, seq: 2, data }, expected, 0);
      icmp6.setIcmp6Checksum(expected, 0, end, { src, dst: to });
      assertEquals(buf, expected);
    }),
    fuzz(200),
  );
});

Deno.test("parseIcmp6Quote() finds the transport header behind extension headers", () => {
  const quote = icmp6.parseIcmp6Quote(TOO_BIG, 0, TOO_BIG.length)!;
  assertEquals([`${quote.ip.src}`, quote.protocol, quote.ipAt, quote.transportAt], [
    "2001:db8::1",
    IP_PROTO_UDP,
    8,
    56,
  ]);
  assertEquals(udpDstPort(TOO_BIG, quote.transportAt), 53);
  assertEquals(quote.end, TOO_BIG.length);
});

Deno.test("parseIcmp6Quote() refuses messages that are no errors, short quotes, and later fragments", () => {
  assertEquals(icmp6.parseIcmp6Quote(ECHO, 0, ECHO.length), null);
  assertEquals(icmp6.parseIcmp6Quote(TOO_BIG, 0, TOO_BIG.length - 1), null);
  const later = TOO_BIG.slice();
  later[50] = 1;
  assertEquals(icmp6.parseIcmp6Quote(later, 0, later.length), null);
});

Deno.test("emitIcmp6Error() quotes no more than fits the minimum MTU (RFC 4443 2.4 c)", () => {
  const buf = new Uint8Array(2000);
  const packet = TOO_BIG.slice(8);
  const error = { type: icmp6.ICMP6_PACKET_TOO_BIG, code: 0, rest: 1280, packet };
  assertEquals(icmp6.emitIcmp6Error(error, buf, 0), TOO_BIG.length);
  assertEquals(buf.subarray(0, TOO_BIG.length), TOO_BIG);
  const long = { type: icmp6.ICMP6_TIME_EXCEEDED, code: 0, packet: new Uint8Array(1500) };
  assertEquals(icmp6.emitIcmp6Error(long, buf, 0), 1240);
  assertEquals(icmp6.icmp6ErrorLen(long), 1240);
});

Deno.test("icmp6IsError() is the upper bit of the type (RFC 4443 2.1)", () => {
  assertEquals([1, 4, 127, 128, 135].map(icmp6.icmp6IsError), [true, true, true, false, false]);
});

Deno.test("formatIcmp6() explains the rest by type", () => {
  const header = { type: 128, code: 0, checksum: 0, rest: 0x00070001 };
  assertEquals(icmp6.formatIcmp6(header), "icmp6 echo request id 7 seq 1");
  assertEquals(icmp6.formatIcmp6({ ...header, type: 2, rest: 1280 }), "icmp6 packet too big mtu 1280");
  assertEquals(
    icmp6.formatIcmp6({ ...header, type: 4, code: 1, rest: 40 }),
    "icmp6 parameter problem code 1 pointer 40",
  );
  assertEquals(icmp6.formatIcmp6({ ...header, type: 1, code: 4 }), "icmp6 unreachable code 4");
  assertEquals(icmp6.formatIcmp6({ ...header, type: 135 }), "icmp6 neighbor solicitation");
  assertEquals(icmp6.formatIcmp6({ ...header, type: 200 }), "icmp6 type 200");
});

Deno.test("ICMPv6 headers are read back as they were emitted", () => {
  assertRoundTrip(fc.record({ type: u8, code: u8, checksum: u16, rest: u32 }), {
    emit: icmp6.emitIcmp6,
    parse: icmp6.parseIcmp6,
  });
});

Deno.test("parseIcmp6() and parseIcmp6Quote() survive any bytes", () => {
  assertSafe(icmp6.parseIcmp6, [ECHO]);
  assertSafe(icmp6.parseIcmp6Quote, [TOO_BIG, ECHO]);
});
