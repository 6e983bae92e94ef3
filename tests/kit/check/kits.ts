/**
 * Kits in the clothes of tests: a file named `_test.ts` is run as a test, and what others import stands in a kit.
 *
 * @module
 */

import { importsOf, type Problem, resolveImport } from "./imports.ts";
import { isTest, type Source } from "./tree.ts";

/** Files named `_test.ts` that another file imports, or that register no test. */
export function kitProblems(all: readonly Source[]): Problem[] {
  const imported = new Set<string>();
  for (const { path, text } of all) {
    for (const { specifier } of importsOf(text)) imported.add(resolveImport(path, specifier));
  }
  return all.filter(({ path, text }) => isTest(path) && (imported.has(path) || !/[Tt]est\(/.test(text))).map((
    { path },
  ) => ({ path, line: 1, text: "A kit is not named _test.ts: move it to tests/kit" }));
}
