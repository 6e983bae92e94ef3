/**
 * The style that a machine can check (reference: DESIGN sections 2 and 3): purity, sizes, headers, leftovers, tests.
 * No file is exempt.
 *
 * @module
 */

import { importsOf, type Problem, resolveImport } from "./imports.ts";
import { closing, codeOf, type Token, tokenize } from "./tokens.ts";
import { isPure, isTest, roomOf, type Source } from "./tree.ts";

/** A function fits a screen. */
export const FUNCTION_LINES_MAX = 60;
/** A file fits a head, a test's too. */
export const FILE_LINES_MAX = 350;
/** As deno.json's `fmt.lineWidth`, for lines that the formatter cannot break. */
export const LINE_LENGTH_MAX = 120;

/** Names of a runtime that pure code does not know, each with what to use instead. */
const IMPURE: ReadonlyMap<string, string> = new Map([
  ["Deno", "an interface of kernel/host.ts"],
  ["process", "an interface of kernel/host.ts"],
  ["Date", "Clock.wall"],
  ["performance", "Clock.now"],
  ["setTimeout", "a Timer of the Clock"],
  ["setInterval", "a Timer of the Clock"],
  ["console", "a log file or a counter"],
]);

/** Words that look like a call before a block but are none. */
const CONTROL: ReadonlySet<string> = new Set(["if", "for", "while", "switch", "catch", "with"]);

/** After these, a brace in a return type begins an object type and not the body. */
const BEFORE_TYPE: ReadonlySet<string> = new Set(
  [":", "|", "&", "<", ",", "=>", "(", "[", "?", "extends", "keyof", "readonly", "is"],
);

/** Everything this file can say about one source file alone. */
export function tidyProblems(source: Source): Problem[] {
  const tokens = tokenize(source.text);
  const code = codeOf(tokens);
  return [
    ...purityProblems(source.path, code),
    ...seedProblems(source.path, code),
    ...functionProblems(source.path, code),
    ...sizeProblems(source),
    ...leftoverProblems(source.path, tokens),
    ...headerProblems(source, tokens),
    ...sanitizerProblems(source.path, code),
  ];
}

/** Pure rooms that name a clock, a timer, a console or an operating system. */
function purityProblems(path: string, code: readonly Token[]): Problem[] {
  if (!isPure(path)) return [];
  const problems: Problem[] = [];
  code.forEach(({ kind, text, line }, i) => {
    const instead = kind === "word" ? IMPURE.get(text) : undefined;
    if (instead === undefined || isMemberName(code, i)) return;
    problems.push({ path, line, text: `Pure code may not name "${text}": use ${instead}` });
  });
  return problems;
}

/** Whether the word at `i` names a member (`x.process`, `{ process: 1 }`, `process(): void {`) and not the global. */
function isMemberName(code: readonly Token[], i: number): boolean {
  const before = code[i - 1]?.text ?? ";";
  const after = code[i + 1]?.text;
  if (before === "." || before === "?.") return code[i - 2]?.text !== "globalThis";
  const mayDeclare = [";", "{", "}", ",", "readonly", "get", "set", "async", "static", "override"].includes(before);
  if (!mayDeclare) return false;
  if (after === ":") return true;
  if (after === "?") return [":", "("].includes(code[i + 2]?.text ?? "");
  return after === "(" && ["{", ":"].includes(code[closing(code, i + 1) + 1]?.text ?? "");
}

/** Randomness without a seed: pure code and tests must be replayable. */
function seedProblems(path: string, code: readonly Token[]): Problem[] {
  if (!isPure(path) && !isTest(path) && !path.startsWith("tests/")) return [];
  const problems: Problem[] = [];
  code.forEach(({ text, line }, i) => {
    if (text !== "random" || code[i - 1]?.text !== "." || code[i - 2]?.text !== "Math") return;
    problems.push({ path, line, text: "Math.random cannot be replayed: use a seeded Random" });
  });
  return problems;
}

/** Functions, methods and arrows that do not fit a screen. */
function functionProblems(path: string, code: readonly Token[]): Problem[] {
  const problems: Problem[] = [];
  for (let i = 0; i < code.length; i++) {
    const { text, line } = code[i]!;
    if (code[i]!.kind !== "punct" || (text !== "(" && text !== "=>")) continue;
    const body = text === "(" ? bodyOf(code, i) : code[i + 1]?.text === "{" ? i + 1 : -1;
    if (body < 0) continue;
    const lines = code[closing(code, body)]!.line - line + 1;
    if (lines <= FUNCTION_LINES_MAX) continue;
    const name = text === "(" ? functionName(code, i) : "=>";
    problems.push({ path, line, text: `Function ${name} has ${lines} lines (limit ${FUNCTION_LINES_MAX})` });
  }
  return problems;
}

/** The name before the parameters that open at `open`, and before their type parameters. */
export function functionName(code: readonly Token[], open: number): string {
  let i = open - 1;
  if (code[i]?.text === ">") { while (i > 0 && code[i]!.text !== "<") i--; }
  return (code[i]?.text === "<" ? code[i - 1] : code[i])?.text ?? "";
}

/** Index of the brace that opens the body of the function whose parameters open at `open`; -1 if it is no function. */
export function bodyOf(code: readonly Token[], open: number): number {
  const name = code[open - 1];
  if (name === undefined || (name.kind === "word" && CONTROL.has(name.text))) return -1;
  let i = closing(code, open) + 1;
  if (code[i]?.text === "{") return i;
  if (code[i]?.text !== ":") return -1;
  for (let angles = 0; i < code.length; i++) {
    const { kind, text } = code[i]!;
    if (text === "<") angles++;
    if (text === ">") angles--;
    if (text === "," && angles === 0) return -1;
    if (kind === "punct" && (text === ";" || text === "=" || text === ")" || text === "}")) return -1;
    if (text === "=>" && code[i + 1]?.text === "{") return -1; // An arrow: counted from its own `=>`.
    if (text === "{" && !BEFORE_TYPE.has(code[i - 1]!.text)) return i;
    if (text === "{" || text === "(" || text === "[") i = closing(code, i);
  }
  return -1;
}

/** Long files and long lines. */
function sizeProblems({ path, text }: Source): Problem[] {
  const problems: Problem[] = [];
  const lines = text.replace(/\n$/, "").split("\n");
  if (lines.length > FILE_LINES_MAX) {
    problems.push({ path, line: lines.length, text: `File has ${lines.length} lines (limit ${FILE_LINES_MAX})` });
  }
  lines.forEach((line, i) => {
    if (line.length <= LINE_LENGTH_MAX || line.includes("://")) return;
    problems.push({ path, line: i + 1, text: `Line has ${line.length} characters (limit ${LINE_LENGTH_MAX})` });
  });
  return problems;
}

/** Notes to oneself that no issue knows of. */
function leftoverProblems(path: string, tokens: readonly Token[]): Problem[] {
  const problems: Problem[] = [];
  for (const { kind, text, line } of tokens) {
    if (kind !== "comment") continue;
    text.split("\n").forEach((row, i) => {
      const word = /\b(TODO|FIXME|XXX)\b/.exec(row)?.[1];
      if (word === undefined || /\bissue \d+|#\d+/.test(row)) return;
      problems.push({ path, line: line + i, text: `${word} names no issue: write "${word}(#N)" or do it` });
    });
  }
  return problems;
}

/** Files that do not say what they are and, in the kernel and its devices, where on the way they stand. */
function headerProblems({ path }: Source, tokens: readonly Token[]): Problem[] {
  if (isTest(path)) return [];
  const first = tokens[0];
  if (first?.kind !== "comment" || !first.text.startsWith("/**")) {
    return [{ path, line: 1, text: "No header: begin with a /** comment that says what the file is" }];
  }
  if (!/^(kernel|devices)\//.test(path) || /^\s*\*\s*Path: \S/m.test(first.text)) return [];
  return [{ path, line: 1, text: 'Header without a "Path: caller → this → callee" line' }];
}

/** Tests that switch a sanitizer off: a test closes what it opens. */
function sanitizerProblems(path: string, code: readonly Token[]): Problem[] {
  const problems: Problem[] = [];
  code.forEach(({ kind, text, line }, i) => {
    const names = kind === "word" && /^sanitize(Ops|Resources|Exit)$/.test(text);
    if (!names || code[i + 1]?.text !== ":" || code[i + 2]?.text === "true") return;
    problems.push({ path, line, text: `"${text}" stays on: close what the test opened` });
  });
  return problems;
}

/**
 * Files of the rooms that have something to test and no test: none beside them, none that imports them, and none beside
 * a file of the same folder that imports them (whose part they are).
 */
export function untestedProblems(all: readonly Source[]): Problem[] {
  const ofTheirName = new Set(
    all.map(({ path }) => path).filter(isTest).map((path) => path.replace(/_test\.ts$/, ".ts")),
  );
  const tested = new Set(ofTheirName);
  for (const { path, text } of all) {
    if (!isTest(path)) continue;
    for (const { specifier } of importsOf(text)) tested.add(resolveImport(path, specifier));
  }
  for (const { path, text } of all.filter((source) => ofTheirName.has(source.path))) {
    const imported = importsOf(text).map(({ specifier }) => resolveImport(path, specifier));
    for (const part of imported) if (dirOf(part) === dirOf(path)) tested.add(part);
  }
  const rooms = all.filter(({ path }) => !isTest(path) && roomOf(path) !== "free");
  const untested = rooms.filter(({ path, text }) => !tested.has(path) && hasFunctions(text));
  return untested.map(({ path }) => ({
    path,
    line: 1,
    text: `No ${path.replace(/\.ts$/, "_test.ts")}, nor a test that imports it, nor one beside a file whose part it is`,
  }));
}

/** Whether anything in the file can run; interfaces and constants alone need no test. */
function hasFunctions(text: string): boolean {
  const code = codeOf(tokenize(text));
  return code.some((token, i) =>
    token.text === "=>" && code[i + 1]?.text === "{" || token.text === "(" && bodyOf(code, i) >= 0
  );
}

function dirOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}
