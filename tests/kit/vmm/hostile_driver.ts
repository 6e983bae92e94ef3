/**
 * HostileDriver: a virtio driver for tests that writes every byte of its rings by hand, and can misbehave in every way.
 *
 * Path: tests, mischief → hostile_driver → guest memory and register page → the device.
 *
 * It follows the specification (virtio 1.2, 2.7 and 4.2) independently: neither the device's files nor the model
 * driver's are imported, and its numbers are written out again. Its honest half (`bringUp`, `offer`, `used`) is what a
 * test needs to show that the device works again after a reset.
 *
 * Memory of queue q: descriptors at `QUEUE_BYTES` × q, available ring 0x2000 and used ring 0x3000 bytes behind; buffers
 * from `BUFFERS` on.
 *
 * @module
 */

import { get16le, get32le, put16le, put32le, put64le } from "../../../kernel/wire/bytes.ts";

/** Guest-physical address of its memory: not 0, so that a forgotten base shows. */
export const RAM_BASE = 0x8000_0000;
/** Bytes of its memory. */
export const RAM_BYTES = 0x8_0000;
const QUEUE_BYTES = 0x4000;
const AVAIL = 0x2000;
const USED = 0x3000;
/** Offset of the memory for buffers. */
export const BUFFERS = 0x1_0000;

export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;

export const RX = 0;
export const TX = 1;
export const CTRL = 2;

/** Feature bits as two words: VERSION_1 alone. */
export const PLAIN: readonly [low: number, high: number] = [0, 1];

/** The register page as a driver sees it. */
export interface Page {
  read(offset: number, size?: number): number;
  write(offset: number, value: number, size?: number): void;
}

/** One descriptor; addresses are guest-physical. */
export interface Desc {
  readonly addr: number;
  readonly len: number;
  readonly flags?: number;
  readonly next?: number;
}

/** One entry of a used ring. */
export interface UsedElem {
  readonly id: number;
  readonly len: number;
}

/** A driver without manners. */
export class HostileDriver {
  /** Its memory, which begins at {@link RAM_BASE}. */
  readonly ram: Uint8Array;
  readonly page: Page;
  /** Descriptors of each queue, as set in the device. */
  size = 16;
  #availIdx = [0, 0, 0];
  #usedIdx = [0, 0, 0];

  constructor(ram: Uint8Array, page: Page) {
    this.ram = ram;
    this.page = page;
  }

  get status(): number {
    return this.page.read(0x070);
  }

  set status(value: number) {
    this.page.write(0x070, value);
  }

  get needsReset(): boolean {
    return (this.status & 0x40) !== 0;
  }

  /** Writes both words of the driver's features. */
  choose(features: readonly [low: number, high: number]): void {
    features.forEach((word, i) => {
      this.page.write(0x024, i);
      this.page.write(0x020, word);
    });
  }

  /** Resets the device and goes as far as FEATURES_OK; false if it did not stick. */
  agree(features: readonly [low: number, high: number] = PLAIN): boolean {
    this.status = 0;
    this.status = 1;
    this.status = 3;
    this.choose(features);
    this.status = 11;
    return (this.status & 8) !== 0;
  }

  /** Guest address of descriptor table, available and used ring of queue `queue`. */
  rings(queue: number): { desc: number; avail: number; used: number } {
    const desc = RAM_BASE + queue * QUEUE_BYTES;
    return { desc, avail: desc + AVAIL, used: desc + USED };
  }

  /** Writes the registers that describe a queue, and makes it ready. */
  setUp(queue: number, options: { size?: number; desc?: number; avail?: number; used?: number } = {}): void {
    const { page } = this;
    const { size = this.size, ...addresses } = options;
    const { desc, avail, used } = { ...this.rings(queue), ...addresses };
    page.write(0x030, queue);
    page.write(0x038, size);
    [desc, avail, used].forEach((addr, i) => {
      page.write(0x080 + 16 * i, addr % 0x1_0000_0000);
      page.write(0x084 + 16 * i, Math.floor(addr / 0x1_0000_0000));
    });
    page.write(0x044, 1);
  }

  /** Everything that an honest driver does at start, with `count` queues of clean memory. */
  bringUp(options: { features?: readonly [low: number, high: number]; size?: number; count?: number } = {}): boolean {
    const { features = PLAIN, size = 16, count = 2 } = options;
    this.ram.fill(0);
    this.size = size;
    this.#availIdx = [0, 0, 0];
    this.#usedIdx = [0, 0, 0];
    if (!this.agree(features)) return false;
    for (let queue = 0; queue < count; queue++) this.setUp(queue);
    this.status = 15;
    return this.status === 15;
  }

  /** Writes descriptor `index` of a queue, whatever it holds. */
  describe(queue: number, index: number, desc: Desc): void {
    this.put(this.rings(queue).desc + 16 * index, desc);
  }

  /** Writes a descriptor anywhere: into an indirect table. */
  put(addr: number, { addr: buffer, len, flags = 0, next = 0 }: Desc): void {
    const at = addr - RAM_BASE;
    put64le(this.ram, at, buffer);
    put32le(this.ram, at + 8, len);
    put16le(this.ram, at + 12, flags);
    put16le(this.ram, at + 14, next);
  }

  /** Writes `descs` as a chain from descriptor `head` on; flags `NEXT` and numbers are filled in. */
  chain(queue: number, head: number, descs: readonly Desc[]): void {
    descs.forEach((desc, i) => {
      const last = i === descs.length - 1;
      const flags = (desc.flags ?? 0) | (last ? 0 : NEXT);
      this.describe(queue, head + i, { ...desc, flags, next: last ? 0 : head + i + 1 });
    });
  }

  /** Writes `descs` as an indirect table at `table` and descriptor `head` that points to it. */
  indirect(queue: number, head: number, table: number, descs: readonly Desc[]): void {
    descs.forEach((desc, i) => {
      const last = i === descs.length - 1;
      this.put(table + 16 * i, { ...desc, flags: (desc.flags ?? 0) | (last ? 0 : NEXT), next: last ? 0 : i + 1 });
    });
    this.describe(queue, head, { addr: table, len: 16 * descs.length, flags: INDIRECT });
  }

  /** Puts heads into the available ring, whatever they are, and moves the index. */
  offer(queue: number, ...heads: number[]): void {
    for (const head of heads) {
      const slot = this.#availIdx[queue]! % this.size;
      put16le(this.ram, this.rings(queue).avail - RAM_BASE + 4 + 2 * slot, head);
      this.#availIdx[queue] = (this.#availIdx[queue]! + 1) & 0xffff;
    }
    this.setAvailIdx(queue, this.#availIdx[queue]!);
  }

  /** Sets the available index, whatever it is. */
  setAvailIdx(queue: number, idx: number): void {
    put16le(this.ram, this.rings(queue).avail - RAM_BASE + 2, idx);
  }

  /** Flags of the available ring: 1 asks for no interrupts. */
  setAvailFlags(queue: number, flags: number): void {
    put16le(this.ram, this.rings(queue).avail - RAM_BASE, flags);
  }

  /** With EVENT_IDX: the used index after which an interrupt is wanted. */
  setUsedEvent(queue: number, idx: number): void {
    put16le(this.ram, this.rings(queue).avail - RAM_BASE + 4 + 2 * this.size, idx);
  }

  /** With EVENT_IDX: the available index after which the device wants a notify. */
  availEvent(queue: number): number {
    return get16le(this.ram, this.rings(queue).used - RAM_BASE + 4 + 8 * this.size);
  }

  /** Flags of the used ring: 1 asks for no notifies. */
  usedFlags(queue: number): number {
    return get16le(this.ram, this.rings(queue).used - RAM_BASE);
  }

  kick(queue: number): void {
    this.page.write(0x050, queue);
  }

  /** Chains that the device returned since the last call. */
  used(queue: number): UsedElem[] {
    const at = this.rings(queue).used - RAM_BASE;
    const found: UsedElem[] = [];
    while (get16le(this.ram, at + 2) !== this.#usedIdx[queue]) {
      const elem = at + 4 + 8 * (this.#usedIdx[queue]! % this.size);
      found.push({ id: get32le(this.ram, elem), len: get32le(this.ram, elem + 4) });
      this.#usedIdx[queue] = (this.#usedIdx[queue]! + 1) & 0xffff;
    }
    return found;
  }

  /** Writes bytes at offset `at` of the memory; answers their guest address. */
  store(at: number, bytes: Uint8Array): number {
    this.ram.set(bytes, at);
    return RAM_BASE + at;
  }

  /** A copy of bytes at guest address `addr`. */
  load(addr: number, length: number): Uint8Array {
    return this.ram.slice(addr - RAM_BASE, addr - RAM_BASE + length);
  }

  /** Offers one chain that sends `frame` behind a header of 12 bytes (all zero if left out), and notifies. */
  send(frame: Uint8Array, header: Uint8Array = new Uint8Array(12)): void {
    const bytes = new Uint8Array([...header, ...frame]);
    this.describe(TX, 0, { addr: this.store(BUFFERS, bytes), len: bytes.length });
    this.offer(TX, 0);
    this.kick(TX);
  }
}
