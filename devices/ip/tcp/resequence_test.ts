import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { Block } from "../../../kernel/block.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import { BLOCKS_MAX, RANGES_MAX, Resequence } from "./resequence.ts";

function block(from: number, length: number): Block {
  return Block.from(Uint8Array.from({ length }, (_, i) => from + i));
}

function blocks(store: Resequence, most = 10): string {
  return store.sackBlocks(most).map(({ left, right }) => `${left}-${right}`).join(" ");
}

function takeAll(store: Resequence, from: number): number[] {
  const bytes: number[] = [];
  for (let at = from, one = store.take(at); one !== null; one = store.take(at)) {
    bytes.push(...one.bytes());
    at = seq.add(at, one.length);
  }
  return bytes;
}

Deno.test("Resequence reports ranges, those added to last first, and joins neighbours (RFC 2018 4)", () => {
  const store = new Resequence();
  assertEquals(store.insert(10, block(10, 5)), "stored");
  assertEquals(store.insert(30, block(30, 5)), "stored");
  assertEquals(store.insert(20, block(20, 5)), "stored");
  assertEquals(blocks(store), "20-25 30-35 10-15");
  assertEquals(blocks(store, 2), "20-25 30-35");
  store.insert(15, block(15, 5));
  assertEquals([blocks(store), store.length, store.ranges], ["10-25 30-35", 20, 2]);
  assertEquals(store.take(9), null);
  assertEquals(takeAll(store, 10), Array.from({ length: 15 }, (_, i) => 10 + i));
  assertEquals(takeAll(store, 25), []);
});

Deno.test("Resequence keeps of a segment only what is new", () => {
  const store = new Resequence();
  store.insert(10, block(10, 10));
  assertEquals(store.insert(12, block(12, 3)), "duplicate");
  assertEquals(store.insert(5, block(5, 10)), "stored");
  assertEquals(store.insert(15, block(15, 10)), "stored");
  assertEquals([blocks(store), store.length], ["5-25", 20]);
  store.insert(30, block(30, 2));
  store.insert(40, block(40, 2));
  assertEquals(store.insert(28, block(28, 20)), "stored");
  assertEquals([store.ranges, store.length], [2, 40]);
  assertEquals(takeAll(store, 5).length, 20);
  assertEquals(takeAll(store, 28).length, 20);
});

Deno.test("Resequence.overlaps() finds the first part of a segment that is there, and reports its range first", () => {
  const store = new Resequence();
  for (const from of [10, 30, 50]) store.insert(from, block(from, 10));
  const found = (left: number, right: number) => {
    const is = store.overlaps(left, right);
    return is ? `${store.againLeft}-${store.againRight} of ${blocks(store, 1)}` : "none";
  };
  assertEquals(found(12, 15), "12-15 of 10-20");
  assertEquals(found(15, 25), "15-20 of 10-20");
  assertEquals(found(25, 35), "30-35 of 30-40");
  assertEquals(found(25, 45), "30-40 of 30-40");
  assertEquals(found(5, 70), "10-20 of 10-20");
  assertEquals(found(50, 60), "50-60 of 50-60");
  for (const [left, right] of [[0, 10], [20, 30], [40, 45], [60, 70]] as const) {
    assertEquals(found(left, right), "none");
  }
  assertEquals(new Resequence().overlaps(1, 2), false);
});

Deno.test("Resequence.take() cuts off what came in order meanwhile", () => {
  const store = new Resequence();
  store.insert(10, block(10, 5));
  store.insert(15, block(15, 5));
  store.insert(30, block(30, 5));
  assertEquals(takeAll(store, 17), [17, 18, 19]);
  assertEquals(takeAll(store, 40), []);
  assertEquals([store.length, store.ranges], [0, 0]);
});

Deno.test("Resequence refuses what would exceed its limits, and keeps what it has", () => {
  const store = new Resequence();
  for (let i = 0; i < RANGES_MAX; i++) assertEquals(store.insert(10 + 2 * i, block(0, 1)), "stored");
  assertEquals(store.insert(10 + 2 * RANGES_MAX, block(0, 1)), "refused");
  assertEquals(store.insert(9 + 2 * RANGES_MAX, block(0, 1)), "stored", "one that touches a range is taken");
  const long = new Resequence();
  for (let i = 0; i < BLOCKS_MAX; i++) assertEquals(long.insert(10 + i, block(0, 1)), "stored");
  assertEquals(long.insert(10 + BLOCKS_MAX, block(0, 1)), "refused");
  assertEquals(long.length, BLOCKS_MAX);
  long.clear();
  assertEquals([long.length, long.ranges], [0, 0]);
});

Deno.test("Resequence gives every byte once and in order, whatever came in which order, around the wrap too", () => {
  const piece = fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 20 }));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), fc.constantFrom(0, 0xffff_ffe0), (pieces, base) => {
      const store = new Resequence();
      const have = new Set<number>();
      let nxt = 0;
      for (const [at, length] of pieces) {
        const from = Math.max(at, nxt + 1);
        const bytes = Uint8Array.from({ length }, (_, i) => from + i);
        store.insert(seq.add(base, from), Block.from(bytes));
        for (let i = 0; i < length; i++) have.add(from + i);
        assertEquals(store.length, [...have].filter((i) => i >= nxt).length);
        if (length % 5 !== 0) continue;
        // The gap is filled, perhaps beyond what was missing.
        nxt += 1 + at % 7;
        for (let one = store.take(seq.add(base, nxt)); one !== null; one = store.take(seq.add(base, nxt))) {
          for (const byte of one.bytes()) assertEquals(byte, nxt++ & 0xff);
        }
        assert(!have.has(nxt));
        for (const i of have) if (i < nxt) have.delete(i);
      }
    }),
    fuzz(200),
  );
});
