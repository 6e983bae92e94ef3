/**
 * Sequence numbers: unsigned 32-bit numbers modulo 2^32 (RFC 9293 3.4).
 *
 * Path: devices/ip/tcp → seq (imported whole, `import * as seq`: the names read well with the prefix).
 *
 * `a` is before `b` if b - a, modulo 2^32, is below 2^31. Two numbers exactly 2^31 apart are each before the other: no
 * legal window is that large.
 *
 * @module
 */

/** a < b. */
export function lt(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

/** a ≤ b. */
export function leq(a: number, b: number): boolean {
  return ((a - b) | 0) <= 0;
}

/** a > b. */
export function gt(a: number, b: number): boolean {
  return ((b - a) | 0) < 0;
}

/** a ≥ b. */
export function geq(a: number, b: number): boolean {
  return ((b - a) | 0) <= 0;
}

/** low ≤ x ≤ high, modulo 2^32. */
export function between(low: number, x: number, high: number): boolean {
  return ((x - low) >>> 0) <= ((high - low) >>> 0);
}

/** start ≤ x < start + size; false for every x if `size` (in bytes, below 2^32) is 0. */
export function inWindow(x: number, start: number, size: number): boolean {
  return ((x - start) >>> 0) < size;
}

/** a + n, unsigned; `n` may be negative. */
export function add(a: number, n: number): number {
  return (a + n) >>> 0;
}

/** a - b as a signed distance, -2^31 to 2^31 - 1. */
export function diff(a: number, b: number): number {
  return (a - b) | 0;
}

/** The later of two numbers. */
export function max(a: number, b: number): number {
  return lt(a, b) ? b : a;
}

/** The earlier of two numbers. */
export function min(a: number, b: number): number {
  return lt(a, b) ? a : b;
}
