/**
 * A UDP socket of Linux, or a ping socket, that is not connected and never waits.
 *
 * Path: linux_sockets → datagrams → datagram_sets, edges, error_queue, listener, libc.
 *
 * An ICMP error about an earlier datagram is reported by the next call, whatever its destination, and that call then
 * does nothing else (udp(7)). So the error queue is emptied and the call made once more.
 *
 * @module
 */

import { errnoName } from "../../../kernel/error.ts";
import type {
  BindRequest,
  DatagramIn,
  DatagramOut,
  HostDatagrams,
  SocketEnd,
  SocketFailure,
  SocketReport,
} from "../../../kernel/host_sockets.ts";
import { IP_UNSPECIFIED } from "../../../kernel/wire/ip_addr.ts";
import { EAGAIN, EINTR, lastErrno, libc, releaseLibc } from "../libc.ts";
import { RECEIVE_BATCH, receivedAt, receiveSet, SEND_BATCH, sendSet } from "./datagram_sets.ts";
import type { Edges, EdgeSocket } from "./edges.ts";
import { takeErrorReport } from "./error_queue.ts";
import { bindSocket } from "./listener.ts";
import { ownEnd } from "./names.ts";
import { setInt } from "./stream.ts";

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SOL_IP = 0;
const SOL_IPV6 = 41;
const SOL_UDP = 17;
const UDP_GRO = 104;
const IP_MTU_DISCOVER = 10;
const IPV6_V6ONLY = 26;
/** The sender does path MTU discovery by itself (PROBE), or leaves fragments to Linux (DONT). */
const PMTUDISC_DONT = 0;
const PMTUDISC_PROBE = 3;
/** Options of each version: errors with their destination, and TTL, TOS and our address of each datagram. */
const OPTIONS = {
  4: [[SOL_IP, 11], [SOL_IP, 12], [SOL_IP, 13], [SOL_IP, 8]],
  // IPV6_RECVERR, RECVHOPLIMIT, RECVTCLASS, RECVPKTINFO.
  6: [[SOL_IPV6, 25], [SOL_IPV6, 51], [SOL_IPV6, 66], [SOL_IPV6, 49]],
} as const;
/** Linux gives what net.core.rmem_max allows. */
const RECEIVE_BUFFER = 1 << 20;
const MSG_DONTWAIT = 0x40;
/** Reports that wait for their taker: more than that is a flood of errors, of which the first tell enough. */
const REPORTS_MAX = 64;

/** What a socket is for. */
interface DatagramKind {
  readonly kind: "udp" | "echo";
  readonly version: 4 | 6;
}

/** See above. */
export class LinuxDatagrams implements HostDatagrams, EdgeSocket {
  fd: number;
  onReady: (() => void) | null = null;
  readonly failure: SocketFailure | null = null;
  refusal: SocketFailure | null = null;
  readonly #edges: Edges;
  readonly #version: 4 | 6;
  readonly #kind: DatagramKind["kind"];
  #local: SocketEnd | null = null;
  #canRead = true;
  #canWrite = true;
  #dontFragment = false;
  #reports: SocketReport[] = [];

  private constructor(edges: Edges, fd: number, { kind, version }: DatagramKind) {
    this.#edges = edges;
    this.fd = fd;
    this.#kind = kind;
    this.#version = version;
  }

  /** Sets up `fd`, a new socket that holds libc. On a refusal the descriptor is closed. */
  static open(
    edges: Edges,
    fd: number,
    kind: DatagramKind["kind"],
    request: BindRequest,
  ): LinuxDatagrams | SocketFailure {
    const { version } = request;
    const socket = new LinuxDatagrams(edges, fd, { kind, version });
    const isDual = request.dualStack === true;
    if (version === 6) setInt(fd, SOL_IPV6, IPV6_V6ONLY, isDual ? 0 : 1);
    for (const of of isDual ? [4, 6] as const : [version]) {
      for (const [level, option] of OPTIONS[of]) setInt(fd, level, option, 1);
    }
    setInt(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER);
    if (version === 4 || isDual) setInt(fd, SOL_IP, IP_MTU_DISCOVER, PMTUDISC_DONT);
    if (kind === "udp") setInt(fd, SOL_UDP, UDP_GRO, 1);
    // A ping socket binds for a source address only: its identifier is Linux' choice.
    const needsBind = kind === "udp" || request.address !== null;
    let errno = needsBind ? bindSocket(fd, request) : 0;
    if (errno === 0 && !edges.add(socket)) errno = lastErrno();
    if (errno === 0) return socket;
    socket.close();
    return errnoName(errno);
  }

  get local(): SocketEnd {
    return this.#local ??= ownEnd(this.fd) ?? { address: IP_UNSPECIFIED, port: 0 };
  }

  edge(canRead: boolean, canWrite: boolean): void {
    if (canRead) this.#canRead = true;
    if (canWrite) this.#canWrite = true;
    this.onReady?.();
  }

  send(messages: readonly DatagramOut[], count: number): number {
    this.refusal = null;
    let done = 0;
    // The message that was tried again after an error of others.
    let again = -1;
    while (done < count && this.fd >= 0 && this.#canWrite) {
      const batch = this.#batch(messages, done, count);
      // Safe because the set is kept, and its pieces by `messages`.
      const sent = libc().sendmmsg(this.fd, batch.bytes, batch.length, MSG_DONTWAIT);
      if (sent > 0) {
        done += sent;
        continue;
      }
      const errno = lastErrno();
      if (errno === EAGAIN) this.#canWrite = false;
      else if (errno !== EINTR) {
        const hadReports = this.#gatherReports();
        if (!hadReports || again === done) {
          this.refusal = errnoName(errno);
          return done;
        }
        again = done;
      }
    }
    return done;
  }

  /** As many messages from `from` on as go in one call: with the same Don't Fragment, which is the socket's in IPv4. */
  #batch(
    messages: readonly DatagramOut[],
    from: number,
    end: number,
  ): { bytes: Uint8Array<ArrayBuffer>; length: number } {
    const { dontFragment } = messages[from]!;
    if (this.#version === 4 && dontFragment !== this.#dontFragment) {
      setInt(this.fd, SOL_IP, IP_MTU_DISCOVER, dontFragment ? PMTUDISC_PROBE : PMTUDISC_DONT);
      this.#dontFragment = dontFragment;
    }
    const set = sendSet();
    let length = 0;
    while (length < SEND_BATCH && from + length < end) {
      const message = messages[from + length]!;
      if (this.#version === 4 && message.dontFragment !== dontFragment) break;
      set.put(length++, this.#version, message);
    }
    return { bytes: set.bytes, length };
  }

  receive(sink: (datagram: DatagramIn) => void, max: number): number {
    let got = 0;
    // Each failure takes a pending error away, of which there are few.
    let failures = 0;
    while (got < max && this.fd >= 0 && this.#canRead && failures <= REPORTS_MAX) {
      const wanted = Math.min(max - got, RECEIVE_BATCH);
      const set = receiveSet(wanted);
      // Safe because the set and its slots are kept for the life of the process.
      const count = libc().recvmmsg(this.fd, set.bytes, wanted, MSG_DONTWAIT, null);
      if (count < 0) {
        const errno = lastErrno();
        if (errno === EAGAIN) this.#canRead = false;
        else if (errno !== EINTR) {
          failures++;
          this.#gatherReports();
        }
        continue;
      }
      // Fewer than asked for: there were no more, and the next one makes an edge.
      if (count < wanted) this.#canRead = false;
      got += count;
      for (let i = 0; i < count; i++) sink(receivedAt(set, i, this.local));
    }
    return got;
  }

  /** Moves what the error queue has to {@link #reports}; whether there was something. */
  #gatherReports(): boolean {
    let had = false;
    for (let report = this.#next(); report !== null; report = this.#next()) {
      had = true;
      if (this.#reports.length < REPORTS_MAX) this.#reports.push(report);
    }
    return had;
  }

  #next(): SocketReport | null {
    return this.fd < 0 ? null : takeErrorReport(this.fd, this.local);
  }

  takeReport(): SocketReport | null {
    return this.#reports.shift() ?? this.#next();
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
