/**
 * The receive window: how much the peer may send (RFC 9293 3.8.6), and how large the buffer behind it is to be.
 *
 * Path: segment_out, half_open, handshake → window → tcb, seq.
 *
 * The buffer starts at {@link BUFFER_START} and doubles while the reader empties in a round trip more than half of what
 * it holds: then the buffer is what limits the flow. It never shrinks, nor does the right edge of the window ever move
 * left.
 *
 * Less is offered when the memory of all connections is short; what was offered is not taken back, but what then comes
 * may find no room and must be sent again.
 *
 * Silly windows are avoided: the edge moves by a full segment, or by half the buffer, or not at all (RFC 9293
 * 3.8.6.2.2).
 *
 * @module
 */

import * as seq from "../../../kernel/wire/seq.ts";
import type { Tcb } from "./tcb.ts";

/** Receive buffer of a new connection: one unscaled window. */
export const BUFFER_START = 65_535;
/** Largest receive buffer: 500 Mbit/s over 100 ms (Linux' default). */
export const BUFFER_MAX = 6 << 20;
/** Shift that we offer: enough for {@link BUFFER_MAX} (Akaros offers the same). */
export const WINDOW_SHIFT = 7;
/** What a queued block costs beyond its bytes: a flood of tiny segments closes the window too. */
const BLOCK_COST = 64;
/** A round trip, while none was measured. */
const ROUND_UNKNOWN_MS = 100;

/** Bytes that may still be taken in, without looking at the window that was announced. */
function receiveSpace(tcb: Tcb): number {
  const { rq } = tcb;
  const buffer = rq.userLimit > 0 ? rq.userLimit : tcb.rcv.buffer;
  const space = buffer - rq.length - rq.blocks * BLOCK_COST;
  return Math.max(0, Math.min(space, tcb.env.memory.windowRoom(rq.memory, tcb.rcv.mss)));
}

/** The window to announce now, in bytes; moves the edge. */
function openWindow(tcb: Tcb): number {
  const { rcv } = tcb;
  const space = receiveSpace(tcb);
  const edge = seq.add(rcv.nxt, space);
  const growth = seq.diff(edge, rcv.edge);
  if (growth > 0 && growth >= Math.min(rcv.buffer / 2, rcv.mss)) rcv.edge = edge;
  // What the field cannot say is not announced.
  const most = 65_535 * 2 ** rcv.shift;
  return Math.min(most, (rcv.edge - rcv.nxt) >>> 0);
}

/** The window field of a segment that is not a SYN. */
export function windowField(tcb: Tcb): number {
  return openWindow(tcb) >>> tcb.rcv.shift;
}

/** The user has read: whether the window has opened so far that the peer must learn of it. */
export function wantsUpdate(tcb: Tcb): boolean {
  const { rcv } = tcb;
  const growth = seq.diff(seq.add(rcv.nxt, receiveSpace(tcb)), rcv.edge);
  if (growth <= 0) return false;
  const half = rcv.buffer / 2;
  return growth >= Math.min(half, Math.max(2 * rcv.mss, rcv.buffer / 4)) || (tcb.rcvWnd < rcv.mss && growth >= rcv.mss);
}

/** The user has read: grows the buffer if it is what limits the flow. */
export function tuneBuffer(tcb: Tcb): void {
  const { rcv, rtt, rq } = tcb;
  const nowMs = tcb.env.clock.now();
  const roundMs = rtt.srttMs > 0 ? rtt.srttMs : ROUND_UNKNOWN_MS;
  if (nowMs - rcv.roundMs < roundMs) return;
  if (rcv.delivered - rq.length > rcv.buffer / 2 && !tcb.env.memory.pressed) {
    rcv.buffer = Math.min(rcv.shift > 0 ? BUFFER_MAX : BUFFER_START, rcv.buffer * 2);
  }
  rcv.delivered = rq.length;
  rcv.roundMs = nowMs;
}
