/**
 * Our own mistakes: a broken invariant stops the program. Never for bytes that a guest, a user or a network sent.
 *
 * Path: everywhere → assert (nothing catches it).
 *
 * @module
 */

/** A broken invariant of our own. */
class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Throws {@link AssertionError} unless `condition` holds. */
export function assert(condition: boolean, text: string): asserts condition {
  if (!condition) throw new AssertionError(text);
}
