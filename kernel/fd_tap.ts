/**
 * FD taps: interest in a descriptor, and the queue that its events go to (Akaros `fdtap`).
 *
 * Path: tap_calls, queue → fd_tap → user program.
 *
 * Taps are edge-triggered: after an event, read or write until EAGAIN. Beyond Akaros: ids are 32 bits wide and more,
 * the filter can be modified in place, RDHUP is supported, and adding a tap can report the current level.
 *
 * @module
 */

import { KernelError } from "./error.ts";
import { Rendez } from "./rendez.ts";

/** Events of a descriptor; bits with Akaros' FDTAP_FILT numbers. */
export const TapEvent = {
  Readable: 0x1,
  Writable: 0x2,
  Written: 0x4,
  Deleted: 0x8,
  Error: 0x10,
  Rename: 0x20,
  Truncate: 0x40,
  Attrib: 0x80,
  Priority: 0x100,
  Hangup: 0x200,
  RdHup: 0x400,
} as const;

/** Commands of `tapfd`. */
export type TapCommand = "add" | "remove" | "modify";

/** One event: the tap's id, what happened, and the tap's data. */
export interface Event {
  /** The id of the tap. */
  readonly id: number;
  /** Bits of {@link TapEvent}; several edges between two polls are OR-ed together. */
  events: number;
  /** The data that was registered with the tap. */
  readonly data: unknown;
}

/** Most ids with an event waiting: one event is kept per id, so only as many taps as there are descriptors. */
export const EVENT_IDS_MAX = 1 << 20;

/** Receives the events of a tap: an {@link EventQueue}, or a device that tapped another device's file. */
export interface EventSink {
  /** Takes `events`, bits of {@link TapEvent}, of the tap `id`. */
  send(id: number, events: number, data: unknown): void;
}

/** Holds events: one entry per id, in order of first arrival (Akaros' coalescing event queue). */
export class EventQueue implements EventSink {
  #waiting = new Map<number, Event>();
  /** Events lost because {@link EVENT_IDS_MAX} ids waited. */
  drops = 0;
  /** Called after each event: a program without a reader that sleeps wakes its job. */
  onEvent: (() => void) | null = null;
  /** Where a reader of events sleeps. */
  readonly ready: Rendez = new Rendez();

  /** Events waiting. */
  get length(): number {
    return this.#waiting.size;
  }

  /** Adds `events` for `id`. */
  send(id: number, events: number, data: unknown): void {
    const old = this.#waiting.get(id);
    if (old !== undefined) old.events |= events;
    else if (this.#waiting.size >= EVENT_IDS_MAX) this.drops++;
    else {
      this.#waiting.set(id, { id, events, data });
      this.ready.wakeup();
    }
    this.onEvent?.();
  }

  /** The oldest event, or null if none waits. */
  poll(): Event | null {
    for (const [id, event] of this.#waiting) {
      this.#waiting.delete(id);
      return event;
    }
    return null;
  }

  /** Drops the event that waits for `id`: its descriptor was closed. */
  drop(id: number): void {
    this.#waiting.delete(id);
  }

  /** The oldest event; sleeps until there is one. */
  async next(): Promise<Event> {
    while (true) {
      const event = this.poll();
      if (event !== null) return event;
      await this.ready.sleep().done;
    }
  }
}

/** What an {@link FdTap} is made from. */
interface FdTapOptions {
  /** The descriptor; -1: none. */
  readonly fd: number;
  /** Wanted bits of {@link TapEvent}. */
  readonly filter: number;
  /** Identifies the tap in its events. */
  readonly id: number;
  /** Where events go. */
  readonly queue: EventSink;
  /** Comes back in the event. */
  readonly data?: unknown;
}

/** Interest in one descriptor. */
export class FdTap {
  /** The descriptor; -1: none. */
  readonly fd: number;
  /** Wanted bits of {@link TapEvent}; Modify changes it. */
  filter: number;
  /** Identifies the tap in its events. */
  readonly id: number;
  /** Where events go. */
  readonly queue: EventSink;
  /** Comes back in the event. */
  readonly data: unknown;

  /** For tap_fds, and for devices that read the files of other devices. */
  constructor(options: FdTapOptions) {
    this.fd = options.fd;
    this.filter = options.filter;
    this.id = options.id;
    this.queue = options.queue;
    this.data = options.data;
  }

  /** Sends those of `events` that are wanted. */
  fire(events: number): void {
    const wanted = events & this.filter;
    if (wanted !== 0) this.queue.send(this.id, wanted, this.data);
  }
}

/** The taps on one file of a device; a device fires it from the edges of its queues. */
export class TapList {
  /** Null: none. The first is alone in its array, which has no room for others: most files have one tap at most. */
  #taps: FdTap[] | null = null;

  /** How many taps there are. */
  get length(): number {
    return this.#taps?.length ?? 0;
  }

  /** Carries out `command`; the file can fire the bits `supported`. */
  apply(tap: FdTap, command: TapCommand, supported: number): void {
    if (command === "remove") this.remove(tap);
    else if (command === "add") this.add(tap, supported);
    else this.#check(tap, supported);
  }

  /** Adds `tap`; ENOSYS if its filter asks for more than `supported`. */
  add(tap: FdTap, supported: number): void {
    this.#check(tap, supported);
    if (this.#taps === null) this.#taps = [tap];
    else this.#taps.push(tap);
  }

  #check(tap: FdTap, supported: number): void {
    if ((tap.filter & ~supported) !== 0) {
      throw new KernelError(
        "ENOSYS",
        `Cannot tap for 0x${(tap.filter & ~supported).toString(16)}: the file has no such event`,
      );
    }
  }

  /** Removes `tap`; nothing if it is not there. */
  remove(tap: FdTap): void {
    const left = this.#taps?.filter((other) => other !== tap) ?? [];
    this.#taps = left.length === 0 ? null : left;
  }

  /** Fires every tap; cheap if there is none. */
  fire(events: number): void {
    if (this.#taps === null) return;
    for (const tap of this.#taps) tap.fire(events);
  }
}
