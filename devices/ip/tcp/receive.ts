/**
 * The payload of a segment ("segment text" in RFC 9293): into the receive queue if it is its turn, else into the
 * resequence store; and when to acknowledge it (RFC 9293 3.10.7.4, seventh and eighth check; RFC 5681 4.2).
 *
 * Path: input, handshake → receive → gap, transitions, segment_in, state.
 *
 * @module
 */

import { Block } from "../../../kernel/block.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import { TCP_CWR, TCP_FIN } from "../../../kernel/wire/tcp.ts";
import { watchGap } from "./gap.ts";
import { applyEvent } from "./transitions.ts";
import type { IncomingSegment } from "./segment_in.ts";
import { mayReceive, TcpEvent, TcpState } from "./state.ts";
import type { Tcb } from "./tcb.ts";
import { DELAYED_ACK_MS, TimerSlot } from "./timer.ts";

/**
 * Payload below this is copied out of its buffer, which holds a whole frame: small segments must not cost 2 KiB each.
 */
const COPY_BELOW = 512;

/** Takes the payload and the FIN of a segment that is in the window. */
export function receivePayload(tcb: Tcb, segment: IncomingSegment): void {
  const hasFin = segment.has(TCP_FIN);
  if (!mayReceive(tcb.state)) {
    if (hasFin) takeLateFin(tcb, segment);
    return;
  }
  noteEcn(tcb, segment);
  const { rcv } = tcb;
  const length = segment.length;
  if (length === 0 && !hasFin) return;
  noteReceivedAgain(tcb, segment);
  const { seq: from } = segment;
  const finAt = hasFin ? seq.add(from, length) : -1;
  if (from !== rcv.nxt) return takeEarly(tcb, segment, finAt);
  const hadGap = tcb.resequence.ranges > 0;
  if (length > 0 && !accept(tcb, compact(segment.takeBlock()))) {
    tcb.env.stats.roomDrops++;
    tcb.ackNow = true;
    return;
  }
  if (hadGap) drain(tcb);
  if (finAt >= 0) rcv.finAt = finAt;
  if (takeFin(tcb)) return;
  if (hadGap) tcb.ackNow = true;
  else scheduleAck(tcb);
}

/** The FIN, if it is its turn. */
function takeFin(tcb: Tcb): boolean {
  const { rcv } = tcb;
  if (rcv.finAt < 0 || rcv.finAt !== rcv.nxt) return false;
  rcv.nxt = seq.add(rcv.nxt, 1);
  applyEvent(tcb, TcpEvent.Fin);
  return true;
}

/** A FIN after the peer's FIN: it is acknowledged, and restarts TIME-WAIT (eighth check). */
function takeLateFin(tcb: Tcb, segment: IncomingSegment): void {
  const isNext = segment.seq === tcb.rcv.nxt && segment.length === 0;
  if (isNext && tcb.state === TcpState.TimeWait) return applyEvent(tcb, TcpEvent.Fin);
  tcb.ackNow = true;
}

/** The payload and the FIN of a SYN that crosses ours wait until the connection stands (RFC 9293 3.10.7.3). */
export function queuePayload(tcb: Tcb, segment: IncomingSegment): void {
  const { length, seq: from } = segment;
  if (segment.has(TCP_FIN)) tcb.rcv.finAt = seq.add(from, length);
  if (length > 0) tcb.resequence.insert(from, compact(segment.takeBlock()));
}

/** The connection stands: takes what was queued before. */
export function takeQueued(tcb: Tcb): void {
  if (!mayReceive(tcb.state) || (tcb.resequence.ranges === 0 && tcb.rcv.finAt < 0)) return;
  tcb.ackNow = true;
  drain(tcb);
  takeFin(tcb);
}

/** Puts a block that begins at rcv.nxt into the queue; false: the queue has no room for one more. */
function accept(tcb: Tcb, block: Block): boolean {
  const { rcv, rq } = tcb;
  const length = block.wp - block.rp;
  if (!rq.canWrite) {
    block.free();
    return false;
  }
  rcv.nxt = seq.add(rcv.nxt, length);
  rcv.delivered += length;
  if (length > rcv.full) rcv.full = Math.min(length, rcv.mss);
  // After `shutdown rd` the queue is closed: data is acknowledged and dropped.
  block.clearOffload();
  rq.pass(block);
  return true;
}

/** What had come before its turn and has it now. */
function drain(tcb: Tcb): void {
  const { resequence, rcv, rq } = tcb;
  // What was SACKed stays in the store while the queue has no room.
  while (rq.canWrite) {
    const block = resequence.take(rcv.nxt);
    if (block === null || !accept(tcb, block)) return;
  }
}

/** A segment with a gap before it: kept, and acknowledged at once (RFC 5681 4.2). */
function takeEarly(tcb: Tcb, segment: IncomingSegment, finAt: number): void {
  const { env, rcv } = tcb;
  env.stats.outOfOrder++;
  tcb.ackNow = true;
  if (finAt >= 0) rcv.finAt = finAt;
  const from = segment.seq;
  const length = segment.length;
  if (length === 0) return;
  if (tcb.resequence.ranges === 0) watchGap(tcb);
  const stored = tcb.resequence.insert(from, compact(segment.takeBlock()));
  if (stored === "refused") env.stats.roomDrops++;
}

/** Reports the first part of a segment that was received before: below RCV.NXT, or in a range above (RFC 2883 4). */
function noteReceivedAgain(tcb: Tcb, segment: IncomingSegment): void {
  const { seq: from, cut, length } = segment;
  if (cut > 0) return noteDuplicate(tcb, seq.add(from, -cut), from);
  const { resequence } = tcb;
  if (resequence.ranges === 0 || !resequence.overlaps(from, seq.add(from, length))) return;
  noteDuplicate(tcb, resequence.againLeft, resequence.againRight);
}

/** The segment, or its part from `left` to `right`, was here before: to be reported (RFC 2883). */
export function noteDuplicate(tcb: Tcb, left: number, right: number): void {
  tcb.rerecv++;
  if (!tcb.sackOk) return;
  tcb.hasDsack = true;
  tcb.dsackLeft = left;
  tcb.dsackRight = right;
}

function compact(block: Block): Block {
  const length = block.wp - block.rp;
  if (length >= COPY_BELOW || block.buf.length < 4 * length) return block;
  const copy = Block.from(block.buf.subarray(block.rp, block.wp), 0);
  block.free();
  return copy;
}

/** RFC 3168 6.1.3: once marked, every acknowledgment says so until the peer has reduced its window. */
function noteEcn(tcb: Tcb, segment: IncomingSegment): void {
  if (!tcb.ecnOk) return;
  if (segment.has(TCP_CWR)) tcb.ecnEcho = false;
  if (!segment.isMarked) return;
  tcb.env.stats.ecnMarksIn++;
  tcb.ackNow ||= !tcb.ecnEcho;
  tcb.ecnEcho = true;
}

/** Every second full segment is acknowledged at once, others soon (RFC 9293 3.8.6.3, RFC 5681 4.2). */
function scheduleAck(tcb: Tcb): void {
  const { rcv, timers } = tcb;
  const owed = (rcv.nxt - rcv.acked) >>> 0;
  if (tcb.config.quickack || rcv.quick > 0 || owed >= 2 * rcv.full) {
    if (rcv.quick > 0) rcv.quick--;
    tcb.ackNow = true;
  } else if (!timers.isSet(TimerSlot.Ack)) {
    timers.set(TimerSlot.Ack, DELAYED_ACK_MS);
  }
}
