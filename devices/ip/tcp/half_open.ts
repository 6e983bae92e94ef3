/**
 * A call that was answered by a SYN-ACK and not yet acknowledged (SYN-RECEIVED after a passive open): what is known of
 * it, the checks that a segment for it must pass (RFC 9293 3.10.7.4), and what it sends.
 *
 * Path: syn_queue → half_open → segment_out.
 *
 * ```
 *   irs        irs + 1 = RCV.NXT                    RCV.NXT + RCV.WND
 *  --|------------|------------------------------------|-----------
 *   the SYN:      an ACK of our SYN-ACK makes the      outside: challenged, and nothing else;
 *   answered      connection; a reset exactly here     a reset is dropped
 *   again         ends the call, others are challenged
 * ```
 *
 * @module
 */

import * as seq from "../../../kernel/wire/seq.ts";
import { TCP_ACK, TCP_ECE, TCP_RST, TCP_SYN, type TcpFields, type TcpHeader } from "../../../kernel/wire/tcp.ts";
import { NO_TCP_OPTIONS, type TcpOptions } from "../../../kernel/wire/tcp_options.ts";
import type { Conv } from "../conv/conv.ts";
import { type Challenged, mayChallenge } from "./challenge.ts";
import { type TcpEnds, timestampOffset } from "./keyed_hash.ts";
import { type Agreement, mssOf } from "./options.ts";
import { isAcceptable, isResetAcceptable, mayLackTimestamps, spanOf } from "./segment_in.ts";
import { sendDetached } from "./segment_out.ts";
import type { TcpStats } from "./stats.ts";
import { CHALLENGE_ACKS_PER_S, type TcpEnv } from "./tcb.ts";
import { BUFFER_START } from "./window.ts";

/** Before the first retransmission (RFC 6298 2.1). */
const RETRY_MS = 1000;

/** The fields of a new call. */
interface HalfOpenFields {
  readonly listener: Conv;
  readonly ends: TcpEnds;
  /** Initial sequence numbers, the peer's and ours. */
  readonly irs: number;
  readonly iss: number;
  readonly agreement: Agreement;
  /** The timestamp of the SYN. */
  readonly tsRecent: number;
  readonly sentMs: number;
}

/** One call. */
export class HalfOpen implements TcpEnds, Challenged {
  /** The next of its chain. */
  next: HalfOpen | null = null;
  /** Timeouts. */
  retries = 0;
  /** SYN-ACKs sent, also to a SYN that came again. */
  answers = 0;
  dueMs: number;
  challengeTokens: number = CHALLENGE_ACKS_PER_S;
  challengeMs: number;

  readonly listener: Conv;
  readonly laddr: TcpEnds["laddr"];
  readonly lport: number;
  readonly raddr: TcpEnds["raddr"];
  readonly rport: number;
  readonly irs: number;
  readonly iss: number;
  readonly agreement: Agreement;
  readonly tsRecent: number;
  readonly sentMs: number;

  constructor(call: HalfOpenFields) {
    const { ends, sentMs } = call;
    this.listener = call.listener;
    this.laddr = ends.laddr;
    this.lport = ends.lport;
    this.raddr = ends.raddr;
    this.rport = ends.rport;
    this.irs = call.irs;
    this.iss = call.iss;
    this.agreement = call.agreement;
    this.tsRecent = call.tsRecent;
    this.sentMs = sentMs;
    this.dueMs = sentMs + RETRY_MS;
    this.challengeMs = sentMs;
  }

  /** Counts a timeout: the next one waits twice as long. */
  retry(nowMs: number): void {
    this.retries++;
    this.dueMs = nowMs + RETRY_MS * 2 ** this.retries;
  }

  is(ends: TcpEnds): boolean {
    return this.rport === ends.rport && this.lport === ends.lport && this.raddr.equals(ends.raddr) &&
      this.laddr.equals(ends.laddr);
  }
}

/** What to do with a segment for a half-open call. */
export const Verdict = {
  /** It is dropped, and counted. */
  Drop: 0,
  /** The SYN came again: our answer was lost. */
  Answer: 1,
  /** We send an acknowledgment, and the call stays. */
  Challenge: 2,
  /** The peer wants no connection. */
  End: 3,
  /** It acknowledges something else: it is reset, and the call stays. */
  Refuse: 4,
  /** The connection stands. */
  Accept: 5,
} as const;
export type Verdict = typeof Verdict[keyof typeof Verdict];

/** The checks of RFC 9293 3.10.7.4 in their order, with RFC 5961 3 and 4, and PAWS (RFC 7323 5.3) before them. */
export function checkHalfOpen(call: HalfOpen, header: TcpHeader, payloadLen: number, stats: TcpStats): Verdict {
  const { flags, seq: from } = header;
  const nxt = seq.add(call.irs, 1);
  if ((flags & TCP_RST) !== 0) return checkReset(from, nxt, stats);
  // Strictly an ACK is due (first check), but a peer that did not get our SYN-ACK needs exactly that.
  if ((flags & (TCP_SYN | TCP_ACK)) === TCP_SYN && from === call.irs) return Verdict.Answer;
  if (call.agreement.timestamps) {
    const { hasTimestamps, tsVal } = header.options;
    if (!hasTimestamps && !mayLackTimestamps(flags, payloadLen, from === call.irs)) {
      stats.pawsDrops++;
      return Verdict.Drop;
    }
    if (hasTimestamps && seq.lt(tsVal, call.tsRecent)) {
      stats.pawsDrops++;
      return Verdict.Challenge;
    }
  }
  if (!isAcceptable(from, spanOf(flags, payloadLen), nxt, BUFFER_START)) {
    stats.windowDrops++;
    return Verdict.Challenge;
  }
  // Fourth check. RFC 9293 goes back to LISTEN here: then a blind attacker could end calls by any number in the window.
  // A peer that began again answers the challenge by a reset (RFC 5961 4).
  if ((flags & TCP_SYN) !== 0) return Verdict.Challenge;
  if ((flags & TCP_ACK) === 0) {
    stats.flagDrops++;
    return Verdict.Drop;
  }
  return header.ack === seq.add(call.iss, 1) ? Verdict.Accept : Verdict.Refuse;
}

/** Second check (RFC 5961 3.2). */
function checkReset(from: number, nxt: number, stats: TcpStats): Verdict {
  if (from === nxt) return Verdict.End;
  if (isResetAcceptable(from, nxt, BUFFER_START)) return Verdict.Challenge;
  stats.windowDrops++;
  return Verdict.Drop;
}

/** Sends an acknowledgment, unless too many were sent. */
export function challengeHalfOpen(env: TcpEnv, call: HalfOpen): void {
  if (!mayChallenge(env, call)) return;
  const { agreement } = call;
  send(env, call, {
    seq: seq.add(call.iss, 1),
    ack: seq.add(call.irs, 1),
    flags: TCP_ACK,
    window: BUFFER_START >>> agreement.receiveShift,
    options: timestampsOf(env, call),
  });
}

/** Fifth check: `<SEQ=SEG.ACK><CTL=RST>`. */
export function refuseHalfOpen(env: TcpEnv, call: HalfOpen, header: TcpHeader): void {
  env.stats.ackDrops++;
  env.stats.outRsts++;
  send(env, call, { seq: header.ack, ack: 0, flags: TCP_RST, window: 0, options: timestampsOf(env, call) });
}

/** Sends the SYN-ACK. */
export function answerHalfOpen(env: TcpEnv, call: HalfOpen): void {
  call.answers++;
  sendSynAck(env, call, tsNow(env, call));
}

/** Sends the SYN-ACK of a call that need not be remembered, with `tsVal` as our timestamp. */
export function sendSynAck(env: TcpEnv, call: HalfOpen, tsVal: number): void {
  const { agreement, tsRecent } = call;
  const { timestamps } = agreement;
  send(env, call, {
    seq: call.iss,
    ack: seq.add(call.irs, 1),
    flags: TCP_SYN | TCP_ACK | (agreement.ecn ? TCP_ECE : 0),
    // The window of a SYN is never scaled (RFC 7323 2.2).
    window: BUFFER_START,
    options: {
      ...NO_TCP_OPTIONS,
      mss: mssOf(env.ip.mtu(call.raddr), call.raddr.isV4),
      windowScale: agreement.receiveShift > 0 ? agreement.receiveShift : -1,
      sackPermitted: agreement.sack,
      hasTimestamps: timestamps,
      tsVal: timestamps ? tsVal : 0,
      tsEcr: timestamps ? tsRecent : 0,
    },
  });
}

/** Our timestamp now, as the connection will have it. */
export function tsNow(env: TcpEnv, ends: TcpEnds): number {
  return (timestampOffset(env.hash, ends) + Math.floor(env.clock.now())) >>> 0;
}

function timestampsOf(env: TcpEnv, call: HalfOpen): TcpOptions {
  if (!call.agreement.timestamps) return NO_TCP_OPTIONS;
  return { ...NO_TCP_OPTIONS, hasTimestamps: true, tsVal: tsNow(env, call), tsEcr: call.tsRecent };
}

function send(env: TcpEnv, call: HalfOpen, fields: Omit<TcpFields, "srcPort" | "dstPort">): void {
  const { listener } = call;
  sendDetached(env, { src: call.laddr, dst: call.raddr }, {
    ttl: listener.ttl,
    tos: listener.tos & ~3,
    fields: { srcPort: call.lport, dstPort: call.rport, ...fields },
  });
}
