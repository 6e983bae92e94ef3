import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { assertRoundTrip, assertSafe, hex, u16, u32, u8 } from "../../tests/kit/ip/wire.ts";
import * as icmp from "./icmp.ts";
import { udpDstPort, udpSrcPort } from "./udp.ts";

const ECHO = hex(`
  08 00 54 35        # echo request, checksum
  12 34 00 01        # id, sequence
  61 62 63 64 65 66 67 68
`);

const TOO_BIG = hex(`
  03 04 5a 13        # fragmentation needed
  00 00 05 78        # next-hop MTU 1400
  45 00 00 3d 1c 46 00 00 40 11 42 4c 0a 00 02 0f 08 08 08 08  # 10.0.2.15 > 8.8.8.8 udp, 61 bytes
  9c 40 00 35 00 29 00 d2                                      # 40000 > 53
`);

Deno.test("parseIcmp() reads an echo request", () => {
  assertEquals(icmp.parseIcmp(ECHO, 0, ECHO.length), {
    type: icmp.ICMP_ECHO_REQUEST,
    code: 0,
    checksum: 0x5435,
    rest: 0x12340001,
  });
  assertEquals([icmp.icmpType(ECHO, 0), icmp.icmpEchoId(ECHO, 0), icmp.icmpEchoSeq(ECHO, 0)], [8, 0x1234, 1]);
  assert(icmp.icmpChecksumOk(ECHO, 0, ECHO.length));
  assertEquals(icmp.parseIcmp(ECHO, 0, 7), null);
});

Deno.test("emitIcmpEcho() writes the message that was captured", () => {
  const buf = new Uint8Array(ECHO.length);
  const echo = { reply: false, id: 0x1234, seq: 1, data: ECHO.slice(8) };
  assertEquals(icmp.emitIcmpEcho(echo, buf, 0), ECHO.length);
  assertEquals(buf, ECHO);
});

Deno.test("setIcmpType() turns a request into its reply, and setIcmpEchoId() changes whose it is", () => {
  fc.assert(
    fc.property(u16, u16, u16, fc.uint8Array({ maxLength: 64 }), (id, seq, newId, data) => {
      const buf = new Uint8Array(80);
      const end = icmp.emitIcmpEcho({ reply: false, id, seq, data }, buf, 0);
      icmp.setIcmpType(buf, 0, icmp.ICMP_ECHO_REPLY);
      icmp.setIcmpEchoId(buf, 0, newId);
      const header = icmp.parseIcmp(buf, 0, end)!;
      assertEquals([header.type, header.rest], [icmp.ICMP_ECHO_REPLY, newId * 65536 + seq]);
      assert(icmp.icmpChecksumOk(buf, 0, end));
    }),
    fuzz(100),
  );
});

Deno.test("an echo reply of zeros only gets the checksum 0xffff, also when it is made from a request", () => {
  for (const length of [0, 3, 56]) {
    const buf = new Uint8Array(8 + length);
    icmp.emitIcmpEcho({ reply: false, id: 9, seq: 0, data: new Uint8Array(length) }, buf, 0);
    icmp.setIcmpEchoId(buf, 0, 0);
    icmp.setIcmpType(buf, 0, icmp.ICMP_ECHO_REPLY);
    assertEquals(icmp.parseIcmp(buf, 0, buf.length)?.checksum, 0xffff);
    assert(icmp.icmpChecksumOk(buf, 0, buf.length));
  }
});

Deno.test("parseIcmpQuote() finds the packet in error and its ports", () => {
  const quote = icmp.parseIcmpQuote(TOO_BIG, 0, TOO_BIG.length)!;
  assertEquals([`${quote.ip.src}`, `${quote.ip.dst}`, quote.ip.totalLen], ["10.0.2.15", "8.8.8.8", 61]);
  assertEquals([quote.ipAt, quote.transportAt, quote.end], [8, 28, 36]);
  assertEquals([udpSrcPort(TOO_BIG, quote.transportAt), udpDstPort(TOO_BIG, quote.transportAt)], [40000, 53]);
  assertEquals(icmp.icmpNextHopMtu(TOO_BIG, 0), 1400);
  assert(icmp.icmpChecksumOk(TOO_BIG, 0, TOO_BIG.length));
});

Deno.test("parseIcmpQuote() refuses messages that are no errors, short quotes, and later fragments", () => {
  assertEquals(icmp.parseIcmpQuote(ECHO, 0, ECHO.length), null);
  assertEquals(icmp.parseIcmpQuote(TOO_BIG, 0, TOO_BIG.length - 1), null);
  const fragment = TOO_BIG.slice();
  fragment[15] = 1;
  assertEquals(icmp.parseIcmpQuote(fragment, 0, fragment.length), null);
});

Deno.test("parseIcmpQuote() ends the quote at the quoted total length", () => {
  const padded = new Uint8Array(200);
  padded.set(TOO_BIG);
  assertEquals(icmp.parseIcmpQuote(padded, 0, 200)?.end, 8 + 61);
});

Deno.test("emitIcmpError() quotes a packet, and of a long one no more than fits 576 bytes (RFC 1812 4.3.2.3)", () => {
  const buf = new Uint8Array(2000);
  const error = {
    type: icmp.ICMP_UNREACHABLE,
    code: icmp.ICMP_UNREACHABLE_TOO_BIG,
    rest: icmp.icmpMtuRest(1400),
    packet: TOO_BIG.slice(8),
  };
  assertEquals(icmp.emitIcmpError(error, buf, 0), TOO_BIG.length);
  assertEquals(buf.subarray(0, TOO_BIG.length), TOO_BIG);
  const long = { type: icmp.ICMP_TIME_EXCEEDED, code: icmp.ICMP_TIME_EXCEEDED_TTL, packet: new Uint8Array(1500) };
  assertEquals(icmp.emitIcmpError(long, buf, 0), 576 - 20);
  assertEquals(icmp.icmpErrorLen(long), 576 - 20);
  assert(icmp.icmpChecksumOk(buf, 0, 556));
});

Deno.test("icmpPointerRest() stays unsigned", () => assertEquals(icmp.icmpPointerRest(0xff), 0xff000000));

Deno.test("icmpIsError() knows the five kinds of error", () => {
  const errors = [...Array(256).keys()].filter(icmp.icmpIsError);
  assertEquals(errors, [3, 4, 5, 11, 12]);
});

Deno.test("formatIcmp() explains the rest by type", () => {
  const header = { type: 0, code: 0, checksum: 0, rest: 0x00070001 };
  assertEquals(icmp.formatIcmp(header), "icmp echo reply id 7 seq 1");
  assertEquals(icmp.formatIcmp({ ...header, type: 3, code: 4, rest: 1400 }), "icmp unreachable code 4 mtu 1400");
  assertEquals(icmp.formatIcmp({ ...header, type: 3, code: 3 }), "icmp unreachable code 3");
  assertEquals(icmp.formatIcmp({ ...header, type: 12, rest: 0x14000000 }), "icmp parameter problem code 0 pointer 20");
  assertEquals(icmp.formatIcmp({ ...header, type: 99 }), "icmp type 99 code 0");
});

Deno.test("ICMP headers are read back as they were emitted", () => {
  assertRoundTrip(fc.record({ type: u8, code: u8, checksum: u16, rest: u32 }), {
    emit: icmp.emitIcmp,
    parse: icmp.parseIcmp,
  });
});

Deno.test("parseIcmp() and parseIcmpQuote() survive any bytes", () => {
  assertSafe(icmp.parseIcmp, [ECHO]);
  assertSafe(icmp.parseIcmpQuote, [TOO_BIG, ECHO]);
});
