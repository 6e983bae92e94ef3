/**
 * NetRig: a network card with its memory, for tests: frames and interrupts are kept, jobs run by hand.
 *
 * Path: tests → net_rig → virtio_net; hostile_driver or model_driver on the other side.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { JobQueue } from "../../../kernel/job.ts";
import { GuestMemory } from "../../../tools/vmm/virtio/guest_memory.ts";
import { VirtioNet, type VirtioNetOptions } from "../../../tools/vmm/virtio/net.ts";
import { BUFFERS, HostileDriver, RAM_BASE, RAM_BYTES, RX, TX, WRITE } from "./hostile_driver.ts";

/** Address of the guest's card. */
export const GUEST_MAC = Uint8Array.of(0x52, 0x54, 0, 0, 0, 1);
/** Address of every other station. */
export const PEER_MAC = Uint8Array.of(0x52, 0x54, 0, 0, 0, 2);

/** How a rig may differ from the usual. */
export type NetRigOptions = Partial<Omit<VirtioNetOptions, "memory" | "jobs">> & {
  readonly ram?: Uint8Array;
};

/** A card with its frames and interrupts. */
export class NetRig {
  readonly jobs: JobQueue = new JobQueue();
  readonly ram: Uint8Array;
  readonly net: VirtioNet;
  /** Frames that the guest sent, as they were when they came. */
  readonly frames: Uint8Array[] = [];
  interrupts = 0;

  constructor(options: NetRigOptions = {}) {
    const { ram = new Uint8Array(RAM_BYTES), ...rest } = options;
    this.ram = ram;
    this.net = new VirtioNet({
      mac: GUEST_MAC,
      onFrame: (block) => this.frames.push(block.bytes().slice()),
      onInterrupt: () => this.interrupts++,
      ...rest,
      memory: new GuestMemory([{ base: RAM_BASE, bytes: this.ram }]),
      jobs: this.jobs,
    });
  }

  /** A hostile driver of its card. */
  hostile(): HostileDriver {
    return new HostileDriver(this.ram, this.net.mmio);
  }

  /** Gives the guest a frame; whether it was taken. */
  receive(frame: Uint8Array): boolean {
    return this.net.receive(Block.from(frame));
  }

  run(): void {
    this.jobs.run();
  }
}

/** A frame of `length` bytes to `dst`; its contents follow from `seed`. */
export function testFrame(length: number, options: { dst?: Uint8Array; seed?: number } = {}): Uint8Array {
  const { dst = GUEST_MAC, seed = 1 } = options;
  const frame = new Uint8Array(Math.max(14, length));
  for (let i = 14; i < frame.length; i++) frame[i] = i * 7 + seed;
  frame.set(dst, 0);
  frame.set(PEER_MAC, 6);
  frame.set([0x08, 0x00], 12);
  return frame;
}

/** A frame each way: the card works. */
export function assertWorks(rig: NetRig, driver: HostileDriver, count = 2): void {
  assert(driver.bringUp({ count }), `Status ${driver.status} after a reset`);
  const frame = testFrame(100);
  const before = rig.frames.length;
  driver.send(frame);
  rig.run();
  assertEquals(rig.frames.slice(before), [frame]);
  assertEquals(driver.used(TX), [{ id: 0, len: 0 }]);
  driver.describe(RX, 3, { addr: RAM_BASE + BUFFERS, len: 2000, flags: WRITE });
  driver.offer(RX, 3);
  assert(rig.receive(frame));
  assertEquals(driver.used(RX), [{ id: 3, len: 112 }]);
  assertEquals(driver.load(RAM_BASE + BUFFERS + 12, 100), frame);
}
