/**
 * Rendez: the place where a system call sleeps (Plan 9's rendezvous point).
 *
 * Path: queue, fd_tap → rendez ← proc (the only one that sleeps).
 *
 * Below the system-call layer nothing sleeps: an operation that would have to returns the Rendez to sleep at, and is
 * called again after a wakeup. Wakeups may be spurious, as everywhere.
 *
 * @module
 */

import { KernelError } from "./error.ts";

/** One sleeping system call. */
export class Sleeper {
  /** Settles at the wakeup, or rejects when aborted. */
  readonly done: Promise<void>;
  #resolve!: () => void;
  #reject!: (reason: unknown) => void;
  #rendez: Rendez;

  /** For {@link Rendez.sleep}. */
  constructor(rendez: Rendez) {
    this.#rendez = rendez;
    this.done = new Promise<void>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** For the Rendez: ends the sleep. */
  wake(): void {
    this.#resolve();
  }

  /** Ends the sleep with EINTR (Akaros: abort_sysc), or with `reason`. */
  abort(reason: unknown = new KernelError("EINTR", "System call aborted")): void {
    this.#rendez.forget(this);
    this.#reject(reason);
  }
}

/** A place to sleep at. */
export class Rendez {
  /** Null: none. Most queues have no sleeper. */
  #sleepers: Sleeper[] | null = null;

  /** Whether a call sleeps here. */
  get busy(): boolean {
    return this.#sleepers !== null;
  }

  /** Starts a sleep that lasts until the next {@link wakeup}. */
  sleep(): Sleeper {
    const sleeper = new Sleeper(this);
    if (this.#sleepers === null) this.#sleepers = [sleeper];
    else this.#sleepers.push(sleeper);
    return sleeper;
  }

  /** Wakes all sleepers; each checks its condition again. */
  wakeup(): void {
    const woken = this.#sleepers;
    if (woken === null) return;
    this.#sleepers = null;
    for (const sleeper of woken) sleeper.wake();
  }

  /** For {@link Sleeper.abort}. */
  forget(sleeper: Sleeper): void {
    const left = this.#sleepers?.filter((other) => other !== sleeper) ?? [];
    this.#sleepers = left.length === 0 ? null : left;
  }
}

/** A value now, or where to wait for one. */
export type OrWait<T> = T | Rendez;
