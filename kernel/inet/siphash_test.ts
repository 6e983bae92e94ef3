import { assertEquals, assertNotEquals } from "@std/assert";
import { get32, put32 } from "../wire/bytes.ts";
import { SipHash } from "./siphash.ts";

/** The reference's key: the bytes 00 … 0f. */
const KEY = [0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c] as const;

/** From the reference's table of SipHash-2-4-64: the hash of the bytes 00, 01, 02 … of so many. */
const VECTORS: readonly (readonly [length: number, hash: string])[] = [
  [0, "310e0edd47db6f72"],
  [1, "fd67dc93c539f874"],
  [7, "37d1018bf50002ab"],
  [8, "6224939a79f5f593"],
  [9, "b0e4a90bdf82009e"],
  [15, "e545be4961ca29a1"],
  [16, "db9bc2577fcc2a3f"],
  [23, "c8ce5ccd8c030ca8"],
  [31, "42c341d8fa92d832"],
  [32, "ce7cf2722f512771"],
  [63, "724506eb4c328a95"],
];

/** The hash of bytes, in the order in which the reference prints it. */
function hashOf(hash: SipHash, bytes: Uint8Array): string {
  const padded = new Uint8Array((bytes.length & ~7) + 8);
  padded.set(bytes);
  padded[padded.length - 1] = bytes.length;
  const little = (at: number) => get32(padded.slice(at, at + 4).reverse(), 0) | 0;
  hash.begin();
  const last = padded.length - 8;
  for (let at = 0; at < last; at += 8) hash.word(little(at + 4), little(at));
  const low = hash.finish(little(last + 4), little(last));
  const out = new Uint8Array(8);
  put32(out, 0, hash.high);
  put32(out, 4, low);
  return out.reverse().toHex();
}

Deno.test("SipHash gives the reference's vectors, one hash after another", () => {
  const hash = new SipHash(KEY);
  for (const [length, wanted] of VECTORS) {
    assertEquals({ length, hash: hashOf(hash, Uint8Array.from({ length }, (_, i) => i)) }, { length, hash: wanted });
  }
});

Deno.test("SipHash depends on every word of its key", () => {
  const bytes = new Uint8Array(16);
  const plain = hashOf(new SipHash(KEY), bytes);
  for (let i = 0; i < 4; i++) {
    const [a, b, c, d] = KEY.map((word, at) => at === i ? word ^ 1 : word);
    assertNotEquals(hashOf(new SipHash([a!, b!, c!, d!]), bytes), plain);
  }
});
