/**
 * A pause: the JavaScript event loop turns once.
 *
 * Path: benches, guest_benches, tcp_benches → pause.
 *
 * `setImmediate` costs about 2 µs here, and timers, sockets and child processes get their turn between two of them; a
 * `setTimeout` of 0 takes 2 ms.
 *
 * @module
 */

/** Settles after everything that waits for its turn now, microtasks included, has had it. */
export function pause(): Promise<void> {
  return new Promise<void>((resolve) => setImmediate(resolve));
}
