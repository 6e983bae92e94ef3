/**
 * Everything that the specification forbids a driver, one entry each, and what the device is to call it.
 *
 * Path: virtio_net_hostile_test → mischief → hostile_driver.
 *
 * Each is done by a driver that was brought up honestly: with `features` agreed on, and 16 descriptors a queue.
 *
 * @module
 */

import {
  BUFFERS,
  CTRL,
  type HostileDriver,
  INDIRECT,
  NEXT,
  PLAIN,
  RAM_BASE,
  RAM_BYTES,
  RX,
  TX,
  WRITE,
} from "./hostile_driver.ts";

/** One way to misbehave. */
export interface Mischief {
  readonly name: string;
  /** What the device calls it. */
  readonly error: string;
  /** Features to agree on before. */
  readonly features?: readonly [low: number, high: number];
  /** What the driver does. The device is then notified of everything and is given a frame. */
  readonly act: (driver: HostileDriver) => void;
}

/** INDIRECT_DESC and VERSION_1. */
export const WITH_INDIRECT: readonly [low: number, high: number] = [2 ** 28, 1];
/** CTRL_VQ and VERSION_1. */
export const WITH_CONTROL: readonly [low: number, high: number] = [2 ** 17, 1];

const HERE = RAM_BASE + BUFFERS;
const END = RAM_BASE + RAM_BYTES;
const GOOD = { addr: HERE, len: 100 } as const;

/** Offers chain 0 of the transmit queue. */
function transmit(describe: (driver: HostileDriver) => void): (driver: HostileDriver) => void {
  return (driver) => {
    describe(driver);
    driver.offer(TX, 0);
  };
}

/** Offers chain 0 of the receive queue. */
function receive(describe: (driver: HostileDriver) => void): (driver: HostileDriver) => void {
  return (driver) => {
    describe(driver);
    driver.offer(RX, 0);
  };
}

const CHAINS: readonly Mischief[] = [
  {
    name: "a chain of one descriptor that is its own next",
    error: "chain-loop",
    act: transmit((driver) => driver.describe(TX, 0, { ...GOOD, flags: NEXT, next: 0 })),
  },
  {
    name: "a chain that comes back to its middle",
    error: "chain-loop",
    act: transmit((driver) => {
      driver.chain(TX, 0, [GOOD, GOOD, GOOD]);
      driver.describe(TX, 2, { ...GOOD, flags: NEXT, next: 1 });
    }),
  },
  {
    name: "a loop of buffers to receive into",
    error: "chain-loop",
    act: receive((driver) => driver.describe(RX, 0, { ...GOOD, flags: NEXT | WRITE, next: 0 })),
  },
  {
    name: "a next outside the table",
    error: "next-range",
    act: transmit((driver) => driver.describe(TX, 0, { ...GOOD, flags: NEXT, next: 16 })),
  },
  {
    name: "a next of 65535",
    error: "next-range",
    act: transmit((driver) => driver.describe(TX, 0, { ...GOOD, flags: NEXT, next: 65535 })),
  },
  { name: "a head outside the table", error: "head-range", act: (driver) => driver.offer(TX, 16) },
  { name: "a head of 65535 to receive into", error: "head-range", act: (driver) => driver.offer(RX, 65535) },
  {
    name: "an index that jumps by more than the queue has",
    error: "index-jump",
    act: (driver) => driver.setAvailIdx(TX, 17),
  },
  { name: "an index that goes back", error: "index-jump", act: (driver) => driver.setAvailIdx(RX, 65535) },
  {
    name: "a buffer to read behind one to write",
    error: "read-after-write",
    act: transmit((driver) => driver.chain(TX, 0, [GOOD, { ...GOOD, flags: WRITE }, GOOD])),
  },
  {
    name: "a buffer of no bytes",
    error: "zero-length",
    act: transmit((driver) => driver.chain(TX, 0, [GOOD, { addr: HERE, len: 0 }])),
  },
];

const ADDRESSES: readonly Mischief[] = [
  ["before the memory", RAM_BASE - 1, 100],
  ["behind the memory", END, 100],
  ["over the end of the memory", END - 99, 100],
  ["of 4 GiB less one", HERE, 0xffffffff],
  ["at 0", 0, 100],
  ["at the top of the 64-bit space", 2 ** 64 - 4096, 100],
  ["that wraps round the 64-bit space", 2 ** 64 - 4096, 8192],
].map(([where, addr, len]): Mischief => ({
  name: `a buffer ${where}`,
  error: "bad-address",
  act: transmit((driver) => driver.describe(TX, 0, { addr: addr as number, len: len as number })),
}));

const TABLES: readonly Mischief[] = [
  {
    name: "an indirect table that was not agreed on",
    error: "bad-indirect",
    act: transmit((driver) => driver.indirect(TX, 0, HERE + 4096, [GOOD])),
  },
  {
    name: "an indirect table inside an indirect table",
    error: "bad-indirect",
    features: WITH_INDIRECT,
    act: transmit((driver) => driver.indirect(TX, 0, HERE + 4096, [{ addr: HERE + 8192, len: 16, flags: INDIRECT }])),
  },
  {
    name: "an indirect table that has a next",
    error: "bad-indirect",
    features: WITH_INDIRECT,
    act: transmit((driver) => {
      driver.indirect(TX, 0, HERE + 4096, [GOOD]);
      driver.describe(TX, 0, { addr: HERE + 4096, len: 16, flags: INDIRECT | NEXT, next: 1 });
    }),
  },
  ...[0, 15, 17].map((len): Mischief => ({
    name: `an indirect table of ${len} bytes`,
    error: "bad-indirect",
    features: WITH_INDIRECT,
    act: transmit((driver) => driver.describe(TX, 0, { addr: HERE, len, flags: INDIRECT })),
  })),
  {
    name: "an indirect table longer than any queue",
    error: "chain-length",
    features: WITH_INDIRECT,
    act: transmit((driver) => driver.describe(TX, 0, { addr: HERE, len: 16 * 1025, flags: INDIRECT })),
  },
  {
    name: "an indirect table outside the memory",
    error: "bad-address",
    features: WITH_INDIRECT,
    act: transmit((driver) => driver.describe(TX, 0, { addr: END - 8, len: 16, flags: INDIRECT })),
  },
  {
    name: "an indirect table that loops",
    error: "chain-loop",
    features: WITH_INDIRECT,
    act: transmit((driver) => {
      driver.indirect(TX, 0, HERE + 4096, [GOOD, GOOD]);
      driver.put(HERE + 4096 + 16, { ...GOOD, flags: NEXT, next: 0 });
    }),
  },
  {
    name: "an indirect table with a next outside of it",
    error: "next-range",
    features: WITH_INDIRECT,
    act: transmit((driver) => {
      driver.indirect(TX, 0, HERE + 4096, [GOOD]);
      driver.put(HERE + 4096, { ...GOOD, flags: NEXT, next: 1 });
    }),
  },
];

const BUFFER_KINDS: readonly Mischief[] = [
  {
    name: "a frame without room for its header",
    error: "bad-tx-buffer",
    act: transmit((driver) => driver.describe(TX, 0, { addr: HERE, len: 11 })),
  },
  {
    name: "a transmitted chain that is to be written",
    error: "bad-tx-buffer",
    act: transmit((driver) => driver.chain(TX, 0, [GOOD, { ...GOOD, flags: WRITE }])),
  },
  {
    name: "a receive buffer that is to be read",
    error: "bad-rx-buffer",
    act: receive((driver) => driver.describe(RX, 0, GOOD)),
  },
  {
    name: "a receive buffer that is partly to be read",
    error: "bad-rx-buffer",
    act: receive((driver) => driver.chain(RX, 0, [GOOD, { ...GOOD, flags: WRITE }])),
  },
  {
    name: "a receive buffer without room for a header",
    error: "bad-rx-buffer",
    act: receive((driver) => driver.describe(RX, 0, { addr: HERE, len: 11, flags: WRITE })),
  },
  {
    name: "a command without a byte for the answer",
    error: "bad-control",
    features: WITH_CONTROL,
    act: (driver) => {
      driver.describe(CTRL, 0, GOOD);
      driver.offer(CTRL, 0);
    },
  },
  {
    name: "a command of one byte",
    error: "bad-control",
    features: WITH_CONTROL,
    act: (driver) => {
      driver.chain(CTRL, 0, [{ addr: HERE, len: 1 }, { addr: HERE + 8, len: 1, flags: WRITE }]);
      driver.offer(CTRL, 0);
    },
  },
];

const REGISTERS: readonly Mischief[] = [
  {
    name: "status bits taken back",
    error: "status-order",
    act: (driver) => {
      driver.status = 1;
    },
  },
  {
    name: "a queue's size changed while it is ready",
    error: "queue-order",
    act: (driver) => {
      driver.page.write(0x030, TX);
      driver.page.write(0x038, 8);
    },
  },
  {
    name: "a queue's address changed while it is ready",
    error: "queue-order",
    act: (driver) => {
      driver.page.write(0x030, RX);
      driver.page.write(0x0a4, 1);
    },
  },
];

/** A way to set up a queue wrongly: done after FEATURES_OK, before DRIVER_OK. */
export interface BadSetUp {
  readonly name: string;
  readonly error: string;
  readonly act: (driver: HostileDriver) => void;
}

/** A ring of `part` at an address that it may not have. */
function ringAt(part: "desc" | "avail" | "used", addr: number, where: string): BadSetUp {
  return { name: `${part} ring ${where}`, error: "ring-address", act: (driver) => driver.setUp(TX, { [part]: addr }) };
}

/** Ways to set up a queue wrongly. */
export const BAD_SETUPS: readonly BadSetUp[] = [
  ...[0, 3, 17, 512, 65536, 0xffffffff].map((size): BadSetUp => ({
    name: `a queue of ${size} descriptors`,
    error: "queue-size",
    act: (driver) => driver.setUp(TX, { size }),
  })),
  ringAt("desc", RAM_BASE + 8, "not aligned"),
  ringAt("avail", RAM_BASE + 0x2001, "not aligned"),
  ringAt("used", RAM_BASE + 0x3002, "not aligned"),
  ringAt("desc", END - 16 * 16 + 16, "over the end of the memory"),
  // 4 + 2 × 16 bytes would fit: the event index behind them does not.
  ringAt("avail", END - 36, "whose event index is outside of the memory"),
  ringAt("used", END - 132, "whose event index is outside of the memory"),
  ringAt("avail", 0x1000, "outside of the memory"),
  ringAt("desc", 2 ** 64 - 4096, "at the top of the 64-bit space"),
  {
    name: "a queue made ready before the features were agreed on",
    error: "queue-order",
    act: (driver) => {
      driver.status = 0;
      driver.status = 3;
      driver.setUp(TX);
    },
  },
  {
    name: "FEATURES_OK and DRIVER_OK in one write",
    error: "status-order",
    act: (driver) => {
      driver.status = 0;
      driver.status = 3;
      driver.choose(PLAIN);
      driver.status = 15;
    },
  },
  {
    name: "DRIVER before ACKNOWLEDGE",
    error: "status-order",
    act: (driver) => {
      driver.status = 0;
      driver.status = 2;
    },
  },
  {
    name: "DRIVER_OK without FEATURES_OK",
    error: "status-order",
    act: (driver) => {
      driver.status = 0;
      driver.status = 3;
      driver.status = 7;
    },
  },
];

/** Ways to misbehave of a driver that was brought up. */
export const MISCHIEFS: readonly Mischief[] = [...CHAINS, ...ADDRESSES, ...TABLES, ...BUFFER_KINDS, ...REGISTERS];
