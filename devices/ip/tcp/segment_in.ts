/**
 * A segment that has come, as the protocol looks at it: its fields, and its payload as a block.
 *
 * Path: demux, half_open, handshake → segment_in → block, packet/packet, seq, wire/tcp.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { ipv4Tos } from "../../../kernel/wire/ipv4.ts";
import { ipv6TrafficClass } from "../../../kernel/wire/ipv6.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import { TCP_FIN, TCP_SYN, type TcpHeader } from "../../../kernel/wire/tcp.ts";
import type { TcpOptions } from "../../../kernel/wire/tcp_options.ts";
import type { InputPacket } from "../packet/packet.ts";

/** Congestion experienced (RFC 3168 5). */
const CE = 0x03;

/** One segment. Trimming moves `seq` and the ends of the block; `length` is what the payload has then. */
export class IncomingSegment {
  seq: number;
  flags: number;
  readonly ack: number;
  readonly window: number;
  readonly options: TcpOptions;
  /** The path marked it (RFC 3168). */
  readonly isMarked: boolean;
  /** The payload, until it is taken. */
  block: Block | null;
  /** Bytes that were cut off in front of `seq`: they had come before. */
  cut = 0;

  constructor(readonly header: TcpHeader, packet: InputPacket) {
    const { block } = packet;
    this.seq = header.seq;
    this.flags = header.flags;
    this.ack = header.ack;
    this.window = header.window;
    this.options = header.options;
    const { buf, rp } = block;
    const tos = packet.version === 4 ? ipv4Tos(buf, rp) : ipv6TrafficClass(buf, rp);
    this.isMarked = (tos & CE) === CE;
    block.rp += packet.headerLen + header.headerLen;
    this.block = block;
  }

  /** Payload bytes. */
  get length(): number {
    return this.block === null ? 0 : this.block.wp - this.block.rp;
  }

  has(flags: number): boolean {
    return (this.flags & flags) !== 0;
  }

  /** SEG.LEN: payload, SYN and FIN (RFC 9293 3.4). */
  get span(): number {
    return spanOf(this.flags, this.length);
  }

  /** The sequence number behind it. */
  get end(): number {
    return seq.add(this.seq, this.span);
  }

  /** Gives the payload to the caller. */
  takeBlock(): Block {
    const block = this.block!;
    this.block = null;
    return block;
  }

  /** Drops the payload. */
  drop(): void {
    this.block?.free();
    this.block = null;
  }
}

/** SEG.LEN of a segment with these flags and so much payload. */
export function spanOf(flags: number, payloadLen: number): number {
  return payloadLen + ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0);
}

/** RFC 9293 table 6: whether a segment of `span` numbers that begins at `from` is in the window `wnd` behind `nxt`. */
export function isAcceptable(from: number, span: number, nxt: number, wnd: number): boolean {
  if (from === nxt) return true; // Also into a shut window: the ACK of it counts (RFC 9293 3.10.7.4).
  // An empty segment right behind the window is what a peer sends that has filled it.
  if (span === 0) return wnd > 0 && seq.between(nxt, from, seq.add(nxt, wnd));
  return seq.inWindow(from, nxt, wnd) || seq.inWindow(seq.add(from, span - 1), nxt, wnd);
}

/** The same of a reset: only where it begins counts, and behind the window is outside (RFC 5961 3.2). */
export function isResetAcceptable(from: number, nxt: number, wnd: number): boolean {
  return from === nxt || seq.inWindow(from, nxt, wnd);
}

/**
 * Whether a segment that lacks agreed timestamps is taken all the same (RFC 7323 3.2: it SHOULD be dropped). An empty
 * one is, and a keepalive, which begins one before RCV.NXT (`isBefore`) and may have one byte of garbage (RFC 1122
 * 4.2.3.6): Windows leaves the option out of them. So is a SYN: it is only ever challenged.
 */
export function mayLackTimestamps(flags: number, payloadLen: number, isBefore: boolean): boolean {
  if ((flags & TCP_SYN) !== 0) return true;
  return (flags & TCP_FIN) === 0 && (payloadLen === 0 || (payloadLen === 1 && isBefore));
}
