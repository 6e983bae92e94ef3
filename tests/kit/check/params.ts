/**
 * Functions with so many positional parameters that a call cannot be read: they take a record.
 *
 * @module
 */

import type { Problem } from "./imports.ts";
import { bodyOf, functionName } from "./tidy.ts";
import { closing, codeOf, type Token, tokenize } from "./tokens.ts";
import { isTest, type Source } from "./tree.ts";

/** Most positional parameters. */
export const PARAMETERS_MAX = 4;

/** Product functions, methods, constructors and arrows with more than {@link PARAMETERS_MAX} parameters. */
export function parameterProblems({ path, text }: Source): Problem[] {
  if (isTest(path) || path.startsWith("tests/")) return [];
  const code = codeOf(tokenize(text));
  const problems: Problem[] = [];
  code.forEach((token, i) => {
    if (token.kind !== "punct" || token.text !== "(" || !isParameters(code, i)) return;
    const count = countOf(code, i);
    if (count <= PARAMETERS_MAX) return;
    const name = functionName(code, i);
    problems.push({
      path,
      line: token.line,
      text: `Function ${name} has ${count} positional parameters (limit ${PARAMETERS_MAX}): take a record`,
    });
  });
  return problems;
}

/** Whether the bracket at `open` opens the parameters of a function with a body, or of an arrow. */
function isParameters(code: readonly Token[], open: number): boolean {
  if (bodyOf(code, open) >= 0) return true;
  const after = closing(code, open) + 1;
  if (code[after]?.text === "=>") return true;
  if (code[after]?.text !== ":") return false;
  // An arrow with a type of its result: `(a: A): B => …`.
  for (let i = after + 1; i < code.length; i++) {
    const { kind, text } = code[i]!;
    if (text === "=>") return true;
    if (kind === "punct" && [";", "=", ")", "}", ",", "?"].includes(text)) return false;
    if (text === "{" || text === "(" || text === "[") i = closing(code, i);
  }
  return false;
}

/** How many parameters stand between the bracket at `open` and its end. */
function countOf(code: readonly Token[], open: number): number {
  const end = closing(code, open);
  let count = 0;
  let isEmpty = true;
  for (let i = open + 1, angles = 0; i < end; i++) {
    const { kind, text } = code[i]!;
    if (kind === "punct" && text === "<") angles++;
    else if (kind === "punct" && text === ">") angles--;
    if (kind === "punct" && (text === "{" || text === "(" || text === "[")) i = closing(code, i);
    if (kind === "punct" && text === "," && angles === 0) {
      count++;
      isEmpty = true;
    } else isEmpty = false;
  }
  return count + (isEmpty ? 0 : 1);
}
