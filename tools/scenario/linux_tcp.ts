/**
 * TCP sockets of Linux' own stack, in a network namespace: the other side of a transfer, without any tool installed.
 *
 * Path: linux_party → linux_tcp → libc; the host's reactor says when there is something to read. Manual: tcp(7).
 *
 * What comes is read at once and kept until somebody asks for it; who writes more than Linux takes tries again a
 * millisecond later. That is enough for a scenario, and for nothing else.
 *
 * @module
 */

import { call, EAGAIN, holdLibc, lastErrno, libc, releaseLibc } from "../../devices/host/libc.ts";
import type { Netns } from "../../devices/host/netns.ts";
import type { Pollable, Reactor } from "../../devices/host/reactor.ts";
import { IpAddr, parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { type ByteConn, Refused } from "./party.ts";
import { ANSWER_MS, sleep, TimedOut } from "./world.ts";
import type { Clock } from "../../kernel/time.ts";

const AF_INET = 2;
/** SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC. */
const STREAM_TYPE = 1 | 0o2004000;
const NONBLOCK_CLOEXEC = 0o2004000;
const IPPROTO_TCP = 6;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const MSG_NOSIGNAL = 0x4000;
const SHUT_WR = 1;
const EISCONN = 106;
const ECONNREFUSED = 111;
const EALREADY = 114;
const EINPROGRESS = 115;
const SOCKADDR_LEN = 16;
const CHUNK = 65536;
const BACKLOG = 8;
const RETRY_MS = 1;

/** What sockets need of the host: its loop and its time. */
export interface LinuxLoop {
  readonly reactor: Reactor;
  readonly clock: Clock;
}

/** struct sockaddr_in. */
export function sockaddrOf(addr: string, port: number): Uint8Array<ArrayBuffer> {
  const name = new Uint8Array(SOCKADDR_LEN);
  name[0] = AF_INET;
  name[2] = port >> 8;
  name[3] = port;
  parseIpAddr(addr)!.putV4(name, 4);
  return name;
}

/** `addr!port` of a struct sockaddr_in. */
function formatSockaddr(name: Uint8Array): string {
  return `${IpAddr.v4At(name, 4)}!${(name[2]! << 8) | name[3]!}`;
}

/** Makes a socket inside a namespace; it holds libc. */
function openStream(netns: Netns): number {
  holdLibc();
  try {
    return netns.run(() => call("Cannot open a socket for tcp", libc().socket(AF_INET, STREAM_TYPE, IPPROTO_TCP)));
  } catch (error) {
    releaseLibc();
    throw error;
  }
}

/** A connection. */
export class LinuxConn implements Pollable, ByteConn {
  fd: number;
  readonly remote: string;
  onClose: (() => void) | null = null;
  readonly #loop: LinuxLoop;
  #got: Uint8Array[] = [];
  #isEnded = false;
  #failure: string | null = null;
  #waiting: (() => void) | null = null;

  /** Takes over a connected `fd`, and its hold of libc. */
  constructor(loop: LinuxLoop, fd: number, remote: string) {
    this.#loop = loop;
    this.fd = fd;
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

  close(): void {
    if (this.fd < 0) return;
    this.onClose?.();
    libc().close(this.fd);
    this.fd = -1;
    releaseLibc();
  }
}

/** A listening socket. */
export class LinuxListener implements Pollable {
  fd: number;
  onClose: (() => void) | null = null;
  readonly #loop: LinuxLoop;
  readonly #take: (conn: LinuxConn) => void;

  constructor(loop: LinuxLoop, netns: Netns, port: number, take: (conn: LinuxConn) => void) {
    this.#loop = loop;
    this.#take = take;
    this.fd = openStream(netns);
    try {
      const on = new Uint8Array(new Int32Array([1]).buffer);
      call("Cannot set SO_REUSEADDR", libc().setsockopt(this.fd, SOL_SOCKET, SO_REUSEADDR, on, on.length));
      const name = sockaddrOf("0.0.0.0", port);
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
      const fd = libc().accept4(this.fd, name, length, NONBLOCK_CLOEXEC);
      if (fd < 0) return count;
      holdLibc();
      this.#take(new LinuxConn(this.#loop, fd, formatSockaddr(name)));
    }
    return max;
  }

  close(): void {
    if (this.fd < 0) return;
    this.onClose?.();
    libc().close(this.fd);
    this.fd = -1;
    releaseLibc();
  }
}

/** Connects; throws {@link Refused}, or TimedOut. */
export async function connectLinux(loop: LinuxLoop, netns: Netns, addr: string, port: number): Promise<LinuxConn> {
  const fd = openStream(netns);
  const name = sockaddrOf(addr, port);
  try {
    for (let left = ANSWER_MS / RETRY_MS; left > 0; left--) {
      // Asked again, connect tells how far it is.
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
