/**
 * Checks of invariants: a broken one stops the program. Never used for bytes that a guest, a user or a network sent.
 *
 * Path: everywhere → assert (not caught).
 *
 * @module
 */

/** A broken invariant. */
class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Throws {@link AssertionError} unless `condition` holds. */
export function assert(condition: boolean, text: string): asserts condition {
  if (!condition) throw new AssertionError(text);
}
