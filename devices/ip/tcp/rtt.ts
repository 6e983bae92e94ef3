/**
 * Round-trip time and retransmission timeout: RFC 6298, with RFC 7323's rule for many samples a round trip.
 *
 * Path: rack, tcp/output, tcb → rtt.
 *
 * @module
 */

/** Timeout before anything was measured (RFC 6298 2.1). */
export const RTO_INITIAL_MS = 1000;
/**
 * What a timeout leaves beyond the smoothed round trip, with any deviation: an acknowledgment may be delayed by so
 * much, and on a steady path the deviation would not show it. RFC 6298 2.4 wants a whole second at least, for the
 * clocks of its time; Linux has lived with this for twenty years.
 */
export const RTO_MARGIN_MS = 200;
/** Longest timeout (RFC 6298 2.5 asks for at least 60 s). */
export const RTO_MAX_MS = 60_000;
/**
 * Timeout of data after a SYN was sent again and there was no timestamp to tell which one was answered (RFC 6298 5.7).
 */
export const RTO_AFTER_SYN_MS = 3000;
/** How long a smallest round trip counts: paths change. */
const MIN_LIFE_MS = 10_000;

/** What is known of the round-trip time. */
export class Rtt {
  /** Smoothed round-trip time; 0: nothing measured. */
  srttMs = 0;
  /** Its mean deviation. */
  rttvarMs = 0;
  /** Smallest sample of the last {@link MIN_LIFE_MS} or so; 0: none. */
  minMs = 0;
  /** Timeout without backoff. */
  rtoMs: number = RTO_INITIAL_MS;
  #minAtMs = 0;

  /**
   * Takes a sample. `perRound` is how many samples a round trip brings: each counts that much less (RFC 7323 appendix
   * G).
   */
  sample(rttMs: number, nowMs: number, perRound = 1): void {
    const r = Math.max(rttMs, 0.001);
    if (this.srttMs === 0) {
      this.srttMs = r;
      this.rttvarMs = r / 2;
    } else {
      this.rttvarMs += (Math.abs(this.srttMs - r) - this.rttvarMs) / (4 * perRound);
      this.srttMs += (r - this.srttMs) / (8 * perRound);
    }
    this.rtoMs = Math.min(RTO_MAX_MS, this.srttMs + Math.max(RTO_MARGIN_MS, 4 * this.rttvarMs));
    if (this.minMs === 0 || r <= this.minMs || nowMs - this.#minAtMs > MIN_LIFE_MS) {
      this.minMs = r;
      this.#minAtMs = nowMs;
    }
  }

  /** Timeout after `backoff` timeouts in a row (RFC 6298 5.5). */
  timeoutMs(backoff: number): number {
    return Math.min(RTO_MAX_MS, this.rtoMs * 2 ** Math.min(backoff, 16));
  }
}
