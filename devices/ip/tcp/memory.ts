/**
 * TcpMemory: the memory of all send and receive queues and resequence stores of one stack, and the writers that wait
 * for some of it.
 *
 * Path: stream_queue, tcp/tcp, tcb → tcp/memory → env/memory, block, block_chain.
 *
 * @module
 */

import { BLOCK_HEADROOM, BLOCK_MAX } from "../../../kernel/block.ts";
import { QUEUE_BLOCK_COST } from "../../../kernel/block_chain.ts";
import { MemoryAccount } from "../env/memory.ts";

/** All queues of one stack: four of the largest send queues, or 16 KiB for each conversation there may be. */
export const TCP_MEMORY_MAX = 64 << 20;
/** The sizes of block that a writer may be cut down to: payload, and the memory that it takes in a pooled buffer. */
const PIECES: readonly { readonly payload: number; readonly memory: number }[] = [
  { payload: BLOCK_MAX, memory: 66_560 + QUEUE_BLOCK_COST },
  { payload: 10_240 - BLOCK_HEADROOM, memory: 10_240 + QUEUE_BLOCK_COST },
  { payload: 2048 - BLOCK_HEADROOM, memory: 2048 + QUEUE_BLOCK_COST },
];
/** What a receiver may always offer: what fits the buffer that every queue has. */
export const WINDOW_SHARE = 2048 - BLOCK_HEADROOM;

/** A writer that found no memory. */
export interface MemoryWaiter {
  /** Looks again. */
  wake(): void;
}

/** The account of one stack's TCP. */
export class TcpMemory extends MemoryAccount {
  readonly waiting: Set<MemoryWaiter> = new Set();
  /** How often a writer had to wait. */
  waits = 0;
  /** Frees what may be freed. */
  relieve: () => void = () => {};

  /** For up to `convs` conversations, each with two queues. */
  constructor(convs: number) {
    super(TCP_MEMORY_MAX, 2 * convs);
  }

  /** Payload bytes that a writer may add to a queue that holds `own` bytes of memory; 0: none. */
  payloadRoom(own: number): number {
    if (this.pressed) this.relieve();
    const room = this.room(own);
    if (room <= 0) return 0;
    const piece = PIECES.find(({ memory }) => memory <= room);
    // Less than the smallest buffer is left of a queue's share: it overshoots by less than a block.
    return piece === undefined ? WINDOW_SHARE : Math.floor(room / piece.memory) * piece.payload;
  }

  /** Most bytes to offer to a peer beyond what is queued, if the queue holds `own` bytes of memory. */
  windowRoom(own: number, mss: number): number {
    const least = own === 0 ? Math.max(WINDOW_SHARE, mss) : 0;
    return Math.max(least, (this.shared - this.bytes - own) >> 1);
  }

  /** A writer found no room. */
  wait(waiter: MemoryWaiter): void {
    this.waits++;
    this.waiting.add(waiter);
  }

  /** Memory was freed. */
  wake(): void {
    for (const waiter of [...this.waiting]) waiter.wake();
  }
}
