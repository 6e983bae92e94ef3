/**
 * A pause of one turn of the JavaScript event loop.
 *
 * Path: benches, guest_benches, tcp_benches → pause.
 *
 * `setImmediate` costs about 2 µs here, and timers, sockets and child processes get their turn between two of them; a
 * `setTimeout` of 0 takes 2 ms.
 *
 * @module
 */

/** Settles after all tasks that are queued now, microtasks included, have run. */
export function pause(): Promise<void> {
  return new Promise<void>((resolve) => setImmediate(resolve));
}
