/**
 * VirtQueue: a split virtqueue, the device's side (virtio 1.2, 2.7).
 *
 * Path: mmio, net, net_rx → virtio/queue → guest_memory, iov, ids, wire/bytes.
 *
 * Life of a buffer: the driver writes descriptors, puts the number of the first into the available ring, and moves the
 * available index. `pop` takes that number, walks the chain and returns its bytes as two lists (readable first,
 * writable after). When the device is done it `push`es the number and how many bytes it wrote; `publish` moves the used
 * index past all that was pushed, and returns whether the driver wants an interrupt for it.
 *
 * Nothing in the rings is trusted. Each field is read once; a chain is walked no further than its table is long; a
 * mistake is returned as a {@link DeviceError}, and nothing was consumed. `pop` writes nothing to the guest, so chains
 * that were popped and not pushed can be put back with `unpop`.
 *
 * Limits: 1024 descriptors a queue and an indirect table; no memory barriers (see guest_memory).
 *
 * @module
 */

import { get16le, get32le, get64le, put16le, put32le } from "../../../kernel/wire/bytes.ts";
import type { GuestMemory } from "./guest_memory.ts";
import { Iov } from "./iov.ts";
import { DeviceError } from "./ids.ts";

/** Most descriptors of a queue, and of an indirect table: Linux' and QEMU's limit (the specification's is 32768). */
const QUEUE_SIZE_MAX = 1024;
/** Most bytes of one chain (2.7.5.1). */
const CHAIN_BYTES_MAX = 0x1_0000_0000;

// Descriptor (2.7.5): addr 8, len 4, flags 2, next 2.
const DESC_LEN = 16;
const DESC_BYTES = 8;
const DESC_FLAGS = 12;
const DESC_NEXT = 14;
const FLAG_NEXT = 1;
const FLAG_WRITE = 2;
const FLAG_INDIRECT = 4;

// Available ring (2.7.6): flags 2, idx 2, ring 2 each, used_event 2. Used ring (2.7.8): flags 2, idx 2, ring 8 each (id
// 4, len 4), avail_event 2. The two event fields always have their place, negotiated or not.
const RING_IDX = 2;
const RING_START = 4;
const AVAIL_NO_INTERRUPT = 1;
const USED_NO_NOTIFY = 1;
const AVAIL_ALIGN = 2;
const USED_ALIGN = 4;

const NO_BYTES: Uint8Array = new Uint8Array(0);

/** One descriptor chain (2.7.5): the bytes that the device may read, then those that it may write. */
export class DescChain {
  /** Number of the first descriptor: the chain's name in the used ring. */
  head = 0;
  /** What the device may read. */
  readonly readable: Iov = new Iov();
  /** What the device may write. */
  readonly writable: Iov = new Iov();

  /** Begins a new chain. */
  clear(head: number): void {
    this.head = head;
    this.readable.clear();
    this.writable.clear();
  }
}

/** Negotiated features of a queue. */
export interface QueueFeatures {
  /** Whether the driver may use indirect descriptors. */
  readonly indirect: boolean;
  /** Whether both sides name the index that they wait for. */
  readonly eventIdx: boolean;
}

/** Result of `pop`: a chain was taken, there is none, or the driver made a mistake. */
export type Popped = "ok" | "empty" | DeviceError;

/** One queue. */
export class VirtQueue {
  /** Descriptors it has; the driver may choose fewer. */
  size: number;
  /** Guest addresses of the three parts, as the driver wrote them. */
  descAddr = 0;
  /** Guest-physical address of the avail ring. */
  availAddr = 0;
  /** Guest-physical address of the used ring. */
  usedAddr = 0;
  /** Changes with every reset: after a call to other code, the caller compares it before it uses the queue again. */
  epoch = 0;
  #ready = false;
  #memory: GuestMemory;
  #indirect = false;
  #eventIdx = false;
  // The three parts, found once: a buffer and where in it.
  #desc = NO_BYTES;
  #descAt = 0;
  #avail = NO_BYTES;
  #availAt = 0;
  #used = NO_BYTES;
  #usedAt = 0;
  /** Next entry of the available ring to take. */
  #lastAvail = 0;
  /** Next entry of the used ring to write; the guest has seen those before `#published`. */
  #nextUsed = 0;
  #published = 0;
  // Position of the walk of a chain: the table it goes through.
  #table = NO_BYTES;
  #tableAt = 0;
  #tableCount = 0;

  /** A queue that is not ready. */
  constructor(memory: GuestMemory, readonly sizeMax: number) {
    this.#memory = memory;
    this.size = sizeMax;
  }

  /** Whether the driver has set it up. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Resets it to its state at power on (2.6.1, 4.2.3.2); the rings are not read again. */
  reset(): void {
    this.epoch++;
    this.#ready = false;
    this.size = this.sizeMax;
    this.descAddr = this.availAddr = this.usedAddr = 0;
    this.#desc =
      this.#avail =
      this.#used =
      this.#table =
        NO_BYTES;
    this.#lastAvail = this.#nextUsed = this.#published = 0;
  }

  /** Takes the rings into use; an error if they are invalid. */
  enable(features: QueueFeatures): DeviceError | null {
    const { size, descAddr, availAddr, usedAddr } = this;
    if (!isQueueSize(size, this.sizeMax)) return DeviceError.QueueSize;
    const aligned = descAddr % DESC_LEN === 0 && availAddr % AVAIL_ALIGN === 0 && usedAddr % USED_ALIGN === 0;
    const desc = this.#memory.find(descAddr, DESC_LEN * size);
    const avail = this.#memory.find(availAddr, RING_START + 2 * size + 2);
    const used = this.#memory.find(usedAddr, RING_START + 8 * size + 2);
    if (!aligned || desc === null || avail === null || used === null) return DeviceError.RingAddress;
    this.#desc = desc.bytes;
    this.#descAt = descAddr - desc.base;
    this.#avail = avail.bytes;
    this.#availAt = availAddr - avail.base;
    this.#used = used.bytes;
    this.#usedAt = usedAddr - used.base;
    this.#indirect = features.indirect;
    this.#eventIdx = features.eventIdx;
    this.#ready = true;
    return null;
  }

  /** Takes the next chain; `chain` is valid until the next call with it. */
  pop(chain: DescChain): Popped {
    if (!this.#ready) return "empty";
    const waiting = (get16le(this.#avail, this.#availAt + RING_IDX) - this.#lastAvail) & 0xffff;
    if (waiting === 0) return "empty";
    if (waiting > this.size) return DeviceError.IndexJump;
    const slot = this.#lastAvail & (this.size - 1);
    const head = get16le(this.#avail, this.#availAt + RING_START + 2 * slot);
    if (head >= this.size) return DeviceError.HeadRange;
    chain.clear(head);
    const error = this.#walk(head, chain);
    if (error !== null) return error;
    this.#lastAvail = (this.#lastAvail + 1) & 0xffff;
    return "ok";
  }

  /** Puts back the last `count` chains that were popped and not pushed. */
  unpop(count: number): void {
    this.#lastAvail = (this.#lastAvail - count) & 0xffff;
  }

  /** Follows a chain from descriptor `index` on (2.7.5); a whole chain in one indirect table, or ending in one. */
  #walk(index: number, chain: DescChain): DeviceError | null {
    this.#table = this.#desc;
    this.#tableAt = this.#descAt;
    this.#tableCount = this.size;
    let indirect = false;
    for (let ttl = this.size; ttl > 0; ttl--) {
      const at = this.#tableAt + DESC_LEN * index;
      const addr = get64le(this.#table, at);
      const bytes = get32le(this.#table, at + DESC_BYTES);
      const flags = get16le(this.#table, at + DESC_FLAGS);
      if ((flags & FLAG_INDIRECT) !== 0) {
        if (indirect || (flags & FLAG_NEXT) !== 0) return DeviceError.BadIndirect;
        const error = this.#enterIndirect(addr, bytes);
        if (error !== null) return error;
        indirect = true;
        index = 0;
        // One more than it has, for the decrement of this iteration.
        ttl = this.#tableCount + 1;
        continue;
      }
      const error = this.#addBuffer(chain, addr, bytes, (flags & FLAG_WRITE) !== 0);
      if (error !== null) return error;
      if ((flags & FLAG_NEXT) === 0) return null;
      index = get16le(this.#table, at + DESC_NEXT);
      if (index >= this.#tableCount) return DeviceError.NextRange;
    }
    return DeviceError.ChainLoop;
  }

  /**
   * Goes on in the table of `bytes` bytes at `addr` (2.7.5.3). The write flag of the pointing descriptor is ignored.
   */
  #enterIndirect(addr: number, bytes: number): DeviceError | null {
    const count = bytes / DESC_LEN;
    if (!this.#indirect || !Number.isInteger(count) || count === 0) return DeviceError.BadIndirect;
    if (count > QUEUE_SIZE_MAX) return DeviceError.ChainLength;
    const region = this.#memory.find(addr, bytes);
    if (region === null) return DeviceError.BadAddress;
    this.#table = region.bytes;
    this.#tableAt = addr - region.base;
    this.#tableCount = count;
    return null;
  }

  #addBuffer(chain: DescChain, addr: number, bytes: number, write: boolean): DeviceError | null {
    const { readable, writable } = chain;
    if (bytes === 0) return DeviceError.ZeroLength;
    if (!write && writable.count > 0) return DeviceError.ReadAfterWrite;
    if (readable.length + writable.length + bytes > CHAIN_BYTES_MAX) return DeviceError.ChainLength;
    return (write ? writable : readable).addGuest(this.#memory, addr, bytes) ? null : DeviceError.BadAddress;
  }

  /** Returns the chain `head`, with `bytes` bytes written to it (2.7.8); the driver sees it after `publish`. */
  push(head: number, bytes: number): void {
    const at = this.#usedAt + RING_START + 8 * (this.#nextUsed & (this.size - 1));
    put32le(this.#used, at, head);
    put32le(this.#used, at + 4, bytes);
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff;
  }

  /** Publishes all pushed chains; returns whether it wants an interrupt (2.7.7.2). */
  publish(): boolean {
    const before = this.#published;
    const now = this.#nextUsed;
    if (now === before || !this.#ready) return false;
    put16le(this.#used, this.#usedAt + RING_IDX, now);
    this.#published = now;
    if (!this.#eventIdx) return (get16le(this.#avail, this.#availAt) & AVAIL_NO_INTERRUPT) === 0;
    const event = get16le(this.#avail, this.#availAt + RING_START + 2 * this.size);
    return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
  }

  /** Tells the driver that it need not notify (2.7.10): this queue is being processed. */
  stopNotify(): void {
    // With an event index it is enough to leave the old one there: the driver has passed it.
    if (this.#ready && !this.#eventIdx) put16le(this.#used, this.#usedAt, USED_NO_NOTIFY);
  }

  /**
   * Asks the driver to notify of the next buffer. True: some arrived before the request took effect, so check again
   * now.
   */
  wantNotify(): boolean {
    if (!this.#ready) return false;
    if (this.#eventIdx) put16le(this.#used, this.#usedAt + RING_START + 8 * this.size, this.#lastAvail);
    else put16le(this.#used, this.#usedAt, 0);
    return get16le(this.#avail, this.#availAt + RING_IDX) !== this.#lastAvail;
  }
}

/** Whether a queue may have `size` descriptors (2.7: a power of two). */
export function isQueueSize(size: number, max: number): boolean {
  return size > 0 && size <= max && (size & (size - 1)) === 0;
}
