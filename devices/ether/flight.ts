/**
 * Frames on a cable: those that wait to be sent at its rate, and those on their way, in order of arrival.
 *
 * Path: cable → flight → heap.
 *
 * @module
 */

import { assert } from "../../kernel/assert.ts";
import type { Block } from "../../kernel/block.ts";
import { DeadlineHeap, type HeapEntry } from "../../kernel/heap.ts";

/** A frame on its way; it is due when it arrives, in milliseconds of the cable's clock. */
interface Flight<From> extends HeapEntry {
  readonly block: Block;
  readonly from: From;
}

/** Frames on their way, earliest first. A heap, since jitter and reordering change the order. */
export class FlightHeap<From> extends DeadlineHeap<Flight<From>> {
  /** Adds a frame that arrives at `deadlineMs`. */
  push(deadlineMs: number, block: Block, from: From): void {
    this.add({ deadlineMs, order: 0, heapIndex: -1, block, from });
  }

  /** Takes the earliest frame out. */
  pop(): Flight<From> {
    const first = this.first;
    assert(first !== null, "pop finds a frame");
    this.remove(first);
    return first;
  }
}

/** Entries that have left are removed from the front once there are so many: rarely, and with bounded memory. */
const BACKLOG_COMPACT = 1024;

/** The queue of a sender of limited rate, the frame being sent included. */
export class Backlog {
  /** Frames that are not completely sent. */
  frames = 0;
  /** Bytes of them. */
  bytes = 0;
  #leaveMs: number[] = [];
  #lengths: number[] = [];
  #head = 0;
  #idleMs = 0;

  /** Drops the entries of frames that are completely sent by `nowMs`. */
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

  /** Adds a frame of `length` bytes; returns the time at which its last bit leaves. */
  add(nowMs: number, length: number, rateBps: number): number {
    this.#idleMs = Math.max(nowMs, this.#idleMs) + length * 8000 / rateBps;
    this.#leaveMs.push(this.#idleMs);
    this.#lengths.push(length);
    this.frames++;
    this.bytes += length;
    return this.#idleMs;
  }
}
