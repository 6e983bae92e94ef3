/** That the rule about positional parameters can fail, and counts parameters and nothing else. */

import { assertEquals } from "@std/assert";
import { parameterProblems } from "./params.ts";

const caught = (text: string) => parameterProblems({ path: "kernel/a.ts", text }).map((one) => one.text.split(" ")[1]);

Deno.test("five positional parameters are caught in functions, methods, constructors and arrows", () => {
  const five = "a: A, b: B, c: C, d: D, e: E";
  assertEquals(caught(`function f(${five}): void {}`), ["f"]);
  assertEquals(caught(`class A { constructor(${five}) {} m(${five}): A { return this; } }`), ["constructor", "m"]);
  assertEquals(caught(`const g = (${five}) => 1, h = async (${five}): Promise<A> => 2;`).length, 2);
});

Deno.test("four are not, nor commas of types, records, calls and a trailing one", () => {
  assertEquals(caught("function f(a: Map<A, B>, b: { c: C; d: D }, [c, d]: [C, D], e = g(1, 2, 3),): void {}"), []);
  assertEquals(caught("f(1, 2, 3, 4, 5); if (a, b, c, d, e) { f(); } const a = b ? (c, d) : e;"), []);
  assertEquals(parameterProblems({ path: "tests/kit/a.ts", text: "function f(a, b, c, d, e) {}" }), []);
});
