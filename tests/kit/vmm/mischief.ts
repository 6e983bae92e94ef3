/**
 * All violations of the specification by a driver, one entry each, with the error that the device must report.
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
  type Desc,
  type HostileDriver,
  INDIRECT,
  NEXT,
  RAM_BASE,
  RAM_BYTES,
  RX,
  TX,
  WRITE,
} from "./hostile_driver.ts";

/** One way to misbehave. */
export interface Mischief {
  readonly name: string;
  /** The device's name for it. */
  readonly error: string;
  /** Features to agree on before. */
  readonly features?: readonly [low: number, high: number];
  /** The driver's actions. The device is then notified of everything and gets a frame. */
  readonly act: (driver: HostileDriver) => void;
}

/** INDIRECT_DESC and VERSION_1. */
export const WITH_INDIRECT: readonly [low: number, high: number] = [2 ** 28, 1];
/** CTRL_VQ and VERSION_1. */
export const WITH_CONTROL: readonly [low: number, high: number] = [2 ** 17, 1];

/** MRG_RXBUF and VERSION_1. */
const WITH_MERGE: readonly [low: number, high: number] = [2 ** 15, 1];

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

/** Offers chain 0 of the control queue. */
function control(describe: (driver: HostileDriver) => void): (driver: HostileDriver) => void {
  return (driver) => {
    describe(driver);
    driver.offer(CTRL, 0);
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
  {
    name: "an index that jumps by a whole round",
    error: "index-jump",
    features: WITH_CONTROL,
    act: (driver) => driver.setAvailIdx(CTRL, 32768),
  },
  {
    name: "a head outside the control queue's table",
    error: "head-range",
    features: WITH_CONTROL,
    act: (driver) => driver.offer(CTRL, 16),
  },
  { name: "an index that goes back", error: "index-jump", act: (driver) => driver.setAvailIdx(RX, 65535) },
  {
    name: "a buffer to read behind one to write",
    error: "read-after-write",
    act: transmit((driver) => driver.chain(TX, 0, [GOOD, { ...GOOD, flags: WRITE }, GOOD])),
  },
  {
    name: "a chain of more than 4 GiB",
    error: "chain-length",
    act: transmit((driver) => driver.chain(TX, 0, [GOOD, { addr: HERE, len: 0xffffffff }])),
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
].flatMap(([where, addr, len]): Mischief[] => {
  const buffer = { addr: addr as number, len: len as number };
  return [
    {
      name: `a buffer ${where}`,
      error: "bad-address",
      act: transmit((driver) => driver.describe(TX, 0, buffer)),
    },
    {
      name: `a receive buffer ${where}`,
      error: "bad-address",
      act: receive((driver) => driver.describe(RX, 0, { ...buffer, flags: WRITE })),
    },
    {
      name: `a command whose answer goes to a buffer ${where}`,
      error: "bad-address",
      features: WITH_CONTROL,
      act: control((driver) => driver.chain(CTRL, 0, [{ addr: HERE, len: 1 }, { ...buffer, flags: WRITE }])),
    },
  ];
});

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

/** A bad buffer is as bad in a table. */
const IN_TABLES: readonly Mischief[] = [
  ["a buffer to read behind one to write", "read-after-write", { ...GOOD, flags: WRITE }],
  ["a buffer of no bytes", "zero-length", { addr: HERE, len: 0 }],
  ["a buffer outside the memory", "bad-address", { addr: END, len: 1 }],
].map(([what, error, desc]): Mischief => ({
  name: `${what as string}, in an indirect table`,
  error: error as string,
  features: WITH_INDIRECT,
  act: transmit((driver) => driver.indirect(TX, 0, HERE + 4096, [desc as Desc, GOOD])),
}));

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
    name: "a mergeable receive buffer without room for a header, behind a good one",
    error: "bad-rx-buffer",
    features: WITH_MERGE,
    act: (driver) => {
      driver.describe(RX, 0, { addr: HERE, len: 20, flags: WRITE });
      driver.describe(RX, 1, { addr: HERE + 20, len: 11, flags: WRITE });
      driver.offer(RX, 0, 1);
    },
  },
  {
    name: "a command without a byte for the answer",
    error: "bad-control",
    features: WITH_CONTROL,
    act: control((driver) => driver.describe(CTRL, 0, GOOD)),
  },
  {
    name: "a command of one byte",
    error: "bad-control",
    features: WITH_CONTROL,
    act: control((driver) => driver.chain(CTRL, 0, [{ addr: HERE, len: 1 }, { addr: HERE + 8, len: 1, flags: WRITE }])),
  },
];

const REGISTERS: readonly Mischief[] = [
  ...[1, 11, 0x80].map((status): Mischief => ({
    name: `status bits taken back: ${status} after 15`,
    error: "status-order",
    act: (driver) => {
      driver.status = status;
    },
  })),
  ...[0x038, 0x080, 0x084, 0x090, 0x094, 0x0a0, 0x0a4].map((at): Mischief => ({
    name: `register ${at.toString(16)} of a queue changed while it is ready`,
    error: "queue-order",
    act: (driver) => {
      driver.page.write(0x030, TX);
      driver.page.write(at, 8);
    },
  })),
];

/** Ways to misbehave of a driver that was brought up. */
export const MISCHIEFS: readonly Mischief[] = [
  ...CHAINS,
  ...ADDRESSES,
  ...TABLES,
  ...IN_TABLES,
  ...BUFFER_KINDS,
  ...REGISTERS,
];
