/** That the rule about kits named as tests can fail. */

import { assertEquals } from "@std/assert";
import { kitProblems } from "./kits.ts";

Deno.test("a file named as a test that others import, or that has no test, is caught", () => {
  const all = [
    { path: "kernel/a_test.ts", text: 'import "./kit_test.ts"; Deno.test("a", () => {});' },
    { path: "kernel/kit_test.ts", text: 'Deno.test("b", () => {});' },
    { path: "kernel/empty_test.ts", text: "export const a = 1;" },
    { path: "tests/kit/tcp.ts", text: "export const a = 1;" },
    { path: "tests/machine/b_test.ts", text: 'machineTest("c", [], () => {});' },
  ];
  assertEquals(kitProblems(all).map(({ path }) => path), ["kernel/kit_test.ts", "kernel/empty_test.ts"]);
});
