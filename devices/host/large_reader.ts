/**
 * Reads packets of 60 bytes to 64 KiB, each after a virtio_net_hdr, without a 64 KiB buffer for each.
 *
 * Path: tun → large_reader → libc.
 *
 * One readv fills two places: a fixed one of 2 KiB, then a large block behind room for the same 2 KiB.
 *
 * ```
 *   head:   | vnet header | first bytes |
 *   large:  | head room   | (room for the first bytes) | the rest ........ |
 * ```
 *
 * A small packet ends in `head` and is copied to a small block; the first bytes of a large one are copied into the room
 * before the rest. Copying 2 KiB takes less time than finding the address of a new buffer for each packet.
 *
 * @module
 */

import { VNET_HEADER_LEN } from "../../kernel/inet/vnet_header.ts";
import { type Block, BLOCK_HEADROOM, type BlockPool } from "../../kernel/block.ts";
import { addressOf, type Libc } from "./libc.ts";

/** Bytes of packet in the fixed place: as many as the smallest pooled buffer holds after its head room. */
const HEAD_ROOM = 2048 - BLOCK_HEADROOM;
/** Most bytes of one packet: a segment of 64 KiB with a link header and tags. */
const PACKET_MAX = 65536 + 22;

/** The buffers that one descriptor is read into. */
export class LargeReader {
  /** Header and first bytes of the packet read last. */
  readonly head: Uint8Array<ArrayBuffer> = new Uint8Array(VNET_HEADER_LEN + HEAD_ROOM);
  #libc: Libc;
  #pool: BlockPool;
  #large: Block | null = null;
  /** Two times struct iovec: address, length. */
  #iov = new BigUint64Array(4);
  #iovBytes = new Uint8Array(this.#iov.buffer);

  constructor(libc: Libc, pool: BlockPool) {
    this.#libc = libc;
    this.#pool = pool;
    this.#iov[0] = addressOf(this.head);
    this.#iov[1] = BigInt(this.head.length);
  }

  /** Reads one packet into the two places; returns the result of readv(2). */
  read(fd: number): number {
    if (this.#large === null) this.#renew();
    // Safe because `head` and `#large` are kept by this object, and their addresses and lengths stand in #iov.
    return this.#libc.readv(fd, this.#iovBytes, 2);
  }

  /**
   * The packet of the last read, which returned `count`, in a block that is the caller's. An empty block: it was too
   * long or too short.
   */
  take(count: number): Block {
    const length = Math.max(0, count - VNET_HEADER_LEN);
    if (length <= HEAD_ROOM) {
      return this.#pool.alloc(length).append(this.head.subarray(VNET_HEADER_LEN, VNET_HEADER_LEN + length));
    }
    const block = this.#large!;
    this.#large = null;
    block.append(this.head.subarray(VNET_HEADER_LEN));
    if (length < PACKET_MAX) block.wp += length - HEAD_ROOM;
    else block.wp = block.rp;
    return block;
  }

  /** Releases the memory. */
  close(): void {
    this.#large?.free();
    this.#large = null;
  }

  #renew(): void {
    const block = this.#pool.alloc(PACKET_MAX);
    const at = block.rp + HEAD_ROOM;
    // Safe because the length ends where the packet's room ends, inside of the buffer.
    this.#iov[2] = addressOf(block.buf as Uint8Array<ArrayBuffer>) + BigInt(at);
    this.#iov[3] = BigInt(PACKET_MAX - HEAD_ROOM);
    this.#large = block;
  }
}
