/**
 * SynQueue: calls that were answered by a SYN-ACK and not yet acknowledged (Plan 9 and Akaros call it limbo, and so do
 * the counters of `stats`). They cost no conversation (Akaros), and while the queue is full they cost nothing at all:
 * SYN cookies.
 *
 * Path: demux, tcp/tcp → syn_queue → half_open, input, conv_space, cookie.
 *
 * Limits: {@link SYN_QUEUE_MAX} entries of all listeners together. A SYN-ACK is sent again after one second and twice
 * that each further time, {@link SYN_ACK_RETRIES} times; while the queue is crowded, not at all.
 *
 * @module
 */

import type { Timer } from "../../../kernel/time.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import { TCP_ACK, TCP_RST, TCP_SYN, type TcpHeader } from "../../../kernel/wire/tcp.ts";
import { NO_TCP_OPTIONS } from "../../../kernel/wire/tcp_options.ts";
import type { Conv } from "../conv/conv.ts";
import { BACKLOG_MAX } from "../conv/conv_space.ts";
import type { InputPacket } from "../packet/packet.ts";
import { COOKIE_TICK_MS, cookieAgreement, cookieTimestamp, makeCookie, readCookie } from "./cookie.ts";
import {
  answerHalfOpen,
  challengeHalfOpen,
  checkHalfOpen,
  HalfOpen,
  refuseHalfOpen,
  sendSynAck,
  tsNow,
  Verdict,
} from "./half_open.ts";
import { beginConnection, takeAgreement } from "./handshake.ts";
import { input } from "./input.ts";
import { initialSequence, type TcpEnds } from "./keyed_hash.ts";
import { applyEvent } from "./transitions.ts";
import { agree, type Agreement, asksForEcn } from "./options.ts";
import { IncomingSegment } from "./segment_in.ts";
import { refuse } from "./segment_out.ts";
import { TcpEvent, TcpState } from "./state.ts";
import { Tcb, tcbOf, type TcpEnv } from "./tcb.ts";
import { WINDOW_SHIFT } from "./window.ts";

/** Calls that are remembered (Akaros): about 200 KiB. */
export const SYN_QUEUE_MAX = 1000;
/** From here on nothing is sent again: it looks like a flood (Akaros). */
export const SYN_QUEUE_CROWDED = 100;
const SYN_ACK_RETRIES = 5;
/** How often the queue is looked through while it holds something. */
const TICK_MS = 250;

/** A segment for a listener, and its ends. */
export interface Call {
  readonly packet: InputPacket;
  readonly header: TcpHeader;
  readonly ends: TcpEnds;
  /** The conversation that announced the port. */
  readonly listener: Conv;
  /** A connection in TIME-WAIT with the same ends, which the call would end. */
  readonly old: Tcb | null;
}

/** The half-open calls of one stack. */
export class SynQueue {
  readonly #env: TcpEnv;
  /** By hash of the ends. */
  readonly #chains: Map<number, HalfOpen> = new Map();
  readonly #timer: Timer;
  #count = 0;
  #cookieMs = -Infinity;

  constructor(env: TcpEnv) {
    this.#env = env;
    this.#timer = env.clock.timer(() => this.#tick());
  }

  /** Calls in it. */
  get length(): number {
    return this.#count;
  }

  /** Takes a segment (consumed) for a listener: a SYN, or what follows one. */
  input(call: Call): void {
    const entry = this.#find(call.ends);
    if (entry === null) this.#inputListen(call);
    else this.#inputHalfOpen(call, entry);
  }

  /** Whether a segment belongs to a call that was answered, by an entry or by a cookie. */
  expects(ends: TcpEnds, header: TcpHeader): boolean {
    return this.#find(ends) !== null || this.#readCookie(ends, header) !== 0;
  }

  /** In LISTEN (RFC 9293 3.10.7.2). The payload of a SYN is not kept: a flood of them must cost no memory. */
  #inputListen(call: Call): void {
    const { packet, header } = call;
    if ((header.flags & TCP_RST) === 0) {
      if ((header.flags & TCP_ACK) !== 0) {
        const cookie = this.#fromCookie(call);
        if (cookie !== null) return this.#accept(call, cookie);
        this.#refuse(call);
      } else if ((header.flags & TCP_SYN) !== 0) {
        this.#call(call);
      } else {
        this.#env.stats.flagDrops++;
      }
    }
    packet.block.free();
  }

  /** In SYN-RECEIVED (RFC 9293 3.10.7.4). */
  #inputHalfOpen(call: Call, entry: HalfOpen): void {
    const { packet, header } = call;
    switch (checkHalfOpen(entry, header, payloadLen(packet, header), this.#env.stats)) {
      case Verdict.Accept:
        return this.#accept(call, entry);
      case Verdict.Refuse: {
        // The peer may acknowledge an earlier answer, a cookie: then it has a connection.
        const cookie = this.#fromCookie(call);
        if (cookie !== null) return this.#accept(call, cookie);
        refuseHalfOpen(this.#env, entry, header);
        break;
      }
      case Verdict.Answer:
        answerHalfOpen(this.#env, entry);
        break;
      case Verdict.Challenge:
        challengeHalfOpen(this.#env, entry);
        break;
      case Verdict.End:
        this.#remove(entry);
        break;
      case Verdict.Drop:
        break;
    }
    packet.block.free();
  }

  /** A listener is gone. */
  forget(listener: Conv): void {
    for (const entry of this.#all()) if (entry.listener === listener) this.#remove(entry);
  }

  /** A SYN: a new call. */
  #call(call: Call): void {
    const { header, ends, listener, packet, old } = call;
    const env = this.#env;
    if (listener.callCount >= BACKLOG_MAX) {
      env.stats.synQueueDrops++;
      return;
    }
    const config = tcbOf(listener).config;
    const agreement = agree(config, header.options, { isV4: packet.version === 4, ecn: asksForEcn(header.flags) });
    if (this.#count >= SYN_QUEUE_MAX) return this.#answerByCookie(call, agreement);
    const nowMs = env.clock.now();
    let iss = initialSequence(env.hash, ends, nowMs);
    // A fast connection outruns the clock of RFC 6528. The old one's numbers must not come again (RFC 9293 3.6.1).
    if (old !== null && !seq.gt(iss, old.snd.nxt)) iss = seq.add(old.snd.nxt, 1);
    const entry = halfOpen(call, { iss, irs: header.seq, agreement, sentMs: nowMs });
    this.#add(entry);
    answerHalfOpen(env, entry);
  }

  #answerByCookie(call: Call, agreement: Agreement): void {
    const env = this.#env;
    const { header, ends, old } = call;
    const nowMs = env.clock.now();
    const iss = makeCookie(env.hash, ends, { irs: header.seq, peerMss: agreement.peerMss, nowMs });
    // A cookie cannot be chosen. If it is among the old connection's numbers, the peer must try again.
    if (old !== null && !seq.gt(iss, old.snd.nxt)) {
      env.stats.synQueueDrops++;
      return;
    }
    this.#cookieMs = nowMs;
    env.stats.synCookiesSent++;
    // Without timestamps there is no place to remember the rest.
    const kept = agreement.timestamps ? agreement : { ...agreement, sack: false, receiveShift: 0, ecn: false };
    const entry = halfOpen(call, { iss, irs: header.seq, agreement: kept, sentMs: nowMs });
    sendSynAck(env, entry, cookieTimestamp(tsNow(env, ends), agreement));
  }

  /** The last step of the handshake: all checks have passed. */
  #accept(call: Call, found: HalfOpen): void {
    const { packet, header, old } = call;
    const conv = found.listener.space.call(found.listener, found);
    // No room: the peer thinks that it is connected, sends data or a FIN, and tries again until there is.
    if (conv === null) return packet.block.free();
    const entry = this.#find(found);
    if (entry !== null) this.#remove(entry);
    // Its slot may have been what made room for the call.
    if (old !== null && old.state === TcpState.TimeWait) {
      this.#env.stats.timeWaitReuses++;
      applyEvent(old, TcpEvent.Expire);
    }
    this.#begin(conv, found, new IncomingSegment(header, packet));
  }

  /** The call becomes a connection. */
  #begin(conv: Conv, entry: HalfOpen, segment: IncomingSegment): void {
    const env = this.#env;
    const config = tcbOf(entry.listener).config;
    const tcb = new Tcb(env, conv, { ...config });
    conv.priv = tcb;
    tcb.wq.reopen();
    beginConnection(tcb);
    tcb.beginSending(entry.iss);
    tcb.synResent = entry.retries > 0;
    applyEvent(tcb, TcpEvent.Spawn);
    takeAgreement(tcb, entry.agreement, entry.irs);
    tcb.tsRecent = entry.tsRecent;
    tcb.tsRecentMs = entry.sentMs;
    // A SYN-ACK that was sent twice cannot be measured (Karn), nor can a cookie.
    if (entry.answers === 1) tcb.rtt.sample(env.clock.now() - entry.sentMs, env.clock.now());
    env.stats.passiveOpens++;
    input(tcb, segment);
  }

  /** The MSS that a cookie of ours in the acknowledgment `header` remembers; 0: there is none. */
  #readCookie(ends: TcpEnds, header: TcpHeader): number {
    const { hash, clock } = this.#env;
    const nowMs = clock.now();
    if (nowMs - this.#cookieMs > 2 * COOKIE_TICK_MS) return 0;
    if ((header.flags & (TCP_SYN | TCP_RST | TCP_ACK)) !== TCP_ACK) return 0;
    return readCookie(hash, ends, { iss: seq.add(header.ack, -1), irs: seq.add(header.seq, -1), nowMs });
  }

  #fromCookie(call: Call): HalfOpen | null {
    const { header, ends, listener } = call;
    const { stats, clock } = this.#env;
    const peerMss = this.#readCookie(ends, header);
    if (peerMss === 0) {
      if (clock.now() - this.#cookieMs <= 2 * COOKIE_TICK_MS) stats.synCookiesBad++;
      return null;
    }
    stats.synCookiesOk++;
    // The peer cannot agree to what this listener never offers.
    const { timestamps } = tcbOf(listener).config;
    const agreement = cookieAgreement(timestamps ? header.options : NO_TCP_OPTIONS, peerMss, WINDOW_SHIFT);
    const iss = seq.add(header.ack, -1);
    return halfOpen(call, { iss, irs: seq.add(header.seq, -1), agreement, sentMs: clock.now() });
  }

  #refuse(call: Call): void {
    const { packet, header } = call;
    this.#env.stats.noPorts++;
    refuse(this.#env, packet, header, payloadLen(packet, header));
  }

  #tick(): void {
    const nowMs = this.#env.clock.now();
    const crowded = this.#count > SYN_QUEUE_CROWDED;
    for (const entry of this.#all()) {
      if (entry.dueMs > nowMs) continue;
      if (crowded || entry.retries >= SYN_ACK_RETRIES) {
        this.#env.stats.synQueueDrops++;
        this.#remove(entry);
        continue;
      }
      entry.retry(nowMs);
      this.#env.stats.retransSegs++;
      answerHalfOpen(this.#env, entry);
    }
    if (this.#count > 0) this.#timer.arm(TICK_MS);
  }

  #all(): HalfOpen[] {
    const all: HalfOpen[] = [];
    for (const head of this.#chains.values()) {
      for (let entry: HalfOpen | null = head; entry !== null; entry = entry.next) all.push(entry);
    }
    return all;
  }

  #find(ends: TcpEnds): HalfOpen | null {
    if (this.#count === 0) return null;
    let entry = this.#chains.get(keyOf(ends)) ?? null;
    while (entry !== null && !entry.is(ends)) entry = entry.next;
    return entry;
  }

  #add(entry: HalfOpen): void {
    const key = keyOf(entry);
    entry.next = this.#chains.get(key) ?? null;
    this.#chains.set(key, entry);
    if (this.#count++ === 0) this.#timer.arm(TICK_MS);
  }

  #remove(entry: HalfOpen): void {
    const key = keyOf(entry);
    let head = this.#chains.get(key)!;
    if (head === entry) {
      if (entry.next === null) this.#chains.delete(key);
      else this.#chains.set(key, entry.next);
    } else {
      while (head.next !== entry) head = head.next!;
      head.next = entry.next;
    }
    if (--this.#count === 0) this.#timer.disarm();
  }
}

/** The entry of `call`, with what was agreed. */
function halfOpen(
  call: Call,
  begun: { iss: number; irs: number; agreement: Agreement; sentMs: number },
): HalfOpen {
  const { listener, ends, header } = call;
  const { irs, iss, agreement, sentMs } = begun;
  return new HalfOpen({ listener, ends, irs, iss, agreement, tsRecent: header.options.tsVal, sentMs });
}

function payloadLen({ block, headerLen }: InputPacket, header: TcpHeader): number {
  return block.wp - block.rp - headerLen - header.headerLen;
}

function keyOf(ends: TcpEnds): number {
  return Math.imul(ends.raddr.hash(), 0x9e3779b1) ^ ends.laddr.hash() ^ ((ends.rport << 16) | ends.lport);
}
