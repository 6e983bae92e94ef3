import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block } from "../../kernel/block.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { Backlog, FlightHeap } from "./flight.ts";

Deno.test("FlightHeap gives frames by arrival, and those that arrive together in the order they were sent", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 20 })), (times) => {
      const heap = new FlightHeap<number>();
      const block = Block.alloc(0);
      times.forEach((dueMs, i) => heap.push(dueMs, block, i));
      assertEquals(heap.size, times.length);
      const want = times.map((dueMs, from) => ({ dueMs, from })).sort((a, b) => a.dueMs - b.dueMs || a.from - b.from);
      for (const { dueMs, from } of want) {
        assertEquals(heap.nextMs, dueMs);
        assertEquals(heap.first?.from, from);
        assertEquals(heap.pop().deadlineMs, dueMs);
      }
      assertEquals([heap.size, heap.nextMs, heap.first], [0, Infinity, null]);
    }),
    fuzz(200),
  );
});

Deno.test("Backlog sends one frame after the other and forgets those that are wholly sent", () => {
  const backlog = new Backlog();
  assertEquals(backlog.add(0, 100, 800_000), 1);
  assertEquals(backlog.add(0, 50, 800_000), 1.5);
  assertEquals([backlog.frames, backlog.bytes], [2, 150]);
  backlog.settle(0.999);
  assertEquals([backlog.frames, backlog.bytes], [2, 150]);
  backlog.settle(1);
  assertEquals([backlog.frames, backlog.bytes], [1, 50]);
  assertEquals(backlog.add(1, 100, 800_000), 2.5);
  backlog.settle(100);
  assertEquals([backlog.frames, backlog.bytes], [0, 0]);
  assertEquals(backlog.add(100, 100, 800_000), 101);
});

Deno.test("Backlog that never becomes empty keeps its count over many frames", () => {
  const backlog = new Backlog();
  for (let i = 1; i <= 3; i++) assertEquals(backlog.add(0, 100, 800_000), i);
  for (let i = 1; i < 5000; i++) {
    backlog.settle(i);
    assertEquals([backlog.frames, backlog.bytes], [2, 200]);
    assertEquals(backlog.add(i, 100, 800_000), i + 3);
  }
});
