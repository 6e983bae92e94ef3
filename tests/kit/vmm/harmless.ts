/**
 * Violations of the specification after which device and driver still agree: the device passes over it and goes on,
 * with no reset.
 *
 * Path: virtio_net_hostile_test → harmless → hostile_driver.
 *
 * Each is done by a driver that was brought up honestly, as in mischief; with INDIRECT_DESC agreed on.
 *
 * @module
 */

import { BUFFERS, type HostileDriver, INDIRECT, RAM_BASE, RX, TX, WRITE } from "./hostile_driver.ts";

/** One thing that a driver must not do. */
export interface Harmless {
  readonly name: string;
  /** How many accesses and notifies the register page ignores for it. */
  readonly badAccesses?: number;
  readonly badNotifies?: number;
  /** Frames that it sends by it. */
  readonly frames?: number;
  readonly act: (driver: HostileDriver) => void;
}

const HERE = RAM_BASE + BUFFERS;
const READ_ONLY = [0x000, 0x004, 0x008, 0x00c, 0x010, 0x034, 0x060, 0x0b0, 0x0b4, 0x0b8, 0x0bc, 0x0fc];
const WRITE_ONLY = [
  ...[0x014, 0x020, 0x024, 0x030, 0x038, 0x050, 0x064],
  ...[0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4, 0x0ac],
];
const NO_REGISTER = [0x018, 0x01c, 0x028, 0x02c, 0x03c, 0x040, 0x048, 0x04c, 0x054, 0x068, 0x074, 0x0a8, 0x0c4, 0x0f8];

/** Of register accesses (4.2.2.2), of the status (2.1.1), of notifications (2.9). */
const REGISTERS: readonly Harmless[] = [
  {
    name: "writes every read-only register",
    badAccesses: READ_ONLY.length,
    act: ({ page }) => READ_ONLY.forEach((at) => page.write(at, 0xffffffff)),
  },
  {
    name: "reads every write-only register",
    badAccesses: WRITE_ONLY.length,
    act: ({ page }) => WRITE_ONLY.forEach((at) => page.read(at)),
  },
  {
    name: "reads and writes where no register is",
    badAccesses: 2 * NO_REGISTER.length,
    act: ({ page }) =>
      NO_REGISTER.forEach((at) => {
        page.read(at);
        page.write(at, 1);
      }),
  },
  {
    name: "writes registers in bytes, halves and not aligned",
    badAccesses: 4,
    act: ({ page }) => {
      page.write(0x070, 0, 1);
      page.write(0x070, 0, 2);
      page.write(0x070, 0, 8);
      page.write(0x06e, 0);
    },
  },
  {
    name: "writes the configuration space",
    badAccesses: 12,
    act: ({ page }) => {
      for (let at = 0x100; at < 0x10c; at++) page.write(at, 0xff, 1);
    },
  },
  { name: "chooses other features after FEATURES_OK", badAccesses: 2, act: (driver) => driver.choose([0, 0]) },
  { name: "acknowledges interrupts that there are not", act: ({ page }) => page.write(0x064, 0xffffffff) },
  {
    name: "sets bits of the status that belong to the device, or are reserved",
    act: (driver) => {
      driver.status = 0xffffff7f;
    },
  },
  {
    name: "sets DRIVER_OK, and makes a queue ready, twice",
    act: (driver) => {
      driver.status = 15;
      driver.page.write(0x030, TX);
      driver.page.write(0x044, 1);
    },
  },
  {
    name: "resets a queue without RING_RESET",
    badAccesses: 1,
    act: ({ page }) => {
      page.write(0x030, TX);
      page.write(0x0c0, 1);
    },
  },
  {
    name: "sets up a queue that is not there",
    badAccesses: 8,
    act: (driver) => driver.setUp(3),
  },
  {
    name: "notifies of queues that are not there, again and again",
    badNotifies: 100,
    act: (driver) => {
      for (let i = 0; i < 100; i++) driver.kick(2 + i * 0x1000001);
    },
  },
];

/** Of rings (2.7) and headers (5.1.6.2.1). */
const RINGS: readonly Harmless[] = [
  { name: "sets flags of the available ring that are not defined", act: (driver) => driver.setAvailFlags(TX, 0xfffe) },
  {
    name: "writes over the used rings",
    act: (driver) => {
      for (const queue of [RX, TX]) {
        const at = driver.rings(queue).used - RAM_BASE;
        driver.ram.fill(0xff, at, at + 4 + 8 * driver.size);
      }
    },
  },
  {
    name: "offers one chain twice at once",
    frames: 2,
    act: (driver) => {
      driver.describe(TX, 4, { addr: HERE, len: 72 });
      driver.offer(TX, 4, 4);
      driver.kick(TX);
    },
  },
  {
    name: "says that an indirect table is to be written",
    frames: 1,
    act: (driver) => {
      driver.indirect(TX, 4, HERE + 4096, [{ addr: HERE, len: 72 }]);
      driver.describe(TX, 4, { addr: HERE + 4096, len: 16, flags: INDIRECT | WRITE });
      driver.offer(TX, 4);
      driver.kick(TX);
    },
  },
  {
    name: "sets flags, hdr_len and num_buffers of a header that are not its to set",
    frames: 1,
    act: (driver) => driver.send(new Uint8Array(60), Uint8Array.of(0xfe, 0, 0xff, 0xff, 9, 9, 9, 9, 9, 9, 0xff, 0xff)),
  },
];

/** All of them. */
export const HARMLESS: readonly Harmless[] = [...REGISTERS, ...RINGS];
