/** That the rule about Path lines can fail: for names that are nothing, and for neighbours that no import joins. */

import { assertEquals } from "@std/assert";
import { chainsOf, pathLineOf, pathProblems } from "./path_lines.ts";

/** A file with a Path line and imports. */
function file(path: string, line: string, ...imports: string[]) {
  return { path, text: `/**\n * A file.\n *\n * Path: ${line}\n *\n * @module\n */\n${imports.join("\n")}\n` };
}

function textsOf(...all: { path: string; text: string }[]) {
  const { names, edges } = pathProblems(all);
  return { names: names.map(({ text }) => text), edges: edges.map(({ text }) => text) };
}

Deno.test("pathLineOf() reads a line to its end, over several lines of the comment", () => {
  assertEquals(pathLineOf("/**\n * A.\n *\n * Path: a → b\n * → c.\n *\n * More.\n */\n"), "a → b → c.");
  assertEquals(pathLineOf("#!/usr/bin/env deno\n/**\n * A.\n *\n * Path: a.\n */\n"), "a.");
  assertEquals(pathLineOf("/**\n * A.\n */\n// Path: a\n"), null);
});

Deno.test("chainsOf() knows chains, stages and names, and leaves out remarks", () => {
  assertEquals(chainsOf("a, b (of (any) kind) → this → c; this ← d."), [[["a", "b"], ["this"], ["c"]], [["this"], [
    "d",
  ]]]);
});

Deno.test("pathProblems() finds nothing where names are files and imports join them", () => {
  const found = textsOf(
    file("kernel/a.ts", "Linux → a → ip/b.send, wire/c", 'import type { B } from "../devices/ip/b.ts";'),
    file("devices/ip/b.ts", "kernel/a.ts → this; user program → b"),
    file("kernel/wire/c.ts", "a → this", 'import "../a.ts";'),
  );
  assertEquals(found, { names: [], edges: [] });
});

Deno.test("pathProblems() catches names that are no files, and neighbours without an import", () => {
  const found = textsOf(
    file("kernel/a.ts", "ghost → a → b; the world at large → a"),
    file("kernel/b.ts", "this"),
  );
  assertEquals(found, {
    names: ["ghost", "the world at large"].map((name) =>
      `Path names "${name}", which is no file and no documented outside`
    ),
    edges: ['Path has "a" beside "b", but no import joins them'],
  });
});
