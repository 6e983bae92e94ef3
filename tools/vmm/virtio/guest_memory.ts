/**
 * GuestMemory: a guest's physical memory as a device sees it, every access bounds-checked.
 *
 * Path: iov, mmio, net → guest_memory → assert, wire/bytes.
 *
 * One or several regions, each a byte array at a guest-physical address. An address comes from the guest and may be
 * anything: for a bad one the result is null, -1 or false; nothing throws. Numbers are little-endian (virtio 1.2, 1.4).
 *
 * The guest may change its memory at any time, so a value that a decision depends on is read once, into a variable or a
 * copy.
 *
 * Limits: addresses below 2^53; a view lies in one region, so a ring may not cross from one into the next (a buffer
 * may, see {@link Iov.addGuest}). No memory barriers: a guest on another thread would need them.
 *
 * @module
 */

import { assert } from "../../../kernel/assert.ts";
import { get16le, get32le, get64le, put16le, put32le, put64le } from "../../../kernel/wire/bytes.ts";

/** A piece of memory, and its guest-physical address. */
export interface MemoryRegion {
  /** Guest-physical address of the first byte. */
  readonly base: number;
  /** The bytes there. */
  readonly bytes: Uint8Array;
}

/** Result of reading a number outside of the memory. */
export const OUTSIDE = -1;

/** A guest's memory. */
export class GuestMemory {
  /** By ascending address. */
  readonly regions: readonly MemoryRegion[];
  /** The region of the last access: it serves almost every next one. */
  #last: MemoryRegion;

  /** Regions come from us, not from the guest: at least one, without overlap. */
  constructor(regions: readonly MemoryRegion[]) {
    const sorted = [...regions].sort((a, b) => a.base - b.base);
    assert(sorted.length > 0, "a guest has memory");
    sorted.forEach(({ base, bytes }, i) => {
      assert(Number.isSafeInteger(base) && base >= 0, "a region has an address");
      assert(Number.isSafeInteger(base + bytes.length), "a region ends below 2^53");
      assert(i + 1 === sorted.length || base + bytes.length <= sorted[i + 1]!.base, "regions do not overlap");
    });
    this.regions = sorted;
    this.#last = sorted[0]!;
  }

  /** Memory of `size` bytes at `base`, all zero. */
  static alloc(size: number, base = 0): GuestMemory {
    return new GuestMemory([{ base, bytes: new Uint8Array(size) }]);
  }

  /** The region that holds the byte at `addr`, or null. */
  at(addr: number): MemoryRegion | null {
    const last = this.#last;
    if (addr >= last.base && addr - last.base < last.bytes.length) return last;
    for (const region of this.regions) {
      if (addr >= region.base && addr - region.base < region.bytes.length) return this.#last = region;
    }
    return null;
  }

  /** The region that holds all `length` bytes from `addr`, or null. */
  find(addr: number, length: number): MemoryRegion | null {
    const region = this.at(addr);
    return region !== null && length <= region.bytes.length - (addr - region.base) ? region : null;
  }

  /** A view of `length` bytes at `addr`: borrowed, and the guest may change it meanwhile. Null if not all are there. */
  slice(addr: number, length: number): Uint8Array | null {
    const region = this.find(addr, length);
    return region === null ? null : region.bytes.subarray(addr - region.base, addr - region.base + length);
  }

  /** Reads 16 bits, or {@link OUTSIDE}. */
  get16(addr: number): number {
    const region = this.find(addr, 2);
    return region === null ? OUTSIDE : get16le(region.bytes, addr - region.base);
  }

  /** Reads 32 bits, unsigned, or {@link OUTSIDE}. */
  get32(addr: number): number {
    const region = this.find(addr, 4);
    return region === null ? OUTSIDE : get32le(region.bytes, addr - region.base);
  }

  /** Reads 64 bits, or {@link OUTSIDE}; from 2^53 on the number is rounded, and never to less. */
  get64(addr: number): number {
    const region = this.find(addr, 8);
    return region === null ? OUTSIDE : get64le(region.bytes, addr - region.base);
  }

  /** Writes 16 bits; false if they are outside. */
  put16(addr: number, value: number): boolean {
    const region = this.find(addr, 2);
    if (region !== null) put16le(region.bytes, addr - region.base, value);
    return region !== null;
  }

  /** Writes 32 bits; false if they are outside. */
  put32(addr: number, value: number): boolean {
    const region = this.find(addr, 4);
    if (region !== null) put32le(region.bytes, addr - region.base, value);
    return region !== null;
  }

  /** Writes 64 bits of a number below 2^53; false if they are outside. */
  put64(addr: number, value: number): boolean {
    const region = this.find(addr, 8);
    if (region !== null) put64le(region.bytes, addr - region.base, value);
    return region !== null;
  }

  /** Writes `bytes`; false if not all of them fit, and then none is written. */
  write(addr: number, bytes: Uint8Array): boolean {
    const region = this.find(addr, bytes.length);
    if (region !== null) region.bytes.set(bytes, addr - region.base);
    return region !== null;
  }
}
