/**
 * A TCP socket of Linux that never waits: the attempt to connect, or an accepted call, and then the connection.
 *
 * Path: linux_sockets, listener → stream → edges, message_set, error_queue, names, libc.
 *
 * Errors that ICMP brings end an attempt at once; the error queue then tells which, and by whom: of IPv4 always, of
 * IPv6 with IPV6_RECVERR. On a connection that stands both options are off: with them each ICMP error would be the
 * result of one later read, although the connection lives (RFC 1122 4.2.3.9: a soft error).
 *
 * @module
 */

import { errnoName } from "../../../kernel/error.ts";
import {
  type ConnectRequest,
  FAILED,
  type HostStream,
  NOT_NOW,
  type SocketEnd,
  type SocketFailure,
  type SocketReport,
} from "../../../kernel/host_sockets.ts";
import { IP_UNSPECIFIED } from "../../../kernel/wire/ip_addr.ts";
import { EAGAIN, EINTR, isShortage, lastErrno, libc, releaseLibc } from "../libc.ts";
import { type Edges, type EdgeSocket, EPOLLERR, EPOLLHUP } from "./edges.ts";
import { takeErrorReport } from "./error_queue.ts";
import { MessageSet } from "./message_set.ts";
import { endAt, IN6_LEN, nameOf, ownEnd } from "./names.ts";

const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_KEEPALIVE = 9;
const SO_OOBINLINE = 10;
const SO_LINGER = 13;
const SOL_TCP = 6;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_NOTSENT_LOWAT = 25;
const SOL_IP = 0;
const IP_TOS = 1;
const IP_TTL = 2;
const IP_BIND_ADDRESS_NO_PORT = 24;
const SOL_IPV6 = 41;
const IPV6_UNICAST_HOPS = 16;
const IPV6_RECVERR = 25;
const IPV6_TCLASS = 67;
const SHUT_WR = 1;
const MSG_NOSIGNAL_DONTWAIT = 0x4040;
const EINPROGRESS = 115;
const ECONNREFUSED = "ECONNREFUSED";
/** Most pieces of one write: 64 packets of 1,400 bytes, or as much as Linux takes in one go. */
const PARTS_MAX = 64;
/** struct linger of 0 seconds: close resets. */
const LINGER_0 = new Uint8Array(new Int32Array([1, 0]).buffer);

/** Options of every connection. The times find a dead peer within 6.5 minutes. */
const OPTIONS: readonly (readonly [level: number, option: number, value: number])[] = [
  [SOL_TCP, TCP_NODELAY, 1],
  // Urgent data are data (RFC 6093 3.1).
  [SOL_SOCKET, SO_OOBINLINE, 1],
  [SOL_SOCKET, SO_KEEPALIVE, 1],
  [SOL_TCP, TCP_KEEPIDLE, 120],
  [SOL_TCP, TCP_KEEPINTVL, 30],
  [SOL_TCP, TCP_KEEPCNT, 9],
  // Bounds what we have acknowledged to a guest and Linux has not sent.
  [SOL_TCP, TCP_NOTSENT_LOWAT, 131_072],
];

const NOBODY: SocketEnd = { address: IP_UNSPECIFIED, port: 0 };

let pieces: MessageSet | null = null;

/** See above. */
export class LinuxStream implements HostStream, EdgeSocket {
  fd: number;
  onReady: (() => void) | null = null;
  failure: SocketFailure | null = null;
  state: HostStream["state"];
  readonly remote: SocketEnd;
  readonly #edges: Edges;
  readonly #version: 4 | 6;
  #local: SocketEnd | null = null;
  #canRead = true;
  #canWrite = true;
  #isEnded = false;

  /** Owns `fd` and its hold of libc; it is connected, or connecting. */
  constructor(edges: Edges, fd: number, { remote, version, state }: Pick<HostStream, "remote" | "state"> & {
    version: 4 | 6;
  }) {
    this.#edges = edges;
    this.fd = fd;
    this.remote = remote;
    this.#version = version;
    this.state = state;
    for (const [level, option, value] of OPTIONS) setInt(fd, level, option, value);
  }

  /** Begins to connect `fd`, a new socket of `version` that holds libc. On a refusal the descriptor is closed. */
  static connect(edges: Edges, fd: number, version: 4 | 6, request: ConnectRequest): LinuxStream | SocketFailure {
    const { to, from, ttl, tos } = request;
    const stream = new LinuxStream(edges, fd, { remote: to, version, state: "connecting" });
    if (version === 6) setInt(fd, SOL_IPV6, IPV6_RECVERR, 1);
    if (ttl > 0) stream.setTtl(ttl);
    // The two bits of ECN are Linux' own (RFC 3168 6.1).
    if ((tos & 0xfc) !== 0) stream.#setTos(tos & 0xfc);
    if (from !== null) {
      // Without a port yet: Linux picks it in connect, where one serves many destinations.
      setInt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1);
      const name = nameOf(version, { address: from, port: 0 });
      if (libc().bind(fd, name, name.length) < 0) return stream.#abandon(lastErrno());
    }
    const name = nameOf(version, to);
    // Safe because the length is that of the name, which is only read.
    if (libc().connect(fd, name, name.length) < 0) {
      const errno = lastErrno();
      if (errno !== EINPROGRESS) return stream.#abandon(errno);
    }
    if (edges.add(stream)) return stream;
    return stream.#abandon(lastErrno());
  }

  #abandon(errno: number): SocketFailure {
    this.close();
    return errnoName(errno);
  }

  get local(): SocketEnd {
    if (this.fd < 0) return this.#local ?? NOBODY;
    return this.#local ??= ownEnd(this.fd) ?? NOBODY;
  }

  edge(canRead: boolean, canWrite: boolean, events: number): void {
    if (canRead) this.#canRead = true;
    if (canWrite) this.#canWrite = true;
    if (this.state === "connecting") {
      const isOver = canWrite || (events & (EPOLLERR | EPOLLHUP)) !== 0;
      if (!isOver) return;
      this.#settle();
    }
    this.onReady?.();
  }

  /** Learns how connecting ended. */
  #settle(): void {
    const errno = this.#takeError();
    const isSelf = errno === 0 && this.#isSelf();
    if (errno === 0 && !isSelf) {
      this.state = "connected";
      if (this.#version === 6) setInt(this.fd, SOL_IPV6, IPV6_RECVERR, 0);
      return;
    }
    this.state = "failed";
    // A socket that Linux has connected to itself (RFC 9293 3.5, simultaneous open): no server listens there.
    this.failure = isSelf ? ECONNREFUSED : errnoName(errno);
  }

  #isSelf(): boolean {
    const { local, remote } = this;
    return local.port === remote.port && local.address.equals(remote.address);
  }

  #takeError(): number {
    const value = new Int32Array(1);
    const bytes = new Uint8Array(value.buffer);
    const length = new Uint8Array(new Int32Array([4]).buffer);
    // Safe because the length is that of an int.
    return libc().getsockopt(this.fd, SOL_SOCKET, SO_ERROR, bytes, length) < 0 ? lastErrno() : value[0]!;
  }

  read(into: Uint8Array): number {
    if (this.#isEnded) return 0;
    if (this.fd < 0) return FAILED;
    if (!this.#canRead) return this.failure === null ? NOT_NOW : FAILED;
    // Safe because the length is that of the view, and C does not keep it.
    const count = libc().read(this.fd, into as Uint8Array<ArrayBuffer>, BigInt(into.length));
    if (count > 0) return count;
    if (count === 0) {
      // After a reset was reported Linux says 0, too.
      if (this.failure !== null) return FAILED;
      this.#isEnded = true;
      return 0;
    }
    return this.#failed(lastErrno(), "read");
  }

  write(parts: readonly Uint8Array[], count: number): number {
    if (this.fd < 0 || this.failure !== null) return FAILED;
    if (!this.#canWrite) return NOT_NOW;
    const sent = count === 1 ? this.#sendOne(parts[0]!) : this.#sendMany(parts, Math.min(count, PARTS_MAX));
    return sent >= 0 ? sent : this.#failed(lastErrno(), "write");
  }

  #sendOne(part: Uint8Array): number {
    const data = part as Uint8Array<ArrayBuffer>;
    // Safe as above.
    return libc().sendto(this.fd, data, BigInt(part.length), MSG_NOSIGNAL_DONTWAIT, null, 0);
  }

  #sendMany(parts: readonly Uint8Array[], count: number): number {
    pieces ??= new MessageSet(1, { pieces: PARTS_MAX });
    pieces.setParts(0, parts, count);
    // Safe because the caller keeps `parts`, and nothing comes between their addresses and the call.
    return libc().sendmsg(this.fd, pieces.bytes, MSG_NOSIGNAL_DONTWAIT);
  }

  #failed(errno: number, side: "read" | "write"): number {
    if (errno === EAGAIN) {
      if (side === "read") this.#canRead = false;
      else this.#canWrite = false;
      return this.failure === null ? NOT_NOW : FAILED;
    }
    if (errno === EINTR || isShortage(errno)) {
      this.#edges.retry(this);
      return NOT_NOW;
    }
    this.failure ??= errnoName(errno);
    return FAILED;
  }

  takeReport(): SocketReport | null {
    return this.fd < 0 ? null : takeErrorReport(this.fd, this.remote);
  }

  setTtl(ttl: number): void {
    // -1 is the default of the machine.
    const value = ttl === 0 ? -1 : ttl;
    if (this.#version === 4) setInt(this.fd, SOL_IP, IP_TTL, value);
    else setInt(this.fd, SOL_IPV6, IPV6_UNICAST_HOPS, value);
  }

  #setTos(tos: number): void {
    if (this.#version === 4) setInt(this.fd, SOL_IP, IP_TOS, tos);
    else setInt(this.fd, SOL_IPV6, IPV6_TCLASS, tos);
  }

  shutdownWrite(): void {
    if (this.fd >= 0) libc().shutdown(this.fd, SHUT_WR);
  }

  reset(): void {
    // Safe because the length is that of the struct.
    if (this.fd >= 0) libc().setsockopt(this.fd, SOL_SOCKET, SO_LINGER, LINGER_0, LINGER_0.length);
    this.close();
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

/** Sets an option that is an int, where a refusal changes nothing that matters. */
export function setInt(fd: number, level: number, option: number, value: number): boolean {
  const bytes = new Uint8Array(new Int32Array([value]).buffer);
  // Safe because the length is that of the buffer.
  return libc().setsockopt(fd, level, option, bytes, bytes.length) >= 0;
}

/** A name to be filled in by accept4(2), and its length. */
export function emptyName(): { readonly name: Uint8Array<ArrayBuffer>; readonly length: Uint8Array<ArrayBuffer> } {
  return { name: new Uint8Array(IN6_LEN), length: new Uint8Array(new Int32Array([IN6_LEN]).buffer) };
}

/** The end that such a name has. */
export function endIn(name: Uint8Array): SocketEnd {
  return endAt(name, 0) ?? NOBODY;
}
