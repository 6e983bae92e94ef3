/**
 * The scripts printed in README.md and docs/, run as printed: those in a fence marked `ts first-script`.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { ROOT } from "../../kit/check/tree.ts";

const FENCE = /^```ts first-script\n(.*?)^```$/gms;
/** How a script imports the package: by its own name, which the checkout knows. */
const IMPORT = /from "@akarino\/akarino"/;

/** Lines of one screen of a README, as a browser or a terminal of usual size shows it. */
const SCREEN_LINES = 40;

/** The marked scripts of a Markdown file. */
function scriptsOf(path: string): string[] {
  return [...Deno.readTextFileSync(`${ROOT}/${path}`).matchAll(FENCE)].map((match) => match[1]!);
}

/** Runs a script in this program, without any permission of its own; the lines that it prints. */
async function run(script: string): Promise<string[]> {
  assertMatch(script, IMPORT);
  const lines: string[] = [];
  const { log } = console;
  console.log = (...words: unknown[]) => lines.push(words.join(" "));
  try {
    await import(`data:application/typescript,${encodeURIComponent(script)}`);
  } finally {
    console.log = log;
  }
  return lines;
}

Deno.test("the README's script of a guest shows it the caller", async () => {
  const [, script] = scriptsOf("README.md");
  const lines = await run(script!);
  assertEquals(lines[0], "10.0.2.15 was called by 10.0.0.2");
  assertMatch(lines[1]!, /^ok\ntcp:8080:80 +10\.0\.2\.15 +[1-9]\d* +[1-9]\d*\n/);
});

Deno.test("the first script of the README prints hello", async () => {
  const scripts = scriptsOf("README.md");
  assertEquals(scripts.length, 2);
  const lines = await run(scripts[0]!);
  assertEquals(lines[0], "hello");
  assertMatch(lines[1]!, /^ether OK 10\.0\.0\.1 020000000001\n$/);
  assert(scripts[0]!.split("\n").length <= 25, "short enough for a first one");
});

const pages = [...Deno.readDirSync(`${ROOT}/docs`)].map(({ name }) => `docs/${name}`).filter((path) =>
  path.endsWith(".md")
);
for (const path of pages) {
  scriptsOf(path).forEach((script, i) => {
    Deno.test(`script ${i + 1} of ${path} runs as printed`, async () => {
      assert((await run(script)).length > 0, "it prints something");
    });
  });
}

Deno.test("the README names the two commands, and every link in it leads somewhere", () => {
  const text = Deno.readTextFileSync(`${ROOT}/README.md`);
  assertStringIncludes(text, "npx --yes deno@2.9.6 task scenario");
  assertStringIncludes(text, "npx --yes deno@2.9.6 task test");
  for (const [, target] of text.matchAll(/\]\(([^):#]+)\)/g)) assert(Deno.statSync(`${ROOT}/${target}`).isFile, target);
  const tasks = Object.keys(JSON.parse(Deno.readTextFileSync(`${ROOT}/deno.json`)).tasks);
  for (const [, task] of text.matchAll(/deno(?:@[\d.]+)? task (\w+)/g)) assert(tasks.includes(task!), task!);
});

Deno.test("the README has its first script within two screens, the manual by task, and how it is built", () => {
  const text = Deno.readTextFileSync(`${ROOT}/README.md`);
  const end = text.indexOf("```\n", text.indexOf("```ts first-script"));
  assert(text.slice(0, end).split("\n").length <= 2 * SCREEN_LINES, "the first script ends on the second screen");
  const byTask = /^## The manual, by task\n(.*?)^## /ms.exec(text)![1]!;
  for (const task of ["give a namespace a network", "claim a port", "simulate ten hosts", "capture"]) {
    assertMatch(byTask, new RegExp(`^\\| ${task} +\\| \\[`, "m"));
  }
  for (const page of pages) assertStringIncludes(text, page);
  assertStringIncludes(text, "\n## How it is built\n");
});
