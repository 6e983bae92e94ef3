/**
 * A gap in what has come: data behind it wait for it, but not for ever, since only the peer can fill it.
 *
 * Path: pressure, receive, timeouts → gap → tcb, timer.
 *
 * What is dropped here was SACKed but not acknowledged: RFC 2018 8 allows it, and the peer sends it again.
 *
 * @module
 */

import type { Tcb } from "./tcb.ts";
import { TimerSlot, USER_TIMEOUT_MS } from "./timer.ts";

/** How long a gap may stand: a peer that is there would have filled it, or given up, by then (RFC 9293 3.8.3). */
export const GAP_LIFE_MS = USER_TIMEOUT_MS;
/** The same while memory is short: some retransmissions of the peer. */
export const GAP_PRESSED_MS = 10_000;

/** The first data behind a new gap have come. */
export function watchGap(tcb: Tcb): void {
  restart(tcb);
  if (!tcb.detached && !tcb.timers.isSet(TimerSlot.Linger)) tcb.timers.set(TimerSlot.Linger, GAP_LIFE_MS);
}

/** The time of a gap may be over. */
export function expireGap(tcb: Tcb): void {
  if (tcb.resequence.ranges === 0) return;
  const stoodMs = gapMs(tcb);
  if (stoodMs >= GAP_LIFE_MS) return dropEarly(tcb);
  tcb.timers.set(TimerSlot.Linger, GAP_LIFE_MS - stoodMs);
}

/** Memory is short: what has waited long enough for that goes. */
export function relieveGap(tcb: Tcb): void {
  if (tcb.resequence.ranges > 0 && gapMs(tcb) >= GAP_PRESSED_MS) dropEarly(tcb);
}

/** How long the gap has stood; it is a new one if RCV.NXT has moved. */
function gapMs(tcb: Tcb): number {
  if (tcb.rcv.nxt !== tcb.rcv.gapNxt) restart(tcb);
  return tcb.env.clock.now() - tcb.rcv.gapMs;
}

function restart(tcb: Tcb): void {
  tcb.rcv.gapNxt = tcb.rcv.nxt;
  tcb.rcv.gapMs = tcb.env.clock.now();
}

function dropEarly(tcb: Tcb): void {
  tcb.env.stats.earlyDrops++;
  tcb.resequence.clear();
  // A FIN behind the gap comes again with what was before it.
  tcb.rcv.finAt = -1;
}
