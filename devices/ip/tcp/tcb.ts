/**
 * The transmission control block: everything that is known of one connection, under RFC 9293's names (3.3.1).
 *
 * Path: tcp/tcp, ack, tcp/advice → tcb → congestion, keyed_hash, rack, resequence.
 *
 * ```
 *   send        1         2          3          4                receive      1          2          3
 *          ----------|----------|----------|----------                   ----------|----------|----------
 *                 snd.una    snd.nxt    snd.una+snd.wnd                         rcv.nxt    rcv.edge
 * ```
 *
 * 1: acknowledged; 2: sent, or may come; 3: may be sent; 4 (3 on the right): may not yet. `rcv.edge` is RCV.NXT +
 * RCV.WND as the peer knows it: it never moves left.
 *
 * @module
 */

import type { Block, BlockPool } from "../../../kernel/block.ts";
import type { Clock } from "../../../kernel/time.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IP_PROTO_TCP } from "../../../kernel/wire/ip_proto.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import type { Conv } from "../conv/conv.ts";
import type { SendOptions, SendResult } from "../packet/packet.ts";
import { type Congestion, CongestionState } from "./congestion.ts";
import type { KeyedHash } from "./keyed_hash.ts";
import { Rack } from "./rack.ts";
import { Resequence } from "./resequence.ts";
import { Rtt } from "./rtt.ts";
import type { TcpMemory } from "./memory.ts";
import { type Delivery, Scoreboard } from "./sack.ts";
import { TcpState } from "./state.ts";
import type { TcpStats } from "./stats.ts";
import type { ReceiveQueue, StreamQueue } from "./stream_queue.ts";
import { TcpTimers, type TimerSlot } from "./timer.ts";

/** How packets leave: ip_output, or a test. */
export interface IpSender {
  send(block: Block, options: SendOptions): SendResult;
  /** Most bytes of an IP packet to `dst`, as far as the path is known. */
  mtu(dst: IpAddr): number;
}

/** Shared by all connections of a stack. */
export interface TcpEnv {
  readonly clock: Clock;
  readonly blocks: BlockPool;
  readonly ip: IpSender;
  readonly stats: TcpStats;
  readonly hash: KeyedHash;
  /** Bytes that the queues hold. */
  readonly memory: TcpMemory;
  /** Connections whose program has closed them, other than in TIME-WAIT: see orphans.ts. */
  readonly orphans: Set<Tcb>;
  /** Used by whichever acknowledgment is being processed: only one is at a time. */
  readonly delivery: Delivery;
  /** Runs a timer of a connection. */
  expire(tcb: Tcb, slot: TimerSlot): void;
}

/** What a user sets on ctl; calls inherit it from their listener. */
export interface TcpConfig {
  nodelay: boolean;
  /** Every segment is acknowledged at once. */
  quickack: boolean;
  /** Idle milliseconds before a keepalive; 0: none. */
  keepaliveMs: number;
  userTimeoutMs: number;
  /** Bytes to which the send queue may grow. */
  sendQueueMax: number;
  algorithm: Congestion;
  ecn: boolean;
  /** What is offered in our SYN. */
  sack: boolean;
  timestamps: boolean;
  windowScale: boolean;
}

/** How losses are being dealt with. */
export const Recovery = {
  /** None is known. */
  Open: 0,
  /** Fast recovery: `snd.una` has not reached `recover`. */
  Fast: 1,
  /** After a timeout, the same. */
  Loss: 2,
} as const;
export type Recovery = typeof Recovery[keyof typeof Recovery];

/** The send sequence space. */
class SendSpace {
  una = 0;
  nxt = 0;
  /** The highest ever sent, window probes included. */
  max = 0;
  wnd = 0;
  /** The largest window the peer ever offered. */
  maxWnd = 0;
  wl1 = 0;
  wl2 = 0;
  iss = 0;
  /** Sequence number of the first byte in conv.wq. */
  base = 0;
  /** Payload bytes of a full segment with the options that every segment has. */
  mss = 536;
  /** What the peer's SYN said. */
  peerMss = 536;
  /** Shift of the windows that the peer announces. */
  shift = 0;
  /** End of the last segment that was sent less than full, for Nagle's rule after Minshall. */
  smallEnd = 0;
  /** When data was last sent. */
  lastMs = 0;
}

/** The receive sequence space. */
class ReceiveSpace {
  nxt = 0;
  /** Right edge of the window that was announced. */
  edge = 0;
  irs = 0;
  /** The last acknowledgment sent. */
  acked = 0;
  /** Shift of the windows that we announce. */
  shift = 0;
  /** What our SYN said: full segments of the peer have at most this many bytes. */
  mss = 536;
  /** The largest segment seen: what counts as a full one. */
  full = 536;
  /** Size of the receive buffer, tuned. */
  buffer = 0;
  /** Bytes that the user could have read since `roundMs`. */
  delivered = 0;
  roundMs = 0;
  /** Sequence number of a FIN that came out of order; -1: none. */
  finAt = -1;
  /** Segments to acknowledge at once, at the start of a connection. */
  quick = 0;
  /** Since when there has been a gap at `gapNxt`; see gap.ts. */
  gapMs = 0;
  gapNxt = 0;
}

/** Facts for IP output; one object a connection, since a packet must not cost one. */
class ConnectionSendOptions implements SendOptions {
  readonly protocol = IP_PROTO_TCP;
  /** Until a router says that it takes less than we want segments to have: see pmtu.ts. */
  dontFragment = true;
  ttl = 0;
  tos = 0;
  constructor(readonly src: IpAddr, readonly dst: IpAddr) {}
}

/** One connection, or one listener. */
export class Tcb {
  state: TcpState = TcpState.Closed;
  readonly snd: SendSpace = new SendSpace();
  readonly rcv: ReceiveSpace = new ReceiveSpace();
  readonly board: Scoreboard = new Scoreboard();
  readonly rtt: Rtt = new Rtt();
  readonly rack: Rack = new Rack();
  readonly resequence: Resequence;
  readonly timers: TcpTimers;
  congestion: CongestionState;
  sendOptions: ConnectionSendOptions;

  /** Options that both sides agreed to. */
  sackOk = false;
  timestampsOk = false;
  ecnOk = false;
  /** A SYN without the offer was sent, after others had no answer. */
  ecnGivenUp = false;
  tsOffset = 0;
  tsRecent = 0;
  tsRecentMs = 0;

  /** A FIN is to be sent behind the queued data. */
  finWanted = false;
  finSent = false;
  /** `close` came before the connection stood. */
  closeLater = false;
  /** The conversation is not open. */
  detached = false;
  /** An acknowledgment must go out now. */
  ackNow = false;
  /** Answer every segment with ECE until the peer says CWR (RFC 3168 6.1.3). */
  ecnEcho = false;
  /** Tell the peer that we reduced the window. */
  cwrDue = false;
  /** ECE is not looked at again before this is acknowledged. */
  cwrEnd = 0;
  /** To be reported as a D-SACK with the next acknowledgment. */
  dsackLeft = 0;
  dsackRight = 0;
  hasDsack = false;

  recovery: Recovery = Recovery.Open;
  recover = 0;
  /** When the congestion window was reduced last. */
  reducedMs = 0;
  /** Our SYN was sent more than once. */
  synResent = false;
  /** Duplicate acknowledgments in a row, without SACK. */
  dupAcks = 0;
  /** Something must be sent again now, whatever the window says. */
  forceResend = false;
  /** Sending stopped because the congestion window was full. */
  cwndLimited = false;
  /** Timeouts in a row. */
  backoff = 0;
  /** When the retransmission timeout is due; Infinity: nothing is in flight. */
  rtoAtMs = Infinity;
  /** Since when the peer has not answered; below 0: it does. */
  stallMs = -1;
  /** Of an orphan: when the peer last took something, and what it had then; see orphans.ts. */
  progressMs = 0;
  progressSeq = 0;
  /** End of a tail-loss probe in flight (RFC 8985 TLP.end_seq); -1: none. */
  probeEnd = -1;
  probeIsResend = false;
  keepaliveProbes = 0;
  /** When the peer was last heard. */
  heardMs = 0;
  /** Path MTU learnt from ICMP; 0: the route's. And until when it counts. */
  pathMtu = 0;
  pathMtuUntilMs = 0;
  /** The last ICMP error, the reason if the connection times out (RFC 5927 5.2: a soft error). */
  softError = "";
  /** Challenge acknowledgments that may still be sent, and when that was counted. */
  challengeTokens: number;
  challengeMs = 0;
  /** Retransmissions that no D-SACK has called needless. */
  resends = 0;
  /** Segments received again, for status. */
  rerecv = 0;

  constructor(readonly env: TcpEnv, readonly conv: Conv, readonly config: TcpConfig) {
    this.resequence = new Resequence(env.memory);
    this.timers = new TcpTimers(env.clock, (slot) => env.expire(this, slot));
    this.congestion = new CongestionState(config.algorithm, this.snd.mss);
    this.sendOptions = new ConnectionSendOptions(conv.laddr, conv.raddr);
    this.challengeTokens = CHALLENGE_ACKS_PER_S;
  }

  /** Begins the send sequence space at `iss`: a SYN, then data. */
  beginSending(iss: number): void {
    const { snd } = this;
    const first = seq.add(iss, 1);
    snd.iss = snd.una = iss;
    snd.nxt =
      snd.max =
      snd.base =
      snd.smallEnd =
      this.cwrEnd =
      this.recover =
        first;
    this.board.clear(first);
    this.rack.end = first;
  }

  /** Begins the receive sequence space behind the peer's SYN; `window` is announced by our own. */
  beginReceiving(irs: number, window: number): void {
    const { rcv } = this;
    rcv.irs = irs;
    rcv.nxt = rcv.acked = seq.add(irs, 1);
    rcv.edge = seq.add(rcv.nxt, window);
    rcv.roundMs = this.env.clock.now();
  }

  get rq(): ReceiveQueue {
    return this.conv.rq as ReceiveQueue;
  }

  get wq(): StreamQueue {
    return this.conv.wq as StreamQueue;
  }

  /** Takes the ends of the conversation, which are set now. */
  takeEnds(): void {
    this.sendOptions = new ConnectionSendOptions(this.conv.laddr, this.conv.raddr);
  }

  /** Bytes (and FIN) on their way. */
  get flight(): number {
    return (this.snd.nxt - this.snd.una) >>> 0;
  }

  /** Bytes that the network holds, as far as we know (RFC 6675: pipe). */
  get pipe(): number {
    const pipe = this.board.pipe(this.flight);
    // Without SACK a duplicate acknowledgment says that a segment has left the network, but not which.
    return this.sackOk ? pipe : Math.max(0, pipe - this.dupAcks * this.snd.mss);
  }

  /** Bytes queued and never sent. */
  get unsent(): number {
    return this.finSent ? 0 : seq.diff(seq.add(this.snd.base, this.wq.length), this.snd.nxt);
  }

  /** Receive window as the peer knows it. */
  get rcvWnd(): number {
    return (this.rcv.edge - this.rcv.nxt) >>> 0;
  }

  /** Our timestamp now (RFC 7323 5.4: a millisecond a tick). */
  tsNow(nowMs: number): number {
    return (this.tsOffset + Math.floor(nowMs)) >>> 0;
  }

  get isV4(): boolean {
    return this.conv.raddr.isV4;
  }
}

/** Challenge acknowledgments of one connection a second (RFC 5961 7); a count of its own shows others nothing. */
export const CHALLENGE_ACKS_PER_S = 10;

/** The control block of a conversation of TCP that is not bypassed. */
export function tcbOf(conv: Conv): Tcb {
  return conv.priv as Tcb;
}

/** The control block of a conversation of TCP; null: it has none yet, or it is bypassed. */
export function tcbOrNull(conv: Conv): Tcb | null {
  return conv.priv as Tcb | null;
}
