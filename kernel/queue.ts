/**
 * Queue: blocks between two layers, with a limit, flow control or drop-on-overflow, hang-up, and readiness edges.
 *
 * Path: conv, dev_pipe → queue → block_chain, queue_file.
 *
 * A message queue keeps each block whole; a byte queue may split the first one. Nothing here sleeps: a result is `ok`,
 * `full`, `empty` or `closed`, and a system call waits at {@link Queue.readable} and {@link Queue.writable}.
 *
 * Readable: a block is queued (a message of no bytes is a message). Writable: the limit is 0 or fewer bytes are queued.
 * The limit is checked before adding, so one write may overshoot it (Akaros qio). The number of blocks is limited too:
 * empty and tiny messages must not cost unbounded memory.
 *
 * @module
 */

import { Block, BLOCK_MAX, type BlockPool } from "./block.ts";
import { BlockChain, QUEUE_BLOCK_COST, type QueueAccount } from "./block_chain.ts";
import { Rendez } from "./rendez.ts";
import { TapEvent } from "./fd_tap.ts";

/** Most blocks in any queue: about 32 MiB when each holds a pooled frame buffer. */
export const QUEUE_BLOCKS_MAX = 16384;

/** Result of adding a block. */
export type PutResult = "ok" | "full" | "closed";

/** How a queue behaves. */
export interface QueueOptions {
  /** Bytes from which on the queue is full; 0: no limit. */
  limit: number;
  /** Keep each block whole (Qmsg). Default: a stream of bytes. */
  message?: boolean;
  /** Empty blocks are taken and discarded (Qcoalesce). */
  coalesce?: boolean;
  /** Drop blocks that do not fit, even if the writer could wait (Qdropoverflow). */
  dropOverflow?: boolean;
  /** Most blocks. Default {@link QUEUE_BLOCKS_MAX}. */
  limitBlocks?: number;
  /** There is output: called after each block that is added (and when room is made). */
  kick?: (() => void) | null;
  /** A bypass queue: called with each block instead of storing it; its errors reach the writer. */
  bypass?: ((block: Block) => void) | null;
  /** Memory that it shares with other queues; it is also full when that memory is. */
  account?: QueueAccount | null;
}

/** A queue of blocks. */
export class Queue extends BlockChain {
  /** Made when a system call first sleeps there: in most queues none does. */
  #readable: Rendez | null = null;
  #writable: Rendez | null = null;
  /** Called on edges with bits of {@link TapEvent}: empty to not, full to not, closed. */
  onEdge: ((events: number) => void) | null = null;
  /** Blocks dropped because the queue was full. */
  drops = 0;
  /** Blocks taken in since it was made. */
  blocksIn = 0;
  /** Reads at the end; counted by the device. */
  eofReads = 0;
  /** Whether each block is a message, and a short read loses the rest of it. */
  readonly message: boolean;
  #limit: number;
  readonly #initialLimit: number;
  readonly #limitBlocks: number;
  readonly #coalesce: boolean;
  readonly #dropOverflow: boolean;
  #kick: (() => void) | null;
  #bypass: ((block: Block) => void) | null;
  #closed = false;
  #reason = "";

  /** An empty queue. */
  constructor(options: QueueOptions) {
    super(options.account ?? null);
    this.#limit = this.#initialLimit = options.limit;
    this.#limitBlocks = options.limitBlocks ?? QUEUE_BLOCKS_MAX;
    this.message = options.message ?? false;
    this.#coalesce = options.coalesce ?? false;
    this.#dropOverflow = options.dropOverflow ?? false;
    this.#kick = options.kick ?? null;
    this.#bypass = options.bypass ?? null;
  }

  /** Where readers sleep. */
  get readable(): Rendez {
    return this.#readable ??= new Rendez();
  }

  /** Where writers sleep. */
  get writable(): Rendez {
    return this.#writable ??= new Rendez();
  }

  /** Bytes from which on it is full; 0: none. */
  get limit(): number {
    return this.#limit;
  }

  /** Whether it was hung up or closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Why it was hung up; empty if no reason was given. */
  get reason(): string {
    return this.#reason;
  }

  /** Whether a read finds something (or the end). */
  get canRead(): boolean {
    return this.head !== null || this.#closed;
  }

  /** Whether a block would be taken. */
  get canWrite(): boolean {
    return !this.#full;
  }

  get #full(): boolean {
    return (this.#limit > 0 && this.bytes >= this.#limit) || this.count >= this.#limitBlocks ||
      (this.account !== null && this.account.refuses(this.held));
  }

  /** Current readiness, as bits of {@link TapEvent}. */
  get level(): number {
    return (this.head !== null ? TapEvent.Readable : 0) | (this.#full ? 0 : TapEvent.Writable) |
      (this.#closed ? TapEvent.Hangup : 0);
  }

  /** Enqueues or drops: the block is consumed either way. For callers that cannot wait (packets from below). */
  pass(block: Block): PutResult {
    const result = this.#put(block);
    if (result !== "ok") {
      if (result === "full") this.drops++;
      block.free();
    }
    return result;
  }

  /**
   * Enqueues with flow control: on `full` the block is still the caller's, to retry after waiting at {@link writable}.
   */
  bwrite(block: Block): PutResult {
    if (this.#dropOverflow && this.#bypass === null && this.#full && !this.#closed) {
      this.drops++;
      block.free();
      return "ok";
    }
    return this.#put(block);
  }

  #put(block: Block): PutResult {
    if (this.#closed) return "closed";
    if (this.#bypass !== null) {
      this.#bypass(block);
      return "ok";
    }
    if (this.#full) return "full";
    if (block.extents !== null) block.own();
    this.#append(block);
    return "ok";
  }

  #append(block: Block): void {
    if (this.#coalesce && block.wp === block.rp) return block.free(); // Discarded, so it wakes no reader.
    const wasEmpty = this.head === null;
    block.next = null;
    if (wasEmpty) this.head = block;
    else this.tail!.next = block;
    this.tail = block;
    this.count++;
    this.blocksIn++;
    this.bytes += block.wp - block.rp;
    this.charge(block.buf.length + QUEUE_BLOCK_COST);
    if (wasEmpty) {
      this.#readable?.wakeup();
      this.onEdge?.(TapEvent.Readable);
    }
    this.#kick?.();
  }

  /**
   * Copies `bytes` in, as one message or as chunks of at most {@link BLOCK_MAX}; admitted whole when there was room.
   * Returns how many were taken: on a message queue or a bypass queue at most {@link BLOCK_MAX}.
   */
  write(bytes: Uint8Array, pool: BlockPool): number | "full" | "closed" {
    if (this.#closed) return "closed";
    if (this.#bypass === null && this.#full) {
      if (!this.#dropOverflow) return "full";
      this.drops++;
      return bytes.length;
    }
    if (bytes.length <= BLOCK_MAX) {
      const result = this.bwrite(pool.from(bytes));
      return result === "ok" ? bytes.length : result;
    }
    if (this.message || this.#bypass !== null) return this.write(bytes.subarray(0, BLOCK_MAX), pool);
    for (let at = 0; at < bytes.length; at += BLOCK_MAX) this.#append(pool.from(bytes.subarray(at, at + BLOCK_MAX)));
    return bytes.length;
  }

  /** The block at the head, whole. On a byte queue a block longer than `max` bytes is split. */
  bread(max: number = Infinity): Block | "empty" | "closed" {
    const block = this.head;
    if (block === null) return this.#closed ? "closed" : "empty";
    const length = block.wp - block.rp;
    if (!this.message && length > max) return this.#split(block, max);
    this.#remove(block, length);
    return block;
  }

  /** The bytes of one message (the rest is lost, as in Akaros), or of as many blocks as fit `buf`. */
  read(buf: Uint8Array): number | "empty" | "closed" {
    if (this.head === null) return this.#closed ? "closed" : "empty";
    if (this.message) {
      const block = this.head;
      const count = Math.min(buf.length, block.wp - block.rp);
      buf.set(block.buf.subarray(block.rp, block.rp + count));
      this.#remove(block, block.wp - block.rp);
      block.free();
      return count;
    }
    return this.#readStream(buf);
  }

  #readStream(buf: Uint8Array): number {
    let at = 0;
    while (this.head !== null && at < buf.length) {
      const block = this.head;
      const length = block.wp - block.rp;
      // Only the first block may be split: a later one that does not fit waits for the next read.
      if (length > buf.length - at && at > 0) break;
      const count = Math.min(length, buf.length - at);
      buf.set(block.buf.subarray(block.rp, block.rp + count), at);
      at += count;
      if (count === length) {
        this.#remove(block, length);
        block.free();
      } else {
        block.rp += count;
        this.#took(count);
      }
    }
    return at;
  }

  #split(block: Block, max: number): Block {
    const piece = Block.from(block.buf.subarray(block.rp, block.rp + max));
    block.rp += max;
    this.#took(max);
    return piece;
  }

  #remove(block: Block, length: number): void {
    const wasFull = this.#full;
    this.head = block.next;
    if (this.head === null) this.tail = null;
    block.next = null;
    this.count--;
    this.bytes -= length;
    this.charge(-block.buf.length - QUEUE_BLOCK_COST);
    if (wasFull) this.#roomAgain();
  }

  #took(count: number): void {
    const wasFull = this.#full;
    this.bytes -= count;
    if (wasFull) this.#roomAgain();
  }

  #roomAgain(): void {
    if (this.#full || this.#closed) return; // Writers of a closed queue were woken when it closed.
    this.#writable?.wakeup();
    this.onEdge?.(TapEvent.Writable);
  }

  /** Discards the first `count` bytes (acknowledged by TCP); returns how many there were. Never kicks. */
  discard(count: number): number {
    let gone = 0;
    while (this.head !== null && gone < count) {
      const block = this.head;
      const length = block.wp - block.rp;
      if (length <= count - gone) {
        this.#remove(block, length);
        block.free();
        gone += length;
      } else {
        block.rp += count - gone;
        this.#took(count - gone);
        gone = count;
      }
    }
    return gone;
  }

  /** Discards everything; writers may continue. */
  flush(): void {
    const wasFull = this.#full;
    this.freeAll();
    if (wasFull) this.#roomAgain();
  }

  /** Ends the input, for `reason`; queued blocks can still be read. */
  hangup(reason = ""): void {
    const wasOpen = !this.#closed;
    this.#closed = true;
    this.#reason = reason;
    if (wasOpen) this.#tellEnd();
  }

  /** Ends the input and discards the queued blocks. */
  close(): void {
    const wasOpen = !this.#closed;
    this.#closed = true;
    this.#reason = "";
    this.flush();
    if (wasOpen) this.#tellEnd();
  }

  #tellEnd(): void {
    this.#readable?.wakeup();
    this.#writable?.wakeup();
    this.onEdge?.(TapEvent.Hangup);
  }

  /** Makes a closed queue like new. */
  reopen(): void {
    this.flush();
    this.#closed = false;
    this.#reason = "";
    this.#limit = this.#initialLimit;
    this.drops = this.eofReads = 0;
  }

  /** Sets the limit in bytes; a higher one may make room. */
  setLimit(limit: number): void {
    const wasFull = this.#full;
    this.#limit = limit;
    if (wasFull) this.#roomAgain();
  }
}
