/**
 * TypeScript text → tokens: as much of the language's grammar as the style checks need, so that what stands in a
 * comment, a string or a regular expression is never taken for code.
 *
 * Not a parser: it distinguishes a regular expression from a division by the token before it, which is right for our
 * code.
 *
 * @module
 */

/** Kinds of tokens. */
export type TokenKind = "word" | "punct" | "string" | "template" | "number" | "regex" | "comment";

/** One token. */
export interface Token {
  kind: TokenKind;
  /** As written; of a string or a template, what stands between its quotes. */
  text: string;
  /** Line on which it begins; the first is 1. */
  line: number;
}

/** Words after which a `/` begins a regular expression. */
const BEFORE_REGEX: ReadonlySet<string> = new Set(
  "return typeof case in of void delete instanceof new throw else do yield await".split(" "),
);

/** Tokens whose shape is a pattern; the first that matches wins, and the last always does. */
const SHAPES: readonly (readonly [TokenKind, RegExp])[] = [
  ["comment", /\/\/[^\n]*|\/\*[^]*?\*\//y],
  ["word", /[#@]?[\p{L}_$][\p{L}\p{N}_$]*/uy],
  ["number", /\.?\d(?:[eE][+-]|[\w.])*/y],
  ["string", /"(?:\\[^]|[^"\\\n])*"|'(?:\\[^]|[^'\\\n])*'/y],
  ["punct", /=>|\?\.(?!\d)|\.\.\.|\+\+|--|[^]/y],
];

const SPACE = /\s*/y;
const REGEX = /\/(?![*/])(?:\\[^\n]|\[(?:\\[^\n]|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/y;
const TEMPLATE_PART = /(?:\\[^]|\$(?!\{)|[^`\\$])*(?:`|\$\{|$)/y;

/** The tokens of `source`, comments included. An unclosed string or comment ends up as punctuation; nothing throws. */
export function tokenize(source: string): Token[] {
  return new Scanner(source).scan();
}

class Scanner {
  #source: string;
  #at = 0;
  #line = 1;
  #tokens: Token[] = [];
  /** The last two tokens that are code, latest last. */
  #recent: Token[] = [];
  /** For each template we are inside of: how many braces are open within its `${`. */
  #templates: number[] = [];

  constructor(source: string) {
    this.#source = source;
    if (source.startsWith("#!")) this.#take(/[^\n]*/y);
  }

  scan(): Token[] {
    for (;;) {
      this.#take(SPACE);
      if (this.#at >= this.#source.length) return this.#tokens;
      this.#next();
    }
  }

  #next(): void {
    const char = this.#source[this.#at];
    const inside = this.#templates.length - 1;
    if (char === "`") {
      this.#at++;
      this.#template();
    } else if (char === "}" && this.#templates[inside] === 0) {
      this.#templates.pop();
      this.#at++;
      this.#push("punct", "}");
      this.#template();
    } else {
      this.#shape();
      if (inside >= 0 && char === "{") this.#templates[inside]!++;
      if (inside >= 0 && char === "}") this.#templates[inside]!--;
    }
  }

  /** The text of a template up to its end, or up to a `${`, whose brace becomes a token. */
  #template(): void {
    const line = this.#line;
    const part = this.#take(TEMPLATE_PART) ?? "";
    const opens = part.endsWith("${");
    this.#push("template", part.replace(/(?:`|\$\{)$/, ""), line);
    if (!opens) return;
    this.#templates.push(0);
    this.#push("punct", "{");
  }

  #shape(): void {
    const line = this.#line;
    const regex = this.#source[this.#at] === "/" && this.#regexMayFollow() ? this.#take(REGEX) : null;
    if (regex !== null) return this.#push("regex", regex, line);
    for (const [kind, pattern] of SHAPES) {
      const text = this.#take(pattern);
      if (text !== null) return this.#push(kind, kind === "string" ? text.slice(1, -1) : text, line);
    }
  }

  /** Whether an expression, not an operator, comes next. */
  #regexMayFollow(): boolean {
    const last = this.#recent.at(-1);
    if (last === undefined) return true;
    if (last.kind === "word") return BEFORE_REGEX.has(last.text);
    if (last.kind !== "punct" || [")", "]", "}", "++", "--"].includes(last.text)) return false;
    // `value! / 2`: this `!` belongs to what stands before it.
    const before = this.#recent.at(-2);
    const postfix = before !== undefined && (before.kind === "word" || [")", "]"].includes(before.text));
    return !(last.text === "!" && postfix);
  }

  #take(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const text = pattern.exec(this.#source)?.[0];
    if (text === undefined) return null;
    this.#at += text.length;
    this.#line += text.split("\n").length - 1;
    return text;
  }

  #push(kind: TokenKind, text: string, line = this.#line): void {
    const token = { kind, text, line };
    this.#tokens.push(token);
    if (kind !== "comment") this.#recent = [...this.#recent.slice(-1), token];
  }
}

/** The tokens that are code. */
export function codeOf(tokens: readonly Token[]): Token[] {
  return tokens.filter((token) => token.kind !== "comment");
}

/** Index of the token that closes the bracket at `open`; that of the last token if nothing does. */
export function closing(code: readonly Token[], open: number): number {
  let depth = 0;
  for (let i = open; i < code.length; i++) {
    const { kind, text } = code[i]!;
    if (kind !== "punct") continue;
    if (text === "(" || text === "[" || text === "{") depth++;
    else if (text === ")" || text === "]" || text === "}") depth--;
    if (depth === 0) return i;
  }
  return code.length - 1;
}
