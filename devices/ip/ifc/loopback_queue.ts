/**
 * LoopbackQueue: packets of ours for ourselves, which come in by a job of their own, so that no layer calls itself.
 *
 * Path: ipifc, loopback_medium → loopback_queue → ip_input, job, medium, arrival.
 *
 * An owed checksum stays owed: the packet never leaves this machine, so there is nothing to check.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import type { PortOffloads } from "../../../kernel/host.ts";
import { Job } from "../../../kernel/job.ts";
import { Queue } from "../../../kernel/queue.ts";
import { Arrival } from "../packet/arrival.ts";
import { ipInput } from "../network/ip_input.ts";
import type { MediumIfc } from "./medium.ts";

/** Bytes that wait (Akaros); more are dropped. */
export const LOOPBACK_QUEUE_LIMIT = 128 * 1024;
/** What a packet to ourselves may carry along: TCP takes merged segments, datagrams must be cut. */
export const LOOPBACK_OFFLOADS: PortOffloads = { checksum: true, tcpSegment: true, udpSegment: false };
/** Packets in one run of the job: others have their turn between. */
const BATCH = 64;

/** The way of an interface's packets back to itself. */
export class LoopbackQueue {
  readonly #queue: Queue = new Queue({ limit: LOOPBACK_QUEUE_LIMIT, message: true });
  readonly #job: Job;
  readonly #ifc: MediumIfc;

  constructor(ifc: MediumIfc) {
    this.#ifc = ifc;
    this.#job = new Job(ifc.stack.env.clock.jobs, () => this.#deliver());
  }

  /** Takes a packet (consumed); it is dropped if too much waits. */
  push(block: Block): void {
    if (this.#queue.pass(block) === "ok") this.#job.wake();
    else this.#ifc.stack.stats.outLinkBusy++;
  }

  /** Drops what waits. */
  flush(): void {
    this.#queue.flush();
  }

  #deliver(): void {
    for (let i = 0; i < BATCH; i++) {
      const block = this.#queue.bread();
      if (typeof block === "string") return;
      ipInput(this.#ifc.stack, block, this.#ifc, Arrival.Local);
    }
    this.#job.wake();
  }
}
