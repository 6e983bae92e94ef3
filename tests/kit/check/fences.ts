/**
 * Code fences of the manual, as programs that can be run.
 *
 * A fence is marked by the words after its language: ` ```ts run `. What such a program prints may be shown in a fence
 * ` ```text output ` right below it.
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

/** The program in a fence, with the modules of the checkout by their full names. */
export function programOf(fence: Fence): string {
  return fence.text.replaceAll(/(from\s+")\.\//g, `$1${new URL(`file://${ROOT}/`)}`);
}
