/**
 * Time as a parameter: one clock interface for simulated and real time, with timers that are created once and armed
 * often.
 *
 * Path: kernel, host/clock → time → heap, job.
 *
 * Times are milliseconds as a double: `now` is monotonic from the clock's start, `wall` is since 1970 and may jump.
 * Deadlines that fall together run in the order in which they were armed, so a simulation is reproducible.
 *
 * @module
 */

import { assert } from "./assert.ts";
import { DeadlineHeap, type HeapEntry } from "./heap.ts";
import { JobQueue } from "./job.ts";

/** Work for a time: armed, armed again, disarmed; created once per owner. */
export class Timer implements HeapEntry {
  /** For the clock: place in the heap, -1 when not armed. */
  heapIndex: number = -1;
  /** For the clock: order of arming, to settle equal deadlines. */
  order = 0;
  /** When it runs, in milliseconds of the clock. */
  deadlineMs: number = Infinity;
  #clock: Clock;
  #work: () => void;

  /** For {@link Clock.timer}. */
  constructor(clock: Clock, work: () => void) {
    this.#clock = clock;
    this.#work = work;
  }

  /** Whether it waits for its deadline. */
  get armed(): boolean {
    return this.heapIndex >= 0;
  }

  /** Runs the work once, `delayMs` from now; replaces an earlier deadline. */
  arm(delayMs: number): void {
    this.#clock.armAt(this, this.#clock.now() + Math.max(0, delayMs));
  }

  /** Disarms the timer, if it is armed. */
  disarm(): void {
    this.#clock.disarm(this);
  }

  /** For the clock. */
  expire(): void {
    this.#work();
  }
}

/** A source of time, the timers that wait for it, and the queue of jobs. */
export abstract class Clock {
  /** Work that is due now. */
  readonly jobs: JobQueue = new JobQueue();
  /** Called when the next deadline becomes earlier, so that a sleeping driver can be woken. */
  onEarlier: (() => void) | null = null;
  #heap: DeadlineHeap<Timer> = new DeadlineHeap();

  /** Monotonic milliseconds since the clock started. */
  abstract now(): number;
  /** Milliseconds since 1970-01-01 UTC. */
  abstract wall(): number;

  /** A timer that runs `work` when its deadline comes. */
  timer(work: () => void): Timer {
    return new Timer(this, work);
  }

  /** The earliest deadline in milliseconds of this clock, or Infinity. */
  nextDeadline(): number {
    return this.#heap.nextMs;
  }

  /** How many timers are armed: for leak tests. */
  get timerCount(): number {
    return this.#heap.size;
  }

  /** Runs every timer whose deadline has come; returns how many. */
  expire(): number {
    let done = 0;
    const now = this.now();
    // Only timers that were armed before this call run: one that arms itself again for now must not keep the loop.
    const order = this.#heap.lastOrder;
    for (let first = this.#heap.first; first !== null; first = this.#heap.first) {
      if (first.deadlineMs > now || first.order > order) break;
      this.#heap.remove(first);
      first.expire();
      done++;
    }
    return done;
  }

  /** For {@link Timer}: puts it into the heap. */
  armAt(timer: Timer, deadlineMs: number): void {
    assert(deadlineMs < Infinity, "a deadline is a finite time");
    this.disarm(timer);
    timer.deadlineMs = deadlineMs;
    this.#heap.add(timer);
    if (timer.heapIndex === 0 && this.onEarlier !== null) this.onEarlier();
  }

  /** For {@link Timer}: takes it out of the heap. */
  disarm(timer: Timer): void {
    if (timer.heapIndex >= 0) this.#heap.remove(timer);
  }
}

/** Wall time at which a simulation starts by default: 2026-01-01 00:00 UTC. */
export const VIRTUAL_EPOCH_MS = 1_767_225_600_000;

/** Simulated time: it passes only by `advance` and `step`. */
export class VirtualClock extends Clock {
  #now = 0;
  #epochMs: number;

  /** A clock at 0, when wall time is `epochMs` since 1970; default {@link VIRTUAL_EPOCH_MS}. */
  constructor(options: { epochMs?: number } = {}) {
    super();
    this.#epochMs = options.epochMs ?? VIRTUAL_EPOCH_MS;
  }

  /** Milliseconds that have passed since it was made. */
  override now(): number {
    return this.#now;
  }

  /** Simulated milliseconds since 1970 UTC. */
  override wall(): number {
    return this.#epochMs + this.#now;
  }

  /** Lets `ms` pass: jobs and timers run in order, each at its own time. */
  advance(ms: number): void {
    assert(ms >= 0 && ms < Infinity, "time passes forwards, by a finite step");
    const end = this.#now + ms;
    this.jobs.run();
    while (this.nextDeadline() <= end) this.step();
    this.#now = end;
  }

  /** Jumps to the next deadline and runs what is due there; false if nothing waits. */
  step(): boolean {
    if (this.jobs.run() > 0) return true;
    const next = this.nextDeadline();
    if (next === Infinity) return false;
    this.#now = Math.max(this.#now, next);
    this.expire();
    this.jobs.run();
    return true;
  }
}
