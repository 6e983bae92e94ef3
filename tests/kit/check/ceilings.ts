/**
 * Ceilings: the number of faults of each rule that the code still has. A count above its ceiling fails; one below it is
 * printed, and the ceiling is to be lowered to it. No ceiling is ever raised, and each ends at 0.
 *
 * @module
 */

import { fail } from "@std/assert";
import type { Problem } from "./imports.ts";

/** Today's counts. */
export const CEILINGS = {
  filesInCircles: 0,
  pathNames: 0,
  pathEdges: 0,
  unusedExports: 0,
  testOnlyExports: 7,
  longParameterLists: 9,
  kitsNamedTest: 0,
  dialectWords: 0,
};

/** Fails if there are more problems than the ceiling `name` lets there be, and lists them. */
export function assertCeiling(
  name: keyof typeof CEILINGS,
  problems: readonly Problem[],
  ceilings: Readonly<Record<keyof typeof CEILINGS, number>> = CEILINGS,
): void {
  const ceiling = ceilings[name];
  if (problems.length < ceiling) {
    console.log(`${name}: ${problems.length}, below its ceiling of ${ceiling}: lower the ceiling`);
  }
  if (problems.length <= ceiling) return;
  const lines = problems.map(({ path, line, text }) => `${path}:${line}: ${text}`);
  const advice = `${name}: ${problems.length}, above its ceiling of ${ceiling} in tests/kit/check/ceilings.ts. ` +
    "Mend what you added; a ceiling is not raised.";
  fail(["", ...lines, advice].join("\n"));
}
