/**
 * Rendez: the place where a system call sleeps (Plan 9's rendezvous point).
 *
 * Path: queue, conv, event queue → rendez ← syscall (the only one that sleeps).
 *
 * Below the system-call layer nobody sleeps: an operation that would have to answers with the Rendez to sleep at, and
 * is called again after a wakeup. Wakeups may be spurious, as everywhere.
 *
 * @module
 */

import { KernelError } from "./error.ts";

/** One sleeping system call. */
export class Sleeper {
  /** Settles at the wakeup, or rejects when aborted. */
  readonly done: Promise<void>;
  #resolve!: () => void;
  #reject!: (reason: KernelError) => void;
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
  abort(reason: KernelError = new KernelError("EINTR", "System call aborted")): void {
    this.#rendez.forget(this);
    this.#reject(reason);
  }
}

/** What all places have where nobody sleeps: a conversation has six of them, and there are thousands. */
const NOBODY: readonly Sleeper[] = [];

/** A place to sleep at. */
export class Rendez {
  #sleepers: readonly Sleeper[] = NOBODY;

  /** Whether somebody sleeps here. */
  get busy(): boolean {
    return this.#sleepers.length > 0;
  }

  /** Starts a sleep that lasts until the next {@link wakeup}. */
  sleep(): Sleeper {
    const sleeper = new Sleeper(this);
    this.#sleepers = this.#sleepers.length === 0 ? [sleeper] : [...this.#sleepers, sleeper];
    return sleeper;
  }

  /** Wakes all who sleep here; each looks again for what it waited for. */
  wakeup(): void {
    if (this.#sleepers.length === 0) return;
    const woken = this.#sleepers;
    this.#sleepers = NOBODY;
    for (const sleeper of woken) sleeper.wake();
  }

  /** For {@link Sleeper.abort}. */
  forget(sleeper: Sleeper): void {
    this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
  }
}
