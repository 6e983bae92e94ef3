/** Tests that the rule about import circles can fail, and counts correctly. */

import { assertEquals } from "@std/assert";
import { circleProblems, circlesOf, importGraph } from "./circles.ts";

const file = (path: string, ...imports: string[]) => ({ path, text: imports.map((one) => `${one}\n`).join("") });

Deno.test("a circle of type imports is a circle, and each of its files counts", () => {
  const all = [
    file("kernel/a.ts", 'import type { B } from "./b.ts";'),
    file("kernel/b.ts", 'export * from "./c.ts";'),
    file("kernel/c.ts", 'await import("./a.ts");'),
    file("kernel/d.ts", 'import "./a.ts";'),
  ];
  const text = "Import circle of 3 files: kernel/a.ts, kernel/b.ts, kernel/c.ts";
  assertEquals(circleProblems(all), ["a", "b", "c"].map((name) => ({ path: `kernel/${name}.ts`, line: 1, text })));
  assertEquals(circleProblems(all.slice(1)), []);
});

Deno.test("two circles that no import joins are two, and the larger comes first", () => {
  const all = [
    file("a.ts", 'import "./b.ts";'),
    file("b.ts", 'import "./a.ts";', 'import "./c.ts";'),
    file("c.ts", 'import "./d.ts";'),
    file("d.ts", 'import "./e.ts";'),
    file("e.ts", 'import "./c.ts";'),
  ];
  assertEquals(circlesOf(importGraph(all)), [["c.ts", "d.ts", "e.ts"], ["a.ts", "b.ts"]]);
});

Deno.test("tests and kits may go in circles: the product is what is counted", () => {
  const all = [file("a_test.ts", 'import "./tests/kit/b.ts";'), file("tests/kit/b.ts", 'import "../../a_test.ts";')];
  assertEquals(circleProblems(all), []);
});
