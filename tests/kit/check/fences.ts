/**
 * Code fences of the manual, as programs that can be run.
 *
 * A fence is marked by the words after its language: ` ```ts run `. What such a program prints may be shown in a fence
 * ` ```text output ` right below it. In the documentation of a module, the comment behind each line that prints says
 * what it prints; an example marked ` ```ts no-run ` is only checked.
 *
 * @module
 */

import { ROOT } from "./tree.ts";

/** One fence. */
export interface Fence {
  /** Of the file, from the root of the checkout. */
  readonly path: string;
  /** Line of its opening, from 1. */
  readonly line: number;
  /** The words after the three backquotes. */
  readonly mark: string;
  readonly text: string;
  /** The `text output` fence right below it, or null. */
  readonly output: string | null;
}

/** Pages of the manual. */
export function manualPages(): string[] {
  return [...Deno.readDirSync(`${ROOT}/docs`)].filter(({ name }) => name.endsWith(".md"))
    .map(({ name }) => `docs/${name}`).sort();
}

/** The fences of a page that are marked so. */
export function fencesOf(path: string, mark: string): Fence[] {
  const fences: Fence[] = [];
  const page = Deno.readTextFileSync(`${ROOT}/${path}`);
  for (const found of page.matchAll(/^```(.*)\n([^]*?)^```\n(?:\n```text output\n([^]*?)^```\n)?/gm)) {
    const line = page.slice(0, found.index).split("\n").length;
    const [, wordsAfter, text, output] = found;
    if (wordsAfter === mark) fences.push({ path, line, mark, text: text!, output: output ?? null });
  }
  return fences;
}

/** An example in the documentation at the head of a module. */
export interface Example {
  /** Of the module, from the root of the checkout. */
  readonly path: string;
  /** Which it is, from 1. */
  readonly number: number;
  readonly text: string;
  /** What its lines print, by the comments behind them; `…` stands for anything. */
  readonly prints: readonly string[];
}

/** The examples at the head of a module that can be run. */
export function examplesOf(path: string): Example[] {
  const header = /\/\*\*[^]*?\*\//.exec(Deno.readTextFileSync(`${ROOT}/${path}`))?.[0] ?? "";
  const doc = header.replaceAll(/^ \* ?/gm, "");
  return [...doc.matchAll(/^```ts\n([^]*?)^```$/gm)].map(([, text], i) => ({
    path,
    number: i + 1,
    text: text!,
    prints: [...text!.matchAll(/^\s*console\.log\(.*\); \/\/ (.*)$/gm)].map((match) => match[1]!),
  }));
}

/** The program in a fence, with the modules of the checkout by their full names. */
export function programOf(fence: Fence): string {
  return fence.text.replaceAll(/(from\s+")\.\//g, `$1${new URL(`file://${ROOT}/`)}`);
}
