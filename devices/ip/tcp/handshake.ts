/**
 * Opening a connection from our side, and the segments that come in SYN-SENT (RFC 9293 3.10.1, 3.10.7.3).
 *
 * Path: demux, tcp/tcp, syn_queue → handshake → transitions, wire/tcp, congestion, keyed_hash.
 *
 * @module
 */

import * as seq from "../../../kernel/wire/seq.ts";
import { TCP_ACK, TCP_RST, TCP_SYN } from "../../../kernel/wire/tcp.ts";
import type { TcpOptions } from "../../../kernel/wire/tcp_options.ts";
import { initialWindow } from "./congestion.ts";
import { initialSequence, timestampOffset } from "./keyed_hash.ts";
import { applyEvent } from "./transitions.ts";
import { agree, type Agreement, asksForEcn, mssOf } from "./options.ts";
import { output } from "./output.ts";
import { updateMss } from "./pmtu.ts";
import { queuePayload, receivePayload } from "./receive.ts";
import { sendReset } from "./segment_out.ts";
import type { IncomingSegment } from "./segment_in.ts";
import { TcpEvent, TcpState } from "./state.ts";
import type { Tcb } from "./tcb.ts";
import { settleSynTimeout } from "./timeouts.ts";
import { BUFFER_START } from "./window.ts";

/** Segments acknowledged at once at the start of a connection, while the peer's window is small (as Linux does). */
const QUICK_ACKS = 8;

/** Gives a control block its own side of a new connection; the conversation's ends are set. */
export function beginConnection(tcb: Tcb): void {
  const { env, conv, rcv } = tcb;
  tcb.takeEnds();
  tcb.tsOffset = timestampOffset(env.hash, conv);
  rcv.buffer = BUFFER_START;
  rcv.mss = mssOf(env.ip.mtu(conv.raddr), conv.raddr.isV4);
  rcv.quick = QUICK_ACKS;
  tcb.heardMs = env.clock.now();
}

/** `connect`. */
export function openActively(tcb: Tcb): void {
  const { env, conv } = tcb;
  beginConnection(tcb);
  tcb.beginSending(initialSequence(env.hash, conv, env.clock.now()));
  env.stats.activeOpens++;
  applyEvent(tcb, TcpEvent.ActiveOpen);
}

/** Takes what was agreed with the peer's SYN, whose sequence number is `irs`. */
export function takeAgreement(tcb: Tcb, agreement: Agreement, irs: number): void {
  const { snd, rcv } = tcb;
  snd.peerMss = agreement.peerMss;
  snd.shift = agreement.sendShift;
  rcv.shift = agreement.receiveShift;
  tcb.sackOk = agreement.sack;
  tcb.timestampsOk = agreement.timestamps;
  tcb.ecnOk = agreement.ecn;
  tcb.beginReceiving(irs, Math.min(65_535, rcv.buffer));
  updateMss(tcb);
  // RFC 5681 3.1: after a SYN was lost the window begins with one segment.
  tcb.congestion.cwnd = tcb.synResent ? tcb.snd.mss : initialWindow(tcb.snd.mss);
}

/** The timestamp of the peer's SYN is the first to be echoed. */
function takeFirstTimestamp(tcb: Tcb, options: TcpOptions): void {
  if (!tcb.timestampsOk) return;
  tcb.tsRecent = options.tsVal;
  tcb.tsRecentMs = tcb.env.clock.now();
}

/** A segment for a connection in SYN-SENT: four checks (RFC 9293 3.10.7.3). */
export function inputSynSent(tcb: Tcb, segment: IncomingSegment): void {
  if (checkAck(tcb, segment) && checkReset(tcb, segment)) takeSyn(tcb, segment);
  segment.drop();
  if (tcb.state !== TcpState.Closed) output(tcb);
}

function checkAck(tcb: Tcb, segment: IncomingSegment): boolean {
  if (!segment.has(TCP_ACK)) return true;
  // Only our SYN is out: ISS + 1 is the one number that makes sense.
  if (segment.ack === tcb.snd.nxt) return true;
  tcb.env.stats.ackDrops++;
  if (!segment.has(TCP_RST)) sendReset(tcb, segment.ack);
  return false;
}

function checkReset(tcb: Tcb, segment: IncomingSegment): boolean {
  if (!segment.has(TCP_RST)) return true;
  // Without an acknowledgment any host could have sent it.
  if (segment.has(TCP_ACK)) applyEvent(tcb, TcpEvent.Rst);
  else tcb.env.stats.flagDrops++;
  return false;
}

/** Our SYN is answered, or crossed by the peer's. */
function takeSyn(tcb: Tcb, segment: IncomingSegment): void {
  const { env, snd, config } = tcb;
  if (!segment.has(TCP_SYN)) {
    env.stats.flagDrops++;
    return;
  }
  tcb.heardMs = env.clock.now();
  const ecn = asksForEcn(segment.flags) && !tcb.ecnGivenUp;
  takeAgreement(tcb, agree(config, segment.options, { isV4: tcb.isV4, ecn }), segment.seq);
  takeFirstTimestamp(tcb, segment.options);
  segment.seq = seq.add(segment.seq, 1);
  segment.flags &= ~TCP_SYN;
  // The window of a SYN is not scaled (RFC 7323 2.2).
  snd.wnd = snd.maxWnd = segment.window;
  if (!segment.has(TCP_ACK)) {
    snd.wl1 = segment.seq;
    queuePayload(tcb, segment);
    return applyEvent(tcb, TcpEvent.Syn);
  }
  snd.una = snd.nxt;
  snd.wl1 = segment.seq;
  snd.wl2 = segment.ack;
  if (!tcb.synResent) tcb.rtt.sample(env.clock.now() - snd.lastMs, env.clock.now());
  settleSynTimeout(tcb);
  applyEvent(tcb, TcpEvent.SynAck);
  tcb.ackNow = true;
  receivePayload(tcb, segment);
}
