/**
 * Ways of a driver to set a queue or the device up wrongly, with the error that the device must report.
 *
 * @module
 */

import { type HostileDriver, PLAIN, RAM_BASE, RAM_BYTES, TX } from "./hostile_driver.ts";

const END = RAM_BASE + RAM_BYTES;

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
    name: "FEATURES_OK before DRIVER",
    error: "status-order",
    act: (driver) => {
      driver.status = 0;
      driver.status = 1;
      driver.choose(PLAIN);
      driver.status = 9;
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
