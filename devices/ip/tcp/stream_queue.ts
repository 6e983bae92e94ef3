/**
 * StreamQueue: a conversation's byte queue, with what a stream needs beyond a Queue: a callback for reads (they open
 * the window), and to answer with the right errno once the connection is broken.
 *
 * Path: tcb, tcp/tcp → stream_queue → tcp/memory, block, error, fd_tap.
 *
 * @module
 */

import type { Block, BlockPool } from "../../../kernel/block.ts";
import { type ErrnoName, KernelError } from "../../../kernel/error.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { type PutResult, Queue, type QueueOptions } from "../../../kernel/queue.ts";
import type { MemoryWaiter, TcpMemory } from "./memory.ts";

/** A byte queue of a connection. */
export class StreamQueue extends Queue {
  /** Called after each read that took something. */
  onRead: (() => void) | null = null;
  /** `rqlimit`: most bytes of the receive buffer, chosen by the user; 0: it is tuned. */
  userLimit = 0;
  #failure: { readonly code: ErrnoName; readonly text: string } | null = null;

  /** Nothing more comes or goes, because of an error; what is queued can still be read. */
  fail(code: ErrnoName, text: string): void {
    if (this.closed) return;
    this.#failure = { code, text };
    this.hangup(text);
  }

  /** Writes are refused for now; nothing is hung up. */
  refuse(code: ErrnoName, text: string): void {
    this.#failure = { code, text };
  }

  #check(): void {
    if (this.#failure !== null) throw new KernelError(this.#failure.code, this.#failure.text);
  }

  override bread(max?: number): Block | "empty" | "closed" {
    const block = super.bread(max);
    if (block === "closed") this.#check();
    else if (block !== "empty") this.onRead?.();
    return block;
  }

  override read(buf: Uint8Array): number | "empty" | "closed" {
    const count = super.read(buf);
    if (count === "closed") this.#check();
    else if (count !== "empty") this.onRead?.();
    return count;
  }

  override bwrite(block: Block): PutResult {
    this.#check();
    return super.bwrite(block);
  }

  override write(bytes: Uint8Array, pool: BlockPool): number | "full" | "closed" {
    this.#check();
    return super.write(bytes, pool);
  }

  /** The receive queue never refuses what was acknowledged: its limit is the window's, and not its own. */
  setUserLimit(limit: number): void {
    this.userLimit = limit;
  }

  override reopen(): void {
    super.reopen();
    this.#failure = null;
  }
}

/** A send queue: its writers wait while the memory of the stack's connections is short. */
export class SendQueue extends StreamQueue implements MemoryWaiter {
  readonly #shared: TcpMemory;
  #waits = false;

  constructor(options: QueueOptions, memory: TcpMemory) {
    super({ ...options, account: memory });
    this.#shared = memory;
  }

  /** Payload bytes that it may take; if none, it waits for {@link wake}. */
  #room(): number {
    const room = this.#shared.payloadRoom(this.memory);
    if (room === 0 && !this.#waits && !this.closed) {
      this.#waits = true;
      this.#shared.wait(this);
    }
    return room;
  }

  override bwrite(block: Block): PutResult {
    return this.#room() === 0 && !this.closed ? "full" : super.bwrite(block);
  }

  /** As much as there is memory for; the rest is the writer's to offer again. */
  override write(bytes: Uint8Array, pool: BlockPool): number | "full" | "closed" {
    const room = this.closed ? Infinity : this.#room();
    if (room === 0) return "full";
    return super.write(bytes.length <= room ? bytes : bytes.subarray(0, room), pool);
  }

  override get level(): number {
    const level = super.level;
    return (level & TapEvent.Writable) !== 0 && this.#room() === 0 ? level & ~TapEvent.Writable : level;
  }

  override discard(count: number): number {
    const gone = super.discard(count);
    if (this.#waits) this.wake();
    return gone;
  }

  override flush(): void {
    super.flush();
    this.#forget();
  }

  /** Lets writers go on if there is room. */
  wake(): void {
    if (!this.closed && this.#shared.room(this.memory) === 0) return;
    this.#forget();
    if (this.closed) return;
    this.writable.wakeup();
    this.onEdge?.(TapEvent.Writable);
  }

  #forget(): void {
    if (!this.#waits) return;
    this.#waits = false;
    this.#shared.waiting.delete(this);
  }
}

/** A receive queue: a limit set by the user limits the window. */
export class ReceiveQueue extends StreamQueue {
  override setLimit(limit: number): void {
    this.setUserLimit(limit);
  }
}
