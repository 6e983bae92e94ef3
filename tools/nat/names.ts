/**
 * NatNames: the name server as a program of the host: the relay's turn, and the door for questions over TCP.
 *
 * Path: program → names → nat, dns_sockets, services/dns, proc.
 *
 * A guest's connection to the name server is translated like any other, but to a port of the host where this program
 * listens; it takes no call but those that come by a map of the NAT. So questions over TCP meet the same relay as those
 * over UDP, and names of our own are never asked of a server.
 *
 * Limits: {@link CONNS_MAX} connections, {@link CONNS_PER_GUEST} of one guest; an idle one is closed after
 * {@link CONN_IDLE_MS} (RFC 7766 6.2.3).
 *
 * @module
 */

import { Open } from "../../kernel/qid.ts";
import { KernelError } from "../../kernel/error.ts";
import { EventQueue, TapEvent } from "../../kernel/fd_tap.ts";
import { Job } from "../../kernel/job.ts";
import type { Proc } from "../../kernel/proc.ts";
import type { Random } from "../../kernel/random.ts";
import { AGAIN } from "../../kernel/sys.ts";
import { Tap } from "../../kernel/syscall_table.ts";
import type { Clock, Timer } from "../../kernel/time.ts";
import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { DnsSockets, fdOf, type NameSocket, type NameSocketOptions, readText, watch } from "./services/dns_sockets.ts";
import { DnsStream } from "./services/dns_stream.ts";
import type { Nat } from "./nat.ts";
import type { DnsAsker } from "./services/dns.ts";

/** Most connections of guests: each may hold a message of 64 KiB, so 8 MiB at the worst. */
const CONNS_MAX = 128;
export const CONNS_PER_GUEST = 32;
/** Longer than the relay takes to give a question up. */
const CONN_IDLE_MS = 60_000;
/** How often idle connections are looked for. */
const SWEEP_MS = 5000;
/** Events in one run of the job. */
const EVENTS_PER_RUN = 256;
const CALLS_PER_TURN = 16;

const encoder = new TextEncoder();

/** How it is started. */
interface NatNamesOptions {
  readonly proc: Proc;
  readonly clock: Clock;
  readonly random: Random;
  readonly nat: Nat;
  readonly netDir: string;
  /** Whether the NAT has a packet in hand: then the job waits for {@link NatNames.resume}. */
  readonly isBusy: () => boolean;
  /** Hands out the frames that wait for guests. */
  readonly deliver: () => void;
}

/** A guest's connection. */
class GuestConn implements DnsAsker, NameSocket {
  readonly byTcp = true;
  lastUse: number;
  #waiting = 0;
  readonly #stream: DnsStream;

  constructor(readonly names: NatNames, readonly owner: object, readonly port: number, readonly fd: number) {
    this.#stream = new DnsStream(names.sockets.proc.sys, fd, true);
    this.lastUse = names.now;
  }

  get isOver(): boolean {
    return !this.#stream.isOpen || (this.#stream.isEnded && this.#waiting === 0);
  }

  answer(message: Uint8Array): void {
    this.names.nat.counters.dns++;
    this.#waiting--;
    this.lastUse = this.names.now;
    this.#stream.write(message);
  }

  onEvent(events: number, now: number): void {
    if ((events & TapEvent.Writable) !== 0) this.#stream.flush();
    const { messages, isMore } = this.#stream.read();
    for (const buf of messages) {
      this.lastUse = now;
      this.#waiting++;
      this.names.nat.relay.ask(this, { buf, at: 0, end: buf.length }, now);
    }
    if (this.isOver) this.names.end(this);
    else if (isMore) this.names.sockets.events.send(this.fd, TapEvent.Readable, this);
  }

  close(): void {
    this.#stream.close();
  }
}

/** See above. */
export class NatNames {
  readonly nat: Nat;
  readonly sockets: NameSocketOptions;
  readonly #options: NatNamesOptions;
  readonly #events = new EventQueue();
  readonly #upstream: DnsSockets;
  readonly #job: Job;
  readonly #timer: Timer;
  readonly #conns = new Set<GuestConn>();
  #nextConn = 0;
  #isDelayed = false;
  /** The listening conversation: its directory, and the descriptors that keep and tap it. */
  #door: { dir: string; fds: number[] } | null = null;

  constructor(options: NatNamesOptions) {
    const { proc, clock, random, nat, netDir } = options;
    this.#options = options;
    this.nat = nat;
    const { farPeer } = nat.config;
    this.sockets = { proc, random, events: this.#events, netDir, relay: nat.relay, farPeer };
    this.#upstream = new DnsSockets(this.sockets);
    this.#job = new Job(clock.jobs, () => this.#run());
    this.#timer = clock.timer(() => this.#job.wake());
    this.#events.onEvent = () => this.#job.wake();
    nat.relay.onWork = () => this.#job.wake();
    nat.relay.upstream = this.#upstream;
    if (nat.config.dns !== null) this.#openDoor();
  }

  get now(): number {
    return this.#options.clock.now();
  }

  /** Connections of guests, and sockets to servers: for limits. */
  get sizes(): { conns: number; sockets: number } {
    return { conns: this.#conns.size, sockets: this.#upstream.size };
  }

  /** The NAT has done with its packet. */
  resume(): void {
    if (!this.#isDelayed) return;
    this.#isDelayed = false;
    this.#job.wake();
  }

  /** Ends it. */
  close(): void {
    const { sys } = this.sockets.proc;
    this.#timer.disarm();
    this.nat.relay.upstream = null;
    this.nat.relay.onWork = () => {};
    this.#setNameServer(null);
    for (const conn of this.#conns) conn.close();
    this.#conns.clear();
    this.#upstream.close();
    for (const fd of this.#door?.fds ?? []) sys.close(fd);
    this.#door = null;
    this.#events.onEvent = null;
  }

  /** Ends the connection of a guest. */
  end(conn: GuestConn): void {
    if (!this.#conns.delete(conn)) return;
    this.nat.relay.forget(conn);
    this.#events.drop(conn.fd);
    conn.close();
  }

  #run(): void {
    this.#isDelayed = this.#options.isBusy();
    if (this.#isDelayed) return;
    const { now } = this;
    for (let left = EVENTS_PER_RUN; left > 0; left--) {
      const event = this.#events.poll();
      if (event === null) break;
      (event.data as NameSocket).onEvent(event.events, now);
    }
    this.nat.relay.run(now);
    for (const conn of this.#conns) if (conn.isOver || now - conn.lastUse >= CONN_IDLE_MS) this.end(conn);
    const isUsed = this.#upstream.sweep(now) || this.#conns.size > 0;
    this.#options.deliver();
    if (this.#events.length > 0) this.#job.wake();
    const next = Math.min(this.nat.relay.nextDeadline(), isUsed ? now + SWEEP_MS : Infinity);
    if (next < Infinity) this.#timer.arm(Math.max(0, next - now));
    else this.#timer.disarm();
  }

  // --- the door

  /** Connections to the name server go to `port` of the host; null: nowhere. */
  #setNameServer(port: number | null): void {
    for (const ctx of [this.nat.v4, this.nat.v6]) {
      if (ctx !== null) ctx.nameServer = port === null ? null : { addr: ctx.config.hostAddr, port };
    }
  }

  #openDoor(): void {
    const { proc, netDir } = this.sockets;
    const { sys } = proc;
    const fds: number[] = [];
    try {
      const ctl = fdOf(sys.open(`${netDir}/tcp/clone`, Open.ReadWrite | Open.NonBlock));
      fds.push(ctl);
      const dir = `${netDir}/tcp/${readText(proc, ctl)}`;
      sys.write(ctl, encoder.encode("announce *!0"));
      const calls = fdOf(sys.open(`${dir}/listen`, Open.Path));
      fds.push(calls);
      const data: NameSocket = { onEvent: () => this.#takeCalls() };
      const filter = TapEvent.Readable;
      sys.tapFds([{ fd: calls, command: Tap.Add, filter, queue: this.#events, id: calls, data, level: true }]);
      const port = this.#endOf(dir, "local").port;
      this.#setNameServer(port);
      this.#door = { dir, fds };
    } catch (error) {
      for (const fd of fds) sys.close(fd);
      // Without TCP in the kernel there is no door: guests hear that the port is closed.
      if (!(error instanceof KernelError)) throw error;
    }
  }

  #takeCalls(): void {
    for (let i = 0; i < CALLS_PER_TURN; i++) if (!this.#takeCall()) return;
    const [, calls] = this.#door!.fds;
    this.#events.send(calls!, TapEvent.Readable, { onEvent: () => this.#takeCalls() });
  }

  /** Takes a call; false: there is none. */
  #takeCall(): boolean {
    const { proc, netDir } = this.sockets;
    const { sys } = proc;
    let ctl = -1;
    try {
      const opened = sys.open(`${this.#door!.dir}/listen`, Open.ReadWrite | Open.NonBlock);
      if (opened === AGAIN) return false;
      ctl = opened as number;
      const dir = `${netDir}/tcp/${readText(proc, ctl)}`;
      const owner = this.#ownerOf(dir);
      if (owner === null) sys.write(ctl, encoder.encode("hangup"));
      else this.#addConn(owner, fdOf(sys.open(`${dir}/data`, Open.ReadWrite | Open.NonBlock)));
      return true;
    } catch (error) {
      // A call may be over before it is taken.
      if (error instanceof KernelError) return ctl >= 0;
      throw error;
    } finally {
      if (ctl >= 0) sys.close(ctl);
    }
  }

  /** The guest whose connection was translated to this one; null: there is none, or it has too many. */
  #ownerOf(dir: string): object | null {
    const { addr, port } = this.#endOf(dir, "remote");
    const parsed = parseIpAddr(addr);
    const door = parsed?.isV4 === true ? this.nat.v4.nameServer : this.nat.v6?.nameServer ?? null;
    if (parsed === null || door === null || !door.addr.equals(parsed)) return null;
    const owner = this.nat.dnsGuest(port, !parsed.isV4);
    if (owner === null) return null;
    const own = [...this.#conns].filter((conn) => conn.owner === owner);
    return own.length >= CONNS_PER_GUEST ? null : owner;
  }

  #addConn(owner: object, fd: number): void {
    if (this.#conns.size >= CONNS_MAX) {
      const [idlest] = [...this.#conns].sort((a, b) => a.lastUse - b.lastUse);
      this.end(idlest!);
    }
    const conn = new GuestConn(this, owner, this.#nextConn++, fd);
    this.#conns.add(conn);
    watch(this.sockets, fd, conn);
  }

  /** One end of a conversation: its file reads `addr!port`. */
  #endOf(dir: string, end: "local" | "remote"): { addr: string; port: number } {
    const { proc } = this.sockets;
    const fd = fdOf(proc.sys.open(`${dir}/${end}`, Open.Read));
    try {
      const [addr = "", port = ""] = readText(proc, fd).trim().split("!");
      return { addr, port: parseInt(port, 10) };
    } finally {
      proc.sys.close(fd);
    }
  }
}
