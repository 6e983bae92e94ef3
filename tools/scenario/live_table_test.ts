import { assertEquals } from "@std/assert";
import { LiveTable, type Reading } from "./live_table.ts";

function reading(inbound: number, refused: [string, number][] = []): Reading {
  return { points: { wire: [inbound, 7], guest: [1, 1234567] }, maps: 3, forwards: 1, refused };
}

Deno.test("A live table shows totals and what came a second since the last one", () => {
  const table = new LiveTable(60);
  table.lines(reading(1000), 0, 80);
  assertEquals(table.lines(reading(1500, [["refused-ttl", 2]]), 500, 80), [
    "0 of 60 s; Ctrl-C ends it",
    "                    in            /s           out            /s",
    "wire             1,500         1,000             7             0",
    "guest                1             0     1,234,567             0",
    "maps 3, forwards 1, refused: ttl 2",
  ]);
});

Deno.test("No line of a live table is wider than the terminal, so that as many can be taken back", () => {
  const many = Array.from({ length: 20 }, (_, i): [string, number] => [`refused-reason-${i}`, i]);
  for (const line of new LiveTable(1).lines(reading(1, many), 0, 30)) assertEquals(line.length <= 30, true);
});

Deno.test("Elsewhere than on a terminal it is one line each time", () => {
  const table = new LiveTable(2);
  table.line(reading(5), 0);
  assertEquals(
    table.line(reading(25), 2000),
    "2 of 2 s; wire in 25 (10/s) out 7 (0/s); guest in 1 (0/s) out 1234567 (0/s); maps 3, forwards 1, refused: nothing",
  );
});
