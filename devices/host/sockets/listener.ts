/**
 * A listening TCP socket of Linux that never waits.
 *
 * Path: linux_sockets → listener → stream, edges, names, libc.
 *
 * @module
 */

import { errnoName } from "../../../kernel/error.ts";
import type { BindRequest, HostListener, SocketEnd, SocketFailure } from "../../../kernel/host_sockets.ts";
import { IP_UNSPECIFIED } from "../../../kernel/wire/ip_addr.ts";
import { EAGAIN, holdLibc, isShortage, lastErrno, libc, releaseLibc } from "../libc.ts";
import type { Edges, EdgeSocket } from "./edges.ts";
import { nameOf, ownEnd } from "./names.ts";
import { emptyName, endIn, LinuxStream, setInt } from "./stream.ts";

const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_BINDTODEVICE = 25;
const SOL_IPV6 = 41;
const IPV6_V6ONLY = 26;
const NONBLOCK_CLOEXEC = 0o2004000;
/** Calls that wait to be accepted: Linux takes the least of this and net.core.somaxconn. */
const BACKLOG = 4096;

/** Binds `fd` as `request` says; the error's number, or 0. */
export function bindSocket(fd: number, { version, address, port, device }: BindRequest): number {
  if (device !== undefined) {
    const name = new TextEncoder().encode(`${device}\0`);
    // Safe because the length is that of the name.
    if (libc().setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, name.length) < 0) return lastErrno();
  }
  const name = nameOf(version, { address: address ?? IP_UNSPECIFIED, port });
  if (version === 6 && address === null) name.fill(0, 8, 24);
  if (version === 4 && address === null) name.fill(0, 4, 8);
  // Safe because the length is that of the name, which is only read.
  return libc().bind(fd, name, name.length) < 0 ? lastErrno() : 0;
}

/** See above. */
export class LinuxListener implements HostListener, EdgeSocket {
  fd: number;
  onReady: (() => void) | null = null;
  readonly failure: SocketFailure | null = null;
  readonly #edges: Edges;
  readonly #version: 4 | 6;
  #canAccept = true;
  #local: SocketEnd | null = null;

  private constructor(edges: Edges, fd: number, version: 4 | 6) {
    this.#edges = edges;
    this.fd = fd;
    this.#version = version;
  }

  /** Listens on `fd`, a new socket that holds libc. On a refusal the descriptor is closed. */
  static listen(edges: Edges, fd: number, request: BindRequest): LinuxListener | SocketFailure {
    const listener = new LinuxListener(edges, fd, request.version);
    // So that a restart does not wait for the connections of the last run (TIME-WAIT).
    setInt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (request.version === 6) setInt(fd, SOL_IPV6, IPV6_V6ONLY, request.dualStack === true ? 0 : 1);
    let errno = bindSocket(fd, request);
    if (errno === 0 && libc().listen(fd, BACKLOG) < 0) errno = lastErrno();
    if (errno === 0 && !edges.add(listener)) errno = lastErrno();
    if (errno === 0) return listener;
    listener.close();
    return errnoName(errno);
  }

  get local(): SocketEnd {
    return this.#local ??= ownEnd(this.fd) ?? { address: IP_UNSPECIFIED, port: 0 };
  }

  edge(): void {
    this.#canAccept = true;
    this.onReady?.();
  }

  accept(): LinuxStream | "shortage" | null {
    while (this.#canAccept && this.fd >= 0) {
      const { name, length } = emptyName();
      // Safe because the length is that of the buffer.
      const fd = libc().accept4(this.fd, name, length, NONBLOCK_CLOEXEC);
      if (fd >= 0) return this.#accepted(fd, endIn(name));
      const errno = lastErrno();
      if (errno === EAGAIN) this.#canAccept = false;
      else if (isShortage(errno)) {
        // No edge follows when a descriptor is free again.
        this.#edges.retry(this);
        return "shortage";
      }
      // Any other error is that of a call which has gone (accept(2)): the next one is looked at.
    }
    return null;
  }

  #accepted(fd: number, remote: SocketEnd): LinuxStream | "shortage" {
    holdLibc();
    const stream = new LinuxStream(this.#edges, fd, { remote, version: this.#version, state: "connected" });
    if (this.#edges.add(stream)) return stream;
    stream.close();
    return "shortage";
  }

  takeReport(): null {
    return null;
  }

  close(): void {
    if (this.fd < 0) return;
    this.#edges.remove(this);
    libc().close(this.fd);
    this.fd = -1;
    this.onReady = null;
    releaseLibc();
  }
}
