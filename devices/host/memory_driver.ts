/**
 * Drives simulated time for programs written with `await`: the clock jumps to its next deadline when all programs wait.
 *
 * Path: boot → memory_driver → time.
 *
 * Each turn of the JavaScript event loop it does one step: the jobs that wait, or, if none do, a jump to the next
 * deadline. Between two turns all microtasks run, so a program that received a packet has read and answered it before
 * time passes. The order of steps depends on nothing outside, so a seed reproduces a run. When no job waits and no
 * timer is armed, nothing is scheduled and the process may end; the next job or timer starts it again.
 *
 * There are two ways to drive:
 * - `start()` lets time pass whenever it can. With periodic timers it never stops, and it runs ahead of a program that
 *   awaits the real world (a `fetch`): simulated seconds pass in microseconds.
 * - `run(promise)` lets time pass only until the promise settles, and can set a limit to it.
 *
 * @module
 */

import type { VirtualClock } from "../../kernel/time.ts";

/** Limits of {@link MemoryDriver.run}. */
interface RunOptions {
  /** Most simulated time, in milliseconds; beyond it `run` rejects. Default: no limit. */
  limitMs?: number;
}

/** Drives one virtual clock. */
export class MemoryDriver {
  #clock: VirtualClock;
  #started = false;
  /** Rejects each `run` in progress. */
  #runs = new Set<(reason: unknown) => void>();
  #immediate: ReturnType<typeof setImmediate> | null = null;

  /** A driver that lets no time pass yet. */
  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  /** Lets time pass whenever it can, until {@link stop}. An error in a timer or job is then an uncaught exception. */
  start(): void {
    this.#started = true;
    this.#attach();
  }

  /** Lets no more time pass, unless a `run` is in progress. */
  stop(): void {
    this.#started = false;
    this.#detach();
  }

  /**
   * Lets time pass until `promise` settles, and returns its result. Rejects with the error of a timer or job, and when
   * `limitMs` of simulated time have passed.
   */
  async run<T>(promise: Promise<T>, options: RunOptions = {}): Promise<T> {
    const { limitMs = Infinity } = options;
    const failed = Promise.withResolvers<never>();
    const timer = this.#clock.timer(() =>
      failed.reject(new Error(`Did not settle within ${limitMs} ms of virtual time`))
    );
    if (limitMs < Infinity) timer.arm(limitMs);
    this.#runs.add(failed.reject);
    this.#attach();
    try {
      return await Promise.race([promise, failed.promise]);
    } finally {
      timer.disarm();
      this.#runs.delete(failed.reject);
      this.#detach();
    }
  }

  /** Schedules a step, for work that neither a job nor a timer announces. */
  poke(): void {
    this.#schedule();
  }

  #schedule = (): void => {
    if (this.#immediate === null && this.#driving) this.#immediate = setImmediate(this.#step);
  };

  get #driving(): boolean {
    return this.#started || this.#runs.size > 0;
  }

  #attach(): void {
    this.#clock.jobs.onWork = this.#schedule;
    this.#clock.onEarlier = this.#schedule;
    this.#schedule();
  }

  #detach(): void {
    if (this.#driving) return;
    this.#clock.jobs.onWork = null;
    this.#clock.onEarlier = null;
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    this.#immediate = null;
  }

  #step = (): void => {
    this.#immediate = null;
    try {
      // After a step that did something, programs run, then the next step.
      if (this.#clock.step()) this.#schedule();
    } catch (error) {
      if (this.#runs.size === 0) throw error;
      for (const reject of this.#runs) reject(error);
    }
  };
}
