/**
 * The imports of a file, the rules of DESIGN section 3 about them, and cycles.
 *
 * @module
 */

import { isTest, roomOf, type Source } from "./tree.ts";
import { closing, codeOf, type Token, tokenize } from "./tokens.ts";

/** One import of a file, whatever its form. */
export interface Import {
  /** The text in the quotes. */
  specifier: string;
  line: number;
  /** `value` runs the other file first; `type` is gone at run time; `dynamic` is an `import()`. */
  kind: "value" | "type" | "dynamic";
}

/** A rule broken, and where. */
export interface Problem {
  path: string;
  line: number;
  text: string;
}

/** The imports, re-exports and `import()`s of a file. */
export function importsOf(source: string): Import[] {
  const code = codeOf(tokenize(source));
  const found: Import[] = [];
  for (let i = 0; i < code.length; i++) {
    const { kind, text, line } = code[i]!;
    const isMember = code[i - 1]?.text === "." || code[i - 1]?.text === "?.";
    if (kind !== "word" || isMember || (text !== "import" && text !== "export")) continue;
    if (text === "import" && code[i + 1]?.text === "(") {
      if (code[i + 2]?.kind === "string") found.push({ specifier: code[i + 2]!.text, line, kind: "dynamic" });
      continue;
    }
    const end = clauseEnd(code, i + 1);
    const specifier = code[end];
    if (specifier?.kind !== "string") continue;
    found.push({ specifier: specifier.text, line, kind: isTypeClause(code.slice(i + 1, end)) ? "type" : "value" });
  }
  return found;
}

/** Index of the specifier of the import or export whose clause begins at `start`; -1 if it names no other file. */
function clauseEnd(code: readonly Token[], start: number): number {
  let i = start;
  if (code[start - 1]!.text === "import" && code[i]?.kind === "string") return i;
  for (; i < code.length; i++) {
    const { kind, text } = code[i]!;
    if (text === "{") i = closing(code, i);
    else if (text === "from" && code[i + 1]?.kind === "string") return i + 1;
    else if (kind !== "word" && text !== "*" && text !== ",") return -1;
  }
  return -1;
}

/** Whether the clause between `import` and the specifier brings types only: `type {…}`, or braces full of `type x`. */
function isTypeClause(clause: readonly Token[]): boolean {
  const text = clause.slice(0, -1).map((token) => token.text);
  if (text[0] === "type" && text.length > 1 && text[1] !== ",") return true;
  if (text[0] !== "{" || text.at(-1) !== "}") return false;
  const names = text.slice(1, -1).join(" ").split(",").map((name) => name.trim()).filter((name) => name !== "");
  return names.length > 0 && names.every((name) => /^type [^ ]/.test(name) && !/^type as [^ ]+$/.test(name));
}

/** The path a relative specifier means, seen from the file `path`. */
export function resolveImport(path: string, specifier: string): string {
  return new URL(specifier, `file:///${path}`).pathname.slice(1);
}

/** Whether the specifier is a path. */
function isRelative(specifier: string): boolean {
  return specifier.startsWith("./") || specifier.startsWith("../");
}

/** Folders of files that stand for a package: the only ones that name it. */
const PACKAGE_FOLDERS = ["tools/std/", "tests/kit/std/"];
/** Packages that only tests import: a program would have to fetch them. */
const TEST_NAMES = ["@std/assert", "fast-check"];

/** Bare names a room may import beside its files. `@std/bytes` is pure arithmetic; wire imports nothing at all. */
function mayImportName(path: string, name: string): boolean {
  const room = roomOf(path);
  if (TEST_NAMES.includes(name)) return isTest(path) || path.startsWith("tests/");
  if (/^(npm|jsr|node|https?):/.test(name)) return PACKAGE_FOLDERS.some((folder) => path.startsWith(folder));
  if (room === "free") return true;
  return name === "@std/bytes" && (room !== "wire" || isTest(path));
}

/** The rooms of `devices/ip`, top to bottom: each may import those below it. */
const IP_FLOORS = [
  ...["files", "ip_stack.ts", "ifc", "udp", "icmp", "tcp", "network", "neighbor", "conv", "route", "packet", "link"],
  "env",
];

/** The floor of a file in `devices/ip`; -1: it has none. */
function floorOf(path: string): number {
  return IP_FLOORS.indexOf(/^devices\/ip\/([^/]+)/.exec(path)?.[1] ?? "");
}

/** How a problem names the room of `path`: within `devices/ip` the room there. */
function placeOf(path: string, target: string | null): string {
  const inIp = floorOf(path) >= 0 && target !== null && floorOf(target) >= 0;
  return inIp ? path.split("/").slice(0, 3).join("/") : roomOf(path);
}

/** Whether a file may import another (DESIGN section 3). */
function mayImportFile(path: string, target: string): boolean {
  const from = roomOf(path);
  const to = roomOf(target);
  if (from === "devices/ip" && to === from && !isTest(path)) return floorOf(path) <= floorOf(target);
  if (from === "free" || from === to) return true;
  if (isTest(path) && target.startsWith("tests/kit/")) return true;
  if (to === "wire") return true;
  if (from === "wire") return false;
  // The algorithms on packets know what a packet is held in, and no more of the kernel.
  if (from === "inet") return target === "kernel/block.ts";
  return to === "inet" || to === "kernel" || (from === "vmm" && to === "nat");
}

/** Imports that go against the direction of the rooms. */
export function directionProblems(source: Source): Problem[] {
  const { path } = source;
  const problems: Problem[] = [];
  for (const { specifier, line } of importsOf(source.text)) {
    const target = isRelative(specifier) ? resolveImport(path, specifier) : null;
    if (target === null ? mayImportName(path, specifier) : mayImportFile(path, target)) continue;
    const what = target === null ? `"${specifier}"` : `${target} (${roomOf(target)})`;
    problems.push({ path, line, text: `Room ${placeOf(path, target)} may not import ${what}` });
  }
  return problems;
}

/** Cycles of value imports: one problem for each import that closes one. */
export function cycleProblems(all: readonly Source[]): Problem[] {
  const edges = new Map<string, { target: string; line: number }[]>();
  for (const { path, text } of all) {
    const values = importsOf(text).filter((one) => one.kind === "value" && isRelative(one.specifier));
    edges.set(path, values.map(({ specifier, line }) => ({ target: resolveImport(path, specifier), line })));
  }
  const problems: Problem[] = [];
  const done = new Set<string>();
  const way: string[] = [];
  const visit = (path: string) => {
    if (done.has(path)) return;
    way.push(path);
    for (const { target, line } of edges.get(path) ?? []) {
      const back = way.indexOf(target);
      if (back < 0) visit(target);
      else problems.push({ path, line, text: `Import cycle: ${[...way.slice(back), target].join(" → ")}` });
    }
    way.pop();
    done.add(path);
  };
  for (const path of edges.keys()) visit(path);
  return problems;
}
