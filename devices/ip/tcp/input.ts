/**
 * A segment for a synchronized connection: the eight checks of RFC 9293 3.10.7.4, in their order.
 *
 * Path: demux, syn_queue → input → ack, transitions, tcp/output, receive.
 *
 * ```
 *                  rcv.nxt                rcv.edge
 *   ----|-------------|---------------------|--------
 *  [=== seg ===]                                        old: acknowledged again
 *              [=== seg ===]                            its front is cut off
 *                        [=== seg ===]                  early: kept
 *                                   [=== seg ===]       its tail is cut off
 *                                            [=== seg]  acknowledged, and nothing else
 * ```
 *
 * Each check is a function that returns whether the segment goes on.
 *
 * @module
 */

import * as seq from "../../../kernel/wire/seq.ts";
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from "../../../kernel/wire/tcp.ts";
import { isPossibleAck, takeAck } from "./ack.ts";
import { challenge } from "./challenge.ts";
import { applyEvent } from "./transitions.ts";
import { output } from "./output.ts";
import { noteDuplicate, receivePayload, takeQueued } from "./receive.ts";
import { type IncomingSegment, isAcceptable, isResetAcceptable, mayLackTimestamps } from "./segment_in.ts";
import { sendReset } from "./segment_out.ts";
import { mayReceive, TcpEvent, TcpState } from "./state.ts";
import { settleSynTimeout } from "./timeouts.ts";
import type { Tcb } from "./tcb.ts";

/** A timestamp that is older than this says nothing (RFC 7323 5.5): 24 days, half of what 32 bits hold. */
const TS_RECENT_LIFE_MS = 24 * 24 * 3600 * 1000;

/** Takes a segment (consumed) for a connection that is at least half open. */
export function input(tcb: Tcb, segment: IncomingSegment): void {
  const wasHalfOpen = tcb.state === TcpState.SynReceived;
  if (passes(tcb, segment)) {
    // The sixth check is the urgent pointer: it moves nothing, and urgent data are data (RFC 9293 3.8.5, RFC 6093 6).
    receivePayload(tcb, segment);
    if (wasHalfOpen) takeQueued(tcb);
  }
  segment.drop();
  if (tcb.state !== TcpState.Closed) output(tcb);
}

function passes(tcb: Tcb, segment: IncomingSegment): boolean {
  return checkSequence(tcb, segment) &&
    checkReset(tcb, segment) &&
    // The third check, security and precedence, is obsolete.
    checkSyn(tcb, segment) &&
    checkAck(tcb, segment) &&
    checkReader(tcb, segment);
}

/** First check: the segment is in the window. What of it is not is cut off. */
function checkSequence(tcb: Tcb, segment: IncomingSegment): boolean {
  const { rcv } = tcb;
  if (segment.has(TCP_RST)) {
    if (isResetAcceptable(segment.seq, rcv.nxt, tcb.rcvWnd)) return true;
    tcb.env.stats.windowDrops++;
    return false;
  }
  if (tcb.state === TcpState.SynReceived) trimRepeatedSyn(tcb, segment);
  if (!checkTimestamp(tcb, segment)) return false;
  if (!isAcceptable(segment.seq, segment.span, rcv.nxt, tcb.rcvWnd)) {
    answerUnacceptable(tcb, segment);
    return false;
  }
  trim(tcb, segment);
  return true;
}

/** A simultaneous open: the SYN comes again with an acknowledgment. It has been taken; the rest is an ACK. */
function trimRepeatedSyn(tcb: Tcb, segment: IncomingSegment): void {
  if (!segment.has(TCP_SYN) || !segment.has(TCP_ACK) || segment.seq !== tcb.rcv.irs) return;
  segment.flags &= ~TCP_SYN;
  segment.seq = seq.add(segment.seq, 1);
}

/** PAWS, RFC 7323 5.3: an old duplicate from a window that had the same numbers. */
function checkTimestamp(tcb: Tcb, segment: IncomingSegment): boolean {
  if (!tcb.timestampsOk) return true;
  const { options } = segment;
  const { stats, clock } = tcb.env;
  if (!options.hasTimestamps) {
    const isBefore = seq.add(segment.seq, 1) === tcb.rcv.nxt;
    if (mayLackTimestamps(segment.flags, segment.length, isBefore)) return true;
    stats.pawsDrops++;
    return false;
  }
  if (seq.geq(options.tsVal, tcb.tsRecent) || clock.now() - tcb.tsRecentMs > TS_RECENT_LIFE_MS) return true;
  stats.pawsDrops++;
  answerOld(tcb, segment);
  return false;
}

function answerUnacceptable(tcb: Tcb, segment: IncomingSegment): void {
  tcb.env.stats.windowDrops++;
  if (tcb.state === TcpState.TimeWait && isFinAgain(tcb, segment)) return applyEvent(tcb, TcpEvent.Fin);
  answerOld(tcb, segment);
}

/** The peer's FIN, once more: our acknowledgment of it was lost. */
function isFinAgain(tcb: Tcb, segment: IncomingSegment): boolean {
  return segment.has(TCP_FIN) && segment.end === tcb.rcv.nxt && segment.has(TCP_ACK) && isPossibleAck(tcb, segment.ack);
}

/** A retransmission is acknowledged again, and reported as a duplicate; everything else is challenged. */
function answerOld(tcb: Tcb, segment: IncomingSegment): void {
  const isOld = segment.span > 0 && seq.leq(segment.end, tcb.rcv.nxt);
  if (!isOld || segment.has(TCP_SYN)) return challenge(tcb);
  // A duplicate may acknowledge what was sent long ago, but not what was never sent.
  if (segment.length > 0 && segment.has(TCP_ACK) && seq.leq(segment.ack, tcb.snd.max)) {
    noteDuplicate(tcb, segment.seq, seq.add(segment.seq, segment.length));
  }
  tcb.ackNow = true;
}

/** Cuts off what we have and what the window does not take. */
function trim(tcb: Tcb, segment: IncomingSegment): void {
  const { rcv } = tcb;
  const early = seq.diff(rcv.nxt, segment.seq);
  if (early > 0 && segment.block !== null) {
    // A SYN is only challenged.
    if (segment.has(TCP_SYN)) return;
    segment.cut = early;
    segment.block.rp += Math.min(early, segment.length);
    segment.seq = rcv.nxt;
    tcb.ackNow = true;
  }
  const late = seq.diff(segment.end, rcv.edge);
  if (late <= 0 || segment.block === null) return;
  if (segment.has(TCP_FIN)) {
    segment.flags &= ~TCP_FIN;
    segment.block.wp -= Math.min(segment.length, late - 1);
  } else {
    segment.block.wp -= Math.min(segment.length, late);
  }
  tcb.ackNow = true;
}

/** Second check, with RFC 5961 3: a reset counts only exactly where the next byte is due. */
function checkReset(tcb: Tcb, segment: IncomingSegment): boolean {
  if (!segment.has(TCP_RST)) return true;
  if (segment.seq === tcb.rcv.nxt) applyEvent(tcb, TcpEvent.Rst);
  else challenge(tcb);
  return false;
}

/** Fourth check, with RFC 5961 4: a SYN is only ever challenged. */
function checkSyn(tcb: Tcb, segment: IncomingSegment): boolean {
  if (!segment.has(TCP_SYN)) return true;
  challenge(tcb);
  return false;
}

/** Fifth check, the last one: a segment that passes it is the peer's. */
function checkAck(tcb: Tcb, segment: IncomingSegment): boolean {
  if (!segment.has(TCP_ACK)) {
    tcb.env.stats.flagDrops++;
    return false;
  }
  if (tcb.state === TcpState.SynReceived) {
    if (segment.ack !== tcb.snd.nxt) {
      tcb.env.stats.ackDrops++;
      sendReset(tcb, segment.ack);
      return false;
    }
    hear(tcb, segment);
    establish(tcb, segment);
  } else {
    if (!isPossibleAck(tcb, segment.ack)) {
      tcb.env.stats.ackDrops++;
      challenge(tcb);
      return false;
    }
    hear(tcb, segment);
  }
  return takeAck(tcb, segment);
}

/**
 * The segment has passed all checks: the peer is alive, and its timestamp counts. RFC 7323 4.3: the timestamp to echo
 * is that of the first segment since our last acknowledgment.
 */
function hear(tcb: Tcb, segment: IncomingSegment): void {
  const nowMs = tcb.env.clock.now();
  tcb.heardMs = nowMs;
  tcb.keepaliveProbes = 0;
  const { options, header } = segment;
  if (!tcb.timestampsOk || !options.hasTimestamps || seq.gt(header.seq, tcb.rcv.acked)) return;
  // PAWS lets an earlier timestamp pass only if TS.Recent is too old to be compared.
  tcb.tsRecent = options.tsVal;
  tcb.tsRecentMs = nowMs;
}

/** Our SYN is acknowledged: the peer's window counts from here (RFC 9293 3.10.7.4, SYN-RECEIVED). */
function establish(tcb: Tcb, segment: IncomingSegment): void {
  const { snd } = tcb;
  snd.una = seq.add(snd.iss, 1);
  snd.wnd = segment.window << snd.shift;
  snd.maxWnd = Math.max(snd.maxWnd, snd.wnd);
  snd.wl1 = segment.seq;
  snd.wl2 = segment.ack;
  settleSynTimeout(tcb);
  applyEvent(tcb, TcpEvent.AckOfSyn);
}

/** RFC 9293 3.10.4, RFC 1122 4.2.2.13: this data will never be read, and the peer must know. */
function checkReader(tcb: Tcb, segment: IncomingSegment): boolean {
  if (!tcb.detached || !mayReceive(tcb.state) || segment.length === 0) return true;
  applyEvent(tcb, TcpEvent.Abort);
  return false;
}
