/**
 * The examples of the manual that run in memory: each prints what the page shows below it.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { type Fence, fencesOf, manualPages, programOf } from "../../kit/check/fences.ts";

/** Runs an example in this program, without any permission of its own; what it prints. */
async function run(fence: Fence): Promise<string> {
  const lines: string[] = [];
  const { log } = console;
  console.log = (...words: unknown[]) => lines.push(words.join(" "));
  try {
    await import(`data:application/typescript,${encodeURIComponent(programOf(fence))}`);
  } finally {
    console.log = log;
  }
  return lines.join("\n");
}

for (const fence of manualPages().flatMap((path) => fencesOf(path, "ts run"))) {
  Deno.test(`${fence.path}:${fence.line} prints what the page shows`, async () => {
    assert(fence.output !== null, "an example shows what it prints");
    assertEquals((await run(fence)).trimEnd(), fence.output.trimEnd());
  });
}
