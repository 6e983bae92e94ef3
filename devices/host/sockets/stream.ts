/**
 * LinuxStream: a TCP connection of Linux, or the attempt at one.
 *
 * Path: linux_sockets, listener → stream → edge_socket, error_queue, gather, calls.
 *
 * IP_RECVERR is off on a connection: with it an ICMP error, which TCP survives, would be the result of one later read
 * (tcp(7)). Of an attempt that failed Linux keeps the ICMP error all the same; the ICMPv6 error only with IPV6_RECVERR.
 *
 * @module
 */

import { errnoName } from "../../../kernel/error.ts";
import { FAILED, type HostStream, NOT_NOW, type SocketEnd, type SocketReport } from "../../../kernel/host_sockets.ts";
import { BROKEN, EdgeSocket, READ, WRITE } from "./edge_socket.ts";
import { type EdgeWatch, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP } from "./edge_watch.ts";
import { nextReport } from "./error_queue.ts";
import { Gather } from "./gather.ts";
import { EAGAIN, ECONNREFUSED, EINTR, isShortage, lastErrno, libc } from "../libc.ts";
import { isEstablished, type Option, setInt, takeError } from "./calls.ts";
import type { SocketFamily } from "./family.ts";

const SOL_SOCKET = 1;
const SO_KEEPALIVE = 9;
const SO_OOBINLINE = 10;
const SO_LINGER = 13;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;
const TCP_NOTSENT_LOWAT = 25;
const SHUT_WR = 1;
const MSG_DONTWAIT_NOSIGNAL = 0x4040;
const EPIPE = 32;
const ECONNRESET = 104;
/** struct linger: on, and 0 s: close sends a reset. */
const RESET = new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]);
/** The value by which Linux takes its own default TTL again. */
const TTL_DEFAULT = -1;

/**
 * Options of every connection; a listener gives its own to those that it accepts. Keepalive finds a dead peer within
 * 120 + 9 × 30 s. NOTSENT_LOWAT bounds what was taken from the writer and not sent.
 */
export const STREAM_OPTIONS: readonly Option[] = [
  [IPPROTO_TCP, TCP_NODELAY, 1],
  [SOL_SOCKET, SO_OOBINLINE, 1],
  [SOL_SOCKET, SO_KEEPALIVE, 1],
  [IPPROTO_TCP, TCP_KEEPIDLE, 120],
  [IPPROTO_TCP, TCP_KEEPINTVL, 30],
  [IPPROTO_TCP, TCP_KEEPCNT, 9],
  [IPPROTO_TCP, TCP_NOTSENT_LOWAT, 131_072],
];

let gather: Gather | null = null;

/** A connection. */
export class LinuxStream extends EdgeSocket implements HostStream {
  readonly remote: SocketEnd;
  state: "connecting" | "connected" | "failed";
  /** Its end was read. */
  #isAtEnd = false;
  /**
   * A short read does not prove that nothing is left: the end or an error may wait behind, whose edge has passed, or
   * the read stopped at urgent data.
   */
  #isThorough = false;
  #mayReport = false;

  /** Takes over a socket that connects, or is connected, to `remote`. */
  constructor(
    fd: number,
    family: SocketFamily,
    watch: EdgeWatch,
    { remote, state }: { readonly remote: SocketEnd; readonly state: "connecting" | "connected" },
  ) {
    super(fd, family, watch);
    this.remote = remote;
    this.state = state;
    if (state === "connected") this.may = READ | WRITE;
  }

  override edge(events: number): void {
    if (this.state === "connecting") {
      if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) === 0) return;
      this.#settle((events & EPOLLOUT) !== 0);
      if (this.state === "connecting") return;
    } else if ((events & EPOLLERR) !== 0) {
      this.#mayReport = true;
      this.#fail(takeError(this.fd));
    }
    let flags = this.failure === null ? 0 : BROKEN;
    if ((events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) !== 0) flags |= READ;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) !== 0) flags |= WRITE;
    if ((events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) !== 0) this.#isThorough = true;
    this.may |= flags & (READ | WRITE);
    this.tell(flags);
  }

  /** Learns how the attempt ended, if it has: an error in the queue wakes before Linux draws its conclusion. */
  #settle(isWritable: boolean): void {
    const errno = takeError(this.fd);
    if (errno === 0 && !isWritable) return;
    const isSelf = errno === 0 && this.#isToItself();
    // An ICMP error does not end what stands (RFC 1122 4.2.3.9). A reset, also behind the peer's end, means that it
    // stood, and what came before can be read.
    const stands = errno === 0 ? !isSelf : isEstablished(this.fd);
    const stood = errno === ECONNRESET || errno === EPIPE;
    this.state = stands || stood ? "connected" : "failed";
    this.#mayReport = this.state === "failed";
    if (!stands) this.#fail(isSelf ? ECONNREFUSED : errno);
    if (this.state === "failed") return;
    this.may |= WRITE;
    if (this.family.version === 6) setInt(this.fd, [this.family.level, this.family.options.receiveErrors, 0]);
  }

  /** TCP connects an ephemeral port to itself if Linux happens to choose it (RFC 9293 3.5): nothing listens there. */
  #isToItself(): boolean {
    const { local, remote } = this;
    return local.port === remote.port && local.address.equals(remote.address);
  }

  #fail(errno: number): void {
    if (errno !== 0) this.failure ??= errnoName(errno);
  }

  read(into: Uint8Array): number {
    if (this.state === "failed" || this.fd < 0) return FAILED;
    if ((this.may & READ) === 0) return this.#nothing(READ);
    if (this.#isAtEnd) return this.failure === null ? 0 : FAILED;
    // Safe because the length is that of the view, and C does not keep it.
    const count = libc().read(this.fd, into as Uint8Array<ArrayBuffer>, BigInt(into.length));
    if (count > 0) {
      // epoll(7), question 9: a short read has emptied a stream.
      if (count < into.length && !this.#isThorough) this.may &= ~READ;
      return count;
    }
    if (count < 0) return this.#refused(READ, lastErrno());
    this.#isAtEnd = true;
    // Linux reports an error once, and the end ever after.
    return this.failure === null ? 0 : FAILED;
  }

  write(parts: readonly Uint8Array[], count: number): number {
    if (this.failure !== null || this.fd < 0) return FAILED;
    if ((this.may & WRITE) === 0) return this.#nothing(WRITE);
    const written = this.#send(parts, count);
    if (written < 0) return this.#refused(WRITE, lastErrno());
    return written;
  }

  #send(parts: readonly Uint8Array[], count: number): number {
    if (count > 1) return (gather ??= new Gather()).send(this.fd, parts, count, MSG_DONTWAIT_NOSIGNAL);
    const part = parts[0] as Uint8Array<ArrayBuffer>;
    // Safe because the length is that of the view, and C does not keep it.
    return libc().sendto(this.fd, part, BigInt(part.length), MSG_DONTWAIT_NOSIGNAL, null, 0);
  }

  #nothing(flag: number): number {
    this.lacks(flag);
    return NOT_NOW;
  }

  #refused(flag: number, errno: number): number {
    if (errno === EAGAIN) return this.#nothing(flag);
    if (isShortage(errno) || errno === EINTR) {
      this.retryLater(flag);
      return NOT_NOW;
    }
    this.#fail(errno);
    return FAILED;
  }

  shutdownWrite(): void {
    if (this.fd >= 0) libc().shutdown(this.fd, SHUT_WR);
  }

  reset(): void {
    // Safe because the struct is only read.
    if (this.fd >= 0) libc().setsockopt(this.fd, SOL_SOCKET, SO_LINGER, RESET, RESET.length);
    this.close();
  }

  setTtl(ttl: number): void {
    const { level, options } = this.family;
    if (this.fd >= 0) setInt(this.fd, [level, options.ttl, ttl === 0 ? TTL_DEFAULT : ttl]);
  }

  override takeReport(): SocketReport | null {
    if (!this.#mayReport || this.fd < 0) return null;
    const report = nextReport(this.fd);
    if (report === null) this.#mayReport = false;
    return report;
  }
}
