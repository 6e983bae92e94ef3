/**
 * `@std/assert`, typed: the assertions the tests use.
 *
 * Re-exports the npm package `deno-std`, which carries Deno's standard library as JavaScript without types, under the
 * signatures of `jsr:@std/assert@1`. Where JSR can be reached, point `@std/assert` in deno.json at it: one edit, and
 * this file goes.
 */
import * as std from "npm:deno-std@1.4.0/assert/mod.js";

/** Any class whose instances are `T`. */
// deno-lint-ignore no-explicit-any
export type AnyConstructor<T> = abstract new (...args: any[]) => T;

/** A class of errors. */
// deno-lint-ignore no-explicit-any
export type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

/** Throws when `expr` is falsy; narrows it otherwise. */
export const assert: (expr: unknown, msg?: string) => asserts expr = std.assert;

/** Throws when `expr` is truthy; narrows it otherwise. */
export const assertFalse: (expr: unknown, msg?: string) => asserts expr is false | 0 | 0n | "" | null | undefined =
  std.assertFalse;

/** Deep equality. */
export const assertEquals: <T>(actual: T, expected: T, msg?: string) => void = std.assertEquals;

/** Deep inequality. */
export const assertNotEquals: <T>(actual: T, expected: T, msg?: string) => void = std.assertNotEquals;

/** `Object.is`; narrows `actual`. */
export const assertStrictEquals: <T>(actual: unknown, expected: T, msg?: string) => asserts actual is T =
  std.assertStrictEquals;

/** Not `Object.is`. */
export const assertNotStrictEquals: <T>(actual: T, expected: T, msg?: string) => void = std.assertNotStrictEquals;

/** Neither null nor undefined. */
export const assertExists: <T>(actual: T, msg?: string) => asserts actual is NonNullable<T> = std.assertExists;

/** `instanceof`; narrows `actual`. */
export const assertInstanceOf: <T extends AnyConstructor<unknown>>(
  actual: unknown,
  expectedType: T,
  msg?: string,
) => asserts actual is InstanceType<T> = std.assertInstanceOf;

/** The pattern matches. */
export const assertMatch: (actual: string, expected: RegExp, msg?: string) => void = std.assertMatch;

/** The pattern does not match. */
export const assertNotMatch: (actual: string, expected: RegExp, msg?: string) => void = std.assertNotMatch;

/** `actual` contains `expected`. */
export const assertStringIncludes: (actual: string, expected: string, msg?: string) => void = std.assertStringIncludes;

/** `actual` has every element of `expected`, by deep equality. */
export const assertArrayIncludes: <T>(actual: ArrayLike<T>, expected: ArrayLike<T>, msg?: string) => void =
  std.assertArrayIncludes;

/** `actual` has every property of `expected`, by deep equality; it may have others. */
export const assertObjectMatch: (actual: object, expected: object, msg?: string) => void = std.assertObjectMatch;

/** `actual > expected`. */
export const assertGreater: <T>(actual: T, expected: T, msg?: string) => void = std.assertGreater;

/** `actual >= expected`. */
export const assertGreaterOrEqual: <T>(actual: T, expected: T, msg?: string) => void = std.assertGreaterOrEqual;

/** `actual < expected`. */
export const assertLess: <T>(actual: T, expected: T, msg?: string) => void = std.assertLess;

/** `actual <= expected`. */
export const assertLessOrEqual: <T>(actual: T, expected: T, msg?: string) => void = std.assertLessOrEqual;

/** Numbers no further apart than `tolerance` (default: 1e-7 of the expected value). */
export const assertAlmostEquals: (actual: number, expected: number, tolerance?: number, msg?: string) => void =
  std.assertAlmostEquals;

/** `fn` throws, and that is the answer; with a class, it is one of that class and its message has `msgIncludes`. */
export const assertThrows: {
  (fn: () => unknown, msg?: string): unknown;
  <E extends Error = Error>(fn: () => unknown, errorClass: ErrorClass<E>, msgIncludes?: string, msg?: string): E;
} = std.assertThrows;

/** `fn` answers a promise that rejects; otherwise as `assertThrows`. */
export const assertRejects: {
  (fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
  <E extends Error = Error>(
    fn: () => PromiseLike<unknown>,
    errorClass: ErrorClass<E>,
    msgIncludes?: string,
    msg?: string,
  ): Promise<E>;
} = std.assertRejects;

/** Always throws. */
export const fail: (msg?: string) => never = std.fail;

/** Always throws: this line cannot be reached. */
export const unreachable: (msg?: string) => never = std.unreachable;
