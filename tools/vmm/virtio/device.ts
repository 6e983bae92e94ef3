/**
 * The device behind a register page, and the counters of its driver's accesses.
 *
 * Path: mmio, net → device → ids.
 *
 * @module
 */

import type { Features } from "./ids.ts";

/** A device, as its register page uses it. */
export interface VirtioDevice {
  /** What kind of device it is. */
  readonly deviceId: number;
  /** The features that it offers, VERSION_1 among them. */
  readonly offered: Features;
  /** Its configuration space: the driver reads its current contents. */
  readonly config: Uint8Array;
  /** Largest size of each queue. */
  readonly queueSizes: readonly number[];
  /** Whether the chosen features, which were all offered, are consistent. */
  featuresFit(features: Features): boolean;
  /** The driver set DRIVER_OK. */
  activate(features: Features): void;
  /** The driver notified of buffers in a queue that is ready. */
  notify(queue: number): void;
  /** Queues and registers were reset; the device resets its other state of the driver. */
  reset(): void;
}

/** Counters of a register page. */
export class MmioCounters {
  /** Loads and stores of unknown registers, of a wrong width, or in a wrong direction. */
  badAccesses = 0;
  /** Notifications of a queue that does not exist or is not ready, or before DRIVER_OK. */
  badNotifies = 0;
  /** Times that a driver's mistake stopped the device. */
  faults = 0;
  /** Resets by the driver. */
  resets = 0;
  /** Resets of one queue. */
  queueResets = 0;
  /** Notifications of queues. */
  notifies = 0;
  /** Interrupts that were raised. */
  interrupts = 0;
}
