/**
 * A segment that has come, as the protocol looks at it: its fields, and its payload as a block.
 *
 * Path: demux → segment_in → input, handshake, limbo.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import { TCP_FIN, TCP_SYN, type TcpHeader } from "../../../kernel/wire/tcp.ts";
import type { TcpOptions } from "../../../kernel/wire/tcp_options.ts";
import type { InputPacket } from "../packet.ts";

/** Congestion experienced (RFC 3168 5). */
const CE = 0x03;

/** One segment. Trimming moves `seq` and the ends of the block; `length` is what the payload has then. */
export class Arriving {
  seq: number;
  flags: number;
  readonly ack: number;
  readonly window: number;
  readonly options: TcpOptions;
  /** The path marked it (RFC 3168). */
  readonly isMarked: boolean;
  /** The payload, until someone keeps it. */
  block: Block | null;

  constructor(readonly header: TcpHeader, packet: InputPacket) {
    const { block } = packet;
    this.seq = header.seq;
    this.flags = header.flags;
    this.ack = header.ack;
    this.window = header.window;
    this.options = header.options;
    const { buf, rp } = block;
    const tos = packet.version === 4 ? buf[rp + 1]! : buf[rp + 1]! >>> 4;
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
    return this.length + (this.has(TCP_SYN) ? 1 : 0) + (this.has(TCP_FIN) ? 1 : 0);
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

  /** Nobody wants the payload. */
  drop(): void {
    this.block?.free();
    this.block = null;
  }
}
