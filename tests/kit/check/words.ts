/**
 * Words of a dialect that the text has grown out of: a reader must translate them, and finds nothing by searching for
 * the standard term. They are refused in comments, in messages, and in documents.
 *
 * @module
 */

import type { Problem } from "./imports.ts";
import { tokenize } from "./tokens.ts";
import type { Source } from "./tree.ts";

/** Each word or phrase, with what to write instead. */
export const DIALECT: readonly (readonly [RegExp, string])[] = [
  [/\bnobody(?:'s)?\b/gi, "the passive, or the subject that it is"],
  [/\bwhoever\b/gi, "the subject: the caller, a host, a program that …"],
  [/\bwaked\b/gi, "woken"],
  [/\banew\b/gi, "again"],
  [/\bunasked\b/gi, "unsolicited"],
  [/\bin vain\b/gi, "without an answer, without effect"],
  [/\bunawares\b/gi, "without noticing"],
  [/\baloud\b/gi, "by broadcast, by multicast"],
  [/\bnone of ours\b/gi, "not ours"],
  [/\bgiven away\b/gi, "owned by the callee from now on"],
  [/\bmakes of\b/gi, "converts"],
  [/\bwhat all\b/gi, "everything that"],
  [/\b(?:is|are|was|were|be|been) told\b/gi, "is notified, gets, learns"],
  [/\bother than in Akaros\b/gi, "differences from Akaros"],
];

/** The files that must have the words to refuse them. */
const EXEMPT = /^tests\/kit\/check\/words(_test)?\.ts$/;

/** Where the comments and strings of a source file, or a document (`.md`), have such words. */
export function wordProblems({ path, text }: Source): Problem[] {
  if (EXEMPT.test(path)) return [];
  const parts = path.endsWith(".md")
    ? [{ text, line: 1 }]
    : tokenize(text).filter(({ kind }) => kind === "comment" || kind === "string" || kind === "template");
  return parts.flatMap((part) => problemsIn(path, part));
}

function problemsIn(path: string, part: { text: string; line: number }): Problem[] {
  const problems: Problem[] = [];
  for (const [word, instead] of DIALECT) {
    for (const { 0: found, index } of part.text.matchAll(word)) {
      const line = part.line + part.text.slice(0, index).split("\n").length - 1;
      problems.push({ path, line, text: `"${found}" is dialect: write ${instead}` });
    }
  }
  return problems;
}
