/**
 * A port whose wire has the seeded faults of a cable in memory, and another port behind it:
 *
 *     host ── near ══ cable with faults ══ far ── inner (a TAP device) ── Linux
 *
 * @module
 */

import { Cable } from "../../../devices/ether/cable.ts";
import type { CableFaults } from "../../../devices/ether/cable_faults.ts";
import type { CablePort } from "../../../devices/ether/cable_port.ts";
import type { Block } from "../../../kernel/block.ts";
import { type FramePort, NO_OFFLOADS, type PortOffloads } from "../../../kernel/host.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import type { Clock } from "../../../kernel/time.ts";

/** A frame port with faults. It carries nothing before {@link start}: the clock comes with the host. */
export class FaultyPort implements FramePort {
  readonly kind = "frame";
  readonly name: string;
  readonly mac: Uint8Array;
  readonly offloads: PortOffloads = NO_OFFLOADS;
  receive: ((block: Block) => void) | null = null;
  /** The wire, with its counters; null before {@link start}. */
  cable: Cable | null = null;
  #near: CablePort | null = null;

  constructor(readonly inner: FramePort) {
    this.name = inner.name;
    this.mac = inner.mac;
  }

  get mtu(): number {
    return this.inner.mtu;
  }

  get mbps(): number {
    return this.inner.mbps;
  }

  get link(): boolean {
    return this.inner.link;
  }

  /** Lays the wire; its `faults` follow from `seed` and may be changed by `cable.set`. */
  start(clock: Clock, seed: number, faults: Partial<CableFaults>): void {
    const cable = this.cable = new Cable(clock, new SeededRandom(seed), faults);
    const near = this.#near = cable.attach({ name: "near", mac: this.mac, mtu: this.mtu });
    // The address of the far end is not used: frames to any address pass it.
    const far = cable.attach({ name: "far", mac: new Uint8Array([2, 0, 0, 0, 0, 0xfa]), mtu: this.mtu });
    near.receive = (block) => this.receive === null ? block.free() : this.receive(block);
    far.receive = (block) => void this.inner.transmit(block);
    this.inner.receive = (block) => void far.transmit(block);
  }

  transmit(block: Block): boolean {
    if (this.#near !== null) return this.#near.transmit(block);
    block.free();
    return false;
  }

  close(): void {
    this.#near?.close();
    this.inner.close();
  }
}
