import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { assertRoundTrip, assertSafe, hex, u16, u32 } from "../../tests/kit/ip/wire.ts";
import * as tcpOptions from "./tcp_options.ts";

const { NO_TCP_OPTIONS, parseTcpOptions } = tcpOptions;

const SYN = hex(`
  02 04 05 b4        # mss 1460
  04 02              # sack permitted
  08 0a 00 a1 b2 c3 00 00 00 00  # timestamps
  01                 # padding
  03 03 07           # window scale 7
`);

const DUPLICATE_ACK = hex(`
  01 01 08 0a 00 00 00 05 00 00 00 06
  01 01 05 12        # two blocks
  00 00 10 00 00 00 20 00
  ff ff ff 00 00 00 01 00
`);

Deno.test("parseTcpOptions() reads what a Linux SYN offers", () => {
  assertEquals(parseTcpOptions(SYN, 0, SYN.length), {
    mss: 1460,
    windowScale: 7,
    sackPermitted: true,
    hasTimestamps: true,
    tsVal: 0x00a1b2c3,
    tsEcr: 0,
    sack: [],
    malformed: false,
  });
});

Deno.test("parseTcpOptions() reads selective acknowledgments behind timestamps", () => {
  assertEquals(parseTcpOptions(DUPLICATE_ACK, 0, DUPLICATE_ACK.length), {
    ...NO_TCP_OPTIONS,
    hasTimestamps: true,
    tsVal: 5,
    tsEcr: 6,
    sack: [{ left: 0x1000, right: 0x2000 }, { left: 0xffffff00, right: 0x100 }],
  });
});

Deno.test("emitTcpOptions() writes the lists that were captured", () => {
  for (const list of [SYN, DUPLICATE_ACK]) {
    const buf = new Uint8Array(list.length);
    const options = parseTcpOptions(list, 0, list.length);
    assertEquals(tcpOptions.emitTcpOptions(options, buf, 0), list.length);
    assertEquals(buf, list);
  }
});

Deno.test("parseTcpOptions() stops at the end of the list and skips what it does not know", () => {
  assertEquals(parseTcpOptions(hex("00 02 04 05 b4"), 0, 5), NO_TCP_OPTIONS);
  // RFC 7413 Fast Open, then an mss.
  assertEquals(parseTcpOptions(hex("22 04 ab cd 02 04 05 b4"), 0, 8), { ...NO_TCP_OPTIONS, mss: 1460 });
});

Deno.test("parseTcpOptions() keeps what came before nonsense (RFC 9293 MUST-7)", () => {
  const broken = [
    ["a length of 0", "02 04 05 b4 03 00 07 01"],
    ["a length of 1", "02 04 05 b4 03 01 07 01"],
    ["no length", "02 04 05 b4 01 01 01 03"],
    ["a length that leads out", "02 04 05 b4 08 0a 00 00"],
    ["a wrong length", "02 04 05 b4 03 04 07 00"],
    ["half a sack block", "02 04 05 b4 05 06 00 00 00 00"],
    ["a sack without blocks", "02 04 05 b4 05 02"],
  ] as const;
  for (const [what, list] of broken) {
    const bytes = hex(list);
    assertEquals(parseTcpOptions(bytes, 0, bytes.length), { ...NO_TCP_OPTIONS, mss: 1460, malformed: true }, what);
  }
});

Deno.test("parseTcpOptions() reads a window shift above 14 as 14 (RFC 7323 2.3)", () => {
  assertEquals(parseTcpOptions(hex("03 03 0f"), 0, 3).windowScale, 14);
});

Deno.test("emitTcpOptions() leaves out blocks that do not fit beside timestamps", () => {
  const sack = [1, 2, 3, 4].map((n) => ({ left: n * 100, right: n * 100 + 50 }));
  const buf = new Uint8Array(40);
  const ack = { ...NO_TCP_OPTIONS, hasTimestamps: true, sack };
  assertEquals(tcpOptions.emitTcpOptions(ack, buf, 0), 40);
  assertEquals(parseTcpOptions(buf, 0, 40).sack, sack.slice(0, 3));
  assertEquals(tcpOptions.emitTcpOptions({ ...ack, hasTimestamps: false }, buf, 0), 36);
  assertEquals(parseTcpOptions(buf, 0, 36).sack, sack);
});

Deno.test("findTcpOption() finds an option, also behind others, and nothing behind nonsense", () => {
  assertEquals(tcpOptions.findTcpOption(SYN, 0, SYN.length, tcpOptions.TCP_OPTION_MSS), 0);
  assertEquals(tcpOptions.findTcpOption(SYN, 0, SYN.length, 3), 17);
  assertEquals(tcpOptions.findTcpOption(SYN, 0, SYN.length, 5), -1);
  assertEquals(tcpOptions.findTcpOption(hex("03 00 02 04 05 b4"), 0, 6, 2), -1);
});

Deno.test("formatTcpOptions() names what is offered", () => {
  const format = (list: Uint8Array) => tcpOptions.formatTcpOptions(parseTcpOptions(list, 0, list.length));
  assertEquals(format(SYN), "mss 1460 sackok ts 10597059 0 ws 7");
  assertEquals(format(DUPLICATE_ACK), "ts 5 6 sack 4096-8192 sack 4294967040-256");
  assertEquals(format(hex("02 00")), "malformed");
  assertEquals(format(hex("00")), "");
});

Deno.test("TCP options are read back as they were emitted, and as long as tcpOptionsLen() returns", () => {
  const block = fc.record({ left: u32, right: u32 });
  const times = fc.oneof(
    fc.record({ hasTimestamps: fc.constant(true), tsVal: u32, tsEcr: u32 }),
    fc.constant({ hasTimestamps: false, tsVal: 0, tsEcr: 0 }),
  );
  const offers = fc.record({
    mss: u16,
    windowScale: fc.integer({ min: -1, max: 14 }),
    sackPermitted: fc.boolean(),
    malformed: fc.constant(false),
  });
  const options = fc.tuple(offers, times, fc.array(block, { maxLength: 4 })).map(([offer, time, blocks]) => {
    const used = (offer.mss ? 4 : 0) + (offer.windowScale >= 0 ? 4 : 0) +
      (time.hasTimestamps ? 12 : offer.sackPermitted ? 4 : 0);
    return { ...offer, ...time, sack: blocks.slice(0, Math.floor((36 - used) / 8)) };
  });
  assertRoundTrip<tcpOptions.TcpOptions>(options, {
    parse: tcpOptions.parseTcpOptions,
    emit(record, buf, at) {
      const length = tcpOptions.emitTcpOptions(record, buf, at);
      assertEquals([length, length % 4], [tcpOptions.tcpOptionsLen(record), 0]);
      return length;
    },
  });
});

Deno.test("parseTcpOptions() and findTcpOption() survive any bytes", () => {
  assertSafe(parseTcpOptions, [SYN, DUPLICATE_ACK]);
  assertSafe((buf, at, end) => tcpOptions.findTcpOption(buf, at, end, 2), [SYN, DUPLICATE_ACK]);
});
