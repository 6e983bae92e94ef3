/**
 * The manual against the programs: examples that run in memory print the output that the page shows below them, or
 * that the comments behind their lines promise, and a page lists the options of its tool.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { NETD } from "../../../tools/netd/option_table.ts";
import { rowsOf, type ToolTable } from "../../../tools/options/option_table.ts";
import { SCENARIO } from "../../../tools/scenario/options.ts";
import { UTCP } from "../../../tools/utcp/options.ts";
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

Deno.test("every page of the IP stack, and of the calls on it, has an example that runs", () => {
  for (const name of "block.2 streams.2 ether.3 ip.3 ipifc.3 neighbor.3 tcp.3 udp.3 nat.4 vmm.1".split(" ")) {
    assert(fencesOf(`docs/${name}.md`, "ts run").length > 0, `docs/${name}.md has no example that runs`);
  }
});

/** The options that the section Options of a page lists, with their values: `--device NAME`. */
function optionsOf(page: string): string[] {
  const text = Deno.readTextFileSync(`${ROOT}/docs/${page}`);
  const section = /^## Options\n(.*?)^## /ms.exec(text)![1]!;
  const items = [...section.matchAll(/^- ((?:`-[^`]*`(?:, )?)+)/gm)].map(([, names]) => names!);
  return items.flatMap((names) => [...names.matchAll(/`(--[^`]*)`/g)].map(([, option]) => option!));
}

const TOOLS: readonly (readonly [string, ToolTable])[] = [["netd.1.md", NETD], ["utcp.1.md", UTCP], [
  "scenario.1.md",
  SCENARIO,
]];

for (const [page, tool] of TOOLS) {
  Deno.test(`docs/${page} lists the options that ${tool.name} --help lists, with the same values`, () => {
    const wanted = rowsOf(tool).map(({ name, value }) => value === undefined ? `--${name}` : `--${name} ${value}`);
    // A page may describe the choices of an option one by one: `--wire tap`, `--wire tun`.
    const choices = new Map(rowsOf(tool).map(({ name, value }) => [`--${name}`, value?.split("|") ?? []]));
    const listed = optionsOf(page).map((option) => {
      const [name = "", value = ""] = option.split(" ");
      const all = choices.get(name) ?? [];
      return all.length > 1 && all.includes(value) ? `${name} ${all.join("|")}` : option;
    });
    assertEquals([...new Set(listed)].sort(), wanted.sort());
  });
}
