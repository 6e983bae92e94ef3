/**
 * How long a call may wait: until a signal is aborted, or until some time of the kernel's clock has passed.
 *
 * Path: user program, proc, dial → wait → time.
 *
 * @module
 */

import { KernelError } from "./error.ts";
import type { Clock, Timer } from "./time.ts";

/** Bounds of a wait; without any of them it has no end. */
export interface WaitOptions {
  /** The call rejects with the signal's reason when it is aborted. It takes nothing then. */
  signal?: AbortSignal | undefined;
  /** The call rejects with ETIMEDOUT after this many milliseconds of the host's clock, virtual or real. */
  timeoutMs?: number | undefined;
}

/** One wait with its bounds; {@link WaitLimit.end} forgets them. */
export class WaitLimit {
  /** Aborted when the wait is over; undefined: it has no bound. */
  readonly signal: AbortSignal | undefined;
  readonly #timer: Timer | null = null;

  /** Starts it. EINVAL: `timeoutMs` is no time. */
  constructor(clock: Clock, { signal, timeoutMs = Infinity }: WaitOptions) {
    this.signal = signal;
    if (timeoutMs === Infinity) return;
    if (!(timeoutMs >= 0)) throw new KernelError("EINVAL", `Cannot wait for ${timeoutMs} ms: not a length of time`);
    const late = new AbortController();
    this.#timer = clock.timer(() => late.abort(new KernelError("ETIMEDOUT", `Gave up after ${timeoutMs} ms`)));
    this.#timer.arm(timeoutMs);
    this.signal = signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]);
  }

  /** The wait is over, one way or the other. */
  end(): void {
    this.#timer?.disarm();
  }
}
