/**
 * CablePort: one end of a cable, and the state of the direction in which it sends.
 *
 * Path: cable → cable_port → flight, cable_faults.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { FramePort, PortOffloads } from "../../kernel/host.ts";
import type { Job } from "../../kernel/job.ts";
import { type CableCounters, type CableFaults, isPlain, noCounters } from "./cable_faults.ts";
import { Backlog } from "./flight.ts";

/** Speed that a cable without a rate reports, in Mbit/s. */
const UNLIMITED_MBPS = 10_000;

/** Options of an end of a cable. */
export interface CablePortOptions {
  /** A name for messages and captures. */
  readonly name: string;
  /** Hardware address, 6 bytes. */
  readonly mac: Uint8Array;
  /** Most bytes of payload in a frame. */
  readonly mtu: number;
}

/** The part of a cable that its ends use. */
export interface CableCore {
  /** Whether its link is up. */
  readonly link: boolean;
  /** Offloads of its ends. */
  readonly offloads: PortOffloads;
  /** The speed that it reports, in Mbit/s; null: by its rate. */
  readonly mbps: number | null;
  /** Takes a frame of `from` and consumes it; false: no room now, and the frame stays the caller's. */
  transmit(from: CablePort, block: Block): boolean;
  /** Whether another end is plugged in. */
  hasOtherUp(port: CablePort): boolean;
  /** Removes an end. */
  detach(port: CablePort): void;
}

/** One end of a cable. */
export class CablePort implements FramePort {
  readonly kind = "frame";
  /** A name for messages and captures. */
  readonly name: string;
  readonly mac: Uint8Array;
  readonly mtu: number;
  receive: ((block: Block) => void) | null = null;
  /** Counters of the frames that this end sent. */
  readonly counters: CableCounters = noCounters();
  /**
   * For the cable: the frames that wait for the rate.
   *
   * @internal
   */
  readonly backlog: Backlog = new Backlog();
  /** For the cable: when the last frame sent in order arrives. */
  lastDueMs = 0;
  /** Frames of this end in flight. */
  flyingFrames = 0;
  /** Bytes of this end in flight. */
  flyingBytes = 0;
  /** For the cable: no fault is set. */
  plain: boolean;
  #cable: CableCore;
  #job: Job;
  #faults: CableFaults;
  #closed = false;
  #up = true;
  #head: Block | null = null;
  #tail: Block | null = null;

  /** For {@link Cable.attach}. */
  constructor(cable: CableCore, options: CablePortOptions, faults: CableFaults, job: Job) {
    this.#cable = cable;
    this.name = options.name;
    this.mac = options.mac;
    this.mtu = options.mtu;
    this.#faults = faults;
    this.plain = isPlain(faults);
    this.#job = job;
  }

  get offloads(): PortOffloads {
    return this.#cable.offloads;
  }

  get mbps(): number {
    const { rateBps } = this.#faults;
    return this.#cable.mbps ?? (rateBps > 0 ? Math.ceil(rateBps / 1e6) : UNLIMITED_MBPS);
  }

  /** Faults of the frames that this end sends; changed by `Cable.set`. */
  get faults(): CableFaults {
    return this.#faults;
  }

  /** For the cable. */
  setFaults(faults: CableFaults): void {
    this.#faults = faults;
    this.plain = isPlain(faults);
  }

  /** Whether this end is plugged in; may be set, to pull it out and put it back. */
  get up(): boolean {
    return this.#up && !this.#closed;
  }

  set up(up: boolean) {
    this.#up = up;
  }

  /** Whether the cable, this end, and another one are plugged in. */
  get link(): boolean {
    return this.up && this.#cable.link && this.#cable.hasOtherUp(this);
  }

  /** Sends a frame; false if it was dropped at once. */
  transmit(block: Block): boolean {
    return this.#cable.transmit(this, block);
  }

  /** Detaches the end. Frames in flight still arrive. */
  close(): void {
    this.#closed = true;
    this.receive = null;
    this.#cable.detach(this);
  }

  /** For the cable: a frame that arrives without delay waits for the job. */
  enqueue(block: Block): void {
    block.next = null;
    if (this.#tail === null) this.#head = block;
    else this.#tail.next = block;
    this.#tail = block;
    this.#job.wake();
  }

  /** For the cable: the frames that wait for the job, linked by `next`. */
  takeAll(): Block | null {
    const head = this.#head;
    this.#head = this.#tail = null;
    return head;
  }
}
