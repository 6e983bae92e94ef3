/**
 * The descriptors of a process: lowest free number first; the flags of a descriptor are separate from those of its
 * chan.
 *
 * Path: proc_state → fd_table → chan.
 *
 * @module
 */

import type { Chan } from "./chan.ts";
import { KernelError } from "./error.ts";
import type { FdTap } from "./fd_tap.ts";

/** Most descriptors of a process (Akaros NR_FILE_DESC_MAX). */
export const FDS_MAX = 1 << 19;

/** One open descriptor. */
export interface FdEntry {
  /** The open file; other descriptors may share it. */
  chan: Chan;
  /** Flags of the descriptor alone (FD_CLOEXEC is 1). */
  flags: number;
  /** Its tap, or null: a descriptor has one at most. */
  tap: FdTap | null;
}

/** Whether `fd` can be a descriptor's number. */
export function isDescriptor(fd: number): boolean {
  return Number.isInteger(fd) && fd >= 0 && fd < FDS_MAX;
}

/** Descriptors by number. */
export class FdTable {
  #entries: (FdEntry | null)[] = [];
  /** No number below is free. */
  #lowest = 0;
  /** A bit for each number in use: a search among thousands tests words, not single numbers. */
  #taken = new Uint32Array(1);

  /** How many are open. */
  get size(): number {
    return this.#entries.reduce((count, entry) => count + (entry === null ? 0 : 1), 0);
  }

  /**
   * Gives `chan` the lowest free number that is at least `from`. EINVAL: `from` is no descriptor number; EMFILE: all
   * are taken.
   */
  insert(chan: Chan, from = 0): number {
    if (!isDescriptor(from)) throw new KernelError("EINVAL", `Cannot open a descriptor from ${from} on`);
    const fd = this.#free(Math.max(from, this.#lowest));
    if (fd >= FDS_MAX) throw new KernelError("EMFILE", `Cannot open more than ${FDS_MAX} descriptors`);
    this.put(fd, chan);
    return fd;
  }

  /** Gives `chan` the number `fd`, which must be free. */
  put(fd: number, chan: Chan): void {
    while (this.#entries.length < fd) this.#entries.push(null);
    this.#entries[fd] = { chan, flags: 0, tap: null };
    if (fd >> 5 >= this.#taken.length) this.#grow(fd);
    this.#taken[fd >> 5]! |= 1 << (fd & 31);
    if (fd === this.#lowest) this.#lowest = this.#free(fd);
  }

  /** The lowest free number that is at least `from`. */
  #free(from: number): number {
    const taken = this.#taken;
    let word = from >> 5;
    if (word >= taken.length) return from;
    // Numbers below `from` count as taken.
    let free = ~(taken[word]! | ((1 << (from & 31)) - 1));
    while (free === 0 && ++word < taken.length) free = ~taken[word]!;
    return word * 32 + (free === 0 ? 0 : 31 - Math.clz32(free & -free));
  }

  #grow(fd: number): void {
    const larger = new Uint32Array(Math.max(this.#taken.length * 2, (fd >> 5) + 1));
    larger.set(this.#taken);
    this.#taken = larger;
  }

  /** The entry of an open descriptor; EBADF if it is not. */
  get(fd: number): FdEntry {
    const entry = this.#entries[fd];
    if (entry === undefined || entry === null) throw new KernelError("EBADF", `Bad file descriptor ${fd}`);
    return entry;
  }

  /** Whether `fd` is open. */
  has(fd: number): boolean {
    return (this.#entries[fd] ?? null) !== null;
  }

  /** Frees the number and returns its entry. */
  remove(fd: number): FdEntry {
    const entry = this.get(fd);
    this.#entries[fd] = null;
    this.#taken[fd >> 5]! &= ~(1 << (fd & 31));
    while (this.#entries.length > 0 && this.#entries.at(-1) === null) this.#entries.pop();
    if (fd < this.#lowest) this.#lowest = fd;
    return entry;
  }

  /** All open numbers, lowest first. */
  numbers(): number[] {
    const fds: number[] = [];
    for (const [fd, entry] of this.#entries.entries()) if (entry !== null) fds.push(fd);
    return fds;
  }
}
