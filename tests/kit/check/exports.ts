/**
 * Exports that nothing needs: no other file imports them, or tests alone, and no entry point offers them.
 *
 * @module
 */

import { type Problem, resolveImport } from "./imports.ts";
import { closing, codeOf, type Token, tokenize } from "./tokens.ts";
import { isTest, type Source } from "./tree.ts";

/** One exported name. */
interface Export {
  readonly path: string;
  readonly name: string;
  readonly line: number;
  /** The word that declares it. */
  readonly declaration: string;
}

/** One clause that brings names from another file: an import, or an export with `from`. */
interface Clause {
  readonly from: string;
  /** The names as the other file has them; null: all of them. */
  readonly names: readonly string[] | null;
}

/** Problems of exports: those without any use, and functions and classes that only tests use. */
export interface ExportProblems {
  readonly unused: Problem[];
  readonly testOnly: Problem[];
}

const DECLARATIONS: ReadonlySet<string> = new Set(["const", "let", "function", "class", "interface", "type"]);
/** Files that stand for a package and re-export it. */
const PACKAGES = "tools/std/";

/**
 * Checks the exports of product files; a file of `entries` may offer whatever it has. A constant or a type may be there
 * for tests alone: limits are. A function or a class that only tests use is dead code.
 */
export function exportProblems(all: readonly Source[], entries: ReadonlySet<string>): ExportProblems {
  const isOfTests = (path: string) => isTest(path) || path.startsWith("tests/");
  const byProduct = new Uses();
  const byTests = new Uses();
  const exported: Export[] = [];
  for (const { path, text } of all) {
    const code = codeOf(tokenize(text));
    const uses = isOfTests(path) ? byTests : byProduct;
    for (const { from, names } of clausesOf(code)) uses.add(resolveImport(path, from), names);
    if (!isOfTests(path) && !entries.has(path) && !path.startsWith(PACKAGES)) exported.push(...exportsOf(path, code));
  }
  const dead = exported.filter((one) => !byProduct.has(one));
  const problem = (advice: string) => ({ path, line, name }: Export) => ({ path, line, text: `"${name}" ${advice}` });
  return {
    unused: dead.filter((one) => !byTests.has(one)).map(
      problem("is imported by no file: make it private, or remove it"),
    ),
    testOnly: dead.filter((one) => byTests.has(one) && ["function", "class"].includes(one.declaration))
      .map(problem("is used by tests only: move it to a kit, or remove it")),
  };
}

/** The names that are imported, by the file that has them; null: all of a file's. */
class Uses {
  readonly #names = new Map<string, Set<string> | null>();

  add(path: string, names: readonly string[] | null): void {
    const known = this.#names.get(path);
    if (known === null) return;
    this.#names.set(path, names === null ? null : new Set([...known ?? [], ...names]));
  }

  has({ path, name }: Export): boolean {
    const names = this.#names.get(path);
    return names === null || names?.has(name) === true;
  }
}

/** The names that a file declares and exports. */
function exportsOf(path: string, code: readonly Token[]): Export[] {
  const found: Export[] = [];
  code.forEach(({ kind, text }, i) => {
    if (kind !== "word" || text !== "export" || code[i - 1]?.text === ".") return;
    let at = i + 1;
    while (["async", "abstract", "declare"].includes(code[at]?.text ?? "")) at++;
    const declaration = code[at]?.text ?? "";
    if (!DECLARATIONS.has(declaration)) return;
    if (code[at + 1]?.text === "*") at++;
    const name = code[at + 1];
    if (name?.kind === "word") found.push({ path, name: name.text, line: name.line, declaration });
  });
  return found;
}

/** Every clause with a relative specifier. `import * as x`, `export *` and `import()` bring all names. */
function clausesOf(code: readonly Token[]): Clause[] {
  const found: Clause[] = [];
  code.forEach(({ kind, text }, i) => {
    if (kind !== "word" || (text !== "import" && text !== "export") || code[i - 1]?.text === ".") return;
    if (code[i + 1]?.text === "(" && code[i + 2]?.kind === "string") {
      found.push({ from: code[i + 2]!.text, names: null });
      return;
    }
    let at = i + 1;
    while (code[at]?.kind === "word" && code[at]!.text !== "from" || code[at]?.text === ",") at++;
    const open = code[at]?.text === "{" ? at : -1;
    if (open >= 0) at = closing(code, open) + 1;
    else if (code[at]?.text === "*") at += code[at + 1]?.text === "as" ? 3 : 1;
    if (code[at]?.text !== "from" || code[at + 1]?.kind !== "string") return;
    const names = open < 0 ? null : namesIn(code.slice(open + 1, closing(code, open)));
    found.push({ from: code[at + 1]!.text, names });
  });
  return found.filter(({ from }) => from.startsWith("."));
}

/** The names between braces as the other file has them: `type A as B, c` are `A` and `c`. */
function namesIn(inside: readonly Token[]): string[] {
  return inside.map(({ text }) => text).join(" ").split(",").map((one) => one.trim().replace(/^type (?!as )/, ""))
    .map((one) => one.split(" ")[0]!).filter((name) => name !== "");
}
