/**
 * Data that came before its turn, kept until the gap before it is filled; and what to report of it to the sender (RFC
 * 2018).
 *
 * Path: tcb → resequence → env/memory, block, block_chain, seq.
 *
 * ```
 *   rcv.nxt                                     right edge of the window
 *      |   gap   |####range####|  gap  |##range##|      |
 *                 one chain of blocks each; never touching, never overlapping
 * ```
 *
 * What is here was SACKed. It is dropped while the connection lives only if the gap stays too long (gap.ts).
 *
 * Limits: memory is charged to the account of the stack, and while that is pressed nothing more is taken; bytes are
 * limited by the window, which the caller checks; ranges by {@link RANGES_MAX} and blocks by {@link BLOCKS_MAX}. What
 * does not fit is refused, and the peer sends it again.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { QUEUE_BLOCK_COST } from "../../../kernel/block_chain.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import type { SackBlock } from "../../../kernel/wire/tcp_options.ts";
import type { MemoryAccount } from "../env/memory.ts";

/** Most gaps of one connection: a window of 6 MiB of which every fourth segment was lost. */
export const RANGES_MAX = 1024;
/** Most blocks of one connection: as many segments as its largest window has. */
export const BLOCKS_MAX = 6144;

/** Neighbouring bytes. */
interface Range {
  left: number;
  right: number;
  head: Block;
  tail: Block;
  /** When something was last added to it: the newest is reported first. */
  order: number;
}

/** What became of a segment. */
type Stored = "stored" | "duplicate" | "refused";

/** The store of one connection. */
export class Resequence {
  readonly #ranges: Range[] = [];
  #blocks = 0;
  #bytes = 0;
  #order = 0;
  /** What {@link overlaps} found. */
  againLeft = 0;
  againRight = 0;

  /** What it holds is charged to `memory`, if there is one. */
  constructor(readonly memory: MemoryAccount | null = null) {}

  /** Bytes in it. */
  get length(): number {
    return this.#bytes;
  }

  get ranges(): number {
    return this.#ranges.length;
  }

  /**
   * Takes the payload `block` that begins at `from`, above rcv.nxt; keeps of it what is new. The block is consumed.
   */
  insert(from: number, block: Block): Stored {
    let at = this.#find(from);
    let left = from;
    const previous = this.#ranges[at - 1];
    if (previous !== undefined && seq.lt(left, previous.right)) {
      const overlap = (previous.right - left) >>> 0;
      if (overlap >= block.wp - block.rp) return this.#drop(block, previous);
      block.rp += overlap;
      left = previous.right;
    }
    const right = this.#trimTail(left, block, at);
    if (right === left) return this.#drop(block, this.#ranges[at]!);
    if (
      this.memory?.pressed === true || this.#blocks >= BLOCKS_MAX ||
      (this.#ranges.length >= RANGES_MAX && previous?.right !== left)
    ) {
      block.free();
      return "refused";
    }
    block.next = null;
    this.#count(block, 1);
    this.#bytes += (right - left) >>> 0;
    if (previous !== undefined && previous.right === left) {
      previous.tail.next = block;
      previous.tail = block;
      previous.right = right;
      at--;
    } else {
      this.#ranges.splice(at, 0, { left, right, head: block, tail: block, order: 0 });
    }
    this.#ranges[at]!.order = ++this.#order;
    this.#joinNext(at);
    return "stored";
  }

  /**
   * Whether something of `left` to `right` is here. The first part of it is then from `againLeft` to `againRight`, and
   * the range that has it is the first to be reported (RFC 2883 4, rule 5).
   */
  overlaps(left: number, right: number): boolean {
    const at = this.#find(left);
    const previous = this.#ranges[at - 1];
    const range = previous !== undefined && seq.gt(previous.right, left) ? previous : this.#ranges[at];
    if (range === undefined || seq.geq(range.left, right)) return false;
    this.againLeft = seq.max(left, range.left);
    this.againRight = seq.min(right, range.right);
    range.order = ++this.#order;
    return true;
  }

  /** Index of the first range that begins after `from`. */
  #find(from: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (seq.leq(this.#ranges[middle]!.left, from)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #drop(block: Block, held: Range): Stored {
    held.order = ++this.#order;
    block.free();
    return "duplicate";
  }

  /** Forgets ranges that `block` covers, and cuts from it what the next one has; returns where it ends then. */
  #trimTail(left: number, block: Block, at: number): number {
    const right = seq.add(left, block.wp - block.rp);
    for (let next = this.#ranges[at]; next !== undefined && seq.lt(next.left, right); next = this.#ranges[at]) {
      if (seq.gt(next.right, right)) {
        block.wp = block.rp + ((next.left - left) >>> 0);
        return next.left;
      }
      this.#remove(at);
    }
    return right;
  }

  #remove(at: number): void {
    const [range] = this.#ranges.splice(at, 1);
    this.#bytes -= (range!.right - range!.left) >>> 0;
    for (let block: Block | null = range!.head; block !== null;) {
      const next: Block | null = block.next;
      block.next = null;
      this.#count(block, -1);
      block.free();
      block = next;
    }
  }

  /** One block more, or fewer. */
  #count(block: Block, change: 1 | -1): void {
    this.#blocks += change;
    if (this.memory !== null) this.memory.bytes += change * (block.buf.length + QUEUE_BLOCK_COST);
  }

  #joinNext(at: number): void {
    const range = this.#ranges[at]!;
    const next = this.#ranges[at + 1];
    if (next === undefined || next.left !== range.right) return;
    range.tail.next = next.head;
    range.tail = next.tail;
    range.right = next.right;
    this.#ranges.splice(at + 1, 1);
  }

  /** The next block that begins at `nxt`, without what is before it; null: there is none. The block is the caller's. */
  take(nxt: number): Block | null {
    const range = this.#ranges[0];
    if (range === undefined || seq.gt(range.left, nxt)) return null;
    while (true) {
      const block = range.head;
      const length = block.wp - block.rp;
      const gone = Math.min(length, (nxt - range.left) >>> 0);
      this.#bytes -= length;
      this.#count(block, -1);
      range.left = seq.add(range.left, length);
      const isLast = block.next === null;
      if (isLast) this.#ranges.shift();
      else range.head = block.next!;
      block.next = null;
      if (gone < length) {
        block.rp += gone;
        return block;
      }
      block.free();
      if (isLast) return this.take(nxt);
    }
  }

  /** Up to `most` SACK blocks, those added to last first (RFC 2018 4). */
  sackBlocks(most: number): SackBlock[] {
    const blocks: SackBlock[] = [];
    let below = Infinity;
    while (blocks.length < most && blocks.length < this.#ranges.length) {
      let newest: Range | null = null;
      for (const range of this.#ranges) {
        if (range.order < below && (newest === null || range.order > newest.order)) newest = range;
      }
      if (newest === null) break;
      below = newest.order;
      blocks.push({ left: newest.left, right: newest.right });
    }
    return blocks;
  }

  /** Throws everything away: the connection is over. */
  clear(): void {
    while (this.#ranges.length > 0) this.#remove(this.#ranges.length - 1);
  }
}
