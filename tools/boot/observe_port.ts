/**
 * A port that looks like the one behind it and shows every unit that crosses.
 *
 * Path: capture, boot, mod → observe_port → block, host, time.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { FramePort, PacketPort, PortOffloads } from "../../kernel/host.ts";
import type { Clock } from "../../kernel/time.ts";

/** Seen from the host: `in` was received, `out` is transmitted. */
export type Direction = "in" | "out";

/** Sees a unit before it goes on, at a time in milliseconds since 1970; must neither keep nor change the block. */
export type PortObserver = (direction: Direction, block: Block, wallMs: number) => void;

/** `port` with `observe` before it. */
export function tapPort<P extends FramePort | PacketPort>(port: P, clock: Clock, observe: PortObserver): P {
  return new PortTap(port, clock, observe) as unknown as P;
}

class PortTap {
  receive: ((block: Block) => void) | null = null;
  #port: FramePort | PacketPort;
  #clock: Clock;
  #observe: PortObserver;

  constructor(port: FramePort | PacketPort, clock: Clock, observe: PortObserver) {
    this.#port = port;
    this.#clock = clock;
    this.#observe = observe;
    port.receive = (block) => {
      observe("in", block, clock.wall());
      if (this.receive === null) block.free();
      else this.receive(block);
    };
  }

  transmit(block: Block): boolean {
    this.#observe("out", block, this.#clock.wall());
    return this.#port.transmit(block);
  }

  close(): void {
    this.#port.close();
  }

  get kind(): "frame" | "packet" {
    return this.#port.kind;
  }

  get name(): string {
    return this.#port.name;
  }

  get mac(): Uint8Array | undefined {
    return this.#port.kind === "frame" ? this.#port.mac : undefined;
  }

  get mtu(): number {
    return this.#port.mtu;
  }

  get mbps(): number {
    return this.#port.mbps;
  }

  get link(): boolean {
    return this.#port.link;
  }

  get offloads(): PortOffloads {
    return this.#port.offloads;
  }
}
