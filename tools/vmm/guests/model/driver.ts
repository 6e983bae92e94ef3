/**
 * ModelDriver: the virtio network driver of the model guest, a FramePort for that guest's own kernel (virtio 1.2, 5.1).
 *
 * Path: vm → driver → header, probe, ring, tx.
 *
 * It shares nothing with the device but the guest's memory and the page of registers. Its part of the memory begins
 * with the rings of the three queues; then come the slots: one of `slotBytes` for each descriptor to receive into and
 * to send from. A frame longer than a slot takes several. With MRG_RXBUF the device spreads a long frame over several
 * slots, too; without it the driver accepts no frame that needs more than one.
 *
 * A device that asks for a reset is reset and set up again; frames in flight are lost, as on a pulled cable.
 *
 * @module
 */

import { type Block, BLOCK_HEADROOM, BlockPool, Checksum, Segment } from "../../../../kernel/block.ts";
import type { FramePort, PortOffloads } from "../../../../kernel/host.ts";
import { Job, type JobQueue } from "../../../../kernel/job.ts";
import { get16le } from "../../../../kernel/wire/bytes.ts";
import { Feature, Interrupt, Reg, Status } from "../../virtio/ids.ts";
import {
  applyMeta,
  type FrameMeta,
  HEADER_BYTES,
  readHeader,
  type SendRights,
  sendRights,
  writeHeader,
} from "./header.ts";
import { addStatus, agree, queueSizeMax, readNetConfig, type RegisterPage, showRing } from "./probe.ts";
import { type GuestRam, ModelRing, ringBytes } from "./ring.ts";
import { ModelTx, txBytes } from "./tx.ts";

/** Options of a driver. */
export interface ModelDriverOptions {
  readonly ram: GuestRam;
  /** Offset in `ram` of the memory that is the driver's own: {@link driverBytes}. A multiple of 16. */
  readonly at: number;
  readonly page: RegisterPage;
  /** Queue of its interrupts: that of the guest kernel's clock. */
  readonly jobs: JobQueue;
  readonly blocks?: BlockPool;
  readonly name?: string;
  /** Descriptors of each of the two data queues, a power of two. Default: 256. */
  readonly queueSize?: number;
  /** Bytes of a slot. Default: 2048; without MRG_RXBUF the longest frame and its header must fit one. */
  readonly slotBytes?: number;
  /** Feature bits not to use even if they are offered. */
  readonly refuse?: readonly number[];
}

const RX = 0;
const TX = 1;
const CTRL = 2;
const QUEUE_SIZE = 256;
const SLOT_BYTES = 2048;
const CTRL_SIZE = 4;
const CTRL_SLOT_BYTES = 512;
/** Frames taken in one run, before the guest does something else. */
const RX_BURST = 256;
const MTU = 1500;
/** Longest frame the guest sends: an IP packet of 65535 bytes, and its link header with a tag. */
const FRAME_MAX = 65535 + 18;
/** Room for the longest frame: with head room it is the largest buffer that a pool keeps. */
const RX_BLOCK_BYTES = 66560 - BLOCK_HEADROOM;

/** What happened in a driver. */
export class DriverCounters {
  /** Frames that the guest sent. */
  txFrames = 0;
  /** No descriptors were free. */
  txFull = 0;
  /** Too long, or with work that the device does not do. */
  txRefused = 0;
  /** Frames that it got. */
  rxFrames = 0;
  /** The device returned invalid data. */
  rxBad = 0;
  /** Interrupts that it took. */
  interrupts = 0;
  /** Notifies that were written to the register. */
  kicks = 0;
  /** Times that the device asked for a reset. */
  restarts = 0;
}

/** Bytes of memory that a driver needs. */
export function driverBytes(queueSize: number = QUEUE_SIZE, slotBytes: number = SLOT_BYTES): number {
  const rings = 2 * ringBytes(queueSize) + ringBytes(CTRL_SIZE);
  return rings + CTRL_SLOT_BYTES + queueSize * slotBytes + txBytes(queueSize, slotBytes);
}

/** The driver of one network card. */
export class ModelDriver implements FramePort {
  readonly kind = "frame";
  readonly name: string;
  readonly mbps = 10_000;
  readonly mac: Uint8Array = new Uint8Array(6);
  /** What it has done. */
  readonly counters: DriverCounters = new DriverCounters();
  receive: ((block: Block) => void) | null = null;
  #options: ModelDriverOptions;
  #page: RegisterPage;
  #mem: Uint8Array;
  #blocks: BlockPool;
  #job: Job;
  #features: ReadonlySet<number> = new Set();
  #rights: SendRights = sendRights(new Set());
  /** A frame may come in several slots. */
  #merges = false;
  #running = false;
  #linkUp = false;
  #mtu = MTU;
  #slotBytes: number;
  #rx: ModelRing | null = null;
  #rxSlots = 0;
  #txRing: ModelRing | null = null;
  #tx: ModelTx | null = null;
  #ctrl: ModelRing | null = null;
  #ctrlSlot = 0;
  #header = new Uint8Array(HEADER_BYTES);
  #meta: FrameMeta;

  /** A driver that has not started. */
  constructor(options: ModelDriverOptions) {
    this.#options = options;
    this.#page = options.page;
    this.#mem = options.ram.bytes;
    this.#blocks = options.blocks ?? new BlockPool();
    this.#slotBytes = options.slotBytes ?? SLOT_BYTES;
    this.name = options.name ?? "virtio0";
    this.#job = new Job(options.jobs, () => this.#handleInterrupt());
    this.#meta = { checksum: Checksum.None, start: 0, field: 0, segment: Segment.None, size: 0, headerLen: 0 };
  }

  get mtu(): number {
    return this.#mtu;
  }

  get link(): boolean {
    return this.#running && this.#linkUp;
  }

  get offloads(): PortOffloads {
    const tcpSegment = this.has(Feature.HostTso4) && this.has(Feature.HostTso6);
    return { checksum: this.has(Feature.Csum), tcpSegment, udpSegment: false };
  }

  /** Whether the feature was negotiated. */
  has(feature: number): boolean {
    return this.#features.has(feature);
  }

  /** Finds the device, negotiates features and sets up its queues (3.1.1); false if this driver does not support it. */
  start(): boolean {
    const page = this.#page;
    const features = agree(page, this.#options.refuse ?? []);
    if (features === null) return false;
    this.#features = features;
    this.#rights = sendRights(features);
    this.#merges = features.has(Feature.MrgRxbuf);
    this.#readConfig();
    if (!this.#setUpQueues()) {
      addStatus(page, Status.Failed);
      return false;
    }
    addStatus(page, Status.DriverOk);
    this.#running = true;
    const ring = this.#rx!;
    while (ring.freeCount > 0) {
      const slot = ring.take();
      ring.describeWritable(slot, this.#rxSlots + slot * this.#slotBytes, this.#slotBytes);
      ring.offer(slot);
    }
    ring.wantInterrupt();
    this.#kick(RX, ring);
    return true;
  }

  #readConfig(): void {
    const { mac, linkUp, mtu } = readNetConfig(this.#page, this.#features);
    this.mac.set(mac);
    this.#linkUp = linkUp;
    this.#mtu = mtu ?? MTU;
  }

  #setUpQueues(): boolean {
    const { ram, at: start, queueSize = QUEUE_SIZE } = this.#options;
    const slotBytes = this.#slotBytes;
    const ctrlAt = start + 2 * ringBytes(queueSize);
    const rx = this.#setUp(RX, start, queueSize);
    const tx = this.#setUp(TX, start + ringBytes(queueSize), queueSize);
    const ctrl = this.has(Feature.CtrlVq) ? this.#setUp(CTRL, ctrlAt, CTRL_SIZE) : null;
    if (rx === null || tx === null || (ctrl === null && this.has(Feature.CtrlVq))) return false;
    this.#ctrlSlot = ctrlAt + ringBytes(CTRL_SIZE);
    this.#rxSlots = this.#ctrlSlot + CTRL_SLOT_BYTES;
    const at = this.#rxSlots + queueSize * slotBytes;
    this.#rx = rx;
    this.#txRing = tx;
    this.#tx = new ModelTx(tx, ram.bytes, { at, slotBytes, indirect: this.has(Feature.IndirectDesc) });
    this.#ctrl = ctrl;
    return true;
  }

  #setUp(queue: number, at: number, size: number): ModelRing | null {
    if (queueSizeMax(this.#page, queue) < size) return null;
    const ring = new ModelRing(this.#options.ram, at, size, { eventIdx: this.has(Feature.EventIdx) });
    return showRing(this.#page, queue, ring) ? ring : null;
  }

  #kick(queue: number, ring: ModelRing): void {
    if (!ring.publish()) return;
    this.counters.kicks++;
    this.#page.write(Reg.QueueNotify, queue);
  }

  /** Sends a frame, which it consumes. */
  transmit(block: Block): boolean {
    const sent = this.link && this.#send(block);
    block.free();
    return sent;
  }

  #send(block: Block): boolean {
    const { counters } = this;
    if (block.length > FRAME_MAX || !writeHeader(this.#header, block, this.#rights)) {
      counters.txRefused++;
      return false;
    }
    if (!this.#tx!.send(this.#header, block)) {
      counters.txFull++;
      return false;
    }
    counters.txFrames++;
    this.#kick(TX, this.#txRing!);
    return true;
  }

  /** The interrupt line went up: it is handled in a job. */
  interrupt(): void {
    this.#job.wake();
  }

  #handleInterrupt(): void {
    if (!this.#running) return;
    this.counters.interrupts++;
    const why = this.#page.read(Reg.InterruptStatus);
    this.#page.write(Reg.InterruptAck, why);
    if ((why & Interrupt.Config) !== 0) {
      if ((this.#page.read(Reg.Status) & Status.NeedsReset) !== 0) return this.#restart();
      this.#readConfig();
    }
    this.#receiveBurst();
  }

  #restart(): void {
    this.counters.restarts++;
    this.#running = false;
    this.start();
  }

  #receiveBurst(): void {
    const ring = this.#rx!;
    ring.stopInterrupt();
    for (let left = RX_BURST; left > 0; left--) {
      if (!ring.takeUsed()) {
        this.#kick(RX, ring);
        if (!ring.wantInterrupt()) return;
        continue;
      }
      const block = this.#takeFrame(ring);
      if (block === null) this.counters.rxBad++;
      else if (this.receive !== null) this.receive(block);
      else block.free();
      // The receiver of the frame may have closed or restarted this driver.
      if (!this.#running || this.#rx !== ring) return;
    }
    this.#kick(RX, ring);
    this.#job.wake();
  }

  /** The frame that begins in the slot that was just taken; null if the device wrote invalid data. */
  #takeFrame(ring: ModelRing): Block | null {
    if (ring.usedHead >= ring.size) return null;
    const first = this.#rxSlots + ring.usedHead * this.#slotBytes;
    const merged = this.#merges ? get16le(this.#mem, first + HEADER_BYTES - 2) : 1;
    readHeader(this.#mem, first, this.#meta);
    const block = this.#blocks.alloc(merged === 1 ? Math.min(ring.usedBytes, this.#slotBytes) : RX_BLOCK_BYTES);
    if (!this.#takeSlots(ring, merged, block) || !applyMeta(this.#meta, block)) {
      block.free();
      return null;
    }
    this.counters.rxFrames++;
    return block;
  }

  /**
   * Appends the bytes of `count` slots, the first of which was taken already, and offers these again. Slots that follow
   * each other in memory are copied as one. False if the device wrote invalid data.
   */
  #takeSlots(ring: ModelRing, count: number, block: Block): boolean {
    let good = ring.usedBytes >= HEADER_BYTES && count > 0 && count <= ring.size;
    let from = this.#rxSlots + ring.usedHead * this.#slotBytes + HEADER_BYTES;
    let end = from;
    for (let i = 0; i === 0 || (good && i < count); i++) {
      if (i > 0 && !ring.takeUsed()) return false;
      const { usedHead: slot, usedBytes: bytes } = ring;
      if (slot >= ring.size) return false;
      // Its descriptor is unchanged.
      ring.offer(slot);
      good = good && bytes <= this.#slotBytes;
      const at = this.#rxSlots + slot * this.#slotBytes;
      if (i > 0 && at !== end) {
        block.append(this.#mem.subarray(from, end));
        from = at;
      }
      end = at + bytes;
    }
    if (good) block.append(this.#mem.subarray(from, end));
    return good;
  }

  /** Sends a command to the device (5.1.6.5): class, command, data. True: it was run. */
  command(bytes: Uint8Array): boolean {
    const ring = this.#ctrl;
    if (!this.#running || ring === null || bytes.length >= CTRL_SLOT_BYTES) return false;
    const head = ring.take();
    const tail = ring.take();
    const answer = this.#ctrlSlot + CTRL_SLOT_BYTES - 1;
    this.#mem.set(bytes, this.#ctrlSlot);
    this.#mem[answer] = 0xff;
    ring.describe(head, this.#ctrlSlot, bytes.length, tail);
    ring.describeWritable(tail, answer, 1);
    ring.offer(head);
    ring.stopInterrupt();
    this.#kick(CTRL, ring);
    // The device answers inside the notify.
    const done = ring.takeUsed();
    ring.give(head, 2);
    return done && this.#mem[answer] === 0;
  }

  /** Resets the device and leaves it. */
  close(): void {
    this.#running = false;
    this.receive = null;
    this.#page.write(Reg.Status, 0);
  }
}
