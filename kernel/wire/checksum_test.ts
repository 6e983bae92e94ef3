import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { addrPairs, hex, ipv4Addrs, ipv6Addrs, u16, u32, u8 } from "../../tests/kit/ip/wire.ts";
import { get16, put16, put32 } from "./bytes.ts";
import { addrSum, checksum, fold, joinSums, pseudoSum, sum, updateChecksum16, updateChecksum32 } from "./checksum.ts";
import { WIDE_ROOM } from "./checksum_wide.ts";

/** RFC 1071 section 1 as it is written: add 16-bit words, then fold until nothing is left to fold. */
function plainSum(buf: Uint8Array, at: number, end: number, initial = 0): number {
  let total = initial;
  for (let i = at; i < end; i++) total += (i - at) % 2 === 0 ? buf[i]! * 256 : buf[i]!;
  while (total > 0xffff) total = (total % 0x10000) + Math.floor(total / 0x10000);
  return total;
}

Deno.test("sum() gives RFC 1071 section 3's own example", () => {
  assertEquals(sum(hex("00 01 f2 03 f4 f5 f6 f7"), 0, 8), 0xddf2);
  assertEquals(checksum(hex("00 01 f2 03 f4 f5 f6 f7"), 0, 8), 0x220d);
});

Deno.test("sum() equals the byte loop for every length from 0 to 700 and every alignment to 16", () => {
  const buf = new Uint8Array(720).map((_, i) => (i * 7919) >>> 3);
  for (let length = 0; length <= 700; length++) {
    const at = length % 16;
    assertEquals(sum(buf, at, at + length, length), plainSum(buf, at, at + length, length), `length ${length}`);
  }
});

Deno.test("sum() equals the byte loop for random bytes, places and initial sums", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3000, size: "max" }), fc.nat(40), u16, (bytes, skip, initial) => {
      const at = Math.min(skip, bytes.length);
      assertEquals(sum(bytes, at, bytes.length, initial), plainSum(bytes, at, bytes.length, initial));
    }),
    fuzz(200),
  );
});

Deno.test("sum() of more than the scratch memory holds is summed in parts", () => {
  const buf = new Uint8Array(2 * WIDE_ROOM + 777).map((_, i) => i * 31);
  assertEquals(sum(buf, 1, buf.length), plainSum(buf, 1, buf.length));
});

Deno.test("sum() is zero for zeros only, also when everything carries", () => {
  for (const length of [20, 2000, 65532]) {
    assertEquals(sum(new Uint8Array(length), 0, length), 0);
    assertEquals(sum(new Uint8Array(length).fill(0xff), 0, length), 0xffff);
    assertEquals(sum(new Uint8Array(length).fill(0xff), 0, length, 0xffff), 0xffff);
  }
});

Deno.test("sum() continues a sum over pieces of even length, and joinSums() over any", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(400), (bytes, where) => {
      const whole = sum(bytes, 0, bytes.length);
      const cut = Math.min(where, bytes.length);
      assertEquals(joinSums(sum(bytes, 0, cut), cut, sum(bytes, cut, bytes.length)), whole);
      const even = cut & ~1;
      assertEquals(sum(bytes, even, bytes.length, sum(bytes, 0, even)), whole);
    }),
    fuzz(200),
  );
});

Deno.test("fold() brings any sum below 2^32 into 16 bits without losing a carry", () => {
  assertEquals(fold(0xffffffff), 0xffff);
  assertEquals(fold(0x1ffff), 1);
  assertEquals(fold(0xfffe0001), 0xffff);
  assertEquals(fold(0), 0);
});

Deno.test("addrSum() and pseudoSum() equal the sum of the pseudo-header written out, IPv4 and IPv6", () => {
  fc.assert(
    fc.property(addrPairs, u8, u32, ([src, dst], protocol, length) => {
      const isV4 = src.isV4;
      const header = new Uint8Array(40);
      const len = isV4 ? 12 : 40;
      if (isV4) src.putV4(header, 0);
      else src.put(header, 0);
      if (isV4) dst.putV4(header, 4);
      else dst.put(header, 16);
      assertEquals(addrSum(src), plainSum(header, 0, isV4 ? 4 : 16));
      // RFC 9293 3.1: zero, protocol, length 2. RFC 8200 8.1: length 4, zero 3, next header.
      const total = isV4 ? length & 0xffff : length;
      if (isV4) put16(header, 8, protocol);
      if (isV4) put16(header, 10, total);
      else put32(header, 32, total);
      if (!isV4) put16(header, 38, protocol);
      assertEquals(pseudoSum(src, dst, protocol, total), plainSum(header, 0, len));
    }),
    fuzz(200),
  );
});

Deno.test("updateChecksum16() gives RFC 1624 section 4's own example, where RFC 1141 was wrong", () => {
  // Checksum 0xdd2f, a field of 0x5555 becomes 0x3285: 0x0000, not 0xffff.
  assertEquals(updateChecksum16(0xdd2f, 0x5555, 0x3285), 0x0000);
});

Deno.test("updateChecksum16() and updateChecksum32() give what a full sum gives", () => {
  const headers = fc.uint8Array({ minLength: 20, maxLength: 20 });
  fc.assert(
    fc.property(headers, fc.nat(7), u16, u32, (header, word, value16, value32) => {
      header[0] = 0x45; // never all zeros: the one case where ones' complement knows two zeros
      const at = 2 + 2 * word;
      const before = checksum(header, 0, 20);
      const old16 = get16(header, at);
      put16(header, at, value16);
      const after16 = checksum(header, 0, 20);
      assertEquals(updateChecksum16(before, old16, value16), after16);
      const old32 = new DataView(header.buffer).getUint32(at);
      put32(header, at, value32);
      assertEquals(updateChecksum32(after16, old32, value32), checksum(header, 0, 20));
      assertEquals(updateChecksum32(after16, old32 | 0, value32 | 0), checksum(header, 0, 20));
    }),
    fuzz(300),
  );
});

Deno.test("updateChecksum16() takes the sums of two addresses for words", () => {
  for (const addrs of [ipv4Addrs, ipv6Addrs]) {
    fc.assert(
      fc.property(addrs, addrs, u16, (before, after, rest) => {
        fc.pre(rest !== 0);
        const check = ~fold(addrSum(before) + rest) & 0xffff;
        assertEquals(updateChecksum16(check, addrSum(before), addrSum(after)), ~fold(addrSum(after) + rest) & 0xffff);
      }),
      fuzz(100),
    );
  }
});

Deno.test("a buffer that holds its own checksum sums to 0xffff", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 2000, size: "max" }), (bytes) => {
      put16(bytes, 2, 0);
      fc.pre(bytes.some((byte) => byte !== 0));
      put16(bytes, 2, checksum(bytes, 0, bytes.length));
      assert(sum(bytes, 0, bytes.length) === 0xffff);
    }),
    fuzz(100),
  );
});
