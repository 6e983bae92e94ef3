import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { GuestMemory, OUTSIDE } from "./guest_memory.ts";

/** Two regions that touch, and one apart. */
function threeRegions(): GuestMemory {
  return new GuestMemory([
    { base: 0x10_0000_0000, bytes: new Uint8Array(16) },
    { base: 0x1000, bytes: new Uint8Array(0x100) },
    { base: 0x1100, bytes: new Uint8Array(0x100) },
  ]);
}

Deno.test("GuestMemory reads back what it wrote, little endian, in every region", () => {
  const memory = threeRegions();
  for (const base of [0x1000, 0x1100, 0x10_0000_0000]) {
    assertEquals(memory.put16(base, 0x1234), true);
    assertEquals(memory.put32(base + 2, 0xfedcba98), true);
    assertEquals(memory.put64(base + 8, 0x0012_3456_789a_bcde), true);
    assertEquals(memory.get16(base), 0x1234);
    assertEquals(memory.get32(base + 2), 0xfedcba98);
    assertEquals(memory.get64(base + 8), 0x0012_3456_789a_bcde);
    assertEquals([...memory.slice(base, 3)!], [0x34, 0x12, 0x98]);
  }
});

Deno.test("GuestMemory answers an access outside of it with a value, and writes nothing (akaros.md 11.35)", () => {
  const memory = threeRegions();
  for (const addr of [0, 0xfff, 0x11ff, 0x1200, -1, 2 ** 53, 2 ** 64, NaN, Infinity]) {
    assertEquals(memory.get16(addr), OUTSIDE);
    assertEquals(memory.get32(addr), OUTSIDE);
    assertEquals(memory.get64(addr), OUTSIDE);
    assertEquals(memory.put16(addr, 1), false);
    assertEquals(memory.put32(addr, 1), false);
    assertEquals(memory.put64(addr, 1), false);
    assertEquals(memory.slice(addr, 2), null);
    assertEquals(memory.write(addr, new Uint8Array(2)), false);
  }
  for (const { bytes } of memory.regions) assertEquals(bytes, new Uint8Array(bytes.length));
});

Deno.test("GuestMemory.slice() is a view of one region: not one over the seam of two", () => {
  const memory = threeRegions();
  assertEquals(memory.slice(0x10ff, 2), null);
  assertEquals(memory.slice(0x1000, 0x100)?.length, 0x100);
  memory.slice(0x1100, 4)![1] = 7;
  assertEquals(memory.get16(0x1100), 0x0700);
});

Deno.test("GuestMemory agrees with a plain map of bytes about any access", () => {
  const memory = threeRegions();
  const inside = (addr: number) => (addr >= 0x1000 && addr < 0x1200);
  fc.assert(
    fc.property(fc.integer({ min: 0xff0, max: 0x1210 }), fc.nat(40), (addr, length) => {
      const oneRegion = inside(addr) && inside(addr + length - 1) && (addr >= 0x1100) === (addr + length - 1 >= 0x1100);
      if (length > 0) assertEquals(memory.slice(addr, length) !== null, oneRegion);
    }),
    fuzz(200),
  );
});

Deno.test("GuestMemory refuses regions that overlap: those are ours, not a guest's", () => {
  const bytes = new Uint8Array(16);
  assertThrows(() => new GuestMemory([{ base: 0, bytes }, { base: 15, bytes }]));
  assertThrows(() => new GuestMemory([]));
  assertEquals(GuestMemory.alloc(16, 32).get16(46), 0);
});
