/** The heap against a sorted list, with entries that leave from its middle. */

import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../tests/kit/check/fuzz.ts";
import { DeadlineHeap, type HeapEntry } from "./heap.ts";

interface Named extends HeapEntry {
  readonly name: number;
}

const entry = (name: number, deadlineMs: number): Named => ({ name, deadlineMs, order: 0, heapIndex: -1 });

Deno.test("DeadlineHeap gives the earliest first, and of equal deadlines the one that was added first", () => {
  const heap = new DeadlineHeap<Named>();
  assertEquals({ first: heap.first, next: heap.nextMs }, { first: null, next: Infinity });
  [[1, 5], [2, 3], [3, 5], [4, 3]].forEach(([name, at]) => heap.add(entry(name!, at!)));
  assertEquals(heap.lastOrder, 4);
  const names: number[] = [];
  for (let first = heap.first; first !== null; first = heap.first) {
    names.push(first.name);
    heap.remove(first);
  }
  assertEquals(names, [2, 4, 1, 3]);
});

Deno.test("DeadlineHeap refuses an entry that is in a heap, and one that is in none", () => {
  const heap = new DeadlineHeap<Named>();
  const one = entry(1, 1);
  heap.add(one);
  assertThrows(() => heap.add(one), Error, "in one heap, once");
  assertThrows(() => heap.remove(entry(2, 1)), Error, "where the heap says");
});

Deno.test("DeadlineHeap agrees with a sorted list through any adding and removing", () => {
  const step = fc.record({ add: fc.boolean(), at: fc.integer({ min: 0, max: 20 }), which: fc.nat(50) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const heap = new DeadlineHeap<Named>();
      let model: Named[] = [];
      steps.forEach(({ add, at, which }, i) => {
        if (add || model.length === 0) {
          const one = entry(i, at);
          heap.add(one);
          model.push(one);
        } else {
          const gone = model[which % model.length]!;
          heap.remove(gone);
          model = model.filter((one) => one !== gone);
        }
        const sorted = [...model].sort((a, b) => a.deadlineMs - b.deadlineMs || a.order - b.order);
        assertEquals({ first: heap.first?.name, size: heap.size }, { first: sorted[0]?.name, size: sorted.length });
      });
    }),
    fuzz(200),
  );
});
