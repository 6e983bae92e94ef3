/**
 * `@std/bytes`, typed: helpers on Uint8Array.
 *
 * Re-exports the npm package `deno-std` under the signatures of `jsr:@std/bytes@1`; see parse_args.ts.
 */
import * as std from "npm:deno-std@1.4.0/bytes/mod.js";

/** A new array holding all of `buffers`, one after the other. */
export const concat: (buffers: readonly Uint8Array[]) => Uint8Array<ArrayBuffer> = std.concat;

/** Copies `src` into `dst` at `offset`, as much as fits; returns how many bytes. */
export const copy: (src: Uint8Array, dst: Uint8Array, offset?: number) => number = std.copy;

/** The same bytes. */
export const equals: (a: Uint8Array, b: Uint8Array) => boolean = std.equals;

/** `source` begins with `prefix`. */
export const startsWith: (source: Uint8Array, prefix: Uint8Array) => boolean = std.startsWith;

/** `source` ends with `suffix`. */
export const endsWith: (source: Uint8Array, suffix: Uint8Array) => boolean = std.endsWith;

/** `needle` occurs in `source` at or after `start`. */
export const includesNeedle: (source: Uint8Array, needle: Uint8Array, start?: number) => boolean = std.includesNeedle;

/** Where `needle` first occurs at or after `start`, or -1. */
export const indexOfNeedle: (source: Uint8Array, needle: Uint8Array, start?: number) => number = std.indexOfNeedle;

/** Where `needle` last occurs at or before `start`, or -1. */
export const lastIndexOfNeedle: (source: Uint8Array, needle: Uint8Array, start?: number) => number =
  std.lastIndexOfNeedle;

/** A new array holding `source` `count` times. */
export const repeat: (source: Uint8Array, count: number) => Uint8Array<ArrayBuffer> = std.repeat;
