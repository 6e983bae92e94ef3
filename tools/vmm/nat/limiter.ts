/**
 * Limiter: how often something may be done: a bucket of tokens that fills with time (RFC 1812 4.3.2.8 for ICMP errors).
 *
 * Path: errors, nat_program (log lines) → limiter.
 *
 * @module
 */

/** A bucket of tokens. */
export class Limiter {
  #tokens: number;
  #at = 0;

  /** At most `burst` at once, and `perSecond` in the long run. */
  constructor(readonly perSecond: number, readonly burst: number) {
    this.#tokens = burst;
  }

  /** Takes a token; false if there is none. `now` in milliseconds. */
  take(now: number): boolean {
    const elapsed = Math.max(0, now - this.#at);
    this.#at = now;
    this.#tokens = Math.min(this.burst, this.#tokens + elapsed * this.perSecond / 1000);
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
