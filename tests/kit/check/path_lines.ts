/**
 * The `Path: caller → this → callee` lines of headers: that the names in them are files, and that an import joins
 * neighbours, in either direction.
 *
 * A line is one or more chains, apart by `;`. In a chain `→` or `←` stand between stages; a stage is one name or
 * several, separated by commas. What stands in brackets is a remark. A name is a file's (`ip_input`, `nat/link`,
 * `devices/ip/neighbor/arp.ts`), perhaps with a member (`dev.walk`), a folder's (`kernel/wire`), `this`, or one of
 * {@link OUTSIDES}.
 *
 * @module
 */

import { importGraph } from "./circles.ts";
import type { Problem } from "./imports.ts";
import { isTest, type Source } from "./tree.ts";

/** Names outside of the code that may stand in a Path line. */
export const OUTSIDES: ReadonlySet<string> = new Set([
  "Linux",
  "guest",
  "wire",
  "script",
  "user program",
  "command line",
  "system calls",
  "QEMU",
  "Deno",
  "tests",
  "tools",
  "everywhere",
]);

/** Problems of Path lines: unknown names, and neighbours without an import between them. */
export interface PathProblems {
  readonly names: Problem[];
  readonly edges: Problem[];
}

/** The text of a header's Path line, continuation lines included; null if it has none. */
export function pathLineOf(text: string): string | null {
  const header = /^(?:#![^\n]*\n)?\/\*\*.*?\*\//s.exec(text)?.[0];
  const line = header === undefined ? undefined : /^ \* Path: (.*?)\n \*\/?(?:\n|$)/ms.exec(`${header}\n`)?.[1];
  return line === undefined ? null : line.replace(/\n \* ?/g, " ").trim();
}

/** The chains of a Path line: stages of names. */
export function chainsOf(line: string): string[][][] {
  let plain = line.replace(/\.$/, "");
  while (/\([^()]*\)/.test(plain)) plain = plain.replace(/\([^()]*\)/g, "");
  return plain.split(";").map((chain) =>
    chain.split(/[→←]/).map((stage) => stage.split(",").map((name) => name.trim()).filter((name) => name !== ""))
  );
}

/** Checks the Path lines of all product files. */
export function pathProblems(all: readonly Source[]): PathProblems {
  const product = all.filter(({ path }) => !isTest(path) && !path.startsWith("tests/"));
  const graph = importGraph(product);
  const found: PathProblems = { names: [], edges: [] };
  for (const { path, text } of product) {
    const line = pathLineOf(text);
    if (line === null) continue;
    for (const chain of chainsOf(line)) checkChain(path, chain, graph, found);
  }
  return found;
}

type Graph = ReadonlyMap<string, ReadonlySet<string>>;

function checkChain(path: string, chain: readonly string[][], graph: Graph, found: PathProblems): void {
  const stages = chain.map((stage) => stage.map((name) => ({ name, files: filesOf(name, path, graph) })));
  for (const { name, files } of stages.flat()) {
    if (files !== null && files.length === 0) {
      found.names.push({ path, line: 1, text: `Path names "${name}", which is no file and no documented outside` });
    }
  }
  stages.slice(1).forEach((right, i) => {
    for (const a of stages[i]!) {
      for (const b of right) {
        // An outside has no imports; a name that is nothing has been counted already.
        if (a.files === null || b.files === null || a.files.length === 0 || b.files.length === 0) continue;
        if (a.files.some((one) => b.files!.some((other) => joins(graph, one, other)))) continue;
        found.edges.push({ path, line: 1, text: `Path has "${a.name}" beside "${b.name}", but no import joins them` });
      }
    }
  });
}

function joins(graph: Graph, a: string, b: string): boolean {
  return a === b || graph.get(a)!.has(b) || graph.get(b)!.has(a);
}

/** The files that a name may mean; null: an outside; empty: it is nothing. */
function filesOf(name: string, path: string, graph: Graph): string[] | null {
  if (OUTSIDES.has(name)) return null;
  if (name === "this") return [path];
  if (!/^[\w./-]+$/.test(name)) return [];
  const tries = [name, name.replace(/\.ts$/, ""), name.replace(/\.\w+$/, "")];
  for (const one of tries) {
    const files = [...graph.keys()].filter((file) => isNamed(file, one));
    if (files.length > 0) return files;
  }
  return [];
}

/** Whether `name` is the end of the path of `file`, without its `.ts`, or of a folder that it is in. */
function isNamed(file: string, name: string): boolean {
  const whole = `/${file.replace(/\.ts$/, "")}`;
  return whole.endsWith(`/${name}`) || whole.includes(`/${name}/`);
}
