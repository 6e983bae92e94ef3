/**
 * Iov: a list of pieces of bytes that are read or written as if they were one (iovec of Unix, `iov.c` of passt).
 *
 * Path: net_rx, tx, virtio/queue → iov → guest_memory.
 *
 * One convention: `skip` counts bytes from the front of the whole list. Pieces are kept as numbers beside their buffer,
 * and the list is used again for the next chain: nothing is allocated for a packet that is copied.
 *
 * Nothing here checks that `skip` and counts lie inside `length`: the caller does.
 *
 * @module
 */

import type { GuestMemory } from "./guest_memory.ts";

/** Below this many bytes a loop is faster than the view that `set` needs (measured: 28 bytes take 36 ns either way). */
const LOOP_MAX = 28;

/** A place in a buffer. */
export interface Place {
  buf: Uint8Array;
  at: number;
}

const NO_BYTES = new Uint8Array();

/** Copies `count` bytes of `src` from `from` on to a place, which stays where it is. */
export function copyBytes(src: Uint8Array, from: number, { buf, at }: Place, count: number): void {
  if (count < LOOP_MAX) {
    for (let i = 0; i < count; i++) buf[at + i] = src[from + i]!;
  } else {
    buf.set(from === 0 && count === src.length ? src : src.subarray(from, from + count), at);
  }
}

/** Pieces of bytes, one after the other. */
export class Iov {
  /** How many pieces there are. */
  count = 0;
  /** Bytes of all pieces. */
  length = 0;
  #bufs: Uint8Array[] = [];
  #starts: number[] = [];
  #lengths: number[] = [];
  /** Where a copy goes: one record for all of them. */
  readonly #to: Place = { buf: NO_BYTES, at: 0 };

  /** Removes all pieces. */
  clear(): void {
    this.count = 0;
    this.length = 0;
  }

  /** Adds `length` bytes of `buf` from `start` on: to the last piece if they follow it, as a frame's pages often do. */
  add(buf: Uint8Array, start: number, length: number): void {
    const last = this.count - 1;
    if (last >= 0 && this.#bufs[last] === buf && this.#starts[last]! + this.#lengths[last]! === start) {
      this.#lengths[last] = this.#lengths[last]! + length;
      this.length += length;
      return;
    }
    const at = this.count++;
    this.#bufs[at] = buf;
    this.#starts[at] = start;
    this.#lengths[at] = length;
    this.length += length;
  }

  /** Adds the pieces of another list. */
  addAll(other: Iov): void {
    for (let i = 0; i < other.count; i++) this.add(other.#bufs[i]!, other.#starts[i]!, other.#lengths[i]!);
  }

  /** Adds guest memory, in as many pieces as regions hold it; false if some of it is outside of the memory. */
  addGuest(memory: GuestMemory, addr: number, length: number): boolean {
    while (length > 0) {
      const region = memory.at(addr);
      if (region === null) return false;
      const start = addr - region.base;
      const here = Math.min(length, region.bytes.length - start);
      this.add(region.bytes, start, here);
      addr += here;
      length -= here;
    }
    return true;
  }

  /** Copies `count` bytes behind the first `skip` to `dst` at `at`. */
  copyOut(skip: number, dst: Uint8Array, at: number, count: number): void {
    const to = this.#to;
    to.buf = dst;
    to.at = at;
    for (let i = 0; count > 0; i++) {
      const length = this.#lengths[i]!;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const here = Math.min(count, length - skip);
      copyBytes(this.#bufs[i]!, this.#starts[i]! + skip, to, here);
      to.at += here;
      count -= here;
      skip = 0;
    }
  }

  /** Copies `count` bytes of `src` from `from` on into the list, behind its first `skip` bytes. */
  copyIn(skip: number, src: Uint8Array, from: number, count: number): void {
    const to = this.#to;
    for (let i = 0; count > 0; i++) {
      const length = this.#lengths[i]!;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const here = Math.min(count, length - skip);
      to.buf = this.#bufs[i]!;
      to.at = this.#starts[i]! + skip;
      copyBytes(src, from, to, here);
      from += here;
      count -= here;
      skip = 0;
    }
  }

  /** Borrowed views of everything behind the first `skip` bytes. */
  views(skip: number): Uint8Array[] {
    const views: Uint8Array[] = [];
    for (let i = 0; i < this.count; i++) {
      const length = this.#lengths[i]!;
      if (skip < length) {
        const start = this.#starts[i]!;
        views.push(this.#bufs[i]!.subarray(start + skip, start + length));
        skip = 0;
      } else {
        skip -= length;
      }
    }
    return views;
  }
}
