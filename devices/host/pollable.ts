/**
 * Pollable: what a reactor polls, a port or anything else with a descriptor that becomes readable.
 *
 * Path: tun, unix_socket → pollable ← reactor.
 *
 * @module
 */

/** Packets of one descriptor in one poll: at about 4 µs each a turn stays below two thirds of a millisecond. */
export const DRAIN_MAX = 64;
/** How long a descriptor rests after its `drain` returned {@link REST}. */
export const REST_MS = 50;

/** Result of a `drain` that cannot serve its descriptor now: see {@link Pollable.drain}. */
export const REST = -2;

/** An object that the loop polls: a port, or anything else with a descriptor that becomes readable. */
export interface Pollable {
  /** Its descriptor; negative when closed. */
  readonly fd: number;
  /**
   * Takes at most `max` units; returns how many, {@link REST} to be called again after {@link REST_MS} and not before,
   * or another negative number to be removed.
   */
  drain(max: number): number;
  /** As {@link DRAIN_MAX}, for one whose units cost less than usual. */
  readonly drainMax?: number;
  /** Set by the reactor, to remove it when it is closed. */
  onClose: (() => void) | null;
}
