/**
 * Frames on a cable: those that wait to be sent at its rate, and those on their way, in order of arrival.
 *
 * Path: cable.transmit → flight → cable.deliver.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { assert } from "../../kernel/assert.ts";

/** A frame on its way. */
export interface Flight<From> {
  /** When it arrives, in milliseconds of the cable's clock. */
  readonly dueMs: number;
  /** Settles equal times: what was sent first arrives first. */
  readonly order: number;
  readonly block: Block;
  readonly from: From;
}

/** Frames on their way, earliest first: a binary heap, since jitter and reordering make it more than a line. */
export class FlightHeap<From> {
  #heap: Flight<From>[] = [];
  #order = 0;

  get size(): number {
    return this.#heap.length;
  }

  /** When the earliest frame arrives; Infinity if none is on its way. */
  get nextMs(): number {
    return this.#heap.length === 0 ? Infinity : this.#heap[0]!.dueMs;
  }

  /** How many frames were ever added: what is added from here on has a higher `order`. */
  get lastOrder(): number {
    return this.#order;
  }

  /** The earliest frame, which stays. */
  peek(): Flight<From> | null {
    return this.#heap[0] ?? null;
  }

  /** Adds a frame that arrives at `dueMs`. */
  push(dueMs: number, block: Block, from: From): void {
    const flight: Flight<From> = { dueMs, order: ++this.#order, block, from };
    const heap = this.#heap;
    let at = heap.length;
    heap.push(flight);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt]!;
      if (!earlier(flight, parent)) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = flight;
  }

  /** Takes the earliest frame out. */
  pop(): Flight<From> {
    const heap = this.#heap;
    assert(heap.length > 0, "pop finds a frame");
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length > 0) this.#sink(last);
    return first;
  }

  #sink(flight: Flight<From>): void {
    const heap = this.#heap;
    let at = 0;
    while (true) {
      let childAt = 2 * at + 1;
      if (childAt >= heap.length) break;
      if (childAt + 1 < heap.length && earlier(heap[childAt + 1]!, heap[childAt]!)) childAt++;
      const child = heap[childAt]!;
      if (!earlier(child, flight)) break;
      heap[at] = child;
      at = childAt;
    }
    heap[at] = flight;
  }
}

function earlier(a: Flight<unknown>, b: Flight<unknown>): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}

/** Entries that have left are cut off the front when there are so many: seldom, and never much memory. */
const BACKLOG_COMPACT = 1024;

/** What waits for a sender of limited rate, the frame being sent included. */
export class Backlog {
  /** Frames not wholly sent. */
  frames = 0;
  /** Bytes of them. */
  bytes = 0;
  #leaveMs: number[] = [];
  #lengths: number[] = [];
  #head = 0;
  #idleMs = 0;

  /** Forgets the frames that are wholly sent by `nowMs`. */
  settle(nowMs: number): void {
    while (this.frames > 0 && this.#leaveMs[this.#head]! <= nowMs) {
      this.bytes -= this.#lengths[this.#head++]!;
      this.frames--;
    }
    if (this.#head === 0 || (this.frames > 0 && this.#head < BACKLOG_COMPACT)) return;
    this.#leaveMs.splice(0, this.#head);
    this.#lengths.splice(0, this.#head);
    this.#head = 0;
  }

  /** Adds a frame of `length` bytes; answers when its last bit leaves. */
  add(nowMs: number, length: number, rateBps: number): number {
    this.#idleMs = Math.max(nowMs, this.#idleMs) + length * 8000 / rateBps;
    this.#leaveMs.push(this.#idleMs);
    this.#lengths.push(length);
    this.frames++;
    this.bytes += length;
    return this.#idleMs;
  }
}
