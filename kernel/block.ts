/**
 * Block: one packet or chunk of bytes, moved between layers and never shared.
 *
 * Path: host, queue → block (passed between all layers of the packet path).
 *
 * ```
 *   base          rp            wp          lim
 *    | head room  | the bytes   | tail room |      buf, then extents (borrowed views), in that order
 * ```
 *
 * A layer pulls its header by moving `rp` up and pads its own by moving it down. Passing on a Block transfers its
 * ownership: the sender never touches it again, and clones it first if it must keep a copy. Offsets in the metadata are
 * absolute in `buf`, so that padding and pulling do not touch them.
 *
 * @module
 */

import { assert } from "./assert.ts";

/** Room left of the bytes of a fresh block: Ethernet, an IPv6 header with options, and a virtio header fit. */
export const BLOCK_HEADROOM = 128;

/** Most bytes a single write puts into one block (Akaros' limit, and IP's largest packet). */
export const BLOCK_MAX = 65536;

/** State of a transport checksum inside a block. */
export const Checksum = {
  /** It is in the packet and has not been checked. */
  None: 0,
  /** It was verified, or the packet never left this machine: it need not be verified again. */
  Verified: 1,
  /** It is owed: the field holds the folded pseudo-header sum; sum from `checksumStart` on and store the complement. */
  Owed: 2,
} as const;
/** One of the states of {@link Checksum}. */
export type Checksum = typeof Checksum[keyof typeof Checksum];

/** How a packet larger than the wire allows is to be cut. */
export const Segment = { None: 0, Tcp4: 1, Tcp6: 2, Udp: 3 } as const;
/** One of the ways of {@link Segment}. */
export type Segment = typeof Segment[keyof typeof Segment];

const NO_BYTES = new Uint8Array(0);

/** One packet or chunk. */
export class Block {
  /** The buffer: `base` is its start and `lim` its end. */
  buf: Uint8Array;
  /** Index in `buf` of the first byte. */
  rp: number;
  /** Index in `buf` after the last byte. */
  wp: number;
  /** Borrowed bytes that follow those of `buf`; valid until the call that brought them returns. */
  extents: Uint8Array[] | null = null;
  /** State of the transport checksum. */
  checksum: Checksum = Checksum.None;
  /** Owed checksum: index in `buf` where summing starts. */
  checksumStart = 0;
  /** Owed checksum: index in `buf` of the 16-bit field. */
  checksumField = 0;
  /** How to cut it, if it is larger than the wire allows. */
  segment: Segment = Segment.None;
  /** Payload bytes in each cut piece. */
  segmentSize = 0;
  /** Bytes from the start of the network header to the payload that is cut. */
  segmentHeaderLen = 0;
  /**
   * Bytes of the largest fragment that an IP packet was reassembled from; 0: it was not fragmented. It may be
   * fragmented again.
   */
  fragmentMax = 0;
  /** For the queue that holds it. */
  next: Block | null = null;
  /** For the pool it came from. */
  pool: BlockPool | null = null;

  /** A block over `buf`, whose bytes are those from `rp` to `wp`; {@link BlockPool.alloc} leaves head room. */
  constructor(buf: Uint8Array, rp: number, wp: number) {
    this.buf = buf;
    this.rp = rp;
    this.wp = wp;
  }

  /** A block of its own memory with room for `size` bytes, `headroom` bytes left of them, and none in it yet. */
  static alloc(size: number, headroom: number = BLOCK_HEADROOM): Block {
    return new Block(new Uint8Array(headroom + size), headroom, headroom);
  }

  /** A block that holds a copy of `bytes`. */
  static from(bytes: Uint8Array, headroom: number = BLOCK_HEADROOM): Block {
    const block = Block.alloc(bytes.length, headroom);
    return block.append(bytes);
  }

  /** Bytes in it, extents included. */
  get length(): number {
    let length = this.wp - this.rp;
    if (this.extents !== null) { for (const extent of this.extents) length += extent.length; }
    return length;
  }

  /** Free bytes left of `rp`. */
  get headroom(): number {
    return this.rp;
  }

  /** Free bytes right of `wp`. */
  get tailroom(): number {
    return this.buf.length - this.wp;
  }

  /** A view of all bytes; an extent is first copied in, so that there is one piece. */
  bytes(): Uint8Array {
    if (this.extents !== null) this.own();
    return this.buf.subarray(this.rp, this.wp);
  }

  /** Makes every byte its own, in one piece: after this nothing is borrowed. */
  own(): this {
    if (this.extents === null) return this;
    const length = this.length;
    if (this.rp + length > this.buf.length) this.#grow(this.rp, length);
    let at = this.wp;
    for (const extent of this.extents) {
      this.buf.set(extent, at);
      at += extent.length;
    }
    this.wp = at;
    this.extents = null;
    return this;
  }

  /** Appends a copy of `bytes`. */
  append(bytes: Uint8Array): this {
    if (this.extents !== null) this.own();
    if (bytes.length > this.tailroom) this.#grow(this.rp, this.wp - this.rp + bytes.length);
    this.buf.set(bytes, this.wp);
    this.wp += bytes.length;
    return this;
  }

  /** Makes room for `count` bytes before the first and returns the new `rp`; what they hold is not defined. */
  push(count: number): number {
    if (count > this.rp) this.#grow(BLOCK_HEADROOM + count, this.wp - this.rp);
    return this.rp -= count;
  }

  /** Drops `count` bytes of the front, which must be in `buf`. */
  pull(count: number): void {
    assert(count >= 0 && count <= this.wp - this.rp, "pull stays inside the block's own bytes");
    this.rp += count;
  }

  /**
   * Cuts everything after the first `length` bytes; a shorter block stays as it is. A negative `length` counts as 0.
   */
  trim(length: number): void {
    if (length < 0) length = 0;
    if (this.extents !== null) {
      if (length >= this.length) return;
      this.own();
    }
    if (this.rp + length < this.wp) this.wp = this.rp + length;
  }

  /** A block with a copy of the bytes and metadata, in memory of its own. */
  clone(): Block {
    const length = this.length;
    const pool = this.pool;
    const copy = pool !== null ? pool.alloc(length, this.rp) : Block.alloc(length, this.rp);
    // Same rp, so the absolute offsets of the metadata keep their meaning.
    copy.buf.set(this.buf.subarray(this.rp, this.wp), copy.rp);
    copy.wp = copy.rp + (this.wp - this.rp);
    if (this.extents !== null) { for (const extent of this.extents) copy.append(extent); }
    copy.checksum = this.checksum;
    copy.checksumStart = this.checksumStart;
    copy.checksumField = this.checksumField;
    copy.segment = this.segment;
    copy.segmentSize = this.segmentSize;
    copy.segmentHeaderLen = this.segmentHeaderLen;
    copy.fragmentMax = this.fragmentMax;
    return copy;
  }

  /** Clears checksum and segmentation metadata, as before a received block is echoed. */
  clearOffload(): void {
    this.checksum = Checksum.None;
    this.segment = Segment.None;
    this.segmentSize = 0;
    this.segmentHeaderLen = 0;
  }

  /**
   * Returns the memory to its pool; the block is empty afterwards. Optional: a block that is not freed is
   * garbage-collected.
   */
  free(): void {
    const { buf, pool } = this;
    this.buf = NO_BYTES;
    this.rp = this.wp = 0;
    this.extents = null;
    this.pool = null;
    if (pool !== null) pool.release(buf);
  }

  /** Moves the bytes into a larger buffer, of the same pool, with `rp` head room and room for `size` bytes. */
  #grow(rp: number, size: number): void {
    const { pool } = this;
    const pooled = pool === null ? null : pool.take(rp + size);
    const buf = pooled ?? new Uint8Array(rp + size);
    buf.set(this.buf.subarray(this.rp, this.wp), rp);
    const moved = rp - this.rp;
    this.checksumStart += moved;
    this.checksumField += moved;
    this.wp += moved;
    this.rp = rp;
    if (pool !== null) pool.release(this.buf);
    if (pooled === null) this.pool = null;
    this.buf = buf;
  }
}

/** Buffer sizes that are kept: an Ethernet frame, a jumbo frame, the largest packet; each with head room beyond. */
const POOL_SIZES: readonly number[] = [2048, 10240, 66560];
/** Bytes kept of each size: enough for a burst, and small for an idle kernel. */
const POOL_KEEP_BYTES = 1 << 22;

/** Reuses buffers: allocating and clearing 2 KiB costs more than forwarding the packet in it. */
export class BlockPool {
  #free: Uint8Array[][] = POOL_SIZES.map(() => []);

  /** A block with room for `size` bytes after `headroom`; the buffer's old bytes are still in it. */
  alloc(size: number, headroom: number = BLOCK_HEADROOM): Block {
    const buf = this.take(size + headroom);
    if (buf === null) return Block.alloc(size, headroom);
    const block = new Block(buf, headroom, headroom);
    block.pool = this;
    return block;
  }

  /** A block that holds a copy of `bytes`. */
  from(bytes: Uint8Array, headroom: number = BLOCK_HEADROOM): Block {
    return this.alloc(bytes.length, headroom).append(bytes);
  }

  /** For blocks: a buffer of at least `need` bytes; null: larger than any that is pooled. */
  take(need: number): Uint8Array | null {
    const at = POOL_SIZES.findIndex((size) => need <= size);
    return at < 0 ? null : this.#free[at]!.pop() ?? new Uint8Array(POOL_SIZES[at]!);
  }

  /** For {@link Block.free}. */
  release(buf: Uint8Array): void {
    const at = POOL_SIZES.indexOf(buf.length);
    if (at < 0) return;
    const kept = this.#free[at]!;
    if ((kept.length + 1) * buf.length <= POOL_KEEP_BYTES) kept.push(buf);
  }
}
