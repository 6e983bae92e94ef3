/**
 * A tool's command line, parsed by its table of options.
 *
 * Path: tools → given → option_table, print.
 *
 * A flag stands alone (`--quiet`) or has a truth value (`--quiet=no`): true, yes, on and 1, or false, no, off and 0.
 * Any other value is an error, and so are unknown options and words that the tool does not take.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { print, PrintError } from "../print.ts";
import { helpText, type OptionRow, rowsOf, type ToolTable, versionText } from "./option_table.ts";

/** An invalid command line: exit 2. */
export class UsageError extends Error {
  /** The class, for programs that look at the name. */
  override readonly name = "UsageError";
}

/** The error for a value that cannot be used. */
export function bad(name: string, value: string, wanted: string): UsageError {
  return new UsageError(`Bad value "${value}" for --${name}: ${wanted}`);
}

const TRUTH: ReadonlyMap<string, boolean> = new Map([
  ...["true", "yes", "on", "1"].map((word) => [word, true] as const),
  ...["false", "no", "off", "0"].map((word) => [word, false] as const),
]);

/** Before a flag's name for the parser, which would take `--no-offload=true` for an option `offload`. */
const FLAG = "flag:";

/** The parsed options and words. */
export class Given {
  /** Words that are no options. */
  readonly words: readonly string[];
  readonly #tool: ToolTable;
  readonly #rows: ReadonlyMap<string, OptionRow>;
  readonly #values: Readonly<Record<string, unknown>>;

  /** Reads `args`. Throws {@link UsageError}. */
  constructor(tool: ToolTable, args: readonly string[]) {
    const rows = rowsOf(tool);
    this.#tool = tool;
    this.#rows = new Map(rows.flatMap((row) => namesOf(row).map((name) => [name, row] as const)));
    const values = parseArgs(this.#plain(args), {
      boolean: rows.filter((row) => row.value === undefined).map((row) => FLAG + row.name),
      string: rows.filter((row) => row.value !== undefined).map((row) => row.name),
      collect: rows.filter((row) => row.repeatable === true).map((row) => row.name),
      alias: Object.fromEntries(
        rows.filter((row) => row.value !== undefined && row.short !== undefined).map((row) => [row.name, row.short!]),
      ),
      unknown: (arg: string) => {
        if (arg.startsWith("-")) throw new UsageError(`Unknown option "${arg}"`);
      },
    });
    this.words = values._.map(String);
    if (this.words.length > 0 && tool.takesWords !== true) {
      throw new UsageError(`Unexpected argument "${this.words[0]}"`);
    }
    this.#values = values;
  }

  /** The text of `--help` or `--version`; null if neither was given. */
  get information(): string | null {
    if (this.flag("help")) return helpText(this.#tool).trimEnd();
    return this.flag("version") ? versionText(this.#tool) : null;
  }

  /** Whether the option was given. */
  has(name: string): boolean {
    if (this.#row(name).value === undefined) return this.flag(name);
    const value = this.#values[name];
    return Array.isArray(value) ? value.length > 0 : value !== undefined;
  }

  /** Whether the flag is on: given, and not with a value such as `=no`. */
  flag(name: string): boolean {
    return this.#values[FLAG + this.#row(name).name] === true;
  }

  /** The value of the option, or its default; null if it has neither. */
  text(name: string): string | null {
    const { usual } = this.#row(name);
    const value = this.#values[name];
    if (typeof value !== "string") return usual ?? null;
    if (value === "") throw new UsageError(`No value after --${name}`);
    return value;
  }

  /** Every value of a repeatable option. */
  list(name: string): string[] {
    const values = (this.#values[this.#row(name).name] ?? []) as string[];
    if (values.includes("")) throw new UsageError(`No value after --${name}`);
    return values;
  }

  /** A whole number. */
  number(name: string, min: number, max: number): number | null {
    const text = this.text(name);
    if (text === null) return null;
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw bad(name, text, `a whole number of ${min} to ${max}`);
  }

  /** A number of 0 to `max`, with or without a fraction. */
  fraction(name: string, max: number): number | null {
    const text = this.text(name);
    if (text === null) return null;
    const value = Number(text);
    if (/^\d+(\.\d+)?$/.test(text) && value <= max) return value;
    throw bad(name, text, `a number of 0 to ${max}`);
  }

  /** One of `choices`; the option has a default. */
  choice<T extends string>(name: string, choices: readonly T[]): T {
    const text = this.text(name);
    const found = choices.find((choice) => choice === text);
    if (found !== undefined) return found;
    throw bad(name, `${text}`, `one of ${choices.join(", ")}`);
  }

  /** The row of an option: a name that is not in the table is a bug. */
  #row(name: string): OptionRow {
    const row = this.#rows.get(name);
    if (row === undefined) throw new TypeError(`${this.#tool.name} has no option --${name}`);
    return row;
  }

  /** The arguments in the form of the parser: each flag with the word true or false. */
  #plain(args: readonly string[]): string[] {
    const end = args.indexOf("--");
    return args.flatMap((arg, at) =>
      end >= 0 && at > end ? [arg] : this.#apart(arg).map((one) => this.#withTruth(one))
    );
  }

  /** The flags of `-qc6`, one argument each, which the parser would take for `-q` with a value. */
  #apart(arg: string): string[] {
    const flags: string[] = [];
    let rest = /^-[^-]/.test(arg) ? arg.slice(1) : "";
    while (rest.length > 1 && rest[1] !== "=" && this.#isFlag(rest[0]!)) {
      flags.push(`-${rest[0]}`);
      rest = rest.slice(1);
    }
    return flags.length === 0 ? [arg] : [...flags, `-${rest}`];
  }

  #isFlag(name: string): boolean {
    const row = this.#rows.get(name);
    return row !== undefined && row.value === undefined;
  }

  #withTruth(arg: string): string {
    const [, name = "", value = "true"] = /^--?([^=]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (name.startsWith(FLAG)) throw new UsageError(`Unknown option "${arg}"`);
    if (!this.#isFlag(name)) return arg;
    const truth = TRUTH.get(value.toLowerCase());
    const { name: known } = this.#row(name);
    if (truth === undefined) throw bad(known, value, "true or false");
    return `--${FLAG}${known}=${truth}`;
  }
}

/**
 * Runs a tool: prints the text of `--help` and `--version`, and reports a bad option. Returns the exit status; other
 * errors of `run` reach the caller.
 */
export async function runTool<G extends Given>(
  tool: ToolTable,
  read: () => G,
  run: (given: G) => Promise<number>,
): Promise<number> {
  try {
    const given = read();
    const { information } = given;
    if (information === null) return await run(given);
    print(information);
    return 0;
  } catch (error) {
    if (error instanceof PrintError) {
      console.error(`${tool.name}: ${error.message}`);
      return 1;
    }
    if (!(error instanceof UsageError)) throw error;
    console.error(`${tool.name}: ${error.message}\nTry "${tool.command} --help".`);
    return 2;
  }
}

function namesOf({ name, short, aliases = [] }: OptionRow): string[] {
  return [name, ...(short === undefined ? [] : [short]), ...aliases];
}
