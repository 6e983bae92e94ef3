/**
 * The loop that drives a kernel on a real machine: poll, then drain.
 *
 * Path: world, edge_watch → reactor → libc, pollable, sleeper, time.
 *
 * A turn is synchronous: it polls all descriptors, drains up to {@link DRAIN_MAX} packets of each, runs the jobs, polls
 * again if there was something, and runs the due timers. After each turn the JavaScript event loop turns once (about 2
 * µs), so that programs written with `await` get the new packets, and their answers leave before the next poll.
 *
 * ```
 *   turn ── something happened, or less than spinMs ago ──► setImmediate ──► turn
 *     ├──── or less than napMs ago ──► setImmediate ──► turn whose poll waits on this thread, longer each time
 *     └──── nothing ──► sleep in one ppoll on another thread, until a packet, a timer, or a wake by eventfd ──► turn
 * ```
 *
 * Waking from that sleep takes 15 to 280 µs, so the loop polls for a short while before it sleeps. A waiting poll ends
 * within about 5 µs of a packet and leaves the core to the packets' senders, but nothing else of the program runs: it
 * is as long as twice the time since the last traffic, {@link NAP_MAX_MS} at most. A descriptor that cannot be served
 * for lack of another one (EMFILE) rests: it would keep the loop turning. Work that a program makes meanwhile (a job,
 * an earlier timer) is done in a turn at once, or the sleeper is woken in time for it.
 *
 * @module
 */

import type { Clock, Timer } from "../../kernel/time.ts";
import { call, EBUSY, EEXIST, holdLibc, HostError, libc, releaseLibc } from "./libc.ts";
import { DRAIN_MAX, type Pollable, REST, REST_MS } from "./pollable.ts";
import { Sleeper } from "./sleeper.ts";

/** Descriptors that one poll reports; the others come with the next. */
const EVENTS_MAX = 64;
/** How long an idle loop polls before it sleeps. */
const SPIN_MS = 0.25;
/** Shortest and longest wait of a poll: the rest of the program, such as its signals, waits with it. */
const NAP_MIN_MS = 1;
const NAP_MAX_MS = 128;
/** Longest sleep: a wait without end would need a special case. */
const SLEEP_MAX_MS = 60_000;

const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLIN = 1;
const CLOEXEC = 0x8_0000;
/** struct epoll_event is packed on x86_64 and padded elsewhere: events, then 64 bits of data. */
const EVENT_LEN = Deno.build.arch === "x86_64" ? 12 : 16;
const EVENT_DATA = EVENT_LEN - 8;
const NO_EVENT = new Uint8Array(EVENT_LEN);

/** An object that it polls, and how much it is asked for at the next poll. */
interface Watched {
  readonly pollable: Pollable;
  burst: number;
  /** It rests: epoll does not watch it. */
  rests: boolean;
}

/** Options of a reactor. */
export interface ReactorOptions {
  /** The clock whose jobs and timers it runs. */
  clock: Clock;
  /** How long it polls, in milliseconds, before it sleeps. Default 0.25; 0 sleeps at once. */
  spinMs?: number;
  /**
   * How long after traffic, in milliseconds, its polls wait before it sleeps. Default 0: never, since Deno's own
   * timers, signals and files wait with them, for 128 ms at most. For programs that use nothing but the loop.
   */
  napMs?: number;
}

/** Counters of a reactor. */
export interface ReactorCounters {
  /** Polls of all descriptors. */
  turns: number;
  /** Times it slept. */
  sleeps: number;
  /** Sleeps cut short by a program's work. */
  wakes: number;
  /** Packets or other units drained. */
  drained: number;
}

/** The loop. It can be started and stopped repeatedly. */
export class Reactor {
  /** Its counters. */
  readonly counters: ReactorCounters = { turns: 0, sleeps: 0, wakes: 0, drained: 0 };
  #clock: Clock;
  #spinMs: number;
  #napMs: number;
  #pollables = new Map<number, Watched>();
  /** Ends the rest of all resting descriptors. */
  #restTimer: Timer;
  #running = false;
  #inTurn = false;
  #immediate: ReturnType<typeof setImmediate> | null = null;
  #sleeper = new Sleeper();
  #sleepEndMs = 0;
  #busyMs = -Infinity;
  #epoll = -1;
  #events = new Uint8Array(EVENTS_MAX * EVENT_LEN);
  #eventsView = new DataView(this.#events.buffer);
  #error: { cause: unknown } | null = null;
  #ended: PromiseWithResolvers<void> | null = null;

  /** A loop that does not run yet. */
  constructor(options: ReactorOptions) {
    this.#clock = options.clock;
    this.#spinMs = options.spinMs ?? SPIN_MS;
    this.#napMs = options.napMs ?? 0;
    this.#restTimer = options.clock.timer(() => this.#endRest());
  }

  /** Settles when the loop has stopped; rejects with the error of a callback, which stops it. */
  get done(): Promise<void> {
    return this.#ended?.promise ?? Promise.resolve();
  }

  /** Polls `pollable` until it is closed or removed. */
  add(pollable: Pollable): void {
    if (this.#pollables.has(pollable.fd)) throw new HostError("Cannot add a descriptor to the reactor", EEXIST);
    const fd = pollable.fd;
    if (this.#epoll >= 0) this.#watch(fd);
    this.#pollables.set(fd, { pollable, burst: 1, rests: false });
    pollable.onClose = () => this.#forget(fd);
  }

  /** Stops polling it. */
  remove(pollable: Pollable): void {
    if (this.#pollables.get(pollable.fd)?.pollable !== pollable) return;
    pollable.onClose = null;
    this.#forget(pollable.fd);
  }

  /**
   * Starts the loop, which keeps the program alive until it is stopped. Throws {@link HostError} while it is stopping.
   */
  start(): void {
    if (this.#running) return;
    if (this.#epoll >= 0) throw new HostError("Cannot start the reactor", EBUSY, { reason: "it is still stopping" });
    this.#open();
    this.#running = true;
    this.#error = null;
    this.#ended = Promise.withResolvers<void>();
    this.#clock.jobs.onWork = this.#onWork;
    this.#clock.onEarlier = this.#onEarlier;
    this.#schedule();
  }

  /** Stops the loop; when this settles no descriptor, timer or call of it is left. Rejects as {@link done} does. */
  stop(): Promise<void> {
    const done = this.done;
    if (this.#running) this.#end();
    return done;
  }

  #onWork = (): void => {
    if (!this.#inTurn) this.#schedule();
  };

  #onEarlier = (): void => {
    // A turn that runs or is scheduled checks the deadlines itself.
    if (this.#inTurn || this.#immediate !== null || !this.#sleeper.isAsleep) return;
    if (this.#clock.nextDeadline() < this.#sleepEndMs) this.#wake();
  };

  #schedule(): void {
    if (this.#immediate === null && this.#running) this.#immediate = setImmediate(this.#tick);
  }

  #tick = (): void => {
    this.#immediate = null;
    try {
      const again = this.#turn();
      if (!this.#running) return;
      const now = this.#clock.now();
      if (again || now - this.#busyMs < Math.max(this.#spinMs, this.#napMs)) this.#schedule();
      else this.#sleep(now);
    } catch (error) {
      this.#fail(error);
    }
  };

  /** One or two polls and their work; returns whether programs should run before the loop may sleep. */
  #turn(): boolean {
    const { jobs } = this.#clock;
    this.#inTurn = true;
    this.counters.turns++;
    try {
      let traffic = this.#drain(jobs.pending ? 0 : this.#patience()) + jobs.run();
      // Linux answers a packet within the write that brings it: the answer need not wait for the next turn.
      if (traffic > 0 && this.#running) traffic += this.#drain(0) + jobs.run();
      const now = this.#clock.now();
      // Timers alone are no reason to keep polling: they cause no immediate answer.
      if (traffic > 0) this.#busyMs = now;
      const timers = this.#clock.nextDeadline() <= now ? this.#clock.expire() + jobs.run() : 0;
      return traffic > 0 || timers > 0 || jobs.pending;
    } finally {
      this.#inTurn = false;
    }
  }

  /** How long the next poll may wait, in whole milliseconds: not while spinning, and not beyond a deadline. */
  #patience(): number {
    if (this.#napMs === 0) return 0;
    const now = this.#clock.now();
    const idleMs = now - this.#busyMs;
    const napMs = idleMs < this.#spinMs ? 0 : Math.min(Math.max(2 * idleMs, NAP_MIN_MS), NAP_MAX_MS);
    return Math.max(0, Math.trunc(Math.min(napMs, this.#clock.nextDeadline() - now)));
  }

  /** Calls epoll, which may wait for `waitMs`, and drains the readable descriptors. */
  #drain(waitMs: number): number {
    if (this.#pollables.size === 0) return 0;
    // Safe because #events holds EVENTS_MAX of them.
    const ready = libc().epoll_wait(this.#epoll, this.#events, EVENTS_MAX, waitMs);
    let drained = 0;
    for (let i = 0; i < ready; i++) {
      const fd = this.#eventsView.getInt32(i * EVENT_LEN + EVENT_DATA, true);
      // Skips the eventfd, and descriptors that an earlier drain closed.
      const watched = this.#pollables.get(fd);
      if (watched === undefined || !this.#running) continue;
      const count = watched.pollable.drain(watched.burst);
      if (count === REST) this.#rest(fd, watched);
      else if (count < 0) this.remove(watched.pollable);
      else drained += count;
      // A source of single units is not asked again without need; a flood is soon drained in bursts.
      watched.burst = count < watched.burst
        ? Math.max(1, count)
        : Math.min(watched.burst * 2, watched.pollable.drainMax ?? DRAIN_MAX);
    }
    this.counters.drained += drained;
    return drained;
  }

  /** A descriptor that stays readable and cannot be served would keep the loop turning for nothing. */
  #rest(fd: number, watched: Watched): void {
    if (watched.rests || this.#pollables.get(fd) !== watched) return;
    watched.rests = true;
    // Safe because the event is not read.
    libc().epoll_ctl(this.#epoll, EPOLL_CTL_DEL, fd, NO_EVENT);
    if (!this.#restTimer.armed) this.#restTimer.arm(REST_MS);
  }

  #endRest(): void {
    for (const [fd, watched] of this.#pollables) {
      if (!watched.rests) continue;
      watched.rests = false;
      if (this.#epoll >= 0) this.#watch(fd);
    }
  }

  /** Sleeps until a descriptor is readable, the next deadline comes, or it is woken. */
  #sleep(now: number): void {
    if (this.#sleeper.isAsleep) return this.#onEarlier();
    const ms = Math.min(Math.max(0, this.#clock.nextDeadline() - now), SLEEP_MAX_MS);
    this.#sleepEndMs = now + ms;
    this.counters.sleeps++;
    this.#sleeper.sleep(this.#epoll, ms).then(this.#awake, this.#fail);
  }

  #awake = (): void => {
    if (this.#running) this.#schedule();
    else this.#close();
  };

  #wake(): void {
    if (this.#sleeper.wake()) this.counters.wakes++;
  }

  #fail = (error: unknown): void => {
    this.#error ??= { cause: error };
    if (this.#running) this.#end();
  };

  /** Stops the loop; its descriptors are released once the sleeper has returned. */
  #end(): void {
    this.#running = false;
    this.#restTimer.disarm();
    this.#clock.jobs.onWork = null;
    this.#clock.onEarlier = null;
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    this.#immediate = null;
    if (this.#sleeper.isAsleep) this.#wake();
    else this.#close();
  }

  #open(): void {
    const { epoll_create1 } = holdLibc();
    try {
      this.#epoll = call("Cannot make an epoll descriptor", epoll_create1(CLOEXEC));
      this.#sleeper.open();
      this.#watch(this.#sleeper.fd);
      for (const [fd, watched] of this.#pollables) {
        watched.rests = false;
        this.#watch(fd);
      }
    } catch (error) {
      this.#giveBack();
      throw error;
    }
  }

  #close(): void {
    this.#giveBack();
    const ended = this.#ended!;
    if (this.#error === null) ended.resolve();
    else ended.reject(this.#error.cause);
  }

  #giveBack(): void {
    if (this.#epoll >= 0) libc().close(this.#epoll);
    this.#epoll = -1;
    this.#sleeper.close();
    releaseLibc();
  }

  /** Adds a descriptor to epoll. */
  #watch(fd: number): void {
    const event = new Uint8Array(EVENT_LEN);
    const view = new DataView(event.buffer);
    view.setUint32(0, EPOLLIN, true);
    view.setInt32(EVENT_DATA, fd, true);
    // Safe because `event` is a struct epoll_event, which is only read.
    call("Cannot watch a descriptor", libc().epoll_ctl(this.#epoll, EPOLL_CTL_ADD, fd, event));
  }

  #forget(fd: number): void {
    this.#pollables.delete(fd);
    // Fails for a descriptor that is closed, which epoll has forgotten by itself. Safe because the event is not read.
    if (this.#epoll >= 0) libc().epoll_ctl(this.#epoll, EPOLL_CTL_DEL, fd, NO_EVENT);
  }
}
