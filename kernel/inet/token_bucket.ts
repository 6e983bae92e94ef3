/**
 * TokenBucket: how often something may be done, by tokens that time brings (RFC 1812 4.3.2.8, RFC 4443 2.4 for ICMP
 * errors).
 *
 * Path: icmp_errors, nat, link6 → token_bucket.
 *
 * @module
 */

/** A bucket of tokens. */
export class TokenBucket {
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
