/**
 * The timers of one connection over one kernel timer: retransmission (or what stands in its place), delayed
 * acknowledgment, keepalive, and the last wait.
 *
 * Path: transitions, tcp/output, timeouts → timer → time.
 *
 * Only one of retransmission timeout, tail-loss probe, reordering wait and window probe can be of use at a time, so
 * they are one timer with a tag. Moving a deadline forward, which every acknowledgment does, costs an assignment: the
 * kernel timer is left where it is, runs early once, and finds out.
 *
 * @module
 */

import type { Clock, Timer } from "../../../kernel/time.ts";

/** What the first timer stands for. */
export const XmitTimer = {
  None: 0,
  /** Retransmission timeout, RFC 6298. */
  Retransmit: 1,
  /** Tail-loss probe, RFC 8985 7. */
  TailProbe: 2,
  /** Something may be late or lost, RFC 8985 6.3. */
  Reorder: 3,
  /** Window probe, or the end of the sender's silly-window wait (RFC 9293 3.8.6). */
  Persist: 4,
} as const;
export type XmitTimer = typeof XmitTimer[keyof typeof XmitTimer];

/** Which timer. */
export const TimerSlot = { Xmit: 0, Ack: 1, Keepalive: 2, Linger: 3 } as const;
export type TimerSlot = typeof TimerSlot[keyof typeof TimerSlot];

/** Longest delay of an acknowledgment (Akaros; RFC 1122 4.2.3.2 allows 500). */
export const DELAYED_ACK_MS = 50;
/**
 * Twice the longest life of a segment. RFC 9293 3.4.3 says four minutes for the Internet of 1981; a minute is what
 * hosts use today. When conversations run out, the oldest are cut short.
 */
export const TIME_WAIT_MS = 60_000;
/** How long a closed conversation's connection waits for the peer's FIN (Linux' tcp_fin_timeout). */
export const FIN_WAIT_2_MS = 60_000;
/** Idle time before the first keepalive, and between them, if no other is given (Akaros). */
export const KEEPALIVE_MS = 120_000;
/** Keepalives without an answer after which the peer is gone (Akaros dies after about 12 minutes). */
export const KEEPALIVE_PROBES = 5;
/** How long data may stay unacknowledged: "user timeout" (RFC 9293 3.8.3, at least 100 s). */
export const USER_TIMEOUT_MS = 300_000;
/** How long a SYN may stay unanswered (RFC 9293 3.8.3: at least 3 minutes). */
export const CONNECT_TIMEOUT_MS = 180_000;

/** The timers of one connection. */
export class TcpTimers {
  /** What the Xmit slot stands for. */
  xmit: XmitTimer = XmitTimer.None;
  readonly #clock: Clock;
  readonly #timer: Timer;
  readonly #deadlines: number[] = [Infinity, Infinity, Infinity, Infinity];

  /** `expire` is called with each slot whose time has come, which is cleared before. */
  constructor(clock: Clock, expire: (slot: TimerSlot) => void) {
    this.#clock = clock;
    this.#timer = clock.timer(() => this.#run(expire));
  }

  /** When the slot runs, Infinity if not at all. */
  deadlineMs(slot: TimerSlot): number {
    return this.#deadlines[slot]!;
  }

  isSet(slot: TimerSlot): boolean {
    return this.#deadlines[slot] !== Infinity;
  }

  /** Runs the slot `delayMs` from now; replaces an earlier deadline. */
  set(slot: TimerSlot, delayMs: number): void {
    const deadline = this.#clock.now() + delayMs;
    this.#deadlines[slot] = deadline;
    if (!this.#timer.armed || deadline < this.#timer.deadlineMs) this.#timer.arm(delayMs);
  }

  /** Makes the Xmit slot run as `kind`. */
  setXmit(kind: XmitTimer, delayMs: number): void {
    this.xmit = kind;
    this.set(TimerSlot.Xmit, delayMs);
  }

  clear(slot: TimerSlot): void {
    if (this.#deadlines[slot] === Infinity) return;
    this.#deadlines[slot] = Infinity;
    if (slot === TimerSlot.Xmit) this.xmit = XmitTimer.None;
    // An idle connection holds no kernel timer.
    if (this.#timer.armed && this.#earliest() === Infinity) this.#timer.disarm();
  }

  clearAll(): void {
    this.#deadlines.fill(Infinity);
    this.xmit = XmitTimer.None;
    this.#timer.disarm();
  }

  #earliest(): number {
    const deadlines = this.#deadlines;
    return Math.min(deadlines[0]!, deadlines[1]!, deadlines[2]!, deadlines[3]!);
  }

  #run(expire: (slot: TimerSlot) => void): void {
    const now = this.#clock.now();
    for (let slot = 0; slot < this.#deadlines.length; slot++) {
      if (this.#deadlines[slot]! > now) continue;
      this.#deadlines[slot] = Infinity;
      expire(slot as TimerSlot);
    }
    const next = this.#earliest();
    if (next !== Infinity && (!this.#timer.armed || next < this.#timer.deadlineMs)) {
      this.#timer.arm(next - this.#clock.now());
    }
  }
}
