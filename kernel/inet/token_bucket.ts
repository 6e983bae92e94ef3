/**
 * TokenBucket: limits how often something is done; tokens arrive with time (RFC 1812 4.3.2.8, RFC 4443 2.4 for ICMP
 * errors).
 *
 * Path: icmp_errors, nat, link6 → token_bucket.
 *
 * @module
 */

/** How often: at most `burst` at once, and `perSecond` in the long run. */
export interface TokenRate {
  readonly perSecond: number;
  readonly burst: number;
}

/** The tokens of a bucket that had `tokens`, `elapsedMs` later; an event takes one, and needs one that is whole. */
export function tokensAfter(tokens: number, elapsedMs: number, { perSecond, burst }: TokenRate): number {
  return Math.min(burst, tokens + Math.max(0, elapsedMs) * perSecond / 1000);
}

/** A bucket of tokens. */
export class TokenBucket implements TokenRate {
  #tokens: number;
  #at = 0;

  /** Allows `burst` at once, and `perSecond` in the long run. */
  constructor(readonly perSecond: number, readonly burst: number) {
    this.#tokens = burst;
  }

  /** Takes a token; false if there is none. `now` in milliseconds. */
  take(now: number): boolean {
    this.#tokens = tokensAfter(this.#tokens, now - this.#at, this);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
