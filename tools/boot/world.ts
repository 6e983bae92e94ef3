/**
 * A world: what several hosts of one simulation, or one host and its real wire, share; it ends when all of them have.
 *
 * Path: boot → world → cable, reactor, memory_driver, time, random.
 *
 * @module
 */

import { Cable, type CableOptions } from "../../devices/ether/cable.ts";
import { HostRandom, RealClock } from "../../devices/host/clock.ts";
import { MemoryDriver } from "../../devices/host/memory_driver.ts";
import { Reactor, type ReactorOptions } from "../../devices/host/reactor.ts";
import { BlockPool } from "../../kernel/block.ts";
import { type Random, SeededRandom } from "../../kernel/random.ts";
import { type Clock, VirtualClock } from "../../kernel/time.ts";

/** What a world asks of a host; `Host` of boot is one. */
export interface WorldMember {
  /** Ends the host, and takes it out of its world. */
  close(): Promise<void>;
}

/** What a world is made from. */
interface WorldParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly driver: MemoryDriver | Reactor;
  readonly cable: Cable | null;
}

/** The hosts that share a clock and a wire. `Host.world` is one. */
export class WorldOf<H extends WorldMember> implements AsyncDisposable {
  /** The clock that all its hosts run by. */
  readonly clock: Clock;
  /** The cable in memory; null on a real wire. */
  readonly cable: Cable | null;
  /** Where its blocks come from. */
  readonly blocks: BlockPool = new BlockPool();
  readonly #random: Random;
  readonly #driver: MemoryDriver | Reactor;
  readonly #hosts: Set<H> = new Set();
  #made = 0;

  /** For {@link memoryWorld} and {@link realWorld}: the driver runs already. */
  constructor({ clock, random, driver, cable }: WorldParts) {
    this.clock = clock;
    this.cable = cable;
    this.#random = random;
    this.#driver = driver;
  }

  /** The hosts that are there now, in the order in which they came. */
  get hosts(): readonly H[] {
    return [...this.#hosts];
  }

  /** How many hosts there have ever been: addresses are counted up with it. */
  get made(): number {
    return this.#made;
  }

  /** The loop that drives a real wire; null in memory. */
  get reactor(): Reactor | null {
    return this.#driver instanceof Reactor ? this.#driver : null;
  }

  /** For a host: randomness of its own, which follows from the world's seed if there is one. */
  fork(): Random {
    return this.#random instanceof SeededRandom ? this.#random.fork() : this.#random;
  }

  /** For a host: it is there. */
  enter(host: H): void {
    this.#hosts.add(host);
    this.#made++;
  }

  /** For a host: it is gone. The last one stops the world's loop, so that a program may end. */
  async leave(host: H): Promise<void> {
    if (this.#hosts.delete(host) && this.#hosts.size === 0) await this.#driver.stop();
  }

  /** Ends every host, and with the last one the wire and the loop. */
  async close(): Promise<void> {
    for (const host of this.hosts) await host.close();
    await this.#driver.stop();
  }

  /** As {@link close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Virtual time and a cable: everything follows from `seed`. */
export function memoryWorld<H extends WorldMember>(seed: number, options: CableOptions = {}): WorldOf<H> {
  const clock = new VirtualClock();
  const random = new SeededRandom(seed);
  const driver = new MemoryDriver(clock);
  driver.start();
  return new WorldOf<H>({ clock, random, driver, cable: new Cable(clock, random.fork(), { ...options }) });
}

/** Real time, and a loop that waits for Linux. */
export function realWorld<H extends WorldMember>(loop: Omit<ReactorOptions, "clock"> = {}): WorldOf<H> {
  const clock = new RealClock();
  const driver = new Reactor({ clock, ...loop });
  driver.start();
  return new WorldOf<H>({ clock, random: new HostRandom(), driver, cable: null });
}
