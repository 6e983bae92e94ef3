/**
 * FakeDatagrams: the datagram half of HostSockets, in virtual time. Sockets of UDP and ping, the hops and peers behind
 * them, and what Linux does with errors, ports and descriptors.
 *
 *     const fake = new FakeDatagrams(clock);
 *     fake.peer("192.0.2.9", { answer: echoes });
 *     fake.peer("192.0.2.10", { error: { type: 3, code: 3, offender: "192.0.2.10" } });
 *
 * It is strict: a call of a closed socket throws, what a sink was handed is overwritten when it returns, and onReady is
 * called once until a call found nothing left.
 *
 * @module
 */

import { Errno } from "../../../kernel/error.ts";
import type {
  BindRequest,
  DatagramIn,
  DatagramOut,
  HostDatagrams,
  SocketEnd,
  SocketFailure,
  SocketReport,
} from "../../../kernel/host_sockets.ts";
import { Job } from "../../../kernel/job.ts";
import type { Clock } from "../../../kernel/time.ts";
import { concatBytes, get16, put16 } from "../../../kernel/wire/bytes.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { ip } from "../ip/ip_fixture.ts";
import {
  endOf,
  errorOf,
  errorReport,
  type FakeAnswer,
  type FakePeer,
  headersLen,
  QUOTE_MAX,
  type Sent,
  setPingChecksum,
  shownEnd,
  type Waiting,
} from "./fake_peer.ts";

/** Largest payload of a datagram (udp(7)), and most segments of a burst. */
const PAYLOAD_MAX = 65507;
/** The length field of IPv6 counts no header of its own. */
const PAYLOAD6_MAX = 65527;
const SEGMENTS_MAX = 64;
const EPHEMERAL_MIN = 32768;

/** The datagram sockets of a machine, and the network behind them. */
export class FakeDatagrams {
  /** Descriptors that may be open at a time; beyond: EMFILE. */
  descriptorsMax = Infinity;
  /** Datagrams that each socket takes before it has no room; null: any number. */
  room: number | null = null;
  /** Of ping_group_range. */
  mayPing = true;
  /** Versions that the machine has. */
  versions: readonly number[] = [4, 6];
  /** Everything that was sent. */
  readonly sent: Sent[] = [];
  /** Sockets that are open, in the order in which they were opened. */
  readonly open: Set<FakeSocket> = new Set();
  /** Ports of other programs, for both versions. */
  readonly taken: Set<number> = new Set();
  /** Calls of `send`. */
  sends = 0;
  readonly #peers = new Map<string, FakePeer>();
  /** UDP sockets by port: a world may have thousands. */
  readonly #bound = new Map<number, FakeSocket[]>();
  readonly #own: Set<string>;
  #nextPort = EPHEMERAL_MIN;
  #nextId = 5000;

  /** A machine with the addresses `own`, first those that packets leave from. */
  constructor(readonly clock: Clock, own: readonly string[] = ["198.51.100.1", "2001:db8:5::1"]) {
    this.#own = new Set(own);
  }

  /** Puts a peer at `address` or `address!port`. */
  peer(at: string, peer: FakePeer): void {
    this.#peers.set(at, peer);
  }

  datagrams(request: BindRequest): HostDatagrams | SocketFailure {
    const refusal = this.#refusal(request.version);
    if (refusal !== null) return refusal;
    if (request.port > 0 && request.port < 1024) return "EACCES";
    if (request.address !== null && !this.isLocal(request.address)) return "EADDRNOTAVAIL";
    const port = request.port || this.#freePort(request);
    if (this.#isTaken(request, port)) return "EADDRINUSE";
    const unspecified = ip(request.version === 4 ? "0.0.0.0" : "::");
    return this.#add(new FakeSocket(this, "udp", request, { address: request.address ?? unspecified, port }));
  }

  echo(version: 4 | 6, from: IpAddr | null): HostDatagrams | SocketFailure {
    const refusal = this.#refusal(version);
    if (refusal !== null) return refusal;
    if (!this.mayPing) return "EACCES";
    const request = { version, address: from, port: 0 };
    const end = { address: from ?? ip(version === 4 ? "0.0.0.0" : "::"), port: 0 };
    return this.#add(new FakeSocket(this, "echo", request, end, this.#nextId++));
  }

  isLocal(address: IpAddr): boolean {
    return address.isLoopback || this.#own.has(`${address}`);
  }

  /** A datagram from `from` comes to the machine's `to`, both `address!port`: whether a socket took it. */
  arrive(from: string, to: string, answer: FakeAnswer): boolean {
    const end = endOf(to);
    const socket = this.#bound.get(end.port)?.find((one) => one.takes(end));
    socket?.deliver({ from: endOf(answer.from ?? from), to: end.address, answer });
    return socket !== undefined;
  }

  /** Gives every socket room again. */
  unblock(): void {
    this.room = null;
    for (const socket of this.open) socket.wake();
  }

  /** For sockets: one leaves. */
  forget(socket: FakeSocket): void {
    this.open.delete(socket);
    const { port } = socket.local;
    const left = this.#bound.get(port)?.filter((one) => one !== socket) ?? [];
    if (left.length > 0) this.#bound.set(port, left);
    else this.#bound.delete(port);
  }

  /** For sockets: sends one datagram, that is no burst; null, or why not. */
  route(socket: FakeSocket, message: DatagramOut, payload: Uint8Array): SocketFailure | null {
    const { to, ttl, tos, dontFragment } = message;
    const peer = this.#peers.get(shownEnd(to)) ?? this.#peers.get(`${to.address}`) ?? {};
    const refusal = this.#refused(socket, message, payload, peer);
    if (refusal !== null) return refusal;
    const source = message.from ?? this.sourceFor(to.address);
    const from = { address: source, port: socket.kind === "echo" ? socket.id : socket.local.port };
    const sent: Sent = {
      ...{ kind: socket.kind, from: shownEnd(from), to: shownEnd(to), payload, ttl, tos, dontFragment },
    };
    this.sent.push(sent);
    const later = (work: () => void) => this.clock.timer(work).arm(peer.delayMs ?? 0);
    const error = errorOf(peer, sent, to.address.isV4);
    if (error !== null) later(() => socket.report(errorReport(error, to, payload)));
    else later(() => this.#answer(peer, sent, socket, source));
    return null;
  }

  /** The address from which packets to `to` leave. */
  sourceFor(to: IpAddr): IpAddr {
    if (this.isLocal(to)) return to;
    return ip([...this.#own].find((own) => ip(own).isV4 === to.isV4)!);
  }

  #answer(peer: FakePeer, sent: Sent, socket: FakeSocket, to: IpAddr): void {
    for (const answer of peer.answer?.(sent) ?? []) {
      const from = endOf(answer.from ?? sent.to);
      if (socket.isClosed) continue;
      socket.deliver({ from, to, answer });
    }
  }

  /** Why the machine does not take a datagram; an error queue entry says the MTU, as Linux has it. */
  #refused(
    socket: FakeSocket,
    { to, from, dontFragment }: DatagramOut,
    payload: Uint8Array,
    peer: FakePeer,
  ): SocketFailure | null {
    if (from !== null && !this.isLocal(from)) return "EINVAL";
    if (peer.refusal !== undefined) return peer.refusal;
    if (payload.length > longest(to) + (socket.kind === "echo" ? 8 : 0)) return "EMSGSIZE";
    const { mtu } = peer;
    const isLarger = mtu !== undefined && payload.length + headersLen(to.address.isV4) > mtu.size;
    if (!isLarger || !dontFragment || mtu.by !== null) return null;
    socket.report({
      ...{ failure: "EMSGSIZE", origin: "local", type: 0, code: 0, mtu: mtu.size, offender: null, to },
      payload: payload.slice(0, QUOTE_MAX),
    });
    return "EMSGSIZE";
  }

  #refusal(version: number): SocketFailure | null {
    if (this.open.size >= this.descriptorsMax) return "EMFILE";
    return this.versions.includes(version) ? null : "EAFNOSUPPORT";
  }

  #add(socket: FakeSocket): FakeSocket {
    this.open.add(socket);
    const { kind, local: { port } } = socket;
    if (kind === "udp") this.#bound.set(port, [...this.#bound.get(port) ?? [], socket]);
    return socket;
  }

  #freePort(request: BindRequest): number {
    while (this.#isTaken(request, this.#nextPort)) this.#nextPort++;
    return this.#nextPort++;
  }

  #isTaken({ version, address, dualStack }: BindRequest, port: number): boolean {
    if (this.taken.has(port)) return true;
    return (this.#bound.get(port) ?? []).some(({ request }) =>
      (request.version === version || request.dualStack === true || dualStack === true) &&
      (request.address === null || address === null || address.equals(request.address))
    );
  }
}

/** A socket of {@link FakeDatagrams}. */
export class FakeSocket implements HostDatagrams {
  onReady: (() => void) | null = null;
  readonly failure: SocketFailure | null = null;
  refusal: SocketFailure | null = null;
  isClosed = false;
  readonly #reports: SocketReport[] = [];
  readonly #waiting: Waiting[] = [];
  readonly #edge: Job;
  /** Whether the next event is an edge. */
  #isArmed = true;
  #taken = 0;

  constructor(
    readonly fake: FakeDatagrams,
    readonly kind: "udp" | "echo",
    readonly request: BindRequest,
    readonly local: SocketEnd,
    /** The kernel's identifier of a ping socket. */
    readonly id: number = 0,
  ) {
    this.#edge = new Job(fake.clock.jobs, () => this.onReady?.());
  }

  takeReport(): SocketReport | null {
    this.#mustBeOpen();
    return this.#reports.shift() ?? null;
  }

  close(): void {
    this.isClosed = true;
    this.fake.forget(this);
  }

  send(messages: readonly DatagramOut[], count: number): number {
    this.#mustBeOpen();
    this.fake.sends++;
    for (let i = 0; i < count; i++) {
      const { room } = this.fake;
      this.refusal = null;
      if (room !== null && this.#taken >= room) {
        this.#isArmed = true;
        return i;
      }
      this.refusal = this.#sendOne(messages[i]!);
      if (this.refusal !== null) return i;
      this.#taken++;
    }
    return count;
  }

  receive(sink: (datagram: DatagramIn) => void, max: number): number {
    this.#mustBeOpen();
    let count = 0;
    for (; count < max && this.#waiting.length > 0; count++) {
      const { from, to, answer } = this.#waiting.shift()!;
      const payload = answer.payload.slice();
      const { ttl = 60, tos = 0, segmentSize = 0 } = answer;
      sink({ from: { ...from }, to, payload, ttl, tos, segmentSize });
      payload.fill(0xee);
    }
    if (count < max) this.#isArmed = true;
    return count;
  }

  /** Whether a datagram to `end` comes here. */
  takes({ address, port }: SocketEnd): boolean {
    const { version, address: bound, dualStack } = this.request;
    if (this.kind !== "udp" || port !== this.local.port) return false;
    const isVersion = address.isV4 === (version === 4) || (address.isV4 && dualStack === true);
    return isVersion && (bound === null || bound.equals(address));
  }

  /** A datagram came. */
  deliver(waiting: Waiting): void {
    const { answer } = waiting;
    if (this.kind === "udp") this.#waiting.push(waiting);
    else this.#waiting.push({ ...waiting, answer: { ...answer, payload: this.#reply(waiting) } });
    this.#event();
  }

  /** An entry for the error queue. */
  report(report: SocketReport): void {
    if (this.isClosed) return;
    this.#reports.push(report);
    this.#event();
  }

  /** There is room again. */
  wake(): void {
    this.#taken = 0;
    this.#event();
  }

  #event(): void {
    if (!this.#isArmed || this.isClosed) return;
    this.#isArmed = false;
    this.#edge.wake();
  }

  #sendOne(message: DatagramOut): SocketFailure | null {
    const payload = concatBytes(message.parts);
    const { segmentSize: size } = message;
    if (this.kind === "echo") this.#own(message, payload);
    if (size === 0) return this.fake.route(this, message, payload);
    if (payload.length > PAYLOAD_MAX || Math.ceil(payload.length / size) > SEGMENTS_MAX) return "EINVAL";
    for (let at = 0; at < payload.length; at += size) {
      const refusal = this.fake.route(this, message, payload.slice(at, at + size));
      // Linux takes a burst whole or not at all; what is too large for the way is found at its first datagram.
      if (refusal !== null) return refusal;
    }
    return null;
  }

  /** The kernel's identifier and checksum in a request. */
  #own({ to, from }: DatagramOut, request: Uint8Array): void {
    put16(request, 4, this.id);
    setPingChecksum(request, from ?? this.fake.sourceFor(to.address), to.address);
  }

  /** A reply to the request that `answer` repeats, as the kernel hands it on. */
  #reply({ from, to, answer }: Waiting): Uint8Array {
    const message = answer.payload.slice();
    if (get16(message, 4) !== this.id) throw new Error("The kernel delivers replies by their identifier");
    if (message[0] === 8) message[0] = 0;
    if (message[0] === 128) message[0] = 129;
    setPingChecksum(message, from.address, to);
    return message;
  }

  #mustBeOpen(): void {
    if (this.isClosed) throw new Error(`A call of a closed socket (errno ${Errno.EBADF})`);
  }
}

function longest({ address }: SocketEnd): number {
  return address.isV4 ? PAYLOAD_MAX : PAYLOAD6_MAX;
}
