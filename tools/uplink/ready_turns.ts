/**
 * ReadyTurns: serves sockets that are ready, each a share of a turn, so that one with much to read keeps neither the
 * others nor the rest of the program waiting.
 *
 * Path: datagram_relay, echo_relay → ready_turns → host_sockets, job, time.
 *
 * A turn is a job. What it leaves is for the next, which a timer begins: between the two the program looks at its other
 * devices.
 *
 * @module
 */

import type { HostSocket } from "../../kernel/host_sockets.ts";
import { Job } from "../../kernel/job.ts";
import type { Clock, Timer } from "../../kernel/time.ts";

/** Datagrams of one turn, and of one socket while others wait. */
const TURN_MAX = 256;
const SHARE_MAX = 32;

/** A socket that is served. */
interface Served {
  readonly socket: HostSocket;
  readonly isClosed: boolean;
  /** Whether it waits for its turn; for {@link ReadyTurns}. */
  isReady: boolean;
}

/** The sockets that are ready, in the order of their turns. */
export class ReadyTurns<P extends Served> {
  readonly #serve: (port: P, max: number) => number;
  readonly #job: Job;
  readonly #next: Timer;
  #ready: P[] = [];

  /**
   * `serve` takes at most `max` datagrams of a socket, and answers how many; `max` itself means that there may be more.
   */
  constructor(clock: Clock, serve: (port: P, max: number) => number) {
    this.#serve = serve;
    this.#job = new Job(clock.jobs, () => this.#turn());
    this.#next = clock.timer(() => this.#turn());
  }

  /** Serves a socket from now on, whenever it is ready. */
  watch(port: P): void {
    port.socket.onReady = () => {
      this.#wait(port);
      this.#job.wake();
    };
  }

  /** Forgets what is ready. */
  clear(): void {
    this.#next.disarm();
    this.#ready = [];
  }

  #wait(port: P): void {
    if (port.isReady) return;
    port.isReady = true;
    this.#ready.push(port);
  }

  /** Those that were not served come first in the next turn, those that have more behind all others. */
  #turn(): void {
    const turn = this.#ready;
    const more: P[] = [];
    this.#ready = [];
    this.#next.disarm();
    let left = TURN_MAX;
    let served = 0;
    for (; served < turn.length && left > 0; served++) {
      const port = turn[served]!;
      if (port.isClosed) continue;
      port.isReady = false;
      const share = Math.min(SHARE_MAX, left);
      const count = this.#serve(port, share);
      left -= count;
      if (count === share) more.push(port);
    }
    this.#ready = [...turn.slice(served), ...this.#ready];
    for (const port of more) this.#wait(port);
    if (this.#ready.length > 0) this.#next.arm(0);
  }
}
