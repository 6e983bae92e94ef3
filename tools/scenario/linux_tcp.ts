/**
 * TCP sockets of Linux' own stack, in a network namespace: the other side of a transfer, without any tool installed.
 *
 * Path: linux_sockets, linux_dhcp, real_soak → linux_tcp → libc, reactor, socket_fd, endpoint.
 *
 * Bytes are read as they come and kept until a caller reads them; a write that Linux has no room for is tried again a
 * millisecond later. That is enough for a scenario, and for nothing else.
 *
 * @module
 */

import { call, EAGAIN, ECONNREFUSED, holdLibc, lastErrno, libc, releaseLibc } from "../../devices/host/libc.ts";
import type { Netns } from "../../devices/host/netns.ts";
import type { Pollable } from "../../devices/host/pollable.ts";
import type { Reactor } from "../../devices/host/reactor.ts";
import {
  endOf,
  openSocket,
  setOption,
  SOCK_FLAGS,
  SOCK_STREAM,
  sockaddr,
  type SocketKind,
  SOL_SOCKET,
} from "../../devices/host/socket_fd.ts";
import { PolledFd } from "../../devices/host/polled_fd.ts";
import { SOCKADDR_LEN } from "../../devices/host/sockets/family.ts";
import { type ByteConn, Refused } from "./endpoint.ts";
import { ANSWER_MS, sleep, TimedOut } from "./environment.ts";
import type { Clock } from "../../kernel/time.ts";

const IPPROTO_TCP = 6;
const SO_REUSEADDR = 2;
const MSG_NOSIGNAL = 0x4000;
const SHUT_WR = 1;
const EISCONN = 106;
const EALREADY = 114;
const EINPROGRESS = 115;
const CHUNK = 65536;
const BACKLOG = 8;
const RETRY_MS = 1;

/** What sockets need of the host: its loop and its time. */
export interface LinuxLoop {
  readonly reactor: Reactor;
  readonly clock: Clock;
}

/** `addr!port` of a socket address. */
function formatEnd(name: Uint8Array): string {
  const { addr, port } = endOf(name);
  return `${addr}!${port}`;
}

/** A connection. */
export class LinuxConn extends PolledFd implements Pollable, ByteConn {
  readonly remote: string;
  readonly #loop: LinuxLoop;
  #got: Uint8Array[] = [];
  #isEnded = false;
  #failure: string | null = null;
  #waiting: (() => void) | null = null;

  /** Takes over a connected `fd`, and its hold of libc. */
  constructor(loop: LinuxLoop, fd: number, remote: string) {
    super(fd);
    this.#loop = loop;
    this.remote = remote;
    loop.reactor.add(this);
  }

  drain(max: number): number {
    for (let count = 0; count < max; count++) {
      const buf = new Uint8Array(CHUNK);
      // Safe because the length is that of the buffer.
      const length = Number(libc().read(this.fd, buf, BigInt(CHUNK)));
      if (length < 0 && lastErrno() === EAGAIN) return count;
      if (length > 0) this.#got.push(buf.subarray(0, length));
      else this.#isEnded = true;
      if (length < 0) this.#failure = `The connection to ${this.remote} broke: errno ${lastErrno()}`;
      this.#waiting?.();
      if (this.#isEnded) return -1;
    }
    return max;
  }

  async read(): Promise<Uint8Array | null> {
    while (this.#got.length === 0) {
      if (this.#failure !== null) throw new Error(this.#failure);
      if (this.#isEnded) return null;
      const ready = Promise.withResolvers<void>();
      this.#waiting = ready.resolve;
      await ready.promise;
    }
    return this.#got.shift()!;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const rest = bytes.slice(at);
      // Safe because the length is that of the view, and Linux keeps none of it.
      const none = new Uint8Array(SOCKADDR_LEN);
      const count = Number(libc().sendto(this.fd, rest, BigInt(rest.length), MSG_NOSIGNAL, none, 0));
      if (count < 0 && lastErrno() === EAGAIN) await sleep(this.#loop.clock, RETRY_MS);
      else at += call(`Cannot write to ${this.remote}`, count);
    }
  }

  closeWrite(): Promise<void> {
    shutdownWrite(this.fd);
    return Promise.resolve();
  }
}

/** Where a socket listens. */
interface ListenAt {
  readonly version: 4 | 6;
  readonly addr: string;
  readonly port: number;
}

/** A listening socket. */
export class LinuxListener extends PolledFd implements Pollable {
  readonly #loop: LinuxLoop;
  readonly #take: (conn: LinuxConn) => void;

  constructor(
    loop: LinuxLoop,
    netns: Netns | null,
    { version, addr, port }: ListenAt,
    take: (conn: LinuxConn) => void,
  ) {
    super(openSocket(tcp(version), netns));
    this.#loop = loop;
    this.#take = take;
    try {
      setOption(this.fd, { level: SOL_SOCKET, option: SO_REUSEADDR, value: 1 }, "Cannot set SO_REUSEADDR");
      const name = sockaddr(addr, port);
      call(`Cannot bind tcp port ${port}`, libc().bind(this.fd, name, name.length));
      call(`Cannot listen at tcp port ${port}`, libc().listen(this.fd, BACKLOG));
    } catch (error) {
      this.close();
      throw error;
    }
    loop.reactor.add(this);
  }

  drain(max: number): number {
    for (let count = 0; count < max; count++) {
      const name = new Uint8Array(SOCKADDR_LEN);
      const length = new Uint8Array(new Int32Array([SOCKADDR_LEN]).buffer);
      const fd = libc().accept4(this.fd, name, length, SOCK_FLAGS);
      if (fd < 0) return count;
      holdLibc();
      this.#take(new LinuxConn(this.#loop, fd, formatEnd(name)));
    }
    return max;
  }
}

/** Connects; throws {@link Refused}, or TimedOut. */
export async function connectLinux(
  loop: LinuxLoop,
  netns: Netns | null,
  addr: string,
  port: number,
): Promise<LinuxConn> {
  const name = sockaddr(addr, port);
  const fd = openSocket(tcp(addr.includes(":") ? 6 : 4), netns);
  try {
    for (let left = ANSWER_MS / RETRY_MS; left > 0; left--) {
      // Called again, connect says how far it is.
      if (libc().connect(fd, name, name.length) === 0 || lastErrno() === EISCONN) {
        return new LinuxConn(loop, fd, `${addr}!${port}`);
      }
      const errno = lastErrno();
      if (errno === ECONNREFUSED) throw new Refused(`Cannot connect to ${addr}!${port}: connection refused`);
      if (errno !== EINPROGRESS && errno !== EALREADY) call(`Cannot connect to ${addr}!${port}`, -1);
      await sleep(loop.clock, RETRY_MS);
    }
    throw new TimedOut(`No connection to ${addr}!${port} within ${ANSWER_MS} ms`);
  } catch (error) {
    libc().close(fd);
    releaseLibc();
    throw error;
  }
}

/** Ends our half. */
function shutdownWrite(fd: number): void {
  call("Cannot end a half of a connection", libc().shutdown(fd, SHUT_WR));
}

function tcp(version: 4 | 6): SocketKind {
  return { what: "tcp", type: SOCK_STREAM, protocol: IPPROTO_TCP, version };
}
