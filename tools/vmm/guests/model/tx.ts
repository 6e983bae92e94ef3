/**
 * ModelTx: the sending half of the model driver: copies frames into slots of guest memory and describes them to the
 * device.
 *
 * Path: driver → tx → header, ring, iov, block.
 *
 * A frame takes as many slots as it needs, one descriptor each; with INDIRECT_DESC an indirect table lists them. Slots
 * of sent frames are reclaimed on demand: sending never asks for an interrupt.
 *
 * @module
 */

import type { Block } from "../../../../kernel/block.ts";
import { copyBytes, type Place } from "../../virtio/iov.ts";
import { HEADER_BYTES } from "./header.ts";
import type { ModelRing } from "./ring.ts";

/** Entries of an indirect table: the longest frame over slots of 2 KiB. */
const TABLE_ENTRIES = 40;

/** Bytes of memory for a queue of `size`. */
export function txBytes(size: number, slotBytes: number): number {
  return size * (slotBytes + 16 * TABLE_ENTRIES);
}

/** The sending half of a driver. */
export class ModelTx {
  /** Chains that the device returned without having had them. */
  badUsed = 0;
  #ring: ModelRing;
  #slotBytes: number;
  #slots: number;
  #tables: number;
  #indirect: boolean;
  // Where the next byte of a frame goes, how much room is there, and which slot comes then, of how many.
  readonly #to: Place;
  #room = 0;
  #nextSlot = 0;
  #slotsLeft = 0;
  /** Descriptors of the chain that starts at each, for those that the device has. */
  #lengths: Uint16Array;

  /** Slots and tables are in `mem` from `at` on. */
  constructor(ring: ModelRing, mem: Uint8Array, options: { at: number; slotBytes: number; indirect: boolean }) {
    this.#ring = ring;
    this.#to = { buf: mem, at: 0 };
    this.#slotBytes = options.slotBytes;
    this.#slots = options.at;
    this.#tables = options.at + ring.size * options.slotBytes;
    this.#indirect = options.indirect;
    this.#lengths = new Uint16Array(ring.size);
    ring.stopInterrupt();
  }

  /** Makes `header` and the frame available to the device; false: there are too few free slots. */
  send(header: Uint8Array, block: Block): boolean {
    const bytes = HEADER_BYTES + block.length;
    const count = Math.ceil(bytes / this.#slotBytes);
    if (this.#ring.freeCount < count) this.#reclaim();
    if (this.#ring.freeCount < count) return false;
    this.#describe(this.#fill(header, block, count), count, bytes);
    return true;
  }

  /** Copies header and frame into `count` slots, linked from the one that is returned. */
  #fill(header: Uint8Array, block: Block, count: number): number {
    const ring = this.#ring;
    const head = ring.take();
    for (let i = 1, last = head; i < count; i++) {
      const next = ring.take();
      ring.link(last, next);
      last = next;
    }
    this.#nextSlot = head;
    this.#slotsLeft = count;
    this.#room = 0;
    this.#put(header, 0, HEADER_BYTES);
    this.#put(block.buf, block.rp, block.wp);
    if (block.extents !== null) { for (const extent of block.extents) this.#put(extent, 0, extent.length); }
    return head;
  }

  /** Copies bytes `from` to `end` of `src` behind what was copied of the same frame. */
  #put(src: Uint8Array, from: number, end: number): void {
    while (from < end) {
      if (this.#room === 0) this.#nextRun();
      const here = Math.min(end - from, this.#room);
      copyBytes(src, from, this.#to, here);
      from += here;
      this.#to.at += here;
      this.#room -= here;
    }
  }

  /** Goes to the next slot of the frame, and to those that follow it in memory. */
  #nextRun(): void {
    const ring = this.#ring;
    let last = this.#nextSlot;
    this.#to.at = this.#slots + last * this.#slotBytes;
    this.#room = this.#slotBytes;
    while (--this.#slotsLeft > 0 && ring.next(last) === last + 1) {
      last++;
      this.#room += this.#slotBytes;
    }
    this.#nextSlot = ring.next(last);
  }

  /** Describes the `bytes` bytes in the `count` slots linked from `head` on, in one table if that was negotiated. */
  #describe(head: number, count: number, bytes: number): void {
    const ring = this.#ring;
    const table = this.#tables + head * 16 * TABLE_ENTRIES;
    const indirect = count > 1 && count <= TABLE_ENTRIES && this.#indirect;
    for (let i = 0, slot = head; i < count; i++) {
      const last = i === count - 1;
      const next = ring.next(slot);
      const at = this.#slots + slot * this.#slotBytes;
      const here = last ? bytes - i * this.#slotBytes : this.#slotBytes;
      if (indirect) ring.describeIn(table + 16 * i, at, here, last ? -1 : i + 1);
      else ring.describe(slot, at, here, last ? -1 : next);
      slot = next;
    }
    if (indirect) ring.describeTable(head, table, count);
    this.#lengths[head] = count;
    ring.offer(head);
  }

  /** Reclaims the slots of sent frames. */
  #reclaim(): void {
    const ring = this.#ring;
    while (ring.takeUsed()) {
      const count = this.#lengths[ring.usedHead] ?? 0;
      if (count === 0) {
        this.badUsed++;
        continue;
      }
      ring.give(ring.usedHead, count);
      this.#lengths[ring.usedHead] = 0;
    }
    ring.stopInterrupt();
  }
}
