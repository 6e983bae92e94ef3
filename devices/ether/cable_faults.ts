/**
 * Faults of a cable, and their counters.
 *
 * Path: cable, cable_port → cable_faults.
 *
 * @module
 */

import { KernelError } from "../../kernel/error.ts";

/** Default number of frames that wait for the rate (Linux' txqueuelen). */
const QUEUE_FRAMES = 1000;

/** Faults of the wire; every member may be changed while frames are in flight. */
export interface CableFaults {
  /** Bits per second; 0: no limit. */
  readonly rateBps: number;
  /** Milliseconds from the last bit sent to arrival. */
  readonly delayMs: number;
  /** Up to so many milliseconds more, evenly drawn; keeps the order. */
  readonly jitterMs: number;
  /** Chance, 0 to 1, that a frame vanishes. */
  readonly loss: number;
  /** Chance that a frame arrives twice. */
  readonly duplicate: number;
  /** Chance that a frame is held back for `reorderMs`, so that later ones overtake it. */
  readonly reorder: number;
  /** How long a reordered frame is held back, in milliseconds. */
  readonly reorderMs: number;
  /** Chance that one bit of a frame is flipped. */
  readonly corrupt: number;
  /** Most frames that wait for the rate, the one being sent included; 0: no limit. More are dropped. */
  readonly queueFrames: number;
  /** Most bytes that wait for the rate; 0: no limit. A frame alone always fits. */
  readonly queueBytes: number;
  /** Most bytes of payload in a frame that the wire carries: longer ones vanish (a black hole); 0: no limit. */
  readonly mtu: number;
}

/** Counters of one direction. */
export interface CableCounters {
  /** Frames passed to the cable. */
  sent: number;
  /** Frames received, once for each receiver. */
  delivered: number;
  /** Frames that vanished (`loss`). */
  lost: number;
  /** Copies made (`duplicate`). */
  duplicated: number;
  /** Frames and copies that were held back (`reorder`). */
  reordered: number;
  /** Frames of which one bit was flipped (`corrupt`). */
  corrupted: number;
  /** Dropped because too much was queued or in flight. */
  overflow: number;
  /** Shorter than a header, or longer than the sender, the wire or the receiver allows. */
  refused: number;
  /** Dropped because the link was down or there was no receiver. */
  unplugged: number;
}

/** A perfect wire. */
export const NO_FAULTS: CableFaults = {
  rateBps: 0,
  delayMs: 0,
  jitterMs: 0,
  loss: 0,
  duplicate: 0,
  reorder: 0,
  reorderMs: 1,
  corrupt: 0,
  queueFrames: QUEUE_FRAMES,
  queueBytes: 0,
  mtu: 0,
};

const CHANCES: ReadonlySet<keyof CableFaults> = new Set(["loss", "duplicate", "reorder", "corrupt"]);

/** `faults` with `change` on top. EINVAL: no such fault, or a value out of range. */
export function mergeFaults(faults: CableFaults, change: Partial<CableFaults>): CableFaults {
  for (const [name, value] of Object.entries(change)) {
    if (!(name in NO_FAULTS)) throw new KernelError("EINVAL", `Cannot set "${name}" of a cable: no such fault`);
    const max = CHANCES.has(name as keyof CableFaults) ? 1 : Number.MAX_VALUE;
    if (!(value >= 0 && value <= max)) throw new KernelError("EINVAL", `Cannot set "${name}" of a cable to ${value}`);
  }
  return { ...faults, ...change };
}

/** Whether frames pass untouched and at once, so that no random number or timer is needed. */
export function isPlain(faults: CableFaults): boolean {
  const { rateBps, delayMs, jitterMs, loss, duplicate, reorder, corrupt, mtu } = faults;
  return rateBps + delayMs + jitterMs + loss + duplicate + reorder + corrupt + mtu === 0;
}

/** Counters at zero. */
export function noCounters(): CableCounters {
  return {
    sent: 0,
    delivered: 0,
    lost: 0,
    duplicated: 0,
    reordered: 0,
    corrupted: 0,
    overflow: 0,
    refused: 0,
    unplugged: 0,
  };
}
