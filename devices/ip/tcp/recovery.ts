/**
 * What an acknowledgment says of losses, and what follows: fast recovery, the end of one, growth of the window (RFC
 * 5681, RFC 6582, RFC 6675, RFC 8985), and the reaction to ECN marks (RFC 3168 6.1.2).
 *
 * Path: ack, timeouts → recovery → congestion, rack, tcp/output, tcb.
 *
 * With SACK, RACK decides what is lost. Without it three duplicate acknowledgments say that the first segment is, and
 * every acknowledgment in recovery that is not the last says it of the next (NewReno).
 *
 * @module
 */

import * as seq from "../../../kernel/wire/seq.ts";
import { collapse, reduce } from "./congestion.ts";
import { armProbe, restartRto } from "./output.ts";
import { detectLoss, DUP_THRESH } from "./rack.ts";
import { Recovery, type Tcb } from "./tcb.ts";
import { XmitTimer } from "./timer.ts";

/** What an acknowledgment brought, beside what the scoreboard noted. */
interface AckNews {
  /** Bytes by which snd.una moved. */
  readonly ackedBytes: number;
  /** Bytes on their way before it. */
  readonly flightBefore: number;
  /** It acknowledged nothing new, and was nothing but an acknowledgment. */
  readonly isDuplicate: boolean;
}

/** Looks for losses, enters or leaves recovery, and lets the window grow. */
export function onAcknowledgment(tcb: Tcb, news: AckNews): void {
  if (tcb.recovery !== Recovery.Open && seq.geq(tcb.snd.una, tcb.recover)) leave(tcb);
  if (tcb.sackOk) findLossesByTime(tcb);
  else findLossesByCount(tcb, news);
  const wasFast = tcb.recovery === Recovery.Fast;
  takeLosses(tcb);
  if (news.ackedBytes > 0 && !wasFast && tcb.recovery !== Recovery.Fast) grow(tcb, news);
  if (news.ackedBytes > 0) {
    tcb.backoff = 0;
    tcb.stallMs = -1;
    restartRto(tcb);
    armProbe(tcb);
  }
}

/** Enters recovery if something is lost; if what was sent again in it is lost too, the window is reduced once more. */
export function takeLosses(tcb: Tcb): void {
  const { board, congestion } = tcb;
  if (tcb.recovery === Recovery.Open) {
    if (board.lostBytes > board.resentBytes) enterFast(tcb);
  } else if (board.lostAgainMs >= tcb.reducedMs) {
    // RFC 8985 9.3: a lost retransmission is a loss, of the round trip after the one that was answered already.
    reduce(congestion, congestion.cwnd);
    tcb.reducedMs = tcb.env.clock.now();
  }
  board.lostAgainMs = -1;
}

/** RACK; what may yet come is looked at again when the reordering window is over. */
export function findLossesByTime(tcb: Tcb): void {
  const { board, rack, rtt, env, timers } = tcb;
  if (timers.xmit === XmitTimer.Reorder) timers.xmit = XmitTimer.None;
  if (board.sackedBytes === 0 && board.lostBytes === 0) return;
  const windowMs = rack.windowMs(rtt, {
    inRecovery: tcb.recovery !== Recovery.Open,
    segmentsSacked: board.sackedBytes / tcb.snd.mss,
  });
  const waitMs = detectLoss(rack, board, env.clock.now(), windowMs);
  if (waitMs > 0) timers.setXmit(XmitTimer.Reorder, waitMs);
}

function findLossesByCount(tcb: Tcb, news: AckNews): void {
  const { board } = tcb;
  if (news.ackedBytes > 0) {
    tcb.dupAcks = 0;
    // A partial acknowledgment: the next one is lost too (RFC 6582 3.2 step 3).
    if (tcb.recovery === Recovery.Fast && board.head !== null) markHead(tcb);
    return;
  }
  if (!news.isDuplicate || board.head === null || tcb.recovery === Recovery.Loss) return;
  tcb.dupAcks++;
  // RFC 6582 4.1: duplicates of what was sent before the last recovery are no new loss.
  if (tcb.dupAcks === DUP_THRESH && tcb.recovery === Recovery.Open && seq.geq(tcb.snd.una, tcb.recover)) markHead(tcb);
}

/** Takes the first segment for lost. */
function markHead(tcb: Tcb): void {
  const { board, snd } = tcb;
  const head = board.head!;
  if (head.length > snd.mss) board.split(head, seq.add(head.seq, snd.mss));
  board.markLost(head);
  tcb.forceResend = true;
}

/** A loss: once a window, the congestion window is reduced, and the lost segment goes out whatever the window says. */
function enterFast(tcb: Tcb): void {
  tcb.env.stats.fastRecoveries++;
  tcb.recovery = Recovery.Fast;
  tcb.recover = tcb.snd.nxt;
  reduce(tcb.congestion, tcb.flight);
  tcb.reducedMs = tcb.env.clock.now();
  tcb.forceResend = true;
  tcb.cwrEnd = tcb.snd.nxt;
  if (tcb.ecnOk) tcb.cwrDue = true;
}

/** The retransmission timer ran out: everything is taken for lost, and the window starts over (RFC 5681 3.1). */
export function enterLoss(tcb: Tcb): void {
  const { board, snd, env } = tcb;
  // The peer may have thrown away what it had SACKed: then the first is SACKed and yet not acknowledged (RFC 2018 8).
  if (board.head?.sacked === true) {
    env.stats.reneges++;
    board.renege();
  }
  const isNew = tcb.recovery !== Recovery.Loss || seq.geq(snd.una, tcb.recover);
  if (isNew) collapse(tcb.congestion, tcb.flight);
  else tcb.congestion.cwnd = tcb.congestion.mss;
  board.markAllLost();
  board.lostAgainMs = -1;
  tcb.reducedMs = env.clock.now();
  tcb.recovery = Recovery.Loss;
  tcb.recover = snd.nxt;
  tcb.dupAcks = 0;
  tcb.probeEnd = -1;
  tcb.forceResend = true;
}

function leave(tcb: Tcb): void {
  if (tcb.recovery === Recovery.Fast) {
    // RFC 6675 5, RFC 6582 3.2: no burst of what was held back.
    tcb.congestion.cwnd = Math.min(tcb.congestion.cwnd, tcb.congestion.ssthresh);
  }
  tcb.rack.onRecovered();
  tcb.recovery = Recovery.Open;
  tcb.dupAcks = 0;
}

/** The window grows only if it was what held data back (RFC 7661 4.4, in short). */
function grow(tcb: Tcb, news: AckNews): void {
  const { congestion, env, rtt } = tcb;
  const wasFull = congestion.inSlowStart
    ? 2 * news.flightBefore >= congestion.cwnd
    : tcb.cwndLimited || news.flightBefore + 3 * congestion.mss >= congestion.cwnd;
  if (!wasFull) return;
  congestion.algorithm.onAck(congestion, { ackedBytes: news.ackedBytes, nowMs: env.clock.now(), srttMs: rtt.srttMs });
}

/** The peer saw a mark: as a loss, once a round trip, but nothing is sent again (RFC 3168 6.1.2). */
export function onEcnEcho(tcb: Tcb): void {
  if (tcb.recovery !== Recovery.Open || seq.lt(tcb.snd.una, tcb.cwrEnd)) return;
  tcb.env.stats.ecnReductions++;
  reduce(tcb.congestion, tcb.flight);
  tcb.cwrEnd = tcb.snd.nxt;
  tcb.cwrDue = true;
}

/** What became of a tail-loss probe, now that `ack` has come (RFC 8985 7.4). */
export function endProbe(tcb: Tcb, facts: { ack: number; dsack: boolean; isDuplicate: boolean }): void {
  if (tcb.probeEnd < 0 || seq.lt(facts.ack, tcb.probeEnd)) return;
  const repaired = tcb.probeIsResend && !facts.dsack && !(facts.ack === tcb.probeEnd && facts.isDuplicate);
  if (repaired && seq.gt(facts.ack, tcb.probeEnd)) {
    tcb.probeEnd = -1;
    if (tcb.recovery === Recovery.Open) reduce(tcb.congestion, tcb.flight);
    return;
  }
  // Exactly acknowledged: the original may still be in flight, in which case a D-SACK or a duplicate follows.
  if (!tcb.probeIsResend || facts.dsack || facts.isDuplicate || seq.gt(facts.ack, tcb.probeEnd)) tcb.probeEnd = -1;
}
