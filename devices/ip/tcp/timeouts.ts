/**
 * What happens when a timer of a connection runs out.
 *
 * Path: timer → timeouts → output, recovery, transitions.
 *
 * @module
 */

import { RTO_AFTER_SYN_MS, RTO_INITIAL_MS } from "./rtt.ts";
import { expireGap } from "./gap.ts";
import { applyEvent } from "./transitions.ts";
import { expireOrphan } from "./orphans.ts";
import { output, resend, restartRto, sendData } from "./output.ts";
import { enterLoss, findLossesByTime, takeLosses } from "./recovery.ts";
import { segmentSizeNow, sendAck, sendProbe, sendSyn } from "./segment_out.ts";
import { TcpEvent, TcpState } from "./state.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import type { Tcb } from "./tcb.ts";
import { CONNECT_TIMEOUT_MS, KEEPALIVE_PROBES, TimerSlot, XmitTimer } from "./timer.ts";

/** Runs the timer `slot`. */
export function expire(tcb: Tcb, slot: TimerSlot): void {
  switch (slot) {
    case TimerSlot.Xmit:
      return expireXmit(tcb);
    case TimerSlot.Ack:
      return sendAck(tcb);
    case TimerSlot.Keepalive:
      return expireKeepalive(tcb);
    case TimerSlot.Linger:
      return expireLinger(tcb);
  }
}

function expireLinger(tcb: Tcb): void {
  if (tcb.state === TcpState.TimeWait || (tcb.state === TcpState.FinWait2 && tcb.detached)) {
    return applyEvent(tcb, TcpEvent.Expire);
  }
  return tcb.detached ? expireOrphan(tcb) : expireGap(tcb);
}

function expireXmit(tcb: Tcb): void {
  const { timers } = tcb;
  const kind = timers.xmit;
  timers.xmit = XmitTimer.None;
  switch (kind) {
    case XmitTimer.None:
      return;
    case XmitTimer.Retransmit:
      return tcb.state <= TcpState.SynReceived ? retransmitSyn(tcb) : retransmit(tcb);
    case XmitTimer.TailProbe:
      return probeTail(tcb);
    case XmitTimer.Reorder:
      findLossesByTime(tcb);
      takeLosses(tcb);
      return output(tcb);
    case XmitTimer.Persist:
      return probeWindow(tcb);
  }
}

/** Whether the peer has not answered for longer than the user wants to wait; then the connection is over. */
function gaveUp(tcb: Tcb, limitMs: number): boolean {
  const nowMs = tcb.env.clock.now();
  if (tcb.stallMs < 0) tcb.stallMs = nowMs;
  if (nowMs - tcb.stallMs < limitMs) return false;
  applyEvent(tcb, TcpEvent.GiveUp);
  return true;
}

function retransmitSyn(tcb: Tcb): void {
  const { env, timers, rtt } = tcb;
  const limitMs = Math.min(CONNECT_TIMEOUT_MS, tcb.config.userTimeoutMs);
  if (gaveUp(tcb, limitMs)) return;
  tcb.backoff++;
  env.stats.retransSegs++;
  env.stats.retransTimeouts++;
  // RFC 3168 6.1.1.1: the path may drop a SYN that asks for ECN.
  if (tcb.backoff > 2) tcb.ecnGivenUp = true;
  const leftMs = limitMs - (env.clock.now() - tcb.stallMs);
  timers.setXmit(XmitTimer.Retransmit, Math.max(1, Math.min(rtt.timeoutMs(tcb.backoff), leftMs)));
  // RFC 6298 5.7: without a sample the next timeout is long.
  if (rtt.rtoMs === RTO_INITIAL_MS) tcb.synResent = true;
  sendSyn(tcb);
}

/** The timeout after a handshake in which the SYN was sent again (RFC 6298 5.7). */
export function settleSynTimeout(tcb: Tcb): void {
  if (tcb.synResent && tcb.rtt.srttMs === 0) tcb.rtt.rtoMs = RTO_AFTER_SYN_MS;
}

/** RFC 6298 5.4 to 5.6. */
function retransmit(tcb: Tcb): void {
  const { env } = tcb;
  // The deadline moved on since the timer was armed as something else.
  if (tcb.rtoAtMs > env.clock.now() && tcb.rtoAtMs !== Infinity) return output(tcb);
  if (gaveUp(tcb, tcb.config.userTimeoutMs)) return;
  env.stats.retransTimeouts++;
  enterLoss(tcb);
  tcb.backoff++;
  restartRto(tcb);
  output(tcb);
}

/** RFC 8985 7.3: one segment of new data, or the last one again; then the retransmission timer waits. */
function probeTail(tcb: Tcb): void {
  const { board, snd, env } = tcb;
  if (board.head === null) return output(tcb);
  const usable = seq.diff(seq.add(snd.una, snd.wnd), snd.nxt);
  const length = Math.min(tcb.unsent, usable, segmentSizeNow(tcb));
  env.stats.tailProbes++;
  tcb.probeIsResend = length <= 0;
  if (length > 0) {
    tcb.probeEnd = seq.add(snd.nxt, length);
    sendData(tcb, length, false);
  } else {
    tcb.probeEnd = snd.nxt;
    const last = board.tail!;
    const mss = segmentSizeNow(tcb);
    if (last.length > mss) board.split(last, seq.add(last.end, -mss));
    const sent = board.tail!;
    if (!sent.sacked) resend(tcb, sent, mss);
  }
  restartRto(tcb);
  output(tcb);
}

/** The window is shut, or too small to be worth it (RFC 9293 3.8.6.1, 3.8.6.2.1). */
function probeWindow(tcb: Tcb): void {
  const { snd, env } = tcb;
  if (tcb.board.head !== null || tcb.unsent <= 0) return output(tcb);
  const usable = seq.diff(seq.add(snd.una, snd.wnd), snd.nxt);
  if (usable > 0) {
    sendData(tcb, Math.min(usable, tcb.unsent, segmentSizeNow(tcb)), false);
    return output(tcb);
  }
  if (gaveUp(tcb, tcb.config.userTimeoutMs)) return;
  env.stats.windowProbes++;
  tcb.backoff++;
  sendProbe(tcb);
  output(tcb);
}

/** RFC 9293 3.8.4. */
function expireKeepalive(tcb: Tcb): void {
  const { config, env, timers } = tcb;
  if (config.keepaliveMs === 0) return;
  const idleMs = env.clock.now() - tcb.heardMs;
  if (idleMs < config.keepaliveMs) {
    tcb.keepaliveProbes = 0;
    return timers.set(TimerSlot.Keepalive, config.keepaliveMs - idleMs);
  }
  if (tcb.keepaliveProbes >= KEEPALIVE_PROBES) return applyEvent(tcb, TcpEvent.GiveUp);
  tcb.keepaliveProbes++;
  env.stats.keepalives++;
  timers.set(TimerSlot.Keepalive, config.keepaliveMs);
  // Data in flight probes by itself.
  if (tcb.board.head === null) sendProbe(tcb);
}
