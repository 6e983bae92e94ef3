/**
 * RACK-TLP, RFC 8985: loss detection by time. What was sent a little before something that has arrived is lost.
 *
 * Path: recovery, tcp/output, tcb → rack → sack, rtt, seq.
 *
 * ```
 *   sent at   1     2     3     4     5        ms
 *             ·     ×     ·     ·     ✓  ← arrived: RACK.segment
 *             └──┬──────────────┘
 *       lost if sent more than one round trip and a reordering window ago
 * ```
 *
 * @module
 */

import * as seq from "../../../kernel/wire/seq.ts";
import type { Rtt } from "./rtt.ts";
import { type Delivery, isLater, type Scoreboard, type Sent } from "./sack.ts";

/** SACKed segments after which, while no reordering was seen, there is no reordering window (RFC 8985 3.3). */
export const DUP_THRESH = 3;
/** Recoveries without a D-SACK after which the reordering window shrinks again (RFC 8985 7.2 step 4). */
const PERSIST_RECOVERIES = 16;
/** What a lone segment may wait for its acknowledgment at the peer (RFC 8985 7.2: WCDelAckT). */
const WORST_DELAYED_ACK_MS = 200;
/** Probe timeout while no round trip is known (RFC 8985 7.2). */
const PROBE_INITIAL_MS = 1000;

/** What is remembered between acknowledgments. */
export class Rack {
  /** When the latest-sent of what has arrived was sent; below 0: nothing has. */
  xmitMs = -1;
  order = -1;
  end = 0;
  /** Its round trip. */
  rttMs = 0;
  /** Whether the path reorders. */
  reordering = false;
  /** Width of the reordering window, in quarters of the smallest round trip. */
  windowMult = 1;
  /** Recoveries until the width is 1 again. */
  persist = 0;
  /** End of the round trip in which a D-SACK widened it. */
  #dsackRound = 0;
  #inDsackRound = false;

  /** Takes note of what an acknowledgment delivered; `echoMs` is when what it echoes was sent, or -1 (RFC 8985 6.2). */
  update(delivery: Delivery, rtt: Rtt, nowMs: number, echoMs: number): void {
    if (delivery.onceMs >= 0) this.#advance(delivery.onceMs, delivery.onceOrder, delivery.onceEnd, nowMs);
    if (delivery.againMs >= 0) {
      // Which of the sends arrived? Not the last one, if the echo is older than it or the trip was impossibly short.
      const tripMs = nowMs - delivery.againMs;
      const tooOld = echoMs >= 0 && echoMs < Math.floor(delivery.againMs);
      if (!tooOld && tripMs >= rtt.minMs) {
        this.#advance(delivery.againMs, delivery.againOrder, delivery.againEnd, nowMs);
      }
    }
    if (delivery.reordered) this.reordering = true;
  }

  #advance(sentMs: number, order: number, end: number, nowMs: number): void {
    if (!isLater(order, end, this.order, this.end)) return;
    this.xmitMs = sentMs;
    this.order = order;
    this.end = end;
    this.rttMs = nowMs - sentMs;
  }

  /** A D-SACK shows that we were too quick: a wider window, once a round trip (RFC 8985 6.2 step 4). */
  onDsack(una: number, nxt: number): void {
    if (this.#inDsackRound && seq.lt(una, this.#dsackRound)) return;
    this.#inDsackRound = true;
    this.#dsackRound = nxt;
    this.windowMult++;
    this.persist = PERSIST_RECOVERIES;
  }

  /** A recovery has ended. */
  onRecovered(): void {
    if (this.persist > 0 && --this.persist === 0) this.windowMult = 1;
  }

  /** The reordering window (RFC 8985 6.2 step 4). */
  windowMs(rtt: Rtt, facts: { inRecovery: boolean; segmentsSacked: number }): number {
    if (!this.reordering && (facts.inRecovery || facts.segmentsSacked >= DUP_THRESH)) return 0;
    return Math.min(this.windowMult * rtt.minMs / 4, rtt.srttMs);
  }
}

/**
 * Marks what is lost by now; returns after how many milliseconds to look again, 0 if not at all (RFC 8985 6.2 step 5).
 */
export function detectLoss(rack: Rack, board: Scoreboard, nowMs: number, windowMs: number): number {
  let waitMs = 0;
  if (rack.xmitMs < 0) return 0;
  for (let sent: Sent | null = board.head; sent !== null; sent = sent.next) {
    if (sent.sacked || (sent.lost && !sent.resent)) continue;
    if (!isLater(rack.order, rack.end, sent.order, sent.end)) {
      // Sent once, and after: so is everything behind it.
      if (sent.sends === 1) break;
      continue;
    }
    const leftMs = sent.sentMs + rack.rttMs + windowMs - nowMs;
    if (leftMs <= 0) board.markLost(sent);
    else waitMs = Math.max(waitMs, leftMs);
  }
  return waitMs;
}

/** How long to wait for an acknowledgment before probing the tail (RFC 8985 7.2). */
export function probeTimeoutMs(rtt: Rtt, isAlone: boolean): number {
  if (rtt.srttMs === 0) return PROBE_INITIAL_MS;
  return 2 * rtt.srttMs + (isAlone ? WORST_DELAYED_ACK_MS : 2);
}
