/**
 * EdgeWatch: tells sockets, thousands of them, when something has changed, at one system call for all.
 *
 * Path: linux_sockets → edge_watch → libc, reactor, time.
 *
 * Each socket is registered once, for reading and writing, edge-triggered (epoll(7)): to change what is waited for
 * would cost a call for each change, and a level-triggered socket that is not read would keep the loop turning. The
 * descriptor of this epoll set is itself one of the reactor's: readable while an edge waits.
 *
 * @module
 */

import type { Clock, Timer } from "../../../kernel/time.ts";
import { call, holdLibc, lastErrno, libc, releaseLibc } from "../libc.ts";
import type { Pollable } from "../pollable.ts";
import type { Reactor } from "../reactor.ts";

/** Events of an edge (epoll_ctl(2)). ERR and HUP need not be asked for. */
export const EPOLLIN = 0x1;
export const EPOLLPRI = 0x2;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;
const EPOLLET = 0x8000_0000;
/** What every socket is registered for. */
const EDGES = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET;

const EPOLL_CTL_ADD = 1;
const EPOLL_CLOEXEC = 0x8_0000;
/** struct epoll_event is packed on x86_64 and padded elsewhere: events, then 64 bits of data. */
const EVENT_LEN = Deno.build.arch === "x86_64" ? 12 : 16;
const EVENT_DATA = EVENT_LEN - 8;
/** Edges of one call; the others come with the next. */
const EVENTS_MAX = 64;
/** Time after which a socket is tried again that met a lack whose end no edge announces. */
const RETRY_MS = 20;

/** What hears of edges. */
export interface Edged {
  /** Its descriptor; negative when closed. */
  readonly fd: number;
  /** Something of `events` may have come about. */
  edge(events: number): void;
  close(): void;
}

/** The sockets of one process, in one epoll set. */
export class EdgeWatch implements Pollable {
  /** The descriptor of the set; -1 when closed. */
  fd: number;
  onClose: (() => void) | null = null;
  readonly #sockets = new Map<number, { readonly socket: Edged; readonly serial: number }>();
  /** Distinguishes sockets that had one descriptor after each other: an event may be older than its socket. */
  #serial = 0;
  readonly #retries = new Map<Edged, number>();
  readonly #retryTimer: Timer;
  readonly #event = new Uint8Array(EVENT_LEN);
  readonly #eventView = new DataView(this.#event.buffer);
  readonly #events = new Uint8Array(EVENTS_MAX * EVENT_LEN);
  readonly #eventsView = new DataView(this.#events.buffer);

  /** Joins `loop`. Throws {@link HostError}. */
  constructor(loop: Pick<Reactor, "add">, clock: Clock) {
    holdLibc();
    try {
      this.fd = call("Cannot make an epoll descriptor for sockets", libc().epoll_create1(EPOLL_CLOEXEC));
    } catch (error) {
      releaseLibc();
      throw error;
    }
    this.#retryTimer = clock.timer(() => this.#retry());
    loop.add(this);
  }

  /** How many sockets are open. */
  get size(): number {
    return this.#sockets.size;
  }

  /** Tells `socket` of its edges until it is removed: 0, or an error's number. What is ready now is the first edge. */
  add(socket: Edged): number {
    this.#serial = this.#serial + 1 | 0;
    this.#eventView.setUint32(0, EDGES >>> 0, true);
    this.#eventView.setInt32(EVENT_DATA, socket.fd, true);
    this.#eventView.setInt32(EVENT_DATA + 4, this.#serial, true);
    // Safe because the event is a struct epoll_event, which is only read.
    if (libc().epoll_ctl(this.fd, EPOLL_CTL_ADD, socket.fd, this.#event) < 0) return lastErrno();
    this.#sockets.set(socket.fd, { socket, serial: this.#serial });
    return 0;
  }

  /** Forgets a socket that is about to close its descriptor, with which epoll forgets it, too. */
  remove(socket: Edged): void {
    if (this.#sockets.get(socket.fd)?.socket === socket) this.#sockets.delete(socket.fd);
    this.#retries.delete(socket);
  }

  /** Tells `socket` of `events` in a short while. */
  again(socket: Edged, events: number): void {
    this.#retries.set(socket, (this.#retries.get(socket) ?? 0) | events);
    if (!this.#retryTimer.armed) this.#retryTimer.arm(RETRY_MS);
  }

  /** For the reactor: tells the sockets of the edges that wait. */
  drain(): number {
    // Safe because #events holds EVENTS_MAX of them.
    const count = libc().epoll_wait(this.fd, this.#events, EVENTS_MAX, 0);
    for (let i = 0; i < count; i++) {
      const at = i * EVENT_LEN;
      const one = this.#sockets.get(this.#eventsView.getInt32(at + EVENT_DATA, true));
      // Closed by one of those before it.
      if (one === undefined || one.serial !== this.#eventsView.getInt32(at + EVENT_DATA + 4, true)) continue;
      one.socket.edge(this.#eventsView.getUint32(at, true));
      if (this.fd < 0) break;
    }
    return Math.max(0, count);
  }

  /** Closes all sockets, and leaves the loop. */
  close(): void {
    if (this.fd < 0) return;
    for (const { socket } of [...this.#sockets.values()]) socket.close();
    this.#retryTimer.disarm();
    this.onClose?.();
    libc().close(this.fd);
    this.fd = -1;
    releaseLibc();
  }

  #retry(): void {
    const due = [...this.#retries];
    this.#retries.clear();
    for (const [socket, events] of due) {
      if (socket.fd >= 0) socket.edge(events);
    }
  }
}
