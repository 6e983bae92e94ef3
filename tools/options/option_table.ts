/**
 * The options of a tool as a table: its help text is made from the rows that its parser reads, so the two agree.
 *
 * Path: options/given, netd/option_table, bench → options/option_table.
 *
 * @module
 */

import project from "../../deno.json" with { type: "json" };

/** One option. */
export interface OptionRow {
  /** Its long name, without the dashes. */
  readonly name: string;
  /** Its one-letter name. */
  readonly short?: string;
  /** Other long names. */
  readonly aliases?: readonly string[];
  /** The name of its value, for the help text; without one it is a flag. */
  readonly value?: string;
  /** It may be given more than once. */
  readonly repeatable?: boolean;
  /** Its value if it is not given. */
  readonly usual?: string;
  /** Its text in the help. The default value is added. */
  readonly help: string;
  /** It belongs to the option above it: the help text indents it. */
  readonly under?: boolean;
}

/** A tool's command line. */
export interface ToolTable {
  /** Its name, for messages. */
  readonly name: string;
  /** The command that starts it. */
  readonly command: string;
  /** The rest of the usage line. */
  readonly synopsis: string;
  /** Its purpose: the text above the options. */
  readonly about: string;
  /** Its options, in groups that the help text separates. `--version` and `--help` are added to the last. */
  readonly groups: readonly (readonly OptionRow[])[];
  /** Whether it takes words that are no options. */
  readonly takesWords?: boolean;
  /** The text below the options. */
  readonly after?: string;
}

/** Longest line of a help text. */
const LINE_MAX = 120;
/** Longest option that shares its line with its text. */
const OPTION_MAX = 26;

const COMMON: readonly OptionRow[] = [
  { name: "version", help: "print the version" },
  { name: "help", short: "h", help: "print this" },
];

/** Every option of `tool`, `--version` and `--help` among them. */
export function rowsOf(tool: ToolTable): OptionRow[] {
  return [...tool.groups.flat(), ...COMMON];
}

/** The text of `--help`. */
export function helpText(tool: ToolTable): string {
  const groups = tool.groups.map((rows) => [...rows]);
  groups.at(-1)?.push(...COMMON);
  const width = Math.min(OPTION_MAX, Math.max(...groups.flat().map((row) => optionText(row).length))) + 2;
  const body = groups.map((rows) => rows.map((row) => rowText(row, width)).join("\n")).join("\n\n");
  const after = tool.after === undefined ? "" : `\n\n${tool.after.trimEnd()}`;
  return `usage: ${tool.command} ${tool.synopsis}\n\n${tool.about.trimEnd()}\n\n${body}${after}\n`;
}

/** The text of `--version`. */
export function versionText(tool: ToolTable): string {
  return `${tool.name} (akarino) ${project.version}`;
}

function optionText({ name, short, value, under }: OptionRow): string {
  const names = short === undefined ? `--${name}` : `-${short}, --${name}`;
  return `${under === true ? "    " : "  "}${names}${value === undefined ? "" : ` ${value}`}`;
}

/** An option and its text beside it, broken into lines. */
function rowText(row: OptionRow, width: number): string {
  const option = optionText(row);
  const text = row.help + (row.usual === undefined ? "" : ` (default ${row.usual})`);
  const lines = wrap(text, LINE_MAX - width);
  const first = option.length > width - 2 ? [option] : [option.padEnd(width) + lines.shift()!];
  return [...first, ...lines.map((line) => " ".repeat(width) + line)].join("\n");
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/)) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = "";
    }
    line += line === "" ? word : ` ${word}`;
  }
  return [...lines, line];
}
