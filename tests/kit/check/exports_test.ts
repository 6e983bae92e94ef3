/** That the rule about exports can fail, and knows every way of using one. */

import { assertEquals } from "@std/assert";
import { exportProblems } from "./exports.ts";

const file = (path: string, text: string) => ({ path, text });

function textsOf(all: { path: string; text: string }[], ...entries: string[]) {
  const { unused, testOnly } = exportProblems(all, new Set(entries));
  const say = ({ path, line, text }: { path: string; line: number; text: string }) =>
    `${path}:${line} ${/"(\w+)"/.exec(text)![1]}`;
  return { unused: unused.map(say), testOnly: testOnly.map(say) };
}

const LIBRARY = file(
  "kernel/a.ts",
  [
    "export const A = 1;",
    "export interface B {}",
    "export async function c() {}",
    "export abstract class D {}",
    "export type E = 1;",
    "export function* f() {}",
  ].join("\n"),
);

Deno.test("an export without any use is caught, whatever declares it", () => {
  const all = ["1 A", "2 B", "3 c", "4 D", "5 E", "6 f"].map((one) => `kernel/a.ts:${one}`);
  assertEquals(textsOf([LIBRARY]), { unused: all, testOnly: [] });
});

Deno.test("imports, re-exports, namespaces and import() are uses; an entry point is its own", () => {
  const rest = { unused: [2, 4, 5, 6].map((line) => `kernel/a.ts:${line} ${"ABcDEf"[line - 1]}`), testOnly: [] };
  const some = 'import { A as X, type c } from "./a.ts";';
  assertEquals(textsOf([LIBRARY, file("kernel/b.ts", some)]), rest);
  assertEquals(textsOf([LIBRARY, file("kernel/b.ts", 'export { A, c } from "./a.ts";')]), rest);
  for (const whole of ['import * as a from "./a.ts";', 'export * from "./a.ts";', 'await import("./a.ts");']) {
    assertEquals(textsOf([LIBRARY, file("kernel/b.ts", whole)]).unused, [], whole);
  }
  assertEquals(textsOf([LIBRARY], "kernel/a.ts").unused, []);
});

Deno.test("functions and classes that tests alone use are caught; their constants and types may be for tests", () => {
  const tests = [file("kernel/a_test.ts", 'import { A, type B, c, D, type E } from "./a.ts";')];
  assertEquals(textsOf([LIBRARY, ...tests]), {
    unused: ["kernel/a.ts:6 f"],
    testOnly: ["kernel/a.ts:3 c", "kernel/a.ts:4 D"],
  });
});
