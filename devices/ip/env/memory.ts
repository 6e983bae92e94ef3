/**
 * MemoryAccount: one bound over the memory of all queues of a kind in one stack (Linux' tcp_mem and udp_mem).
 *
 * Path: tcp/memory, resequence, conv → env/memory → block_chain.
 *
 * ```
 *   0                    three quarters            shared              max
 *   |------ free use ---------|----- pressure --------|--- one buffer each ---|
 * ```
 *
 * Most of it is `shared`. The rest is a reserve: one small buffer for every queue that there may be. So a
 * queue that is empty can always take something, independent of what others hold, and a new connection is served, if
 * slowly.
 *
 * @module
 */

import { QUEUE_BLOCK_COST, type QueueAccount } from "../../../kernel/block_chain.ts";

/** What every queue may hold, independent of the others: one block in the smallest pooled buffer. */
export const QUEUE_SHARE = 2048 + QUEUE_BLOCK_COST;

/** Memory of one kind of queues. */
export class MemoryAccount implements QueueAccount {
  bytes = 0;
  /** Bytes that any queue may take, as long as there are some left. */
  readonly shared: number;

  /** `max` bytes for up to `queues` queues. */
  constructor(readonly max: number, queues: number) {
    this.shared = max - queues * QUEUE_SHARE;
  }

  refuses(own: number): boolean {
    return this.bytes >= this.shared && (own >= QUEUE_SHARE || this.bytes >= this.max);
  }

  /** More than three quarters of what is shared are taken: nothing grows any more. */
  get pressed(): boolean {
    return this.bytes > 0.75 * this.shared;
  }

  /**
   * Bytes of memory that a queue with `own` bytes may take now: half of what is left beyond as much as it has. So
   * queues that take all they can end with equal parts, and something is left for the next.
   */
  room(own: number): number {
    return Math.max((this.shared - this.bytes - own) >> 1, Math.min(QUEUE_SHARE, this.max - this.bytes) - own, 0);
  }
}
