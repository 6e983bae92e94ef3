/**
 * The examples that run in memory: those of the manual print what the page shows below them, those of the entry points
 * what the comments behind their lines say.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { examplesOf, fencesOf, manualPages, programOf } from "../../kit/check/fences.ts";
import { entryPoints, ROOT } from "../../kit/check/tree.ts";

/** Runs an example in this program, without any permission of its own; what it prints. */
async function run(program: string): Promise<string> {
  const lines: string[] = [];
  const { log } = console;
  console.log = (...words: unknown[]) => lines.push(words.join(" "));
  try {
    await import(`data:application/typescript,${encodeURIComponent(program)}`);
  } finally {
    console.log = log;
  }
  return lines.join("\n");
}

for (const fence of manualPages().flatMap((path) => fencesOf(path, "ts run"))) {
  Deno.test(`${fence.path}:${fence.line} prints what the page shows`, async () => {
    assert(fence.output !== null, "an example shows what it prints");
    assertEquals((await run(programOf(fence))).trimEnd(), fence.output.trimEnd());
  });
}

/** Whether `text` is `wanted`, in which `…` stands for anything. */
function isLike(text: string, wanted: string): boolean {
  const [head = "", ...rest] = wanted.split("…");
  return rest.length === 0 ? text === wanted : text.startsWith(head) && text.endsWith(rest.at(-1)!);
}

for (const example of [...entryPoints()].flatMap(examplesOf)) {
  Deno.test(`example ${example.number} of ${example.path} prints what its comments say`, async () => {
    assert(example.prints.length > 0, "an example shows what it prints");
    const printed = await run(example.text);
    const lines = printed.split("\n");
    example.prints.forEach((wanted, i) => assert(isLike(lines[i] ?? "", wanted), `${wanted}, but got: ${printed}`));
  });
}

Deno.test("every entry point has an example in its documentation", () => {
  for (const path of entryPoints()) {
    assertMatch(Deno.readTextFileSync(`${ROOT}/${path}`), /^ \* ```ts( no-run)?$/m, path);
  }
});
