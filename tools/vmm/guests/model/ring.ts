/**
 * ModelRing: a split virtqueue, the driver's side (virtio 1.2, 2.7), in the memory of a model guest.
 *
 * Path: driver, probe, tx → ring → wire/bytes.
 *
 * Written from the specification alone, independently of the device's side: each tests the other, and they share
 * nothing but the bytes.
 *
 * ```
 *   descriptors 16 × size | flags 2, idx 2, 2 × size, used_event 2 | flags 2, idx 2, 8 × size, avail_event 2
 * ```
 *
 * @module
 */

import { get16le, get32le, put16le, put32le, put64le } from "../../../../kernel/wire/bytes.ts";

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

/** How far ahead of the device the event index is set when no interrupt is wanted. */
const FAR = 0x8000;

/** Memory of a guest as its own driver sees it. */
export interface GuestRam {
  readonly bytes: Uint8Array;
  /** Guest-physical address of the first byte. */
  readonly base: number;
}

/** Bytes of the three parts of a ring of `size`, rounded up so that another one may follow. */
export function ringBytes(size: number): number {
  return (descBytes(size) + availBytes(size) + usedBytes(size) + 15) & ~15;
}

/** One queue. */
export class ModelRing {
  /** Descriptors that are not in use. */
  freeCount = 0;
  /** Result of `takeUsed`. */
  usedHead = 0;
  usedBytes = 0;
  #mem: Uint8Array;
  #base: number;
  #desc: number;
  #avail: number;
  #used: number;
  #availIdx = 0;
  #notifiedIdx = 0;
  #usedIdx = 0;
  #eventIdx: boolean;
  /** The driver's own links: those in the descriptors are only written. */
  #links: Uint16Array;
  #free = 0;

  /** A ring in `ram` from offset `at` on, which is a multiple of 16. */
  constructor(ram: GuestRam, at: number, readonly size: number, options: { eventIdx: boolean }) {
    this.#mem = ram.bytes;
    this.#base = ram.base;
    this.#desc = at;
    this.#avail = at + descBytes(size);
    this.#used = this.#avail + availBytes(size);
    this.#eventIdx = options.eventIdx;
    this.#mem.fill(0, at, at + ringBytes(size));
    this.#links = Uint16Array.from({ length: size }, (_, i) => i + 1);
    this.freeCount = size;
  }

  /** Guest addresses of its parts, for the registers. */
  get addresses(): { desc: number; avail: number; used: number } {
    return { desc: this.#base + this.#desc, avail: this.#base + this.#avail, used: this.#base + this.#used };
  }

  /** Takes a free descriptor; the caller has checked `freeCount`. */
  take(): number {
    const index = this.#free;
    this.#free = this.#links[index]!;
    this.freeCount--;
    return index;
  }

  /** Returns `count` descriptors that are linked from `index` on. */
  give(index: number, count: number): void {
    let last = index;
    for (let i = 1; i < count; i++) last = this.#links[last]!;
    this.#links[last] = this.#free;
    this.#free = index;
    this.freeCount += count;
  }

  /** The descriptor that was linked behind `index`. */
  next(index: number): number {
    return this.#links[index]!;
  }

  /**
   * Writes descriptor `index`: `length` bytes at offset `at` of the memory, for the device to read. `next`: the
   * descriptor behind it, or -1.
   */
  describe(index: number, at: number, length: number, next: number): void {
    this.#put(this.#desc + 16 * index, at, length, next < 0 ? 0 : NEXT | next << 16);
    if (next >= 0) this.#links[index] = next;
  }

  /** Writes descriptor `index`: `length` bytes at offset `at` of the memory, for the device to write; the last one. */
  describeWritable(index: number, at: number, length: number): void {
    this.#put(this.#desc + 16 * index, at, length, WRITE);
  }

  /** Writes the entry at offset `entry` of an indirect table. `next`: the number of the entry behind it, or -1. */
  describeIn(entry: number, at: number, length: number, next: number): void {
    this.#put(entry, at, length, next < 0 ? 0 : NEXT | next << 16);
  }

  /** Writes descriptor `index`: a table of `entries` at offset `table`. */
  describeTable(index: number, table: number, entries: number): void {
    this.#put(this.#desc + 16 * index, table, 16 * entries, INDIRECT);
  }

  /** Links `next` behind `index` for `give` and `next` alone. */
  link(index: number, next: number): void {
    this.#links[index] = next;
  }

  /** Writes a descriptor; its flags are the low half of `flagsAndNext`, the number of the next one is the high half. */
  #put(desc: number, at: number, length: number, flagsAndNext: number): void {
    put64le(this.#mem, desc, this.#base + at);
    put32le(this.#mem, desc + 8, length);
    put32le(this.#mem, desc + 12, flagsAndNext);
  }

  /** Puts the chain `head` into the available ring; the device sees it at `publish`. */
  offer(head: number): void {
    put16le(this.#mem, this.#avail + 4 + 2 * (this.#availIdx % this.size), head);
    this.#availIdx = (this.#availIdx + 1) & 0xffff;
  }

  /** Moves the available index; true if the device wants to be notified. */
  publish(): boolean {
    const before = this.#notifiedIdx;
    const now = this.#availIdx;
    if (now === before) return false;
    put16le(this.#mem, this.#avail + 2, now);
    this.#notifiedIdx = now;
    if (!this.#eventIdx) return (get16le(this.#mem, this.#used) & 1) === 0;
    const event = get16le(this.#mem, this.#used + 4 + 8 * this.size);
    return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
  }

  /** Takes the next used chain into `usedHead` and `usedBytes`; false if there is none. */
  takeUsed(): boolean {
    if (get16le(this.#mem, this.#used + 2) === this.#usedIdx) return false;
    const at = this.#used + 4 + 8 * (this.#usedIdx % this.size);
    this.usedHead = get32le(this.#mem, at);
    this.usedBytes = get32le(this.#mem, at + 4);
    this.#usedIdx = (this.#usedIdx + 1) & 0xffff;
    return true;
  }

  /** Asks for an interrupt at the next used chain; true if there is one already. */
  wantInterrupt(): boolean {
    if (this.#eventIdx) put16le(this.#mem, this.#avail + 4 + 2 * this.size, this.#usedIdx);
    else put16le(this.#mem, this.#avail, 0);
    return get16le(this.#mem, this.#used + 2) !== this.#usedIdx;
  }

  /** Asks for no interrupt. */
  stopInterrupt(): void {
    if (this.#eventIdx) put16le(this.#mem, this.#avail + 4 + 2 * this.size, this.#usedIdx + FAR);
    else put16le(this.#mem, this.#avail, 1);
  }
}

function descBytes(size: number): number {
  return 16 * size;
}

/** A multiple of 4, so that the used ring behind it is aligned. */
function availBytes(size: number): number {
  return (6 + 2 * size + 3) & ~3;
}

function usedBytes(size: number): number {
  return 6 + 8 * size;
}
