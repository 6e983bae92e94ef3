/**
 * Limbo: calls that were answered by a SYN-ACK and not yet acknowledged. They cost no conversation (Akaros), and when
 * limbo is full they cost nothing at all: SYN cookies.
 *
 * Path: demux → limbo → segment_out (SYN-ACK), and on the acknowledgment conv_space.call → input.
 *
 * Limits: {@link LIMBO_MAX} entries of all listeners together. A SYN-ACK is sent again after one second and twice that
 * each further time, {@link SYN_ACK_RETRIES} times; while limbo is crowded, not at all.
 *
 * @module
 */

import type { Timer } from "../../../kernel/time.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import { TCP_ACK, TCP_ECE, TCP_RST, TCP_SYN, type TcpHeader } from "../../../kernel/wire/tcp.ts";
import { NO_TCP_OPTIONS } from "../../../kernel/wire/tcp_options.ts";
import type { Conv } from "../conv.ts";
import { BACKLOG_MAX } from "../conv_space.ts";
import type { InputPacket } from "../packet.ts";
import { COOKIE_MINUTE_MS, cookieAgreement, cookieTimestamp, makeCookie, readCookie } from "./cookie.ts";
import { beginConnection, takeAgreement } from "./handshake.ts";
import { establish, input } from "./input.ts";
import { initialSequence, type TcpEnds, timestampOffset } from "./keyed_hash.ts";
import { raise } from "./life.ts";
import { agree, type Agreement, asksForEcn, mssOf } from "./options.ts";
import { refuse, sendLoose } from "./segment_out.ts";
import { Arriving } from "./segment_in.ts";
import { TcpEvent } from "./state.ts";
import { Tcb, type TcpEnv } from "./tcb.ts";
import { BUFFER_START, WINDOW_SHIFT } from "./window.ts";

/** Calls that are remembered (Akaros): about 200 KiB. */
export const LIMBO_MAX = 1000;
/** From here on nothing is sent again: it looks like a flood (Akaros). */
export const LIMBO_CROWDED = 100;
export const SYN_ACK_RETRIES = 5;
/** Before the first retransmission (RFC 6298 2.1). */
const RETRY_MS = 1000;
/** How often limbo is looked through while it holds something. */
const TICK_MS = 250;

/** One call. */
class HalfOpen implements TcpEnds {
  next: HalfOpen | null = null;
  retries = 0;
  dueMs: number;

  constructor(
    readonly listener: Conv,
    readonly laddr: TcpEnds["laddr"],
    readonly lport: number,
    readonly raddr: TcpEnds["raddr"],
    readonly rport: number,
    readonly irs: number,
    readonly iss: number,
    readonly agreement: Agreement,
    readonly tsRecent: number,
    readonly sentMs: number,
  ) {
    this.dueMs = sentMs + RETRY_MS;
  }

  is(ends: TcpEnds): boolean {
    return this.rport === ends.rport && this.lport === ends.lport && this.raddr.equals(ends.raddr) &&
      this.laddr.equals(ends.laddr);
  }
}

/** A segment for a listener, and between whom. */
export interface Call {
  readonly packet: InputPacket;
  readonly header: TcpHeader;
  readonly ends: TcpEnds;
  /** The conversation that announced the port. */
  readonly listener: Conv;
}

/** The half-open calls of one stack. */
export class Limbo {
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

  /** Takes a segment (given away) for a listener: a SYN, or what follows one. */
  input(call: Call): void {
    const { packet, header } = call;
    const entry = this.#find(call.ends);
    if ((header.flags & TCP_RST) !== 0) {
      // RFC 5961 3: only the exact number is believed.
      if (entry !== null && header.seq === seq.add(entry.irs, 1)) this.#remove(entry);
      packet.block.free();
    } else if ((header.flags & TCP_ACK) !== 0) {
      this.#acknowledged(call, entry);
    } else if ((header.flags & TCP_SYN) !== 0) {
      this.#call(call, entry);
      packet.block.free();
    } else {
      this.#env.stats.flagDrops++;
      packet.block.free();
    }
  }

  /** A listener is gone. */
  forget(listener: Conv): void {
    for (const entry of this.#all()) if (entry.listener === listener) this.#remove(entry);
  }

  /** A SYN: a new call, or one that did not hear our answer. */
  #call(call: Call, old: HalfOpen | null): void {
    const { header, ends, listener, packet } = call;
    const env = this.#env;
    if (old !== null && old.irs === header.seq) return this.#answer(old);
    if (old !== null) this.#remove(old);
    if (listener.calls.length >= BACKLOG_MAX) {
      env.stats.limboDrops++;
      return;
    }
    const config = (listener.priv as Tcb).config;
    const agreement = agree(config, header.options, { isV4: packet.version === 4, ecn: asksForEcn(header.flags) });
    if (this.#count >= LIMBO_MAX) return this.#answerByCookie(call, agreement);
    const nowMs = env.clock.now();
    const iss = initialSequence(env.hash, ends, nowMs);
    const { laddr, lport, raddr, rport } = ends;
    const tsVal = header.options.tsVal;
    const entry = new HalfOpen(listener, laddr, lport, raddr, rport, header.seq, iss, agreement, tsVal, nowMs);
    this.#add(entry);
    this.#answer(entry);
  }

  #answer(entry: HalfOpen): void {
    const { agreement, irs, iss, tsRecent } = entry;
    const tsVal = this.#tsNow(entry);
    this.#sendSynAck(entry.listener, entry, { agreement, irs, iss, tsVal, tsEcr: tsRecent });
  }

  #tsNow(ends: TcpEnds): number {
    return (timestampOffset(this.#env.hash, ends) + Math.floor(this.#env.clock.now())) >>> 0;
  }

  #answerByCookie(call: Call, agreement: Agreement): void {
    const env = this.#env;
    const { header, ends } = call;
    const nowMs = env.clock.now();
    this.#cookieMs = nowMs;
    env.stats.synCookiesSent++;
    const iss = makeCookie(env.hash, ends, { irs: header.seq, peerMss: agreement.peerMss, nowMs });
    const tsVal = cookieTimestamp(this.#tsNow(ends), agreement);
    // Without timestamps there is no place to remember the rest.
    const kept = agreement.timestamps ? agreement : { ...agreement, sack: false, receiveShift: 0, ecn: false };
    this.#sendSynAck(call.listener, ends, {
      agreement: kept,
      irs: header.seq,
      iss,
      tsVal,
      tsEcr: header.options.tsVal,
    });
  }

  #sendSynAck(
    listener: Conv,
    ends: TcpEnds,
    answer: { agreement: Agreement; irs: number; iss: number; tsVal: number; tsEcr: number },
  ): void {
    const { agreement, irs, iss, tsVal, tsEcr } = answer;
    const { timestamps } = agreement;
    sendLoose(this.#env, { src: ends.laddr, dst: ends.raddr }, {
      ttl: listener.ttl,
      tos: listener.tos & ~3,
      fields: {
        srcPort: ends.lport,
        dstPort: ends.rport,
        seq: iss,
        ack: seq.add(irs, 1),
        flags: TCP_SYN | TCP_ACK | (agreement.ecn ? TCP_ECE : 0),
        window: BUFFER_START,
        options: {
          ...NO_TCP_OPTIONS,
          mss: mssOf(this.#env.ip.mtu(ends.raddr), ends.raddr.isV4),
          windowScale: agreement.receiveShift > 0 ? agreement.receiveShift : -1,
          sackPermitted: agreement.sack,
          hasTimestamps: timestamps,
          tsVal: timestamps ? tsVal : 0,
          tsEcr: timestamps ? tsEcr : 0,
        },
      },
    });
  }

  /** The last step of the handshake, or a segment for nobody. */
  #acknowledged(call: Call, entry: HalfOpen | null): void {
    const { header, packet } = call;
    const found = entry ?? this.#fromCookie(call);
    if (found === null) return this.#refuse(call);
    const isFirst = header.seq === seq.add(found.irs, 1) || header.seq === found.irs;
    if (header.ack !== seq.add(found.iss, 1)) return this.#refuse(call);
    if ((header.flags & TCP_SYN) !== 0 || !isFirst && !seq.inWindow(header.seq, seq.add(found.irs, 1), BUFFER_START)) {
      // RFC 5961 4, and an old segment: where we are, once more.
      this.#answer(found);
      return packet.block.free();
    }
    const conv = found.listener.space.call(found.listener, found);
    // No room: the peer thinks that it is connected, sends data or a FIN, and tries again until there is.
    if (conv === null) return packet.block.free();
    if (entry !== null) this.#remove(entry);
    this.#begin(conv, found, new Arriving(header, packet));
  }

  /** The call becomes a connection. */
  #begin(conv: Conv, entry: HalfOpen, segment: Arriving): void {
    const env = this.#env;
    const config = (entry.listener.priv as Tcb).config;
    const tcb = new Tcb(env, conv, { ...config });
    conv.priv = tcb;
    tcb.wq.reopen();
    beginConnection(tcb);
    tcb.beginSending(entry.iss);
    raise(tcb, TcpEvent.Spawn);
    takeAgreement(tcb, entry.agreement, entry.irs);
    tcb.tsRecent = entry.tsRecent;
    tcb.tsRecentMs = entry.sentMs;
    if (entry.retries === 0 && entry.sentMs >= 0) {
      tcb.rtt.sample(env.clock.now() - entry.sentMs, env.clock.now());
    }
    env.stats.passiveOpens++;
    establish(tcb, segment);
    input(tcb, segment);
  }

  #fromCookie(call: Call): HalfOpen | null {
    const { header, ends, listener } = call;
    const env = this.#env;
    const nowMs = env.clock.now();
    if (nowMs - this.#cookieMs > 2 * COOKIE_MINUTE_MS || (header.flags & TCP_SYN) !== 0) return null;
    const irs = seq.add(header.seq, -1);
    const iss = seq.add(header.ack, -1);
    const peerMss = readCookie(env.hash, ends, { iss, irs, nowMs });
    if (peerMss === 0) {
      env.stats.synCookiesBad++;
      return null;
    }
    env.stats.synCookiesOk++;
    const agreement = cookieAgreement(header.options, peerMss, WINDOW_SHIFT);
    const { laddr, lport, raddr, rport } = ends;
    // No time of sending: there is nothing to measure from.
    return new HalfOpen(listener, laddr, lport, raddr, rport, irs, iss, agreement, header.options.tsVal, -1);
  }

  #refuse(call: Call): void {
    const { packet, header } = call;
    this.#env.stats.noPorts++;
    const payload = packet.block.wp - packet.block.rp - packet.headerLen - header.headerLen;
    refuse(this.#env, packet, header, payload);
    packet.block.free();
  }

  #tick(): void {
    const nowMs = this.#env.clock.now();
    const crowded = this.#count > LIMBO_CROWDED;
    for (const entry of this.#all()) {
      if (entry.dueMs > nowMs) continue;
      if (crowded || entry.retries >= SYN_ACK_RETRIES) {
        this.#env.stats.limboDrops++;
        this.#remove(entry);
        continue;
      }
      entry.retries++;
      entry.dueMs = nowMs + RETRY_MS * 2 ** entry.retries;
      this.#env.stats.retransSegs++;
      this.#answer(entry);
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

function keyOf(ends: TcpEnds): number {
  return Math.imul(ends.raddr.hash(), 0x9e3779b1) ^ ends.laddr.hash() ^ ((ends.rport << 16) | ends.lport);
}
