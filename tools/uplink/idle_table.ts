/**
 * IdleTable: sockets by a number, of which those that lie idle close, and the longest idle first when room is needed.
 *
 * Path: datagram_relay, echo_relay → idle_table → time.
 *
 * @module
 */

import type { Clock, Timer } from "../../kernel/time.ts";

/**
 * Sweeps are at least this far apart, so that many deadlines do not make as many sweeps; entries close so much late.
 */
export const SWEEP_GAP_MS = 1000;

/** What a table keeps. */
export interface IdleEntry {
  readonly key: number;
  /** When it was last used. */
  usedMs: number;
  /** It closes when it was not used for so long. */
  readonly idleMs: number;
  /** Whether it goes before all others when room is needed. */
  readonly isShortLived: boolean;
  /** Called once, when it leaves the table. */
  close(): void;
}

/** A table of entries, each closed when it leaves. */
export class IdleTable<T extends IdleEntry> {
  readonly #clock: Clock;
  readonly #entries = new Map<number, T>();
  readonly #timer: Timer;
  readonly #onExpired: () => void;

  /** `onExpired` is called for each entry that lay idle. */
  constructor(clock: Clock, onExpired: () => void) {
    this.#clock = clock;
    this.#timer = clock.timer(() => this.#sweep());
    this.#onExpired = onExpired;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: number): T | undefined {
    return this.#entries.get(key);
  }

  /** The entries, in the order in which they were added. */
  values(): IterableIterator<T> {
    return this.#entries.values();
  }

  /** Adds an entry whose key is free. */
  add(entry: T): void {
    this.#entries.set(entry.key, entry);
    this.expect(entry);
  }

  /** To be called when an entry may close earlier than before. */
  expect({ usedMs, idleMs }: T): void {
    const deadlineMs = usedMs + idleMs;
    if (this.#timer.armed && this.#timer.deadlineMs <= deadlineMs) return;
    this.#timer.arm(Math.max(SWEEP_GAP_MS, deadlineMs - this.#clock.now()));
  }

  /** Closes an entry. */
  remove(entry: T): void {
    this.#entries.delete(entry.key);
    entry.close();
  }

  /** Closes the entry with `key`; false: there is none. */
  release(key: number): boolean {
    const entry = this.#entries.get(key);
    if (entry !== undefined) this.remove(entry);
    return entry !== undefined;
  }

  /** Closes the `count` entries that have been idle longest, short-lived ones first; how many there were. */
  evict(count: number): number {
    const order = [...this.#entries.values()].sort((a, b) =>
      Number(b.isShortLived) - Number(a.isShortLived) || a.usedMs - b.usedMs
    );
    const gone = order.slice(0, count);
    for (const entry of gone) this.remove(entry);
    return gone.length;
  }

  /** Closes all. */
  clear(): void {
    this.#timer.disarm();
    for (const entry of this.#entries.values()) this.remove(entry);
  }

  #sweep(): void {
    const now = this.#clock.now();
    let next = Infinity;
    for (const entry of this.#entries.values()) {
      const deadlineMs = entry.usedMs + entry.idleMs;
      if (deadlineMs > now) {
        next = Math.min(next, deadlineMs);
        continue;
      }
      this.remove(entry);
      this.#onExpired();
    }
    if (next < Infinity) this.#timer.arm(Math.max(SWEEP_GAP_MS, next - now));
  }
}
