/**
 * FakeStreams: the TCP half of HostSockets, in virtual time: sockets of a machine, and the servers and callers of the
 * world behind them.
 *
 *     const fake = new FakeStreams(clock);
 *     fake.serve("192.0.2.9!80", (conn) => conn.send(text));
 *     fake.fail("192.0.2.10", { failure: "EHOSTUNREACH", report });
 *
 * It is strict: a call of a closed socket throws, onReady comes only after an edge and never inside a call, and every
 * read and write may be partial.
 *
 * @module
 */

import { assert } from "@std/assert";
import {
  type BindRequest,
  type ConnectRequest,
  FAILED,
  type HostListener,
  type HostSocket,
  type HostStream,
  NOT_NOW,
  type SocketEnd,
  type SocketFailure,
  type SocketReport,
} from "../../../kernel/host_sockets.ts";
import { Job } from "../../../kernel/job.ts";
import type { Clock } from "../../../kernel/time.ts";
import { parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { endOf, type FakeFailure, shownEnd } from "./fake_peer.ts";
import { Pipe } from "./fake_pipe.ts";

const EPHEMERAL_MIN = 32_768;

/** The world's end of a connection. */
export class FakeConn {
  /** All that came. */
  readonly got: number[] = [];
  hasEnd = false;
  wasReset = false;
  /** Whether it reads: if not, the socket's buffer fills. */
  isReading = true;
  onData: (() => void) | null = null;
  /** Called when the machine's side has ended, or reset. */
  onEnd: (() => void) | null = null;
  #unsent: number[] = [];
  #ends = false;

  constructor(readonly socket: FakeStream, readonly remote: SocketEnd) {}

  send(bytes: Iterable<number>): void {
    for (const byte of bytes) this.#unsent.push(byte);
    this.pump();
  }

  end(): void {
    this.#ends = true;
    this.pump();
  }

  reset(): void {
    // What is in the socket's buffer can still be read; what is not there yet is lost.
    this.#unsent = [];
    this.socket.broken("ECONNRESET");
  }

  /** For the socket: moves what fits, and takes what came. */
  pump(): void {
    const { down, up } = this.socket;
    const count = Math.min(down.room, this.#unsent.length);
    if (count > 0) {
      down.bytes.push(...this.#unsent.splice(0, count));
      this.socket.edge("read");
    }
    if (this.#ends && this.#unsent.length === 0 && !down.isEnded) {
      down.isEnded = true;
      this.socket.edge("read");
    }
    if (!this.isReading) return;
    if (up.bytes.length > 0) {
      for (const byte of up.bytes.splice(0)) this.got.push(byte);
      this.socket.edge("write");
      this.onData?.();
    }
    if (up.isEnded && !this.hasEnd) {
      this.hasEnd = true;
      this.onEnd?.();
    }
  }
}

/** A machine's socket. */
export class FakeStream implements HostStream {
  onReady: (() => void) | null = null;
  failure: SocketFailure | null = null;
  state: HostStream["state"] = "connecting";
  readonly reports: SocketReport[] = [];
  /** Options that were set: TTL and TOS of the SYN, later TTL. */
  readonly ttls: number[] = [];
  readonly up = new Pipe();
  readonly down = new Pipe();
  conn: FakeConn | null = null;
  isClosed = false;
  #canRead = true;
  #canWrite = true;
  readonly #job: Job;

  constructor(readonly world: FakeStreams, readonly local: SocketEnd, readonly remote: SocketEnd, readonly tos = 0) {
    this.#job = new Job(world.clock.jobs, () => {
      if (!this.isClosed) this.onReady?.();
    });
  }

  /** Something has changed: the owner hears of it, unless it could have known. */
  edge(side: "read" | "write" | "both"): void {
    const isNews = (side !== "write" && !this.#canRead) || (side !== "read" && !this.#canWrite) || side === "both";
    if (side !== "write") this.#canRead = true;
    if (side !== "read") this.#canWrite = true;
    if (isNews && !this.isClosed) this.#job.wake();
  }

  settle(failure: SocketFailure | null, report: SocketReport | null = null): void {
    if (this.isClosed) return;
    this.state = failure === null ? "connected" : "failed";
    this.failure = failure;
    if (report !== null) this.reports.push(report);
    this.edge("both");
  }

  broken(failure: SocketFailure): void {
    this.#pendingFailure ??= failure;
    this.edge("both");
  }
  #pendingFailure: SocketFailure | null = null;

  read(into: Uint8Array): number {
    this.#check();
    assert(into.length > 0, "a read needs room");
    if (!this.#canRead) return this.failure === null ? NOT_NOW : FAILED;
    const count = Math.min(into.length, this.down.bytes.length, this.world.step());
    if (count > 0) {
      into.set(this.down.bytes.splice(0, count));
      this.conn?.pump();
      return count;
    }
    if (this.#pendingFailure !== null) {
      this.failure = this.#pendingFailure;
      return FAILED;
    }
    if (this.down.isEnded) return 0;
    this.#canRead = false;
    return NOT_NOW;
  }

  write(parts: readonly Uint8Array[], count: number): number {
    this.#check();
    assert(count > 0, "a write has something to write");
    if (this.#pendingFailure !== null) this.failure = this.#pendingFailure;
    if (this.failure !== null) return FAILED;
    if (!this.#canWrite) return NOT_NOW;
    assert(!this.up.isEnded, "nothing is written behind the end");
    let room = Math.min(this.up.room, this.world.step());
    if (room <= 0) {
      this.#canWrite = false;
      return NOT_NOW;
    }
    let done = 0;
    for (const part of parts.slice(0, count)) {
      const taken = part.subarray(0, room);
      this.up.bytes.push(...taken);
      done += taken.length;
      room -= taken.length;
      if (room === 0) break;
    }
    this.world.later(() => this.conn?.pump());
    return done;
  }

  #check(): void {
    assert(!this.isClosed, "a closed socket is not used");
    assert(this.state === "connected", "only a connected socket is read or written");
  }

  takeReport(): SocketReport | null {
    return this.reports.shift() ?? null;
  }

  setTtl(ttl: number): void {
    this.ttls.push(ttl);
  }

  shutdownWrite(): void {
    this.up.isEnded = true;
    this.world.later(() => this.conn?.pump());
  }

  reset(): void {
    if (this.isClosed) return;
    this.#left(true);
  }

  close(): void {
    if (this.isClosed) return;
    // Linux resets a connection that is closed with unread bytes (RFC 1122 4.2.2.13).
    this.#left(this.down.bytes.length > 0);
  }

  #left(isReset: boolean): void {
    this.isClosed = true;
    this.world.open.delete(this);
    const { conn } = this;
    if (conn === null) return;
    this.world.later(() => {
      if (isReset) conn.wasReset = true;
      else this.up.isEnded = true;
      conn.pump();
      if (isReset) conn.onEnd?.();
    });
  }
}

/** A listening socket of the machine. */
export class FakeListener implements HostListener {
  onReady: (() => void) | null = null;
  readonly failure = null;
  readonly waiting: FakeStream[] = [];
  readonly #job: Job;

  constructor(readonly world: FakeStreams, readonly local: SocketEnd) {
    this.#job = new Job(world.clock.jobs, () => this.onReady?.());
  }

  call(socket: FakeStream): void {
    this.waiting.push(socket);
    this.#job.wake();
  }

  accept(): HostStream | "shortage" | null {
    if (this.waiting.length === 0) return null;
    if (this.world.open.size >= this.world.descriptorsMax) return "shortage";
    const socket = this.waiting.shift()!;
    this.world.open.add(socket);
    return socket;
  }

  takeReport(): null {
    return null;
  }

  close(): void {
    this.world.open.delete(this);
    this.world.listeners.delete(this);
  }
}

/** The TCP sockets of a machine, and the network behind them. */
export class FakeStreams {
  /** Descriptors that may be open at a time; beyond: EMFILE. */
  descriptorsMax = Infinity;
  readonly open: Set<HostSocket> = new Set();
  readonly listeners: Set<FakeListener> = new Set();
  /** Every attempt to connect, as `address!port`. */
  readonly attempts: string[] = [];
  readonly requests: ConnectRequest[] = [];
  /** Most bytes of the next read or write. */
  step: () => number = () => Infinity;
  readonly #servers = new Map<string, { readonly take: (conn: FakeConn) => void; readonly delayMs: number }>();
  readonly #failures = new Map<string, FakeFailure>();
  #nextPort = EPHEMERAL_MIN;

  constructor(readonly clock: Clock) {}

  /** A server at `address!port`. */
  serve(at: string, take: (conn: FakeConn) => void, delayMs = 1): void {
    this.#servers.set(at, { take, delayMs });
  }

  /** Connecting to `address` or `address!port` fails. */
  fail(at: string, failure: FakeFailure): void {
    this.#failures.set(at, failure);
  }

  /** Runs `work` soon, and not inside the caller. */
  later(work: () => void, delayMs = 0): void {
    this.clock.timer(work).arm(delayMs);
  }

  connect(request: ConnectRequest): HostStream | SocketFailure {
    const { to } = request;
    const at = shownEnd(to);
    this.attempts.push(at);
    this.requests.push(request);
    if (this.open.size >= this.descriptorsMax) return "EMFILE";
    const failing = this.#failures.get(at) ?? this.#failures.get(`${to.address}`);
    if (failing?.atOnce === true) return failing.failure!;
    const own = { address: request.from ?? parseIpAddr(to.address.isV4 ? "198.51.100.1" : "2001:db8:5::1")! };
    const socket = new FakeStream(this, { ...own, port: this.#nextPort++ }, to, request.tos);
    socket.ttls.push(request.ttl);
    this.open.add(socket);
    const server = this.#servers.get(at);
    if (failing !== undefined) {
      const { failure, report = null, delayMs = 1 } = failing;
      if (failure !== undefined) this.later(() => socket.settle(failure, report), delayMs);
    } else if (server === undefined) this.later(() => socket.settle("ECONNREFUSED"), 1);
    else this.later(() => this.#join(socket, server.take), server.delayMs);
    return socket;
  }

  #join(socket: FakeStream, take: (conn: FakeConn) => void): void {
    if (socket.isClosed) return;
    socket.conn = new FakeConn(socket, socket.local);
    socket.settle(null);
    take(socket.conn);
  }

  listen(request: BindRequest): HostListener | SocketFailure {
    const { address, port } = request;
    for (const { local } of this.listeners) {
      if (local.port === port && (address === null || local.address.isUnspecified || local.address.equals(address))) {
        return "EADDRINUSE";
      }
    }
    if (port < 1024) return "EACCES";
    const unspecified = parseIpAddr(request.version === 4 ? "0.0.0.0" : "::")!;
    const listener = new FakeListener(this, { address: address ?? unspecified, port });
    this.listeners.add(listener);
    this.open.add(listener);
    return listener;
  }

  /** A caller at `from`, `address!port`, calls the machine's port. */
  call(from: string, port: number): FakeConn {
    const listener = [...this.listeners].find(({ local }) => local.port === port);
    assert(listener !== undefined, `there is no listener at ${port}`);
    const remote = endOf(from);
    const socket = new FakeStream(this, listener.local, remote);
    socket.state = "connected";
    socket.conn = new FakeConn(socket, remote);
    listener.call(socket);
    return socket.conn;
  }
}
