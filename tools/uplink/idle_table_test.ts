/** Tests of the table of idle sockets. */

import { assertEquals } from "@std/assert";
import { VirtualClock } from "../../kernel/time.ts";
import { IdleTable, SWEEP_GAP_MS } from "./idle_table.ts";

function tableOf(entries: readonly { key: number; usedMs?: number; idleMs?: number; isShortLived?: boolean }[]) {
  const clock = new VirtualClock();
  const closed: number[] = [];
  let expired = 0;
  const table = new IdleTable(clock, () => expired++);
  for (const { key, usedMs = 0, idleMs = 60_000, isShortLived = false } of entries) {
    table.add({ key, usedMs, idleMs, isShortLived, close: () => closed.push(key) });
  }
  return { clock, table, closed, expired: () => expired };
}

Deno.test("an IdleTable closes an entry when its own time has passed, and not those that were used since", () => {
  const { clock, table, closed, expired } = tableOf([{ key: 1, idleMs: 30_000 }, { key: 2 }, { key: 3 }]);
  clock.advance(29_999);
  assertEquals(closed, []);
  clock.advance(1);
  assertEquals(closed, [1]);
  table.get(3)!.usedMs = 50_000;
  clock.advance(30_000);
  assertEquals([closed, table.size, expired()], [[1, 2], 1, 2]);
  clock.advance(50_000);
  assertEquals([closed, table.size, clock.timerCount], [[1, 2, 3], 0, 0]);
});

Deno.test("an IdleTable whose entry may close earlier than before looks at that time", () => {
  const { clock, table, closed } = tableOf([{ key: 1, idleMs: 300_000 }]);
  clock.advance(10_000);
  const entry = table.get(1)!;
  Object.assign(entry, { usedMs: 10_000, idleMs: 30_000 });
  table.expect(entry);
  clock.advance(29_999);
  assertEquals(closed, []);
  clock.advance(1);
  assertEquals(closed, [1]);
});

Deno.test("an IdleTable sweeps no more often than once a second, whatever the deadlines", () => {
  const { clock, closed } = tableOf(Array.from({ length: 100 }, (_, key) => ({ key, idleMs: 10 * key })));
  let sweeps = 0;
  for (let ms = 0; ms < 1000 + SWEEP_GAP_MS; ms++) {
    const before = closed.length;
    clock.advance(1);
    if (closed.length > before) sweeps++;
  }
  assertEquals([closed.length, sweeps], [100, 1]);
});

Deno.test("evict() closes short-lived entries first, and then the longest idle", () => {
  const { table, closed, expired } = tableOf([
    { key: 1, usedMs: 5 },
    { key: 2, usedMs: 1 },
    { key: 3, usedMs: 9, isShortLived: true },
    { key: 4, usedMs: 8, isShortLived: true },
    { key: 5, usedMs: 3 },
  ]);
  assertEquals([table.evict(3), closed], [3, [4, 3, 2]]);
  assertEquals([table.evict(9), closed.slice(3), table.size, expired()], [2, [5, 1], 0, 0]);
});

Deno.test("clear() closes all and leaves no timer", () => {
  const { clock, table, closed } = tableOf([{ key: 7 }, { key: 8 }]);
  assertEquals([...table.values()].map(({ key }) => key), [7, 8]);
  table.clear();
  assertEquals([closed, table.size, clock.timerCount], [[7, 8], 0, 0]);
});
