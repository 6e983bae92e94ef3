/**
 * The network card of a guest that is a whole kernel, for stories of the NAT.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { type FramePort, NO_OFFLOADS } from "../../../kernel/host.ts";
import { Job } from "../../../kernel/job.ts";
import type { Host } from "../../../tools/boot/boot.ts";
import { GUEST_MACS } from "../../../tools/nat/config.ts";
import type { NatProgram } from "../../../tools/nat/program.ts";

/** The guest's network card: what it transmits goes to the NAT when its turn comes. */
export class GuestPort implements FramePort {
  readonly kind = "frame";
  readonly name = "guest";
  readonly mbps = 1000;
  readonly link = true;
  readonly offloads = NO_OFFLOADS;
  readonly mac = new Uint8Array(6);
  receive: ((block: Block) => void) | null = null;
  program: NatProgram | null = null;
  #frames: Block[] = [];
  #job: Job;

  constructor(host: Host, readonly mtu: number) {
    GUEST_MACS.qemu.put(this.mac, 0);
    this.#job = new Job(host.clock.jobs, () => {
      for (const frame of this.#frames.splice(0)) this.program?.fromGuest(frame);
    });
  }

  transmit(block: Block): boolean {
    this.#frames.push(block);
    this.#job.wake();
    return true;
  }

  close(): void {
    this.program = null;
  }
}
