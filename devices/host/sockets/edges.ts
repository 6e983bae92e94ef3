/**
 * Edges: reports readiness of sockets on edges, for any number of them behind one descriptor of the reactor.
 *
 * Path: linux_sockets → edges → libc, reactor.
 *
 * Each socket is registered once for its life (EPOLLET: epoll(7)); which of the two directions is ready is remembered
 * by the socket, until a call of it answers EAGAIN. A level-triggered socket with a full queue behind it would keep the
 * loop turning.
 *
 * @module
 */

import type { Clock, Timer } from "../../../kernel/time.ts";
import { call, holdLibc, libc, releaseLibc } from "../libc.ts";
import type { Pollable } from "../reactor.ts";

const EPOLL_CTL_ADD = 1;
const EPOLL_CLOEXEC = 0x8_0000;
const EPOLLIN = 1;
const EPOLLOUT = 4;
const EPOLLRDHUP = 0x2000;
const EPOLLET = 0x8000_0000;
export const EPOLLERR = 8;
export const EPOLLHUP = 0x10;
/** struct epoll_event is packed on x86_64 and padded elsewhere: events, then 64 bits of data. */
const EVENT_LEN = Deno.build.arch === "x86_64" ? 12 : 16;
const EVENT_DATA = EVENT_LEN - 8;
/** Sockets that one wait reports; the others come with the next. */
const EVENTS_MAX = 64;
/** When a socket is tried again that Linux had no memory for, and of which no edge will tell. */
const RETRY_MS = 20;

/** A socket whose readiness is reported. */
export interface EdgeSocket {
  readonly fd: number;
  /** Takes the directions that may be ready now, of EPOLLIN, EPOLLOUT, EPOLLERR and EPOLLHUP. */
  edge(canRead: boolean, canWrite: boolean, events: number): void;
}

/** See above. */
export class Edges implements Pollable {
  fd: number;
  onClose: (() => void) | null = null;
  readonly drainMax = EVENTS_MAX;
  readonly #sockets = new Map<number, EdgeSocket>();
  readonly #events = new Uint8Array(EVENTS_MAX * EVENT_LEN);
  readonly #view = new DataView(this.#events.buffer);
  readonly #again = new Set<EdgeSocket>();
  readonly #retry: Timer;

  /** Throws HostError: EMFILE. */
  constructor(clock: Clock) {
    this.#retry = clock.timer(() => this.#tryAgain());
    this.fd = call("Cannot make an epoll descriptor", holdLibc().epoll_create1(EPOLL_CLOEXEC));
  }

  /** How many sockets there are. */
  get size(): number {
    return this.#sockets.size;
  }

  /** Tells `socket` from now on; false: Linux has no room for it. */
  add(socket: EdgeSocket): boolean {
    const event = new Uint8Array(EVENT_LEN);
    const view = new DataView(event.buffer);
    view.setUint32(0, (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) >>> 0, true);
    view.setInt32(EVENT_DATA, socket.fd, true);
    // Safe because `event` is a struct epoll_event, which is only read.
    if (libc().epoll_ctl(this.fd, EPOLL_CTL_ADD, socket.fd, event) < 0) return false;
    this.#sockets.set(socket.fd, socket);
    return true;
  }

  /** Forgets `socket`, which is about to be closed: epoll forgets it by that. */
  remove(socket: EdgeSocket): void {
    this.#sockets.delete(socket.fd);
    this.#again.delete(socket);
  }

  /** Tells `socket` once more after a while: no edge will. */
  retry(socket: EdgeSocket): void {
    this.#again.add(socket);
    if (!this.#retry.armed) this.#retry.arm(RETRY_MS);
  }

  #tryAgain(): void {
    const sockets = [...this.#again];
    this.#again.clear();
    for (const socket of sockets) if (this.#sockets.get(socket.fd) === socket) socket.edge(true, true, 0);
  }

  drain(max: number): number {
    // Safe because #events holds EVENTS_MAX of them.
    const count = libc().epoll_wait(this.fd, this.#events, Math.min(max, EVENTS_MAX), 0);
    for (let i = 0; i < count; i++) {
      const events = this.#view.getUint32(i * EVENT_LEN, true);
      const broken = (events & (EPOLLERR | EPOLLHUP)) !== 0;
      // Gone if an earlier socket's owner closed it.
      const socket = this.#sockets.get(this.#view.getInt32(i * EVENT_LEN + EVENT_DATA, true));
      const canRead = broken || (events & (EPOLLIN | EPOLLRDHUP)) !== 0;
      socket?.edge(canRead, broken || (events & EPOLLOUT) !== 0, events);
    }
    return Math.max(0, count);
  }

  /** Closes the descriptor; its sockets are closed by their owners. */
  close(): void {
    if (this.fd < 0) return;
    this.#retry.disarm();
    this.onClose?.();
    libc().close(this.fd);
    this.fd = -1;
    this.#sockets.clear();
    releaseLibc();
  }
}
