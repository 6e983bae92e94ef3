/**
 * EdgeSocket: what the sockets of the uplink share: a descriptor, and what is known of it without asking Linux.
 *
 * Path: stream, listener, datagrams → edge_socket → edge_watch, calls.
 *
 * Two sets of flags. `may`: what a call may succeed at; EAGAIN clears a flag, an edge sets it, and while it is clear no
 * call is made. `told`: what the owner knows and has not found false since; an edge that says the same again is not
 * passed on.
 *
 * @module
 */

import type { HostSocket, SocketEnd, SocketFailure, SocketReport } from "../../../kernel/host_sockets.ts";
import { type Edged, type EdgeWatch, EPOLLERR, EPOLLIN, EPOLLOUT } from "./edge_watch.ts";
import { libc } from "../libc.ts";
import { localEnd } from "./calls.ts";
import type { SocketFamily } from "./family.ts";

/** Flags of a socket. */
export const READ = EPOLLIN;
export const WRITE = EPOLLOUT;
/** It is broken, or has a report. */
export const BROKEN = EPOLLERR;

/** A descriptor with its flags. */
export abstract class EdgeSocket implements HostSocket, Edged {
  fd: number;
  onReady: (() => void) | null = null;
  failure: SocketFailure | null = null;
  /** What a call may succeed at. */
  protected may = 0;
  protected readonly family: SocketFamily;
  protected readonly watch: EdgeWatch;
  #told = 0;
  #local: SocketEnd | null = null;

  /** Takes over `fd`. */
  constructor(fd: number, family: SocketFamily, watch: EdgeWatch) {
    this.fd = fd;
    this.family = family;
    this.watch = watch;
  }

  abstract edge(events: number): void;
  abstract takeReport(): SocketReport | null;

  get local(): SocketEnd {
    const known = this.#local ?? (this.fd < 0 ? null : localEnd(this.fd));
    // A port of 0 is not chosen yet.
    if (known !== null && known.port !== 0) this.#local = known;
    return known ?? { address: this.family.unspecified, port: 0 };
  }

  close(): void {
    if (this.fd < 0) return;
    this.onReady = null;
    this.watch.remove(this);
    libc().close(this.fd);
    this.fd = -1;
    this.may = 0;
  }

  /** Calls the owner for what it does not know. Called from {@link edge} alone: never inside a call of the owner's. */
  protected tell(flags: number): void {
    if ((flags & ~this.#told) === 0 || this.onReady === null) return;
    this.#told |= flags;
    this.onReady();
  }

  /** The owner learns that there is nothing to read, or no room: the next edge is news for it. */
  protected lacks(flag: number): void {
    this.may &= ~flag;
    this.#told &= ~flag;
  }

  /** The owner learns that a call may succeed later, and no edge will say so. */
  protected retryLater(flag: number): void {
    this.#told &= ~flag;
    this.watch.again(this, flag);
  }
}
