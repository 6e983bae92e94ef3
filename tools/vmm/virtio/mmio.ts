/**
 * VirtioMmio: the register page through which a driver finds, sets up and resets a device (virtio 1.2, 4.2, 2.1, 3.1).
 *
 * Path: net, net_rx, net_tx → mmio → guest_memory, ids, device, virtio/queue.
 *
 * Three kinds of driver mistakes, by their effect:
 * - an access that does nothing (unknown, unaligned, read-only register; a notify of a queue that is not there or not
 * ready) is ignored and counted;
 * - features that were not offered or do not fit together: FEATURES_OK is not set (3.1.1);
 * - anything after which device and driver can no longer agree on what a queue holds: `fault`. The device stops, sets
 *   NEEDS_RESET, notifies the driver by a configuration interrupt (2.1.2), and works again after a reset.
 *
 * Only the device whose driver erred is touched. A reset takes place at once: the register reads 0 right after it.
 *
 * @module
 */

import type { GuestMemory } from "./guest_memory.ts";
import {
  DeviceError,
  Feature,
  Features,
  Interrupt,
  MMIO_MAGIC,
  MMIO_VERSION,
  NO_FEATURES,
  Reg,
  Status,
} from "./ids.ts";
import { MmioCounters, type VirtioDevice } from "./device.ts";
import { isQueueSize, VirtQueue } from "./queue.ts";

/** Vendor id of Akaros' devices: "BKAR". */
const VENDOR_ID = 0x52414b41;

/** Status bits that a driver writes; the others belong to the device or are reserved. */
const DRIVER_BITS = Status.Acknowledge | Status.Driver | Status.FeaturesOk | Status.DriverOk | Status.Failed;
/** Value of the registers of a shared memory region that does not exist (4.2.2). */
const NO_REGION = 0xffffffff;

/** The fields that the three pairs of address registers set; the pairs are 16 bytes apart. */
const QUEUE_PARTS = ["descAddr", "availAddr", "usedAddr"] as const;

/** One register page. */
export class VirtioMmio {
  /** The device's queues, by number. */
  readonly queues: readonly VirtQueue[];
  /** What the driver has done with the registers. */
  readonly counters: MmioCounters = new MmioCounters();
  /** Why the device asks for a reset; null: it does not. */
  lastFault: DeviceError | null = null;
  #device: VirtioDevice;
  #onInterrupt: () => void;
  #status = 0;
  #interruptStatus = 0;
  #generation = 0;
  #deviceWord = 0;
  #driverWord = 0;
  #queueSel = 0;
  /** The bits that the driver wrote, unoffered ones included. */
  #driverLow = 0;
  #driverHigh = 0;
  /** It wrote bits of words that do not exist. */
  #driverBeyond = false;
  #features = NO_FEATURES;

  /** The registers of `device`, as after a reset. */
  constructor(device: VirtioDevice, options: { memory: GuestMemory; onInterrupt: () => void }) {
    this.#device = device;
    this.#onInterrupt = options.onInterrupt;
    this.queues = device.queueSizes.map((size) => new VirtQueue(options.memory, size));
  }

  /** The negotiated features; none before FEATURES_OK. */
  get features(): Features {
    return this.#features;
  }

  /** Whether the device may use its queues: DRIVER_OK, and there was no fault. */
  get live(): boolean {
    return (this.#status & (Status.DriverOk | Status.NeedsReset | Status.Failed)) === Status.DriverOk;
  }

  /** Whether the interrupt line is up. */
  get interruptPending(): boolean {
    return this.#interruptStatus !== 0;
  }

  /** A load of `size` bytes at `offset` in the page. Unknown registers read 0. */
  read(offset: number, size = 4): number {
    if (offset >= Reg.Config) return this.#readConfig(offset - Reg.Config, size);
    const value = size === 4 ? this.#readRegister(offset) : null;
    if (value !== null) return value;
    this.counters.badAccesses++;
    return 0;
  }

  #readRegister(offset: number): number | null {
    const queue = this.queues[this.#queueSel];
    switch (offset) {
      case Reg.Magic:
        return MMIO_MAGIC;
      case Reg.Version:
        return MMIO_VERSION;
      case Reg.DeviceId:
        return this.#device.deviceId;
      case Reg.VendorId:
        return VENDOR_ID;
      case Reg.DeviceFeatures: {
        const { low, high } = this.#device.offered;
        return this.#deviceWord === 0 ? low : this.#deviceWord === 1 ? high : 0;
      }
      case Reg.QueueNumMax:
        return queue === undefined ? 0 : queue.sizeMax;
      case Reg.QueueReady:
        return queue !== undefined && queue.ready ? 1 : 0;
      case Reg.QueueReset:
        return 0;
      case Reg.InterruptStatus:
        return this.#interruptStatus;
      case Reg.Status:
        return this.#status;
      case Reg.ShmLenLow:
      case Reg.ShmLenHigh:
      case Reg.ShmBaseLow:
      case Reg.ShmBaseHigh:
        return NO_REGION;
      case Reg.ConfigGeneration:
        return this.#generation;
      default:
        return null;
    }
  }

  /** Configuration space: 1, 2 or 4 bytes, aligned to as many (4.2.2.2). */
  #readConfig(at: number, size: number): number {
    const { config } = this.#device;
    const good = (size === 1 || size === 2 || size === 4) && at % size === 0 && at + size <= config.length;
    if (!good) {
      this.counters.badAccesses++;
      return 0;
    }
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = ((value << 8) | config[at + i]!) >>> 0;
    return value;
  }

  /** A store of `size` bytes at `offset` in the page. Unknown registers and other widths are ignored. */
  write(offset: number, value: number, size = 4): void {
    if (size !== 4 || !(this.#writeRegister(offset, value >>> 0) || this.#writeQueue(offset, value >>> 0))) {
      this.counters.badAccesses++;
    }
  }

  /** Registers of the whole device; false: not one of them, or not allowed now. */
  #writeRegister(offset: number, value: number): boolean {
    switch (offset) {
      case Reg.DeviceFeaturesSel:
        this.#deviceWord = value;
        return true;
      case Reg.DriverFeaturesSel:
        this.#driverWord = value;
        return true;
      case Reg.DriverFeatures:
        return this.#setFeatures(value);
      case Reg.QueueSel:
        this.#queueSel = value;
        return true;
      case Reg.QueueNotify:
        this.#notify(value);
        return true;
      case Reg.InterruptAck:
        this.#interruptStatus &= ~value;
        return true;
      case Reg.Status:
        this.#setStatus(value);
        return true;
      case Reg.ShmSel:
        return true;
      default:
        return false;
    }
  }

  /** Registers of the selected queue; false: not one of them, or there is no such queue. */
  #writeQueue(offset: number, value: number): boolean {
    const queue = this.queues[this.#queueSel];
    if (queue === undefined) return false;
    switch (offset) {
      case Reg.QueueReady:
        this.#setReady(queue, value);
        return true;
      case Reg.QueueReset:
        if (value !== 1 || !this.#features.has(Feature.RingReset)) return false;
        this.#resetQueue(queue);
        return true;
      case Reg.QueueNum:
      case Reg.QueueDescLow:
      case Reg.QueueDescHigh:
      case Reg.QueueDriverLow:
      case Reg.QueueDriverHigh:
      case Reg.QueueDeviceLow:
      case Reg.QueueDeviceHigh:
        if (queue.ready) this.fault(DeviceError.QueueOrder);
        else this.#setUp(queue, offset, value);
        return true;
      default:
        return false;
    }
  }

  #setUp(queue: VirtQueue, offset: number, value: number): void {
    if (offset === Reg.QueueNum) {
      if (isQueueSize(value, queue.sizeMax)) queue.size = value;
      else this.fault(DeviceError.QueueSize);
      return;
    }
    const part = QUEUE_PARTS[(offset - Reg.QueueDescLow) >> 4]!;
    queue[part] = (offset & 4) === 0 ? withLow(queue[part], value) : withHigh(queue[part], value);
  }

  #setReady(queue: VirtQueue, value: number): void {
    if (value !== 1) {
      // Linux' driver releases a queue this way, whether or not RING_RESET was negotiated.
      if (queue.ready) this.#resetQueue(queue);
      return;
    }
    if (queue.ready) return;
    if ((this.#status & Status.FeaturesOk) === 0) return this.fault(DeviceError.QueueOrder);
    const { features } = this;
    const error = queue.enable({
      indirect: features.has(Feature.IndirectDesc),
      eventIdx: features.has(Feature.EventIdx),
    });
    if (error !== null) this.fault(error);
  }

  #resetQueue(queue: VirtQueue): void {
    this.counters.queueResets++;
    queue.reset();
  }

  #notify(index: number): void {
    const queue = this.queues[index];
    if (queue === undefined || !queue.ready || !this.live) {
      this.counters.badNotifies++;
      return;
    }
    this.counters.notifies++;
    this.#device.notify(index);
  }

  /** Bits may be chosen until FEATURES_OK (3.1.1). */
  #setFeatures(value: number): boolean {
    if ((this.#status & Status.FeaturesOk) !== 0) return false;
    if (this.#driverWord === 0) this.#driverLow = value;
    else if (this.#driverWord === 1) this.#driverHigh = value;
    else if (value !== 0) this.#driverBeyond = true;
    return true;
  }

  /** The handshake of 3.1.1: bits are only added, and each after the one before it. */
  #setStatus(value: number): void {
    if (value === 0) return this.reset();
    const before = this.#status;
    const next = value & DRIVER_BITS;
    const added = next & ~before;
    const kept = (before & DRIVER_BITS & ~next) === 0;
    const after = (bit: number, needed: number) => (added & bit) === 0 || (next & needed) !== 0;
    const ordered = after(Status.Driver, Status.Acknowledge) && after(Status.FeaturesOk, Status.Driver) &&
      // The driver must have read back FEATURES_OK first, so this takes a write of its own.
      ((added & Status.DriverOk) === 0 || (before & Status.FeaturesOk) !== 0);
    if (!kept || !ordered) return this.fault(DeviceError.StatusOrder);
    this.#status |= next & ~Status.FeaturesOk;
    if ((added & Status.FeaturesOk) !== 0) this.#agree();
    if ((added & Status.DriverOk) === 0) return;
    if (this.live) this.#device.activate(this.#features);
    // A fault from before DRIVER_OK, when no driver could be notified.
    else if (this.lastFault !== null) this.#interrupt(Interrupt.Config);
  }

  /** Accepts FEATURES_OK if the device supports the driver's choice. */
  #agree(): void {
    const chosen = new Features(this.#driverLow, this.#driverHigh);
    const { offered } = this.#device;
    if (this.#driverBeyond || !chosen.isSubsetOf(offered) || !chosen.has(Feature.Version1)) return;
    if (!this.#device.featuresFit(chosen)) return;
    this.#features = chosen;
    this.#status |= Status.FeaturesOk;
  }

  /** Resets everything to its state at power on (2.4.1, 4.2.3.1). */
  reset(): void {
    this.counters.resets++;
    this.#status = 0;
    this.#interruptStatus = 0;
    this.#deviceWord = this.#driverWord = this.#queueSel = 0;
    this.#driverLow = this.#driverHigh = 0;
    this.#driverBeyond = false;
    this.#features = NO_FEATURES;
    this.lastFault = null;
    for (const queue of this.queues) queue.reset();
    this.#device.reset();
  }

  /** The driver made a mistake: the device stops and asks for a reset (2.1.2). The first reason is kept. */
  fault(error: DeviceError): void {
    if (this.lastFault !== null) return;
    this.lastFault = error;
    this.counters.faults++;
    const told = (this.#status & Status.DriverOk) !== 0;
    this.#status |= Status.NeedsReset;
    if (told) this.#interrupt(Interrupt.Config);
  }

  /** Notifies the driver of used buffers. */
  interruptUsed(): void {
    if (this.live) this.#interrupt(Interrupt.Used);
  }

  /** The configuration space has changed: a driver that reads it in pieces can detect that (2.5.2). */
  nextGeneration(): void {
    this.#generation = (this.#generation + 1) >>> 0;
  }

  /** The configuration space has changed: the generation changes, and a running driver is notified. */
  configChanged(): void {
    this.nextGeneration();
    if (this.live) this.#interrupt(Interrupt.Config);
  }

  /** The last step of an operation: the driver may run inside it. */
  #interrupt(bit: number): void {
    this.#interruptStatus |= bit;
    this.counters.interrupts++;
    this.#onInterrupt();
  }
}

function withLow(addr: number, low: number): number {
  return Math.floor(addr / 0x1_0000_0000) * 0x1_0000_0000 + low;
}

/** From 2^53 on the address is rounded, and lies outside of every memory either way. */
function withHigh(addr: number, high: number): number {
  return high * 0x1_0000_0000 + addr % 0x1_0000_0000;
}
