/**
 * The numbers of virtio 1.2 that device and driver agree on: registers, status and feature bits; and the names of the
 * mistakes a driver can make.
 *
 * Path: device, mmio, net → ids.
 *
 * Section numbers in tools/vmm are those of "Virtual I/O Device (VIRTIO) Version 1.2".
 *
 * @module
 */

/** Registers of the mmio transport, version 2 (4.2.2). All are 32 bits wide, except the configuration space. */
export const Reg = {
  Magic: 0x000,
  Version: 0x004,
  DeviceId: 0x008,
  VendorId: 0x00c,
  DeviceFeatures: 0x010,
  DeviceFeaturesSel: 0x014,
  DriverFeatures: 0x020,
  DriverFeaturesSel: 0x024,
  QueueSel: 0x030,
  QueueNumMax: 0x034,
  QueueNum: 0x038,
  QueueReady: 0x044,
  QueueNotify: 0x050,
  InterruptStatus: 0x060,
  InterruptAck: 0x064,
  Status: 0x070,
  QueueDescLow: 0x080,
  QueueDescHigh: 0x084,
  QueueDriverLow: 0x090,
  QueueDriverHigh: 0x094,
  QueueDeviceLow: 0x0a0,
  QueueDeviceHigh: 0x0a4,
  ShmSel: 0x0ac,
  ShmLenLow: 0x0b0,
  ShmLenHigh: 0x0b4,
  ShmBaseLow: 0x0b8,
  ShmBaseHigh: 0x0bc,
  QueueReset: 0x0c0,
  ConfigGeneration: 0x0fc,
  Config: 0x100,
} as const;

/** Value of the register `Magic`: "virt". */
export const MMIO_MAGIC = 0x74726976;
/** Value of the register `Version`: not the legacy interface. */
export const MMIO_VERSION = 2;
/** Device id of a network card (5.1.1). */
export const DEVICE_ID_NET = 1;

/** Bits of the device status (2.1). */
export const Status = {
  Acknowledge: 1,
  Driver: 2,
  DriverOk: 4,
  FeaturesOk: 8,
  NeedsReset: 0x40,
  Failed: 0x80,
} as const;

/** Bits of the interrupt status (4.2.2). */
export const Interrupt = { Used: 1, Config: 2 } as const;

/** Feature bits: of every device (6) and of a network card (5.1.3). GUEST_USO4 and 6 are those of virtio 1.3. */
export const Feature = {
  Csum: 0,
  GuestCsum: 1,
  Mtu: 3,
  Mac: 5,
  GuestTso4: 7,
  GuestTso6: 8,
  GuestEcn: 9,
  HostTso4: 11,
  HostTso6: 12,
  HostEcn: 13,
  MrgRxbuf: 15,
  Status: 16,
  CtrlVq: 17,
  CtrlRx: 18,
  CtrlRxExtra: 20,
  CtrlMacAddr: 23,
  IndirectDesc: 28,
  EventIdx: 29,
  Version1: 32,
  RingReset: 40,
  GuestUso4: 54,
  GuestUso6: 55,
  HostUso: 56,
} as const;

/** A set of feature bits: two words, as the registers show them. */
export class Features {
  /** Bits 0 to 31 and 32 to 63, unsigned. */
  constructor(readonly low: number, readonly high: number) {}

  /** The set of these bits. */
  static of(bits: Iterable<number>): Features {
    let low = 0;
    let high = 0;
    for (const bit of bits) {
      if (bit < 32) low |= 1 << bit;
      else high |= 1 << (bit - 32);
    }
    return new Features(low >>> 0, high >>> 0);
  }

  /** Whether the feature is among them. */
  has(bit: number): boolean {
    return ((bit < 32 ? this.low >>> bit : this.high >>> (bit - 32)) & 1) !== 0;
  }

  /** Whether every bit of this set is in `other`. */
  isSubsetOf(other: Features): boolean {
    return (this.low & ~other.low) === 0 && (this.high & ~other.high) === 0;
  }
}

/** No feature. */
export const NO_FEATURES: Features = new Features(0, 0);

/** A driver's mistake after which a device asks for a reset (2.1.2): a value, never thrown. */
export const DeviceError = {
  /** Status bits were cleared, or set in the wrong order (3.1.1). */
  StatusOrder: "status-order",
  /** A queue was set up with a size that is no power of two or too large (2.7, 4.2.2.2). */
  QueueSize: "queue-size",
  /** A queue was changed while it was ready, or made ready before the features were negotiated (4.2.2.2). */
  QueueOrder: "queue-order",
  /** A ring is not aligned (2.7), or not wholly inside the guest's memory. */
  RingAddress: "ring-address",
  /** The available index ran ahead by more than the queue's size (2.7.13.3). */
  IndexJump: "index-jump",
  /** The head of a chain is no descriptor of the table. */
  HeadRange: "head-range",
  /** `next` is no descriptor of the table. */
  NextRange: "next-range",
  /** A chain is longer than its table has descriptors: it loops (2.7.5.1). */
  ChainLoop: "chain-loop",
  /** A chain has more bytes than a chain may have (2.7.5.1). */
  ChainLength: "chain-length",
  /** A device-readable descriptor came after a device-writable one (2.7.4.2). */
  ReadAfterWrite: "read-after-write",
  /** A buffer of no bytes. */
  ZeroLength: "zero-length",
  /** A buffer or an indirect table is not inside the guest's memory. */
  BadAddress: "bad-address",
  /** An invalid indirect table: not negotiated, inside another, with a next, or of a bad length (2.7.5.3). */
  BadIndirect: "bad-indirect",
  /** A transmitted chain without room for the header, or with bytes for the device to write (5.1.6.2). */
  BadTxBuffer: "bad-tx-buffer",
  /** A receive buffer without room for the header, or with bytes for the device to read (5.1.6.3.1). */
  BadRxBuffer: "bad-rx-buffer",
  /** A control command without command or without a byte for the answer (5.1.6.5). */
  BadControl: "bad-control",
} as const;
/** One of the errors. */
export type DeviceError = typeof DeviceError[keyof typeof DeviceError];
