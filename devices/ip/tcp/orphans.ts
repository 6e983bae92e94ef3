/**
 * Orphans: connections whose program has closed its files, while data or a FIN of ours is still to be acknowledged, or
 * the peer's FIN to come. Only the peer can end one in order, so each has a limit in time and all have one in number
 * (RFC 6429: also a peer that answers every probe of its shut window holds what it does not take).
 *
 * Path: tcp (close, collect), ack (progress), timeouts, pressure → orphans → transitions.
 *
 * When some must go, the longest-stalled go first: those that only wait for a FIN, then those with a shut window, then
 * those that do not answer, then the others; among equals by the time since the peer last took something.
 *
 * @module
 */

import * as seq from "../../../kernel/wire/seq.ts";
import { applyEvent, finish } from "./transitions.ts";
import { TcpEvent, TcpState } from "./state.ts";
import type { Tcb, TcpEnv } from "./tcb.ts";
import { TimerSlot } from "./timer.ts";

/** Orphans of one stack: a quarter of its conversations. Beyond that the longest-stalled are reset. */
export const ORPHANS_MAX = 1024;
/** How long an orphan may go on while the peer takes nothing (RFC 1122 4.2.3.5: R2 is 100 s at least). */
export const ORPHAN_STALL_MS = 100_000;
/** So many are ended together: looking for the worst costs a look at all. */
export const ORPHANS_BATCH = 64;

/** The program has closed the connection: what it wrote, and the FIN, are still to be delivered. */
export function adopt(tcb: Tcb): void {
  const { env } = tcb;
  if (tcb.state === TcpState.Closed || tcb.state === TcpState.TimeWait) return;
  tcb.progressMs = env.clock.now();
  tcb.progressSeq = tcb.snd.una;
  env.orphans.add(tcb);
  if (tcb.state !== TcpState.FinWait2) tcb.timers.set(TimerSlot.Linger, stallLimitMs(tcb));
  if (env.orphans.size > ORPHANS_MAX) endOrphans(env, ORPHANS_BATCH);
}

function stallLimitMs(tcb: Tcb): number {
  return Math.min(ORPHAN_STALL_MS, tcb.config.userTimeoutMs);
}

/** The peer has acknowledged something: less than a segment, with more to come, is no progress (RFC 6429 4). */
export function noteProgress(tcb: Tcb): void {
  const { snd } = tcb;
  if (seq.diff(snd.una, tcb.progressSeq) < snd.mss && tcb.wq.length > 0) return;
  tcb.progressSeq = snd.una;
  tcb.progressMs = tcb.env.clock.now();
}

/** The time of an orphan may be over. */
export function expireOrphan(tcb: Tcb): void {
  const stalledMs = tcb.env.clock.now() - tcb.progressMs;
  const limitMs = stallLimitMs(tcb);
  if (stalledMs < limitMs) return tcb.timers.set(TimerSlot.Linger, limitMs - stalledMs);
  tcb.env.stats.orphanTimeouts++;
  endOrphan(tcb);
}

/** Ends up to `most` orphans, the longest-stalled first; returns how many. */
export function endOrphans(env: TcpEnv, most: number, mayEnd: (tcb: Tcb) => boolean = () => true): number {
  const worst = [...env.orphans].filter(mayEnd).sort((a, b) => rank(a) - rank(b) || a.progressMs - b.progressMs);
  const ended = worst.slice(0, most);
  for (const tcb of ended) {
    env.stats.orphansEnded++;
    endOrphan(tcb);
  }
  return ended.length;
}

/** Whether the peer has had its chance: its window is shut, or a retransmission has had no answer. */
export function isStalled(tcb: Tcb): boolean {
  return rank(tcb) < 3;
}

function rank(tcb: Tcb): number {
  if (tcb.state === TcpState.FinWait2) return 0;
  if (tcb.board.head === null && tcb.unsent > 0) return 1;
  return tcb.backoff > 0 ? 2 : 3;
}

/** The peer of one that waits for a FIN has heard everything: it needs no reset. */
function endOrphan(tcb: Tcb): void {
  if (tcb.state === TcpState.FinWait2) finish(tcb);
  else applyEvent(tcb, TcpEvent.Abort);
}
