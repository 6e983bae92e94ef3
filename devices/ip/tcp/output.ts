/**
 * What to send now: lost data again, new data, a FIN, an acknowledgment; and which timer then waits for the answer.
 *
 * Path: input, timeouts, tcp/advice → tcp/output → sendable, segment_out, congestion, pmtu, rack.
 *
 * New data waits for the smaller of two windows, the peer's and the network's. What is less than a full segment waits
 * more: for Nagle's rule (with Minshall's amendment: only a small segment in flight holds the next one back), and for
 * the rule against silly windows (RFC 9293 3.8.6.2.1). All of that is in {@link sendableBytes}.
 *
 * @module
 */

import * as seq from "../../../kernel/wire/seq.ts";
import { TCP_ACK, TCP_FIN, TCP_PSH } from "../../../kernel/wire/tcp.ts";
import type { SendResult } from "../packet/packet.ts";
import { restartAfterIdle } from "./congestion.ts";
import { lowerMss } from "./pmtu.ts";
import { probeTimeoutMs } from "./rack.ts";
import type { Sent } from "./sack.ts";
import { BURST_MAX, sendableBytes } from "./sendable.ts";
import { segmentSizeNow, sendAck, sendSegment } from "./segment_out.ts";
import { maySend } from "./state.ts";
import { Recovery, type Tcb } from "./tcb.ts";
import { RTO_MAX_MS } from "./rtt.ts";
import { TimerSlot, XmitTimer } from "./timer.ts";

/** Segments that one call sends at most: enough for the largest window in full bursts. */
const SEGMENTS_PER_CALL = 4096;
/** Small data is held back no longer than this by a small window (RFC 9293 3.8.6.2.1: 0.1 to 1 s). */
const OVERRIDE_MS = 500;

/** Sends whatever may be sent, and leaves the right timer running. */
export function output(tcb: Tcb): void {
  if (maySend(tcb.state)) {
    if (tcb.board.head === null) restartIfIdle(tcb);
    sendLost(tcb);
    sendNew(tcb);
    // The path refused a segment as too big: what it carried goes again at once, in smaller ones.
    if (tcb.forceResend) sendLost(tcb);
  }
  if (tcb.ackNow) sendAck(tcb);
  if (maySend(tcb.state)) armTimer(tcb);
}

function restartIfIdle(tcb: Tcb): void {
  const { snd } = tcb;
  if (tcb.env.clock.now() - snd.lastMs > tcb.rtt.timeoutMs(0)) restartAfterIdle(tcb.congestion);
}

/** Retransmits what is taken for lost, as far as the network takes it. */
function sendLost(tcb: Tcb): void {
  for (let i = 0; i < SEGMENTS_PER_CALL; i++) {
    const lost = tcb.board.nextLost();
    if (lost === null) break;
    const mss = segmentSizeNow(tcb);
    const room = tcb.congestion.cwnd - tcb.pipe;
    if (room < Math.min(mss, lost.length) && !tcb.forceResend) return;
    const most = tcb.forceResend ? mss : Math.min(BURST_MAX, Math.max(mss, room - room % mss));
    tcb.forceResend = false;
    if (!resend(tcb, lost, most)) return;
  }
  tcb.forceResend = false;
}

/** Sends up to `most` bytes of `sent` again; the rest of it becomes a record of its own. */
export function resend(tcb: Tcb, sent: Sent, most: number): boolean {
  const { snd, env, board } = tcb;
  const finAt = seq.add(snd.base, tcb.wq.length);
  const hasFin = tcb.finSent && sent.end === seq.add(finAt, 1);
  const length = sent.length - (hasFin ? 1 : 0);
  const part = Math.min(length, most);
  if (part < length && !board.split(sent, seq.add(sent.seq, part))) return false;
  const withFin = hasFin && part === length;
  const isLast = seq.add(sent.seq, part) === finAt;
  const flags = TCP_ACK | (withFin ? TCP_FIN : 0) | (isLast && part > 0 ? TCP_PSH : 0);
  const result = sendSegment(tcb, { seq: sent.seq, length: part, flags, isNew: false });
  env.stats.retransSegs += Math.max(1, Math.ceil(part / snd.mss));
  board.sentAgain(sent, env.clock.now());
  tcb.resends++;
  if (tcb.rtoAtMs === Infinity || sent === board.head) restartRto(tcb);
  return wentOut(tcb, result);
}

/** Sends new data and the FIN. */
function sendNew(tcb: Tcb): void {
  const { snd } = tcb;
  tcb.cwndLimited = false;
  for (let i = 0; i < SEGMENTS_PER_CALL; i++) {
    const { unsent } = tcb;
    if (unsent <= 0) {
      if (unsent === 0 && tcb.finWanted && !tcb.finSent) sendData(tcb, 0, true);
      return;
    }
    const room = Math.floor(tcb.congestion.cwnd - tcb.pipe);
    const mss = segmentSizeNow(tcb);
    const usable = seq.diff(seq.add(snd.una, snd.wnd), snd.nxt);
    const smallOk = tcb.config.nodelay || tcb.finWanted || seq.leq(snd.smallEnd, snd.una) || snd.una === snd.nxt;
    const length = sendableBytes({ unsent, usable, room, mss, maxWnd: snd.maxWnd, smallOk });
    if (length === 0) {
      if (room < Math.min(mss, unsent, usable)) tcb.cwndLimited = true;
      return;
    }
    if (!sendData(tcb, length, tcb.finWanted && length === unsent)) return;
  }
}

/** Sends the next `length` bytes, with the FIN behind them if `withFin`. */
export function sendData(tcb: Tcb, length: number, withFin: boolean): boolean {
  const { snd, env } = tcb;
  const from = snd.nxt;
  const isLast = length === tcb.unsent;
  const flags = TCP_ACK | (withFin ? TCP_FIN : 0) | (isLast && length > 0 ? TCP_PSH : 0);
  const end = seq.add(from, length + (withFin ? 1 : 0));
  // Noted before it is sent: a loopback answers only later, but a link may say at once that it is too big.
  if (length % snd.mss !== 0) snd.smallEnd = seq.add(from, length);
  if (withFin) tcb.finSent = true;
  snd.nxt = end;
  snd.max = seq.max(snd.max, end);
  snd.lastMs = env.clock.now();
  tcb.board.append(from, end, snd.lastMs);
  const result = sendSegment(tcb, { seq: from, length, flags, isNew: true });
  if (tcb.rtoAtMs === Infinity) restartRto(tcb);
  armProbe(tcb);
  return wentOut(tcb, result);
}

/** Whether sending may go on: what the path refuses counts as lost, and is sent again smaller or later. */
function wentOut(tcb: Tcb, result: SendResult): boolean {
  if (result === "sent") return true;
  if (result === "noRoute") {
    tcb.softError = "No route";
    return false;
  }
  const { env, conv } = tcb;
  if (lowerMss(tcb, env.ip.mtu(conv.raddr))) {
    tcb.board.markAllLost();
    tcb.forceResend = true;
  }
  return false;
}

/** The retransmission timeout counts from now (RFC 6298 5.1, 5.3). */
export function restartRto(tcb: Tcb): void {
  tcb.rtoAtMs = tcb.env.clock.now() + tcb.rtt.timeoutMs(tcb.backoff);
}

/** After new data, or an acknowledgment of some: probe the tail before the timeout would (RFC 8985 7.2). */
export function armProbe(tcb: Tcb): void {
  const { timers, env } = tcb;
  if (!tcb.sackOk || tcb.recovery !== Recovery.Open || tcb.backoff > 0 || tcb.probeEnd >= 0) return;
  if (tcb.board.sackedBytes > 0 || tcb.board.head === null || timers.xmit === XmitTimer.Reorder) return;
  const isAlone = tcb.flight <= tcb.snd.mss;
  const waitMs = Math.min(probeTimeoutMs(tcb.rtt, isAlone), tcb.rtoAtMs - env.clock.now());
  timers.setXmit(XmitTimer.TailProbe, waitMs);
}

/** Leaves the timer running that the connection needs now. */
function armTimer(tcb: Tcb): void {
  const { timers, env } = tcb;
  if (tcb.board.head !== null) {
    const probing = timers.xmit === XmitTimer.TailProbe && tcb.recovery === Recovery.Open;
    const waiting = probing || timers.xmit === XmitTimer.Reorder;
    if (waiting && timers.deadlineMs(TimerSlot.Xmit) <= tcb.rtoAtMs) return;
    if (timers.xmit === XmitTimer.Retransmit && timers.deadlineMs(TimerSlot.Xmit) === tcb.rtoAtMs) return;
    if (tcb.rtoAtMs === Infinity) restartRto(tcb);
    return timers.setXmit(XmitTimer.Retransmit, tcb.rtoAtMs - env.clock.now());
  }
  tcb.rtoAtMs = Infinity;
  if (tcb.unsent > 0) return armPersist(tcb);
  timers.clear(TimerSlot.Xmit);
}

/** Data waits for a window, and nothing is in flight whose acknowledgment could open it (RFC 9293 3.8.6.1). */
function armPersist(tcb: Tcb): void {
  const { timers } = tcb;
  if (timers.xmit === XmitTimer.Persist) return;
  const isShut = seq.leq(seq.add(tcb.snd.una, tcb.snd.wnd), tcb.snd.nxt);
  timers.setXmit(XmitTimer.Persist, isShut ? Math.min(RTO_MAX_MS, tcb.rtt.timeoutMs(tcb.backoff)) : OVERRIDE_MS);
}
