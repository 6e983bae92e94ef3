import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { u16, u32 } from "../../tests/kit/ip/wire.ts";
import {
  concatBytes,
  fromHex,
  get16,
  get16le,
  get32,
  get32le,
  get64le,
  getWord,
  hasBytesAt,
  put16,
  put16le,
  put32,
  put32le,
  put64le,
  swap16,
  toHex,
} from "./bytes.ts";

Deno.test("get16(), get32() and getWord() read network order, unsigned but for getWord()", () => {
  const buf = new Uint8Array([0x00, 0xfe, 0xdc, 0xba, 0x98]);
  assertEquals(get16(buf, 1), 0xfedc);
  assertEquals(get32(buf, 1), 0xfedcba98);
  assertEquals(getWord(buf, 1), 0xfedcba98 | 0);
});

Deno.test("get16le(), get32le() and get64le() read little endian", () => {
  const buf = new Uint8Array([0x00, 0x98, 0xba, 0xdc, 0xfe, 0x01, 0x00, 0x00, 0x00]);
  assertEquals(get16le(buf, 1), 0xba98);
  assertEquals(get32le(buf, 1), 0xfedcba98);
  assertEquals(get64le(buf, 1), 0x1fedcba98);
});

Deno.test("get64le() of a number that does not fit stays above every safe integer", () => {
  assert(get64le(new Uint8Array(8).fill(0xff), 0) > Number.MAX_SAFE_INTEGER);
  assert(get64le(new Uint8Array([1, 0, 0, 0, 0, 0, 0x20, 0]), 0) > Number.MAX_SAFE_INTEGER);
});

Deno.test("what a put writes, its get reads, and nothing beside it is touched", () => {
  const pairs = [
    { put: put16, get: get16, length: 2, values: u16 },
    { put: put16le, get: get16le, length: 2, values: u16 },
    { put: put32, get: get32, length: 4, values: u32 },
    { put: put32le, get: get32le, length: 4, values: u32 },
    { put: put64le, get: get64le, length: 8, values: fc.maxSafeNat() },
  ];
  for (const { put, get, length, values } of pairs) {
    fc.assert(
      fc.property(values, fc.nat(7), (value, at) => {
        const buf = new Uint8Array(17).fill(0xa5);
        put(buf, at, value);
        assertEquals(get(buf, at), value);
        assertEquals(buf.filter((byte, i) => (i < at || i >= at + length) && byte !== 0xa5).length, 0);
      }),
      fuzz(50),
    );
  }
});

Deno.test("swap16() swaps two bytes", () => assertEquals([0x1234, 0xff].map(swap16), [0x3412, 0xff00]));

Deno.test("hasBytesAt() compares all of the given bytes, and no others", () => {
  const buf = new Uint8Array([1, 2, 3, 4]);
  assert(hasBytesAt(buf, 1, new Uint8Array([2, 3])));
  assert(!hasBytesAt(buf, 1, new Uint8Array([2, 3, 9])));
  assert(!hasBytesAt(buf, 3, new Uint8Array([4, 0])), "behind the end there are no zeros");
  assert(hasBytesAt(buf, 0, new Uint8Array()));
});

Deno.test("concatBytes() joins parts into bytes of their own", () => {
  const part = new Uint8Array([1, 2]);
  const whole = concatBytes([part, new Uint8Array(0), part.subarray(1)]);
  assertEquals(whole, new Uint8Array([1, 2, 2]));
  part[0] = 9;
  assertEquals(whole[0], 1);
});

Deno.test("toHex() prints a range, with a separator if asked", () => {
  const buf = new Uint8Array([0x00, 0x0a, 0xff]);
  assertEquals(toHex(buf), "000aff");
  assertEquals(toHex(buf, 1, 3, ":"), "0a:ff");
  assertEquals(toHex(buf, 1, 1, ":"), "");
});

Deno.test("fromHex() reads what people write, with spaces, colons and comments", () => {
  assertEquals(fromHex("45 00  # version\n00:1c"), new Uint8Array([0x45, 0, 0, 0x1c]));
  assertEquals(fromHex(""), new Uint8Array(0));
  assertEquals(fromHex("4"), null);
  assertEquals(fromHex("4g"), null);
});

Deno.test("fromHex() takes back what toHex() gives", () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => assertEquals(fromHex(toHex(bytes)), bytes)), fuzz(100));
});
