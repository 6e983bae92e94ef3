import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { addrPairs, assertRoundTrip, assertSafe, hex, ipv4Addrs, u16 } from "../../tests/kit/ip/wire.ts";
import { get16, put16 } from "./bytes.ts";
import { addrSum } from "./checksum.ts";
import { parseIpAddr } from "./ip_addr.ts";
import * as udp from "./udp.ts";

const HELLO = hex(`
  9c 40 00 35        # 40000 > 53
  00 0d 07 7b        # length 13, checksum between 10.0.2.15 and 10.0.2.3
  68 65 6c 6c 6f     # hello
`);
const SRC = parseIpAddr("10.0.2.15")!;
const DST = parseIpAddr("10.0.2.3")!;

const CHECKSUM_AT = 6;

Deno.test("parseUdp() reads a header, and the accessors agree", () => {
  const expected = { srcPort: 40000, dstPort: 53, payloadLen: 5, checksum: 0x077b };
  assertEquals(udp.parseUdp(HELLO, 0, HELLO.length), expected);
  assertEquals([udp.udpSrcPort(HELLO, 0), udp.udpDstPort(HELLO, 0), udp.udpLength(HELLO, 0)], [40000, 53, 13]);
});

Deno.test("parseUdp() refuses a length below 8 or beyond the end, and allows bytes behind it", () => {
  assertEquals(udp.parseUdp(HELLO, 0, 7), null);
  assertEquals(udp.parseUdp(HELLO, 0, 12), null);
  for (const [length, ok] of [[7, false], [0, false], [8, true], [12, true], [14, false]] as const) {
    const datagram = HELLO.slice();
    put16(datagram, 4, length);
    assertEquals(udp.parseUdp(datagram, 0, datagram.length) !== null, ok, `length ${length}`);
  }
});

Deno.test("udpChecksumOk() knows captured checksums of IPv4 and IPv6", () => {
  assert(udp.udpChecksumOk(HELLO, 0, SRC, DST));
  assert(!udp.udpChecksumOk(HELLO, 0, SRC, SRC));
  const six = HELLO.slice();
  put16(six, CHECKSUM_AT, 0x9ecc);
  assert(udp.udpChecksumOk(six, 0, parseIpAddr("fe80::5054:ff:fe12:3456")!, parseIpAddr("fe80::2")!));
});

Deno.test("udpChecksumOk() takes none at all for right over IPv4 and wrong over IPv6 (RFC 8200 8.1)", () => {
  const none = HELLO.slice();
  put16(none, CHECKSUM_AT, 0);
  assert(udp.udpChecksumOk(none, 0, SRC, DST));
  assert(!udp.udpChecksumOk(none, 0, parseIpAddr("::1")!, parseIpAddr("::1")!));
});

Deno.test("setUdpChecksum() writes 0xffff where the sum comes out as 0 (RFC 768)", () => {
  const datagram = hex("0000 0000 000a 0000 0000");
  setUpZeroChecksum(datagram);
  udp.setUdpChecksum(datagram, 0, SRC, DST);
  assertEquals(get16(datagram, CHECKSUM_AT), 0xffff);
  assert(udp.udpChecksumOk(datagram, 0, SRC, DST));
});

/** Makes the payload what is missing, the checksum itself: then the checksum comes out as zero. */
function setUpZeroChecksum(datagram: Uint8Array): void {
  udp.setUdpChecksum(datagram, 0, SRC, DST);
  put16(datagram, 8, get16(datagram, CHECKSUM_AT));
}

Deno.test("rewritten ports and addresses leave the checksum that a full sum gives, over IPv4 and IPv6", () => {
  fc.assert(
    fc.property(
      addrPairs,
      addrPairs,
      u16,
      u16,
      fc.uint8Array({ maxLength: 40 }),
      (from, to, srcPort, dstPort, data) => {
        fc.pre(from[0].isV4 === to[0].isV4);
        const buf = new Uint8Array(48);
        udp.emitUdp({ srcPort: 1, dstPort: 2, payloadLen: data.length }, buf, 0);
        buf.set(data, 8);
        udp.setUdpChecksum(buf, 0, from[0], from[1]);
        udp.setUdpSrcPort(buf, 0, srcPort);
        udp.setUdpDstPort(buf, 0, dstPort);
        udp.adjustUdpChecksum(buf, 0, addrSum(from[0]), addrSum(to[0]));
        udp.adjustUdpChecksum(buf, 0, addrSum(from[1]), addrSum(to[1]));
        const full = buf.slice();
        udp.setUdpChecksum(full, 0, to[0], to[1]);
        assertEquals(buf, full);
      },
    ),
    fuzz(300),
  );
});

Deno.test("setters leave a checksum of 0 at 0: it means none (Akaros nat.c rewrote it)", () => {
  const none = HELLO.slice();
  put16(none, CHECKSUM_AT, 0);
  udp.setUdpSrcPort(none, 0, 1234);
  udp.setUdpDstPort(none, 0, 4321);
  udp.adjustUdpChecksum(none, 0, addrSum(SRC), addrSum(DST));
  assertEquals(get16(none, CHECKSUM_AT), 0);
});

Deno.test("a rewritten port never turns a checksum into 0, which would mean none", () => {
  fc.assert(
    fc.property(ipv4Addrs, ipv4Addrs, (src, dst) => {
      const buf = new Uint8Array(10);
      udp.emitUdp({ srcPort: 0, dstPort: 9, payloadLen: 2 }, buf, 0);
      udp.setUdpChecksum(buf, 0, src, dst);
      udp.setUdpSrcPort(buf, 0, get16(buf, CHECKSUM_AT));
      assertEquals(get16(buf, CHECKSUM_AT), 0xffff);
    }),
    fuzz(100),
  );
});

Deno.test("formatUdp() is one line", () => {
  assertEquals(udp.formatUdp(udp.parseUdp(HELLO, 0, HELLO.length)!), "udp 40000 > 53 len 5");
});

Deno.test("UDP headers are read back as they were emitted", () => {
  const records = fc.record({ srcPort: u16, dstPort: u16, payloadLen: fc.nat(1500), checksum: u16 });
  assertRoundTrip(records, { emit: udp.emitUdp, parse: udp.parseUdp, payloadLen: (r) => r.payloadLen });
});

Deno.test("parseUdp() survives any bytes", () => assertSafe(udp.parseUdp, [HELLO]));
