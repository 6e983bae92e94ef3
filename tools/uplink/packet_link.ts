/**
 * PacketLink: the link between the near stack and what stands behind it: whole packets, uncut and with their checksums
 * owed, as no real link has them.
 *
 * Path: uplink, socket_uplink → packet_link → kernel/host, job.
 *
 * A packet is never handed on inside its sender: it waits for a job, so that no stack is entered while another call of
 * it is under way.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { PacketPort } from "../../kernel/host.ts";
import { Job, type JobQueue } from "../../kernel/job.ts";

/** The largest packet of either version of IP: segments cross whole. */
const LINK_MTU = 65535;
const MBPS = 10_000;
/** Most packets, and bytes, that wait for one side: a few windows of TCP. What is more is lost, as on any link. */
const PACKETS_MAX = 8192;
const BYTES_MAX = 64 << 20;
/** Packets of one run of the job: what waits behind gets its turn, too. */
const PACKETS_PER_RUN = 256;

/** One direction: packets that wait for their taker. */
class Lane {
  take: ((block: Block) => void) | null = null;
  drops = 0;
  #waiting: Block[] = [];
  #first = 0;
  #bytes = 0;
  readonly #job: Job;

  constructor(jobs: JobQueue) {
    this.#job = new Job(jobs, () => this.#run());
  }

  put(block: Block): boolean {
    const length = block.length;
    if (this.#waiting.length - this.#first >= PACKETS_MAX || this.#bytes + length > BYTES_MAX) {
      this.drops++;
      block.free();
      return false;
    }
    this.#waiting.push(block);
    this.#bytes += length;
    this.#job.wake();
    return true;
  }

  #run(): void {
    for (let i = 0; i < PACKETS_PER_RUN && this.#first < this.#waiting.length; i++) {
      const block = this.#waiting[this.#first]!;
      this.#waiting[this.#first++] = null as unknown as Block;
      this.#bytes -= block.length;
      if (this.take === null) block.free();
      else this.take(block);
    }
    if (this.#first < this.#waiting.length) return this.#job.wake();
    this.#waiting.length = this.#first = 0;
  }

  clear(): void {
    this.take = null;
    for (; this.#first < this.#waiting.length; this.#first++) this.#waiting[this.#first]!.free();
    this.#waiting.length = this.#first = this.#bytes = 0;
  }
}

/** An end of the link, for the stack that binds it. */
class LinkPort implements PacketPort {
  readonly kind = "packet";
  readonly mtu = LINK_MTU;
  readonly offloads = { checksum: true, tcpSegment: true, udpSegment: true };
  readonly mbps = MBPS;
  link = true;
  readonly #out: Lane;
  readonly #in: Lane;

  constructor(readonly name: string, out: Lane, inward: Lane) {
    this.#out = out;
    this.#in = inward;
  }

  get receive(): ((block: Block) => void) | null {
    return this.#in.take;
  }

  set receive(take: ((block: Block) => void) | null) {
    this.#in.take = take;
  }

  transmit(block: Block): boolean {
    if (this.link) return this.#out.put(block);
    block.free();
    return false;
  }

  close(): void {
    this.link = false;
    this.#in.clear();
  }
}

/** See above. */
export class PacketLink {
  /** The near stack's end. */
  readonly near: PacketPort;
  /** The end of the far stack, which has TCP. */
  readonly far: PacketPort;
  readonly #toNear: Lane;
  readonly #fromNear: Lane;
  readonly #toFar: Lane;

  constructor(jobs: JobQueue) {
    this.#toNear = new Lane(jobs);
    this.#fromNear = new Lane(jobs);
    this.#toFar = new Lane(jobs);
    this.near = new LinkPort("sockets", this.#fromNear, this.#toNear);
    this.far = new LinkPort("far", this.#toNear, this.#toFar);
  }

  /** Packets that found no room, either way. */
  get drops(): number {
    return this.#toNear.drops + this.#fromNear.drops + this.#toFar.drops;
  }

  /** Takes each packet of the near stack. */
  set onPacket(take: (block: Block) => void) {
    this.#fromNear.take = take;
  }

  /** Sends a packet to the near stack. */
  toNear(block: Block): void {
    this.#toNear.put(block);
  }

  /** Gives a packet of the near stack to the far one. */
  toFar(block: Block): void {
    this.#toFar.put(block);
  }

  close(): void {
    for (const lane of [this.#toNear, this.#fromNear, this.#toFar]) lane.clear();
    this.near.close();
    this.far.close();
  }
}
