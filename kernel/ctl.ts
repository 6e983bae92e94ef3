/**
 * Ctl files: one command a write, in words; a table holds the verbs and how many arguments each takes.
 *
 * Path: netif_ctl, conv_ctl → ctl → error.
 *
 * White space separates words. Inside single quotes every character stands for itself, and a doubled quote is one
 * quote; quotes may begin and end inside a word (Plan 9's tokenize). A newline may end the command; NULs after it are
 * dropped, for programs that write C strings. A second command in the same write is refused and not ignored. Any
 * invalid text is a KernelError, whatever its bytes.
 *
 * @module
 */

import { type ErrnoName, KernelError } from "./error.ts";

/** Longest command in bytes: far more than any verb needs; an ndb or a route list is not written to a ctl file. */
export const CTL_BYTES_MAX = 4096;

/** Characters of a word that an error text repeats; the reason that follows must stay readable. */
const SHOWN_MAX = 40;

const SPACE = new Set([" ", "\t", "\r", "\v", "\f", "\n"]);
const C_NUMBER = /^[+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A verb of a ctl file. */
export interface CtlVerb<T> {
  /** The first word of the command. */
  readonly name: string;
  /** How it is written, name included: `connect addr!port [local]`. */
  readonly usage: string;
  /** Fewest words behind it. */
  readonly minArgs: number;
  /** Most words behind it. */
  readonly maxArgs: number;
  /** Runs the verb; `args` are the words after it, as many as the table demands. */
  run(target: T, args: readonly string[]): void;
}

/**
 * Runs the one command in `bytes` on `target`.
 *
 * EFAIL: empty. EINVAL: not text, several commands, an open quote, an unknown verb (or the errno `unknown`), a wrong
 * number of arguments. E2BIG: longer than {@link CTL_BYTES_MAX}. Errors of the verb pass through.
 */
export function runCtl<T>(
  table: readonly CtlVerb<T>[],
  target: T,
  bytes: Uint8Array,
  options: { unknown?: ErrnoName } = {},
): void {
  const args = splitWords(ctlText(bytes));
  const name = args.shift();
  if (name === undefined) throw new KernelError("EFAIL", "Cannot run an empty command");
  const verb = verbOf(table, name);
  if (verb === undefined) {
    throw new KernelError(options.unknown ?? "EINVAL", `Cannot run ${shown(name)}: no such command`);
  }
  if (args.length < verb.minArgs || args.length > verb.maxArgs) {
    const count = args.length === 1 ? "1 argument" : `${args.length} arguments`;
    throw new KernelError("EINVAL", `Cannot run ${shown(name)} with ${count}: usage: ${verb.usage}`);
  }
  verb.run(target, args);
}

function verbOf<T>(table: readonly CtlVerb<T>[], name: string): CtlVerb<T> | undefined {
  for (const verb of table) if (verb.name === name) return verb;
  return undefined;
}

/** The text of a write: UTF-8, without the NULs at its end. EINVAL: not text, or a NUL inside. E2BIG: too long. */
export function ctlText(bytes: Uint8Array): string {
  if (bytes.length > CTL_BYTES_MAX) {
    throw new KernelError("E2BIG", `Cannot take a text of ${bytes.length} bytes: the limit is ${CTL_BYTES_MAX}`);
  }
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  const content = bytes.subarray(0, end);
  if (content.includes(0)) throw new KernelError("EINVAL", "Cannot take a text with a NUL inside");
  try {
    return decoder.decode(content);
  } catch {
    throw new KernelError("EINVAL", "Cannot take a text that is not UTF-8");
  }
}

/** The words of one command. EINVAL: a quote is not closed, or a second line has words too. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  /** Where the word being read begins; -1 between words. A quote begins a word, even an empty one. */
  let start = -1;
  let quoted = false;
  let lineEnded = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (!quoted && SPACE.has(char)) {
      if (start >= 0) words.push(unquoted(text.slice(start, i)));
      start = -1;
      if (char === "\n" && words.length > 0) lineEnded = true;
      continue;
    }
    if (lineEnded) throw new KernelError("EINVAL", "Cannot run several lines: write one command at a time");
    if (start < 0) start = i;
    // The second of a doubled quote opens again at once.
    if (char === "'") quoted = !quoted;
  }
  const last = start < 0 ? "" : unquoted(text.slice(start));
  if (quoted) throw new KernelError("EINVAL", `Cannot read ${shown(last)}: its quote is not closed`);
  if (start >= 0) words.push(last);
  return words;
}

/** A word without its quotes; a doubled quote inside them is one. */
function unquoted(word: string): string {
  if (!word.includes("'")) return word;
  let text = "";
  let quoted = false;
  for (let i = 0; i < word.length; i++) {
    if (word[i] !== "'") text += word[i];
    else if (quoted && word[i + 1] === "'") text += word[++i];
    else quoted = !quoted;
  }
  return text;
}

/**
 * A whole number in C notation: decimal, `0x` or leading-zero octal, perhaps signed.
 *
 * `min` defaults to 0 and `max` to 2^32-1; both must be safe integers. EINVAL names the word.
 */
export function parseNumber(word: string, options: { min?: number; max?: number } = {}): number {
  const { min = 0, max = 0xffff_ffff } = options;
  return Number(parseBigNumber(word, { min: BigInt(min), max: BigInt(max) }));
}

/** As {@link parseNumber}, for numbers of up to 64 bits and more. `min` defaults to 0. */
export function parseBigNumber(word: string, options: { min?: bigint; max: bigint }): bigint {
  const { min = 0n, max } = options;
  if (!C_NUMBER.test(word)) throw new KernelError("EINVAL", `Cannot read ${shown(word)}: not a number`);
  const negative = word.startsWith("-");
  const digits = word.replace(/^[+-]/, "");
  const magnitude = BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits);
  const value = negative ? -magnitude : magnitude;
  if (value < min || value > max) {
    throw new KernelError("EINVAL", `Cannot use ${shown(word)}: not in ${min} … ${max}`);
  }
  return value;
}

/** A switch: `1` or `on`, `0` or `off`. EINVAL names the word. */
export function parseSwitch(word: string): boolean {
  if (word === "1" || word === "on") return true;
  if (word === "0" || word === "off") return false;
  throw new KernelError("EINVAL", `Cannot use ${shown(word)}: not on, off, 1 or 0`);
}

/** `word` as an error text shows it: in double quotes, cut when long, without control characters. */
export function shown(word: string): string {
  return JSON.stringify(word.length > SHOWN_MAX ? `${word.slice(0, SHOWN_MAX)}…` : word);
}
