import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { loopWideSum, simdWideSum, WIDE_ROOM, type WideSum } from "./checksum_wide.ts";

/** The definition: 16-bit little-endian words added, an odd last byte alone. */
function plain(bytes: Uint8Array): number {
  return bytes.reduce((total, byte, i) => total + (i % 2 === 0 ? byte : byte << 8), 0);
}

/** Sums that differ by a multiple of 0xffff are the same, but zero is only the sum of zeros. */
function assertSameSum(actual: number, expected: number): void {
  assertEquals(actual % 0xffff, expected % 0xffff);
  assertEquals(actual === 0, expected === 0);
}

const SUMS: readonly [string, WideSum | null][] = [["simdWideSum()", simdWideSum()], ["loopWideSum()", loopWideSum()]];

for (const [name, wide] of SUMS) {
  Deno.test(`${name} is there and adds every length up to 300, whatever the memory held before`, () => {
    assert(wide !== null);
    for (let length = 1; length <= 300; length++) {
      const bytes = new Uint8Array(length).map((_, i) => (i * 199 + length) & 0xff);
      wide.memory.fill(0xff, 0, 500);
      wide.memory.set(bytes);
      assertSameSum(wide.sum(length), plain(bytes));
    }
  });

  Deno.test(`${name} carries when all of its room is ones, and gives zero for zeros only`, () => {
    assert(wide !== null);
    wide.memory.fill(0xff);
    assertSameSum(wide.sum(WIDE_ROOM), WIDE_ROOM / 2 * 0xffff);
    wide.memory.fill(0);
    assertEquals(wide.sum(WIDE_ROOM), 0);
  });

  Deno.test(`${name} adds random bytes as the definition does`, () => {
    assert(wide !== null);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 5000, size: "max" }), (bytes) => {
        wide.memory.set(bytes);
        assertSameSum(wide.sum(bytes.length), plain(bytes));
      }),
      fuzz(50),
    );
  });
}
