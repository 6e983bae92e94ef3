/**
 * `@std/cli/parse-args`, typed: the command line parser of every tool.
 *
 * Re-exports the npm package `deno-std`, which carries Deno's standard library as JavaScript without types, under types
 * equal to those of `jsr:@std/cli@1/parse-args` (without dotted names). Only this one file of it is imported: the
 * package's cli/mod.js is broken. Where JSR can be reached, point the name in deno.json at it: one edit, and this file
 * goes.
 */
import * as std from "npm:deno-std@1.4.0/cli/parse_args.js";

/** Options of `parseArgs`: the names of the options, by kind. */
export interface ParseOptions<
  B extends string = string,
  S extends string = string,
  C extends string = string,
  N extends string = string,
  D extends Record<string, unknown> = Record<string, unknown>,
  A extends string = string,
  DD extends boolean = boolean,
> {
  /** Options that are true or false; false when not given. */
  boolean?: B | readonly B[];
  /** Options that take a string (never a number). */
  string?: S | readonly S[];
  /** Options that may be given many times: an array, empty when not given. */
  collect?: C | readonly C[];
  /** Options that `--no-NAME` sets to false. */
  negatable?: N | readonly N[];
  /** Values of options that are not given. */
  default?: D;
  /** Other names: `{ help: "h" }`. */
  alias?: { readonly [name: string]: A | readonly A[] };
  /** The first argument that is no option ends the options. */
  stopEarly?: boolean;
  /** Arguments after `--` land in `result["--"]`, else in `result._`. */
  "--"?: DD;
  /** Called with every argument that was not declared (also words: then `key` is undefined); false drops it. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** The value of option `K`, by its kind; a default makes it certain. */
type Value<K, B extends string, C extends string, N extends string, D> =
  | (K extends C ? (K extends B ? boolean[] : string[]) : K extends B ? boolean : string)
  | (K extends N ? false : never)
  | (K extends keyof D ? D[K] : never);

/** Options that always have a value: booleans, collected ones, and those with a default. */
type Certain<B extends string, S extends string, C extends string, D> = B | Extract<S, C | keyof D>;

/** Result of `parseArgs`: one property for each option, and the remaining words in `_`. */
export type Args<
  B extends string = never,
  S extends string = never,
  C extends string = never,
  N extends string = never,
  D = unknown,
  DD = false,
> =
  & { [K in Certain<B, S, C, D>]: Value<K, B, C, N, D> }
  & { [K in Exclude<S, C | keyof D>]?: Value<K, B, C, N, D> }
  & { [K in Exclude<keyof D, B | S>]: D[K] }
  & { _: (string | number)[] }
  & (DD extends true ? { "--": string[] } : unknown)
  & { [name: string]: unknown };

/** Parses command line arguments; unknown options are accepted unless `unknown` refuses them. */
export const parseArgs: <
  B extends string = never,
  S extends string = never,
  C extends string = never,
  N extends string = never,
  // deno-lint-ignore ban-types
  D extends Record<string, unknown> = {},
  A extends string = string,
  DD extends boolean = false,
>(
  args: string[],
  options?: ParseOptions<B, S, C, N, D, A, DD>,
) => Args<B, S, C, N, D, DD> = std.parseArgs;
