/**
 * DeadlineHeap: a binary heap of entries with a deadline, earliest first; equal deadlines keep the order of adding.
 *
 * Path: time, flight → heap → assert.
 *
 * @module
 */

import { assert } from "./assert.ts";

/** An entry; it can be in one heap at a time. */
export interface HeapEntry {
  /** When it is due; fixed while it is in the heap. */
  deadlineMs: number;
  /** For the heap: settles equal deadlines. */
  order: number;
  /** For the heap: its place, -1 when it is in none. */
  heapIndex: number;
}

/** Entries by deadline. */
export class DeadlineHeap<E extends HeapEntry> {
  #entries: E[] = [];
  #order = 0;

  /** Entries in it. */
  get size(): number {
    return this.#entries.length;
  }

  /** The earliest entry, which stays; null if there is none. */
  get first(): E | null {
    return this.#entries.length === 0 ? null : this.#entries[0]!;
  }

  /** The earliest deadline; Infinity if there is none. */
  get nextMs(): number {
    return this.#entries.length === 0 ? Infinity : this.#entries[0]!.deadlineMs;
  }

  /** How many entries were ever added; a later entry has a higher `order`. */
  get lastOrder(): number {
    return this.#order;
  }

  /** Adds an entry that is in no heap. */
  add(entry: E): void {
    assert(entry.heapIndex < 0, "an entry is in one heap, once");
    entry.order = ++this.#order;
    entry.heapIndex = this.#entries.length;
    this.#entries.push(entry);
    this.#siftUp(entry);
  }

  /** Removes an entry. */
  remove(entry: E): void {
    const at = entry.heapIndex;
    assert(this.#entries[at] === entry, "an entry is where the heap says it is");
    const last = this.#entries.pop()!;
    entry.heapIndex = -1;
    if (last === entry) return;
    this.#entries[at] = last;
    last.heapIndex = at;
    this.#siftUp(last);
    this.#siftDown(last);
  }

  #siftUp(entry: E): void {
    let at = entry.heapIndex;
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = this.#entries[parentAt]!;
      if (!earlier(entry, parent)) break;
      this.#place(parent, at);
      at = parentAt;
    }
    this.#place(entry, at);
  }

  #siftDown(entry: E): void {
    const entries = this.#entries;
    let at = entry.heapIndex;
    while (true) {
      let childAt = 2 * at + 1;
      if (childAt >= entries.length) break;
      if (childAt + 1 < entries.length && earlier(entries[childAt + 1]!, entries[childAt]!)) childAt++;
      const child = entries[childAt]!;
      if (!earlier(child, entry)) break;
      this.#place(child, at);
      at = childAt;
    }
    this.#place(entry, at);
  }

  #place(entry: E, at: number): void {
    this.#entries[at] = entry;
    entry.heapIndex = at;
  }
}

function earlier(a: HeapEntry, b: HeapEntry): boolean {
  return a.deadlineMs < b.deadlineMs || (a.deadlineMs === b.deadlineMs && a.order < b.order);
}
