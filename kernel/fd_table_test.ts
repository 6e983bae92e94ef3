/** The descriptor table. */

import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Chan } from "./chan.ts";
import { KernelError } from "./error.ts";
import { FdTable } from "./fd_table.ts";
import { fuzz } from "../tests/kit/check/fuzz.ts";
import { MemDev } from "../tests/kit/host/test_kernel.ts";

const chan = () => new Chan(new MemDev("mem"), { path: 1, vers: 0, type: 0 });

Deno.test("FdTable always gives the lowest number that is free", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -1, max: 20 }), { maxLength: 60 }), (steps) => {
      const table = new FdTable();
      const open = new Set<number>();
      for (const step of steps) {
        if (step >= 0 && open.has(step)) {
          table.remove(step);
          open.delete(step);
          continue;
        }
        let lowest = 0;
        while (open.has(lowest)) lowest++;
        assertEquals(table.insert(chan()), lowest);
        open.add(lowest);
      }
      assertEquals(table.numbers(), [...open].sort((a, b) => a - b));
      assertEquals(table.size, open.size);
    }),
    fuzz(200),
  );
});

Deno.test("FdTable.insert with a lower bound looks from there on", () => {
  const table = new FdTable();
  table.insert(chan());
  assertEquals([table.insert(chan(), 10), table.insert(chan(), 10), table.insert(chan())], [10, 11, 1]);
});

Deno.test("FdTable finds the lowest free number among thousands, from any number on", () => {
  const table = new FdTable();
  for (let fd = 0; fd < 3000; fd++) assertEquals(table.insert(chan()), fd);
  for (const fd of [2999, 1024, 31, 32, 63]) table.remove(fd);
  assertEquals([0, 31, 32, 64, 1025, 5000].map((from) => table.insert(chan(), from)), [31, 32, 63, 1024, 2999, 5000]);
  assertEquals([table.insert(chan()), table.insert(chan(), 5000)], [3000, 5001]);
});

Deno.test("FdTable.get refuses a closed descriptor, negative and fractional numbers too", () => {
  const table = new FdTable();
  table.insert(chan());
  for (const fd of [-1, 1, 0.5, NaN]) assertThrows(() => table.get(fd), KernelError, "Bad file descriptor");
});
