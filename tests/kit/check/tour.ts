/**
 * `docs/tour.md`: the functions that a packet crosses, as steps that link to files.
 *
 * A numbered line is a step. An indented line below it is a detour: its functions are called in turn, and the step goes
 * on. The first link of a line is the step's; others are asides. A step's function is there, and an import joins its
 * file to that of the next step, in either direction, or by one file that exports the other's names.
 *
 * @module
 */

import { dirname, joinPath, linksOf } from "./doc_links.ts";
import { importGraph } from "./circles.ts";
import { importsOf, type Problem, resolveImport } from "./imports.ts";
import { closing, codeOf, type Token, tokenize } from "./tokens.ts";
import type { Source } from "./tree.ts";

/** One step of the tour. */
export interface TourStep {
  readonly name: string;
  readonly file: string;
  readonly line: number;
  readonly isDetour: boolean;
}

/** The chains of steps of a tour, one for each `##` section; and every link to a function, asides included. */
export function stepsOf({ path, text }: Source): { chains: TourStep[][]; links: TourStep[] } {
  const chains: TourStep[][] = [];
  const links: TourStep[] = [];
  const lines = text.split("\n");
  const seen = new Set<number>();
  for (const { label, target, line } of linksOf(text)) {
    const name = /^`(#?\w+)`$/.exec(label)?.[1];
    if (name === undefined) continue;
    const isDetour = /^ +- /.test(lines[line - 1]!);
    const step = { name, file: joinPath(dirname(path), target), line, isDetour };
    links.push(step);
    const isStep = isDetour || /^\d+\. /.test(lines[line - 1]!);
    if (!isStep || seen.has(line)) continue;
    seen.add(line);
    const before = lines.slice(0, line).filter((one) => one.startsWith("## ")).length;
    (chains[before - 1] ??= []).push(step);
  }
  return { chains: chains.filter((chain) => chain !== undefined), links };
}

/** Words before a name that say that it is called, or made, and not declared. */
const CALLS: ReadonlySet<string> = new Set(["new", "return", "await", "void", "typeof", ".", "?.", "?", "!", "(", ","]);

/** Whether the source declares `name`: a function, a class, a method, or a member that may be one. */
export function declares(source: string, name: string): boolean {
  const code = codeOf(tokenize(source));
  return code.some(({ kind, text }, i) => kind === "word" && text === name && isDeclaration(code, i));
}

function isDeclaration(code: readonly Token[], i: number): boolean {
  const before = code[i - 1]?.text;
  if (before === "function" || before === "class" || before === "readonly") return true;
  if (before !== undefined && CALLS.has(before)) return false;
  // An optional method: `name?(…)`.
  const at = code[i + 1]?.text === "?" ? i + 2 : i + 1;
  const next = code[at]?.text;
  if (next === ":" || next === "=") return code[at + 1]?.text === "(";
  if (next !== "(") return false;
  const end = code[closing(code, at) + 1]?.text;
  return end === "{" || end === ":";
}

/** What does not hold of a tour. */
export function tourProblems(tour: Source, all: readonly Source[]): Problem[] {
  const { chains, links } = stepsOf(tour);
  const texts = new Map(all.map(({ path, text }) => [path, text]));
  const problems: Problem[] = [];
  const problem = (line: number, text: string) => problems.push({ path: tour.path, line, text });
  for (const { name, file, line } of links) {
    const text = texts.get(file);
    if (text === undefined) problem(line, `${file} is no file`);
    else if (!declares(text, name)) problem(line, `${file} has no function "${name}"`);
  }
  const graph = joinsOf(all);
  for (const chain of chains) {
    let main = chain[0]!;
    let last = main;
    for (const step of chain.slice(1)) {
      const from = step.isDetour ? last : main;
      if (!isJoined(graph, from.file, step.file)) {
        problem(step.line, `no import joins ${from.file} and ${step.file}`);
      }
      last = step;
      if (!step.isDetour) main = step;
    }
  }
  return problems;
}

function isJoined(graph: ReadonlyMap<string, ReadonlySet<string>>, a: string, b: string): boolean {
  return a === b || graph.get(a)?.has(b) === true || graph.get(b)?.has(a) === true;
}

/** What each file imports, itself or by the files that it imports from and that export another's names. */
function joinsOf(all: readonly Source[]): Map<string, Set<string>> {
  const graph = importGraph(all);
  const passedOn = new Map(all.map(({ path, text }) => {
    const exported = new Set([...text.matchAll(/^export [^;]*? from "([^"]+)"/gm)].map(([, specifier]) => specifier));
    const targets = importsOf(text).filter(({ specifier }) => exported.has(specifier));
    return [path, targets.map(({ specifier }) => resolveImport(path, specifier))];
  }));
  return new Map([...graph].map(([path, targets]) => {
    return [path, new Set([...targets].flatMap((target) => [target, ...passedOn.get(target) ?? []]))];
  }));
}
