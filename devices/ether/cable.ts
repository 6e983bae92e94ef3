/**
 * Cable: an Ethernet segment in memory with two or more ends, and faults drawn from a seed.
 *
 * Path: boot → cable → cable_port, flight, cable_faults.
 *
 * A frame passes these steps; each belongs to the direction of the end that sent it:
 *
 *     refused? overflow? → waits for the rate → lost? → corrupted? → duplicated? → delay, jitter, held back? → arrives
 *
 * Frames never arrive inside `transmit`: without rate and delay they wait for a job, so that two kernels on one cable
 * cannot recurse into each other. Jitter alone keeps the order of a direction; only `reorder` changes it. A fault whose
 * chance is 0 draws no random number, and the behaviour of a cable is a function of its seed and of the frames sent and
 * their times.
 *
 * Between two ends, each frame that was sent and each duplicate ends in exactly one of delivered, lost, overflow,
 * refused and unplugged; with more ends it may be delivered several times.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import { NO_OFFLOADS, type PortOffloads } from "../../kernel/host.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { Job } from "../../kernel/job.ts";
import type { Random } from "../../kernel/random.ts";
import type { Clock, Timer } from "../../kernel/time.ts";
import { ETHER_HEADER_LEN, ETHER_MTU, VLAN_TAG_LEN } from "../../kernel/wire/ethernet.ts";
import { MAC_ADDR_LEN } from "../../kernel/wire/mac_addr.ts";
import { type CableCounters, type CableFaults, mergeFaults, NO_FAULTS, noCounters } from "./cable_faults.ts";
import { type CableCore, CablePort, type CablePortOptions } from "./cable_port.ts";
import { FlightHeap } from "./flight.ts";

/** Most frames of a direction on their way: 100 ms at 1 Gbit/s of full frames are 8 thousand. */
export const FLIGHT_FRAMES_MAX = 65536;
/** Most bytes of a direction on their way: 100 ms at 10 Gbit/s. */
export const FLIGHT_BYTES_MAX = 1 << 27;
/** Most ends of one cable: a frame is copied for each. */
const CABLE_PORTS_MAX = 1024;

/** Options of a cable. */
export interface CableOptions extends Partial<CableFaults> {
  /** Whether frames travel with an owed checksum and uncut, and with that metadata. Default: no. */
  readonly offloads?: boolean;
  /** Speed that the ends report, in Mbit/s. Default: the rate's. */
  readonly mbps?: number;
}

/** Direction of a frame as an end of the cable sees it. */
export type CableDirection = "in" | "out";

const ALL_OFFLOADS: PortOffloads = { checksum: true, tcpSegment: true, udpSegment: true };

/** The header and a VLAN tag, which does not count towards an MTU. */
const LINK_LEN_MAX = ETHER_HEADER_LEN + VLAN_TAG_LEN;

/** An in-memory wire. */
export class Cable implements CableCore {
  /** Sees each frame as it leaves an end and as it reaches one; must neither keep nor change the block. */
  onFrame: ((port: CablePort, direction: CableDirection, block: Block, nowMs: number) => void) | null = null;
  /** Offloads of its ends. */
  readonly offloads: PortOffloads;
  /** Speed that its ends report, in Mbit/s; null: the rate's. */
  readonly mbps: number | null;
  /** Whether it is plugged in. Frames on their way when it is pulled out are lost. */
  link = true;
  #clock: Clock;
  #random: Random;
  #faults: CableFaults;
  #ports: readonly CablePort[] = [];
  #flights = new FlightHeap<CablePort>();
  #timer: Timer;

  /** A cable without ends. Throws KernelError EINVAL for a fault out of range. */
  constructor(clock: Clock, random: Random, options: CableOptions = {}) {
    const { offloads, mbps, ...faults } = options;
    this.#clock = clock;
    this.#random = random;
    this.offloads = offloads === true ? ALL_OFFLOADS : NO_OFFLOADS;
    this.mbps = mbps ?? null;
    this.#faults = mergeFaults(NO_FAULTS, faults);
    this.#timer = clock.timer(() => this.#arrive());
  }

  /** The ends, in the order they were attached. */
  get ports(): readonly CablePort[] {
    return this.#ports;
  }

  /** Frames on their way, those that wait for a job included. */
  get inFlight(): number {
    return this.#ports.reduce((sum, port) => sum + port.flyingFrames, 0);
  }

  /** A new end. EINVAL: not the address of one interface, or no MTU; EFAIL: too many ends. */
  attach(options: { name: string; mac: Uint8Array; mtu?: number }): CablePort {
    const { name, mac, mtu = ETHER_MTU } = options;
    if (mac.length !== MAC_ADDR_LEN || (mac[0]! & 1) !== 0) {
      throw new KernelError("EINVAL", `Cannot attach "${name}": its address is not that of one interface`);
    }
    if (!(mtu > 0)) throw new KernelError("EINVAL", `Cannot attach "${name}": MTU ${mtu}`);
    if (this.#ports.length >= CABLE_PORTS_MAX) {
      throw new KernelError("EFAIL", `Cannot attach "${name}": the cable has ${CABLE_PORTS_MAX} ends`);
    }
    const own: CablePortOptions = { name, mac: mac.slice(), mtu };
    const job = new Job(this.#clock.jobs, () => this.#drain(port));
    const port: CablePort = new CablePort(this, own, this.#faults, job);
    this.#ports = [...this.#ports, port];
    return port;
  }

  /** For {@link CablePort.close}. */
  detach(port: CablePort): void {
    this.#ports = this.#ports.filter((other) => other !== port);
  }

  /** Changes the faults of all directions, or only of what `port` sends. EINVAL: a value out of range. */
  set(change: Partial<CableFaults>, port: CablePort | null = null): void {
    if (port !== null) return port.setFaults(mergeFaults(port.faults, change));
    this.#faults = mergeFaults(this.#faults, change);
    for (const one of this.#ports) one.setFaults(mergeFaults(one.faults, change));
  }

  /** The counters of all directions together. */
  counters(): CableCounters {
    const sum = noCounters();
    for (const port of this.#ports) {
      for (const key of Object.keys(sum) as (keyof CableCounters)[]) sum[key] += port.counters[key];
    }
    return sum;
  }

  /** For {@link CablePort}: whether another end is plugged in. */
  hasOtherUp(port: CablePort): boolean {
    const ports = this.#ports;
    for (let i = 0; i < ports.length; i++) {
      if (ports[i] !== port && ports[i]!.up) return true;
    }
    return false;
  }

  /** For {@link CablePort}. */
  transmit(from: CablePort, block: Block): boolean {
    const { counters } = from;
    const length = block.length;
    counters.sent++;
    if (!from.link) {
      counters.unplugged++;
      return drop(block);
    }
    if (length < ETHER_HEADER_LEN || !this.#carries(from.mtu, length, block)) {
      counters.refused++;
      return drop(block);
    }
    if (from.flyingFrames >= FLIGHT_FRAMES_MAX || from.flyingBytes >= FLIGHT_BYTES_MAX) {
      counters.overflow++;
      return drop(block);
    }
    if (block.extents !== null) block.own();
    if (this.offloads === NO_OFFLOADS) block.clearOffload();
    if (from.plain && this.#flights.size === 0 && this.onFrame === null) {
      this.#depart(from, block);
      return true;
    }
    const leavesMs = this.#queue(from, length);
    if (leavesMs < 0) {
      counters.overflow++;
      return drop(block);
    }
    if (this.onFrame !== null) this.onFrame(from, "out", block, this.#clock.now());
    this.#suffer(from, block, leavesMs);
    return true;
  }

  /** Whether a frame of `length` bytes is carried where the MTU is `mtu`. */
  #carries(mtu: number, length: number, block: Block): boolean {
    return length <= mtu + LINK_LEN_MAX || (this.offloads !== NO_OFFLOADS && block.segment !== Segment.None);
  }

  /** Queues a frame for the rate; returns the time at which it has left, -1 if there is no room. */
  #queue(from: CablePort, length: number): number {
    const { backlog, faults } = from;
    const nowMs = this.#clock.now();
    if (faults.rateBps === 0) return nowMs;
    backlog.settle(nowMs);
    if (faults.queueFrames > 0 && backlog.frames >= faults.queueFrames) return -1;
    if (faults.queueBytes > 0 && backlog.frames > 0 && backlog.bytes + length > faults.queueBytes) return -1;
    return backlog.add(nowMs, length, faults.rateBps);
  }

  /** Applies the faults to a frame that has left; random numbers are drawn in this order. */
  #suffer(from: CablePort, block: Block, leavesMs: number): void {
    const { faults, counters } = from;
    if (faults.mtu > 0 && !this.#carries(faults.mtu, block.wp - block.rp, block)) {
      counters.refused++;
      block.free();
      return;
    }
    if (this.#random.chance(faults.loss)) {
      counters.lost++;
      block.free();
      return;
    }
    if (this.#random.chance(faults.corrupt)) {
      counters.corrupted++;
      this.#corrupt(block);
    }
    const copy = this.#random.chance(faults.duplicate) ? block.clone() : null;
    this.#launch(from, block, leavesMs);
    if (copy === null) return;
    counters.duplicated++;
    this.#launch(from, copy, leavesMs);
  }

  /** Flips one bit. An owed checksum is finished first; otherwise the flip could not be detected. */
  #corrupt(block: Block): void {
    finishChecksum(block);
    block.checksum = Checksum.None;
    const bit = this.#random.below((block.wp - block.rp) * 8);
    block.buf[block.rp + (bit >> 3)]! ^= 1 << (bit & 7);
  }

  /** Puts the frame in flight; its delay is drawn here. */
  #launch(from: CablePort, block: Block, leavesMs: number): void {
    const { faults } = from;
    let dueMs = leavesMs + faults.delayMs;
    if (faults.jitterMs > 0) dueMs += this.#random.fraction() * faults.jitterMs;
    if (dueMs < from.lastDueMs) dueMs = from.lastDueMs;
    if (this.#random.chance(faults.reorder)) {
      from.counters.reordered++;
      dueMs += faults.reorderMs;
    } else {
      from.lastDueMs = dueMs;
    }
    if (this.#flights.size === 0 && dueMs <= this.#clock.now()) return this.#depart(from, block);
    from.flyingFrames++;
    from.flyingBytes += block.wp - block.rp;
    this.#flights.push(dueMs, block, from);
    this.#arm();
  }

  /** Delivers the frame without delay. */
  #depart(from: CablePort, block: Block): void {
    from.flyingFrames++;
    from.flyingBytes += block.wp - block.rp;
    from.enqueue(block);
  }

  /** The job of an end: its frames without delay arrive. Frames sent meanwhile wait for the next job. */
  #drain(from: CablePort): void {
    let block = from.takeAll();
    while (block !== null) {
      const next = block.next;
      block.next = null;
      this.#deliver(from, block);
      block = next;
    }
  }

  /** The timer: due frames arrive, but not those that are sent meanwhile. */
  #arrive(): void {
    const { lastOrder } = this.#flights;
    const nowMs = this.#clock.now();
    while (true) {
      const first = this.#flights.first;
      if (first === null || first.deadlineMs > nowMs || first.order > lastOrder) break;
      this.#flights.pop();
      this.#deliver(first.from, first.block);
    }
    this.#arm();
  }

  #arm(): void {
    const { nextMs } = this.#flights;
    if (nextMs === Infinity || (this.#timer.armed && this.#timer.deadlineMs === nextMs)) return;
    this.#clock.armAt(this.#timer, nextMs);
  }

  /** Gives the frame to every other end; the last one gets the block itself. */
  #deliver(from: CablePort, block: Block): void {
    const { counters } = from;
    const length = block.wp - block.rp;
    from.flyingFrames--;
    from.flyingBytes -= length;
    const ports = this.#ports;
    let last: CablePort | null = null;
    let tooLong = false;
    for (let i = 0; i < ports.length; i++) {
      const port = ports[i]!;
      if (port === from || !this.link || !port.up || port.receive === null) continue;
      if (this.#carries(port.mtu, length, block)) {
        if (last !== null) this.#hand(from, last, block.clone());
        last = port;
      } else {
        tooLong = true;
      }
    }
    if (last !== null) return this.#hand(from, last, block);
    if (tooLong) counters.refused++;
    else counters.unplugged++;
    block.free();
  }

  #hand(from: CablePort, to: CablePort, block: Block): void {
    if (to.receive === null) {
      // Another end closed it while it handled the same frame.
      from.counters.unplugged++;
      block.free();
      return;
    }
    from.counters.delivered++;
    if (this.onFrame !== null) this.onFrame(to, "in", block, this.#clock.now());
    to.receive(block);
  }
}

function drop(block: Block): false {
  block.free();
  return false;
}
