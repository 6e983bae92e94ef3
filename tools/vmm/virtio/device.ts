/**
 * What stands on the two sides of a register page: a device behind it, and counters of what a driver did in front.
 *
 * Path: mmio, net → device → ids.
 *
 * @module
 */

import type { Features } from "./ids.ts";

/** What a device is, behind its registers. */
export interface VirtioDevice {
  /** What kind of device it is. */
  readonly deviceId: number;
  /** What it offers; VERSION_1 is among it. */
  readonly offered: Features;
  /** Its configuration space: read by the driver as it is now. */
  readonly config: Uint8Array;
  /** Largest size of each queue. */
  readonly queueSizes: readonly number[];
  /** Whether the chosen features, which were all offered, go together. */
  featuresFit(features: Features): boolean;
  /** The driver set DRIVER_OK. */
  activate(features: Features): void;
  /** The driver notified of buffers in a queue that is ready. */
  notify(queue: number): void;
  /** Queues and registers were reset; whatever else the device knows of the driver is to be forgotten. */
  reset(): void;
}

/** What happened on a register page. */
export class MmioCounters {
  /** Loads and stores of what is no register, or not so wide, or not for that. */
  badAccesses = 0;
  /** Notifications of a queue that is not there or not ready, or before DRIVER_OK. */
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
