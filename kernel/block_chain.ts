/**
 * BlockChain: the blocks of a queue, each linked to the next, with their bytes and the memory that they take.
 *
 * Path: queue → block_chain → block.
 *
 * Any caller may look at it; only the queue, which is derived from it, adds and takes.
 *
 * @module
 */

import type { Block } from "./block.ts";

/** Cost of a queued block beyond its buffer: the objects that hold it. */
export const QUEUE_BLOCK_COST = 256;

/** A memory limit that several queues share. */
export interface QueueAccount {
  /** Bytes of buffers in these queues, each block with {@link QUEUE_BLOCK_COST} on top. */
  bytes: number;
  /** Whether a queue that holds `own` of these bytes may take no more now. */
  refuses(own: number): boolean;
}

/** The blocks. */
export class BlockChain {
  /** The first block; null: there is none. */
  protected head: Block | null = null;
  /** The last block. */
  protected tail: Block | null = null;
  /** How many there are. */
  protected count = 0;
  /** The bytes of all. */
  protected bytes = 0;
  /** The memory of all. */
  protected held = 0;
  /** The account that their memory is charged to; null: none. */
  protected readonly account: QueueAccount | null;

  /** An empty one. */
  constructor(account: QueueAccount | null) {
    this.account = account;
  }

  /** Bytes queued. */
  get length(): number {
    return this.bytes;
  }

  /** Blocks queued. */
  get blocks(): number {
    return this.count;
  }

  /** Bytes of memory that the queued blocks take: their whole buffers, and the objects. */
  get memory(): number {
    return this.held;
  }

  /** Accounts for `change` more bytes of memory. */
  protected charge(change: number): void {
    this.held += change;
    if (this.account !== null) this.account.bytes += change;
  }

  /** Bytes in the block at the head, which {@link bread} would give; -1 if there is none. */
  headLength(): number {
    return this.head === null ? -1 : this.head.wp - this.head.rp;
  }

  /** Copies up to `buf.length` bytes that start `offset` bytes into the queue, taking none; returns how many. */
  peek(buf: Uint8Array, offset = 0): number {
    let at = 0;
    let skip = offset;
    for (let block = this.head; block !== null && at < buf.length; block = block.next) {
      const length = block.wp - block.rp;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const count = Math.min(length - skip, buf.length - at);
      buf.set(block.buf.subarray(block.rp + skip, block.rp + skip + count), at);
      at += count;
      skip = 0;
    }
    return at;
  }

  /** Frees every block. */
  protected freeAll(): void {
    while (this.head !== null) {
      const block = this.head;
      this.head = block.next;
      block.next = null;
      block.free();
    }
    this.tail = null;
    this.count = this.bytes = 0;
    this.charge(-this.held);
  }
}
