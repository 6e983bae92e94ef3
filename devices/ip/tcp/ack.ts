/**
 * The acknowledgment field of a segment: what it says of our data, of the window, of our FIN (RFC 9293 3.10.7.4, fifth
 * check, with RFC 5961 5, RFC 7323 4, RFC 2018).
 *
 * Path: input, tcp/tcp, tcp/ctl → ack → transitions, recovery, orphans, segment_in.
 *
 * ```
 *   una - maxWnd              una                    max
 *  ------|---------------------|----------------------|------
 *  too   |  old: nothing new,  |   new                | never sent:
 *  old:  |  but its data count |                      | challenge
 *  challenge
 * ```
 *
 * @module
 */

import * as seq from "../../../kernel/wire/seq.ts";
import { TCP_ECE, TCP_FIN } from "../../../kernel/wire/tcp.ts";
import { applyEvent } from "./transitions.ts";
import { noteProgress } from "./orphans.ts";
import { endProbe, onAcknowledgment, onEcnEcho } from "./recovery.ts";
import type { IncomingSegment } from "./segment_in.ts";
import { TcpEvent, TcpState } from "./state.ts";
import type { Tcb } from "./tcb.ts";

/** Whether the peer may acknowledge this: else it is challenged, and its segment dropped (RFC 5961 5). */
export function isPossibleAck({ snd }: Tcb, ack: number): boolean {
  return seq.leq(ack, snd.max) && seq.geq(ack, seq.add(snd.una, -snd.maxWnd));
}

/** Takes the acknowledgment of a segment that passed the checks; false: the connection is over. */
export function takeAck(tcb: Tcb, segment: IncomingSegment): boolean {
  const { snd, env } = tcb;
  const { ack } = segment;
  const nowMs = env.clock.now();
  const { delivery } = env;
  delivery.clear();
  const flightBefore = tcb.flight;
  const ackedBytes = Math.max(0, seq.diff(ack, snd.una));
  // RFC 5681 2: neither data nor a FIN, and the window as it was.
  const isBare = segment.length === 0 && !segment.has(TCP_FIN);
  const isDuplicate = isBare && ack === snd.una && segment.window << snd.shift === snd.wnd;
  if (ackedBytes > 0) advance(tcb, ack);
  if (tcb.sackOk && segment.options.sack.length > 0) {
    tcb.board.sack(segment.options.sack, snd.una, snd.max, delivery);
  }
  takeWindow(tcb, segment);
  const echoMs = echoed(tcb, segment, nowMs);
  if (delivery.bytes > 0) {
    measure(tcb, nowMs, ackedBytes > 0 ? echoMs : -1, flightBefore);
    tcb.rack.update(delivery, tcb.rtt, nowMs, echoMs);
  }
  if (delivery.dsack) takeDsack(tcb);
  if (tcb.ecnOk && (segment.flags & TCP_ECE) !== 0) onEcnEcho(tcb);
  endProbe(tcb, { ack, dsack: delivery.dsack, isDuplicate });
  onAcknowledgment(tcb, { ackedBytes, flightBefore, isDuplicate });
  if (tcb.finSent && snd.una === snd.nxt && finAcked(tcb)) applyEvent(tcb, TcpEvent.AckOfFin);
  return tcb.state !== TcpState.Closed;
}

/** Everything before `ack` has arrived: it leaves the queue and the scoreboard. */
function advance(tcb: Tcb, ack: number): void {
  const { snd, board, env } = tcb;
  board.acknowledge(ack, env.delivery);
  snd.una = ack;
  // The octets of a window probe were never in the scoreboard.
  if (seq.gt(ack, snd.nxt)) snd.nxt = ack;
  const gone = tcb.wq.discard(seq.diff(ack, snd.base));
  snd.base = seq.add(snd.base, gone);
  if (tcb.detached) noteProgress(tcb);
  growSendQueue(tcb);
}

/** The FIN is what `una` counts beyond the last byte. */
function finAcked(tcb: Tcb): boolean {
  const waits = tcb.state === TcpState.FinWait1 || tcb.state === TcpState.Closing || tcb.state === TcpState.LastAck;
  return waits && tcb.wq.length === 0;
}

/** Send queue of a new connection (Akaros), and the largest: the queue must hold two windows to keep the path full. */
export const SEND_QUEUE_START = 8 * 65_535;
export const SEND_QUEUE_MAX = 16 << 20;

function growSendQueue(tcb: Tcb): void {
  const { wq, congestion, env, config: { sendQueueMax } } = tcb;
  if (env.memory.pressed) return;
  const wanted = 2 * congestion.cwnd;
  if (wanted > wq.limit && wq.limit < sendQueueMax) wq.setLimit(Math.min(sendQueueMax, 2 * wq.limit));
}

/** RFC 9293 3.10.7.4: a window counts if it is newer than the one we know. */
function takeWindow(tcb: Tcb, segment: IncomingSegment): void {
  const { snd } = tcb;
  const isNewer = seq.lt(snd.wl1, segment.seq) || (snd.wl1 === segment.seq && seq.leq(snd.wl2, segment.ack));
  if (!isNewer || seq.lt(segment.ack, snd.una)) return;
  const wnd = segment.window << snd.shift;
  const wasShut = snd.wnd === 0;
  snd.wnd = wnd;
  snd.wl1 = segment.seq;
  snd.wl2 = segment.ack;
  snd.maxWnd = Math.max(snd.maxWnd, wnd);
  // A peer that answers our probes is there; unless the conversation is closed here, it may keep its window shut.
  if (wnd === 0 && !tcb.detached) tcb.stallMs = -1;
  if (wasShut && wnd > 0 && tcb.board.head === null) {
    tcb.backoff = 0;
    tcb.stallMs = -1;
  }
}

/** When the segment that this one echoes was sent, by our clock; -1: it does not say. */
function echoed(tcb: Tcb, segment: IncomingSegment, nowMs: number): number {
  const { options } = segment;
  if (!tcb.timestampsOk || !options.hasTimestamps || options.tsEcr === 0) return -1;
  const ageMs = (tcb.tsNow(nowMs) - options.tsEcr) | 0;
  return ageMs < 0 || ageMs > nowMs ? -1 : Math.floor(nowMs) - ageMs;
}

/** A sample of the round trip: of what was sent once (Karn), or else by the echoed timestamp (RFC 7323 4.1). */
function measure(tcb: Tcb, nowMs: number, echoMs: number, flightBefore: number): void {
  const { delivery } = tcb.env;
  const sentMs = delivery.onceMs >= 0 ? delivery.onceMs : echoMs;
  if (sentMs < 0 || (delivery.onceMs < 0 && delivery.againMs < 0)) return;
  const perRound = Math.max(1, Math.ceil(flightBefore / (2 * tcb.snd.mss)));
  tcb.rtt.sample(nowMs - sentMs, nowMs, perRound);
}

function takeDsack(tcb: Tcb): void {
  const { stats } = tcb.env;
  stats.dsacksIn++;
  // More D-SACKs than retransmissions: then it was the network that made two of one.
  if (tcb.resends > 0) {
    tcb.resends--;
    stats.spuriousRetrans++;
  }
  tcb.rack.onDsack(tcb.snd.una, tcb.snd.nxt);
}
