/**
 * How much new data to send in one go: by the two windows, by Nagle's rule, and by the rule against silly windows (RFC
 * 9293 3.8.6.2.1).
 *
 * Path: tcp/output → sendable.
 *
 * @module
 */

/** Most payload of one segment with metadata: IP's largest packet, less the largest headers. */
export const BURST_MAX = 65_535 - 120;

/** What decides how much new data may go. */
interface SendFacts {
  /** Bytes queued and not sent. */
  readonly unsent: number;
  /** Bytes that the peer's window still takes. */
  readonly usable: number;
  /** Bytes that the congestion window still takes. */
  readonly room: number;
  /** Payload of a full segment. */
  readonly mss: number;
  /** The largest window the peer ever had. */
  readonly maxWnd: number;
  /** A segment less than full may go: Nagle's rule is off or satisfied, or the stream ends behind it. */
  readonly smallOk: boolean;
}

/** How many bytes of new data to send in one go; 0: none. */
export function sendableBytes(facts: SendFacts): number {
  const { unsent, usable, room, mss } = facts;
  const most = Math.min(unsent, usable, room, BURST_MAX);
  if (most <= 0) return 0;
  const full = most - most % mss;
  if (most === unsent) return facts.smallOk || full === most ? most : full;
  if (full > 0) return full;
  // Less than a segment, and more is queued: only for a peer whose windows are always small.
  return usable <= room && most >= facts.maxWnd / 2 ? most : 0;
}
