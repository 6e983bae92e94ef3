import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { addrPairs, assertRoundTrip, assertSafe, hex, u16, u32, u8 } from "../../tests/kit/ip/wire.ts";
import { addrSum } from "./checksum.ts";
import { parseIpAddr } from "./ip_addr.ts";
import * as tcp from "./tcp.ts";
import { NO_TCP_OPTIONS } from "./tcp_options.ts";

const SYN = hex(`
  d4 31 00 50        # 54321 > 80
  12 34 56 78        # sequence
  00 00 00 00        # acknowledgment
  a0 02 fa f0        # 10 words; SYN; window 64240
  1a 93 00 00        # checksum, urgent
  02 04 05 b4  04 02  08 0a 00 a1 b2 c3 00 00 00 00  01  03 03 07
`);
const SRC = parseIpAddr("10.0.2.15")!;
const DST = parseIpAddr("93.184.216.34")!;

const records: fc.Arbitrary<tcp.TcpFields> = fc.record({
  srcPort: u16,
  dstPort: u16,
  seq: u32,
  ack: u32,
  flags: u8,
  window: u16,
  urgent: u16,
  checksum: u16,
  options: fc.constantFrom(NO_TCP_OPTIONS, { ...NO_TCP_OPTIONS, mss: 1460, windowScale: 3 }),
});

Deno.test("parseTcp() reads a SYN with its options", () => {
  assertEquals(tcp.parseTcp(SYN, 0, SYN.length), {
    srcPort: 54321,
    dstPort: 80,
    seq: 0x12345678,
    ack: 0,
    flags: tcp.TCP_SYN,
    window: 64240,
    urgent: 0,
    checksum: 0x1a93,
    options: {
      mss: 1460,
      windowScale: 7,
      sackPermitted: true,
      hasTimestamps: true,
      tsVal: 0xa1b2c3,
      tsEcr: 0,
      sack: [],
      malformed: false,
    },
    headerLen: 40,
  });
  assert(tcp.tcpChecksumOk(SYN, 0, SYN.length, { src: SRC, dst: DST }));
  assert(!tcp.tcpChecksumOk(SYN, 0, SYN.length, { src: SRC, dst: SRC }));
});

Deno.test("parseTcp() refuses a data offset below 5 or beyond the end, and short headers", () => {
  for (const [offset, ok] of [[0x40, false], [0x50, true], [0xa0, true], [0xb0, false]] as const) {
    const segment = SYN.slice();
    segment[12] = offset;
    assertEquals(tcp.parseTcp(segment, 0, segment.length) !== null, ok, `offset ${offset >> 4}`);
  }
  assertEquals(tcp.parseTcp(SYN, 0, 19), null);
  assertEquals(tcp.parseTcp(SYN, 0, 39), null);
});

Deno.test("parseTcp() of a header without options shares one record of them", () => {
  const bare = SYN.slice();
  bare[12] = 0x50;
  assert(tcp.parseTcp(bare, 0, 20)?.options === NO_TCP_OPTIONS);
});

Deno.test("the accessors agree with parseTcp()", () => {
  assertEquals([tcp.tcpSrcPort(SYN, 0), tcp.tcpDstPort(SYN, 0), tcp.tcpSeq(SYN, 0)], [54321, 80, 0x12345678]);
  assertEquals([tcp.tcpAck(SYN, 0), tcp.tcpFlags(SYN, 0), tcp.tcpHeaderLen(SYN, 0)], [0, tcp.TCP_SYN, 40]);
});

Deno.test("emitTcp() and setTcpChecksum() write the segment that was captured", () => {
  const buf = new Uint8Array(40);
  const fields = { ...tcp.parseTcp(SYN, 0, 40)!, checksum: 0 };
  assertEquals(tcp.emitTcp(fields, buf, 0), 40);
  assertEquals(tcp.tcpEmitLen(fields), 40);
  tcp.setTcpChecksum(buf, 0, 40, { src: SRC, dst: DST });
  assertEquals(buf, SYN);
});

Deno.test("rewritten ports, numbers, flags and addresses leave the checksum that a full sum gives", () => {
  fc.assert(
    fc.property(addrPairs, addrPairs, records, fc.uint8Array({ maxLength: 40 }), ([src, dst], [to], after, data) => {
      fc.pre(src.isV4 === to.isV4);
      const buf = new Uint8Array(40 + data.length);
      buf.set(SYN);
      buf.set(data, 40);
      tcp.setTcpChecksum(buf, 0, buf.length, { src, dst });
      tcp.setTcpSrcPort(buf, 0, after.srcPort);
      tcp.setTcpDstPort(buf, 0, after.dstPort);
      tcp.setTcpSeq(buf, 0, after.seq);
      tcp.setTcpFlags(buf, 0, after.flags);
      tcp.adjustTcpChecksum(buf, 0, addrSum(src), addrSum(to));
      const { srcPort, dstPort, seq, flags, headerLen } = tcp.parseTcp(buf, 0, buf.length)!;
      assertEquals([srcPort, dstPort, seq, flags], [after.srcPort, after.dstPort, after.seq, after.flags]);
      assertEquals(headerLen, 40);
      const full = buf.slice();
      tcp.setTcpChecksum(full, 0, full.length, { src: to, dst });
      assertEquals(buf, full);
    }),
    fuzz(300),
  );
});

Deno.test("clampTcpMss() lowers an offer and keeps the checksum right, at even and odd places", () => {
  const odd = new Uint8Array([
    ...SYN.subarray(0, 20),
    ...hex("01 02 04 05 b4 01 01 01 02 04 ff ff 00 00 00 00"),
    7,
    8,
    9,
  ]);
  odd[12] = 0x90;
  for (const segment of [SYN.slice(), odd]) {
    tcp.setTcpChecksum(segment, 0, segment.length, { src: SRC, dst: DST });
    assert(tcp.clampTcpMss(segment, 0, segment.length, 1400));
    assertEquals(tcp.parseTcp(segment, 0, segment.length)?.options.mss, 1400);
    assert(tcp.tcpChecksumOk(segment, 0, segment.length, { src: SRC, dst: DST }));
    assert(!tcp.clampTcpMss(segment, 0, segment.length, 1400), "Nothing is left to lower");
  }
  assertEquals(odd.subarray(20, 32), hex("01 02 04 05 78 01 01 01 02 04 05 78"));
});

Deno.test("clampTcpMss() leaves alone what offers less, nothing, or is malformed", () => {
  const segments = [SYN.slice(), SYN.slice(0, 20), SYN.slice(0, 10), SYN.slice()];
  segments[3]![20] = 9; // not an mss
  for (const segment of segments) {
    const before = segment.slice();
    assert(!tcp.clampTcpMss(segment, 0, segment.length, 1460));
    assertEquals(segment, before);
  }
});

Deno.test("formatTcpFlags() prints eight letters", () => {
  assertEquals(tcp.formatTcpFlags(0), "........");
  assertEquals(tcp.formatTcpFlags(0xff), "CEUAPRSF");
  assertEquals(tcp.formatTcpFlags(tcp.TCP_SYN | tcp.TCP_ACK), "...A..S.");
  const all = [tcp.TCP_CWR, tcp.TCP_ECE, tcp.TCP_URG, tcp.TCP_ACK, tcp.TCP_PSH, tcp.TCP_RST, tcp.TCP_SYN, tcp.TCP_FIN];
  assertEquals(all.map((flag) => tcp.formatTcpFlags(flag).replaceAll(".", "")).join(""), "CEUAPRSF");
});

Deno.test("formatTcp() is one line", () => {
  const header = tcp.parseTcp(SYN, 0, 40)!;
  const line = "tcp 54321 > 80 ......S. seq 305419896 ack 0 win 64240 mss 1460 sackok ts 10597059 0 ws 7";
  assertEquals(tcp.formatTcp(header), line);
  const urgent = { ...header, flags: tcp.TCP_URG | tcp.TCP_ACK, urgent: 5, options: NO_TCP_OPTIONS };
  assertEquals(tcp.formatTcp(urgent), "tcp 54321 > 80 ..UA.... seq 305419896 ack 0 win 64240 urg 5");
});

Deno.test("TCP headers are read back as they were emitted", () => {
  assertRoundTrip(records, { emit: tcp.emitTcp, parse: tcp.parseTcp });
});

Deno.test("parseTcp() and clampTcpMss() survive any bytes", () => {
  assertSafe(tcp.parseTcp, [SYN]);
  assertSafe((buf, at, end) => {
    const isClamped = tcp.clampTcpMss(buf, at, end, 100);
    return { isClamped, bytes: buf.slice(at, end) };
  }, [SYN]);
});

Deno.test("a header that is made field by field is what emitTcp() writes, but for the checksum", () => {
  const fields = fc.record({ srcPort: u16, dstPort: u16, seq: u32, ack: u32, flags: u8, window: u16 });
  fc.assert(
    fc.property(fields, (header) => {
      const expected = new Uint8Array(20);
      tcp.emitTcp(header, expected, 0);
      const buf = new Uint8Array(22).fill(0xee);
      tcp.putTcpPorts(buf, 2, header.srcPort, header.dstPort);
      tcp.putTcpNumbers(buf, 2, header.seq, header.ack);
      tcp.putTcpFlags(buf, 2, 20, header.flags);
      tcp.putTcpWindow(buf, 2, header.window);
      buf.fill(0, tcp.tcpChecksumAt(2), tcp.tcpChecksumAt(2) + 2);
      assertEquals(buf.subarray(2), expected);
    }),
    fuzz(100),
  );
});
