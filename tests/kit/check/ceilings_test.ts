/** Tests that a count above its ceiling fails with advice, and one at it or below passes. */

import { assertStringIncludes, assertThrows } from "@std/assert";
import { assertCeiling, CEILINGS } from "./ceilings.ts";

Deno.test("one problem above the ceiling fails with its place and the advice; at the ceiling nothing fails", () => {
  const problems = [1, 2].map((line) => ({ path: "kernel/a.ts", line, text: "Wrong" }));
  const { message } = assertThrows(() => assertCeiling("pathNames", problems, { ...CEILINGS, pathNames: 1 }), Error);
  assertStringIncludes(message, "kernel/a.ts:2: Wrong");
  assertStringIncludes(message, "pathNames: 2, above its ceiling of 1");
  assertCeiling("pathNames", problems, { ...CEILINGS, pathNames: 2 });
});
