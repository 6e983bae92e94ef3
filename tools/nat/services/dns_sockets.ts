/**
 * DnsSockets: the relay's way to the host's name servers: conversations of `#ip`, by system calls.
 *
 * Path: names → dns_sockets → services/dns, proc, sys, wire/dns.
 *
 * **UDP**: each question has a port of its own, drawn at random, as long as no more than {@link UDP_PER_SERVER} wait
 * for one server; then they share those ports (RFC 5452 9.2). A socket is closed with its last question.
 * A server on the loopback of the machine behind the uplink may answer from that machine's own address there, if it is
 * bound to all addresses: its socket is not connected, and takes answers from these two addresses alone.
 *
 * **TCP**: all questions for one server go over one connection (RFC 7766 6.2.1, 6.2.2), which is kept for
 * {@link IDLE_MS} after the last answer.
 *
 * @module
 */

import { Open } from "../../../kernel/qid.ts";
import { KernelError } from "../../../kernel/error.ts";
import { type EventQueue, TapEvent } from "../../../kernel/fd_tap.ts";
import type { Proc } from "../../../kernel/proc.ts";
import type { Random } from "../../../kernel/random.ts";
import { AGAIN } from "../../../kernel/sys.ts";
import { Tap } from "../../../kernel/syscall_table.ts";
import type { Block } from "../../../kernel/block.ts";
import { DNS_PORT } from "../../../kernel/wire/dns.ts";
import { get16, put16 } from "../../../kernel/wire/bytes.ts";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { DnsStream } from "./dns_stream.ts";
import type { DnsPlace, DnsRelay, DnsUpstream } from "./dns.ts";

/** Ports that wait for one server at most: with 8 servers a thirtieth of the conversations that `#ip` has. */
export const UDP_PER_SERVER = 16;
/** How long an idle connection to a server is kept. */
export const IDLE_MS = 10_000;
/** Ports that are drawn from: those that `#ip` itself hands out. */
const PORT_MIN = 5000;
const PORT_TRIES = 3;
/** The record before a datagram of a conversation in headers mode (udp_headers): its bytes, and where the port is. */
const RECORD_LEN = 52;
const RECORD_PORT = 48;
/** Datagrams in one turn. */
const READS_PER_TURN = 64;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What an event of a descriptor goes to. */
export interface NameSocket {
  onEvent(events: number, now: number): void;
}

/** What sockets of names are made with. */
export interface NameSocketOptions {
  readonly proc: Proc;
  readonly random: Random;
  /** Where events land; the data of each is a {@link NameSocket}. */
  readonly events: EventQueue;
  readonly netDir: string;
  readonly relay: DnsRelay;
  /** Where the machine is on the uplink whose 127/8 the host asks; null: loopback is the host's own. */
  readonly farPeer: IpAddr | null;
}

/** One socket or connection to a server. */
abstract class ServerSocket implements DnsPlace, NameSocket {
  readonly ids = new Set<number>();
  isOpen = true;
  idleSince = Infinity;

  constructor(readonly options: NameSocketOptions, readonly server: IpAddr, readonly fd: number) {}

  abstract send(message: Uint8Array): boolean;
  abstract onEvent(events: number, now: number): void;

  /** Questions that wait here go elsewhere, or to a new connection if this one was of use. */
  protected fail(now: number, hasAnswered = false): void {
    if (!this.isOpen) return;
    this.close();
    this.options.relay.lost(this, now, hasAnswered);
  }

  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.options.events.drop(this.fd);
    this.options.proc.sys.close(this.fd);
  }
}

class UdpSocket extends ServerSocket {
  /** The message in a datagram; null: it is not from the server. */
  protected messageIn(datagram: Uint8Array): Uint8Array | null {
    return datagram;
  }

  send(message: Uint8Array): boolean {
    try {
      return this.options.proc.sys.blockwrite(this.fd, message) !== AGAIN;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      // Other questions may wait here, too: they fail in the job's next run, not within this call.
      this.options.events.send(this.fd, TapEvent.Error, this);
      return false;
    }
  }

  onEvent(events: number, now: number): void {
    const { relay, proc } = this.options;
    for (let i = 0; i < READS_PER_TURN && this.isOpen; i++) {
      try {
        const block = proc.sys.blockread(this.fd);
        if (block === AGAIN) break;
        if (block === null) return this.fail(now);
        const message = this.messageIn((block as Block).bytes().slice());
        (block as Block).free();
        if (message !== null) relay.answered(this, message, now);
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
        return this.fail(now);
      }
    }
    if ((events & (TapEvent.Error | TapEvent.Hangup)) !== 0) this.fail(now);
    else if (this.isOpen && this.ids.size === 0) this.close();
  }
}

/** A socket for a server on the loopback of the machine behind the uplink: each datagram names its ends. */
class FarUdpSocket extends UdpSocket {
  readonly #record = new Uint8Array(RECORD_LEN);

  constructor(options: NameSocketOptions, server: IpAddr, fd: number) {
    super(options, server, fd);
    server.put(this.#record, 0);
    put16(this.#record, RECORD_PORT, DNS_PORT);
  }

  override send(message: Uint8Array): boolean {
    const datagram = new Uint8Array(RECORD_LEN + message.length);
    datagram.set(this.#record);
    datagram.set(message, RECORD_LEN);
    return super.send(datagram);
  }

  /** Without the record of its ends; null: from another sender. */
  protected override messageIn(datagram: Uint8Array): Uint8Array | null {
    if (datagram.length < RECORD_LEN || get16(datagram, RECORD_PORT) !== DNS_PORT) return null;
    const sender = IpAddr.at(datagram, 0);
    const isServer = sender.equals(this.server) || this.options.farPeer?.equals(sender) === true;
    return isServer ? datagram.subarray(RECORD_LEN) : null;
  }
}

class TcpSocket extends ServerSocket {
  readonly #stream: DnsStream;
  #hasAnswered = false;

  constructor(options: NameSocketOptions, server: IpAddr, fd: number) {
    super(options, server, fd);
    this.#stream = new DnsStream(options.proc.sys, fd, false);
  }

  send(message: Uint8Array): boolean {
    this.#stream.write(message);
    return this.#stream.isOpen;
  }

  onEvent(events: number, now: number): void {
    if ((events & TapEvent.Writable) !== 0) this.#stream.flush();
    const { messages, isMore } = this.#stream.read();
    const before = this.ids.size;
    for (const message of messages) this.options.relay.answered(this, message, now);
    this.#hasAnswered ||= this.ids.size < before;
    if (this.#stream.isEnded || !this.#stream.isOpen) this.fail(now, this.#hasAnswered);
    else if (isMore) this.options.events.send(this.fd, TapEvent.Readable, this);
  }
}

/** See above. */
export class DnsSockets implements DnsUpstream {
  readonly #options: NameSocketOptions;
  readonly #udp = new Map<string, UdpSocket[]>();
  readonly #tcp = new Map<string, TcpSocket>();

  constructor(options: NameSocketOptions) {
    this.#options = options;
  }

  /** How many sockets there are, for limits. */
  get size(): number {
    const all: ServerSocket[] = [...[...this.#udp.values()].flat(), ...this.#tcp.values()];
    return all.filter(({ isOpen }) => isOpen).length;
  }

  send(server: IpAddr, message: Uint8Array, byTcp: boolean): DnsPlace | null {
    const socket = byTcp ? this.#tcpSocket(server) : this.#udpSocket(server);
    if (socket === null || !socket.send(message)) return null;
    socket.idleSince = Infinity;
    return socket;
  }

  released(place: DnsPlace): void {
    const socket = place as ServerSocket;
    if (socket.ids.size > 0 || !socket.isOpen) return;
    if (socket instanceof TcpSocket) socket.idleSince = 0;
    else socket.close();
  }

  /** Closes connections that have been idle for long; answers whether others are left. */
  sweep(now: number): boolean {
    for (const [key, socket] of this.#tcp) {
      if (socket.isOpen && socket.idleSince === 0) socket.idleSince = now;
      if (now - socket.idleSince >= IDLE_MS) socket.close();
      if (!socket.isOpen) this.#tcp.delete(key);
    }
    return this.#tcp.size > 0;
  }

  /** Ends all of them. */
  close(): void {
    for (const socket of [...[...this.#udp.values()].flat(), ...this.#tcp.values()]) socket.close();
    this.#udp.clear();
    this.#tcp.clear();
  }

  #udpSocket(server: IpAddr): UdpSocket | null {
    const key = `${server}`;
    const open = (this.#udp.get(key) ?? []).filter(({ isOpen }) => isOpen);
    this.#udp.set(key, open);
    for (const [other, sockets] of this.#udp) {
      if (other !== key && !sockets.some(({ isOpen }) => isOpen)) this.#udp.delete(other);
    }
    if (open.length >= UDP_PER_SERVER) return open[this.#options.random.below(open.length)]!;
    const isFar = server.isLoopback && this.#options.farPeer !== null;
    const fd = isFar
      ? openConv(this.#options, "udp", () => "headers", "announce *!0")
      : openConv(this.#options, "udp", (i) => `connect ${server}!${DNS_PORT}${this.#randomPort(i)}`);
    if (fd < 0) return open[0] ?? null;
    const socket = new (isFar ? FarUdpSocket : UdpSocket)(this.#options, server, fd);
    watch(this.#options, fd, socket);
    open.push(socket);
    return socket;
  }

  /** A port to try at the `i`th place; none: `#ip` chooses. */
  #randomPort(i: number): string {
    return i < PORT_TRIES ? ` ${PORT_MIN + this.#options.random.below(65536 - PORT_MIN)}` : "";
  }

  #tcpSocket(server: IpAddr): TcpSocket | null {
    const key = `${server}`;
    const known = this.#tcp.get(key);
    if (known?.isOpen === true) return known;
    const fd = openConv(this.#options, "tcp", () => `connect ${server}!${DNS_PORT}`);
    if (fd < 0) return null;
    const socket = new TcpSocket(this.#options, server, fd);
    watch(this.#options, fd, socket);
    this.#tcp.set(key, socket);
    return socket;
  }
}

/** A conversation that has taken one of a few commands and then `then`: the descriptor of its data file; -1: none. */
function openConv(
  { proc, netDir }: NameSocketOptions,
  proto: string,
  command: (i: number) => string,
  then: string | null = null,
): number {
  const { sys } = proc;
  let ctl = -1;
  try {
    ctl = fdOf(sys.open(`${netDir}/${proto}/clone`, Open.ReadWrite | Open.NonBlock));
    const dir = `${netDir}/${proto}/${readText(proc, ctl)}`;
    for (let i = 0; i <= PORT_TRIES; i++) {
      try {
        sys.write(ctl, encoder.encode(command(i)));
        break;
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
        if (error.code === "EINPROGRESS") break;
        if (i === PORT_TRIES) throw error;
      }
    }
    if (then !== null) sys.write(ctl, encoder.encode(then));
    return fdOf(sys.open(`${dir}/data`, Open.ReadWrite | Open.NonBlock));
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return -1;
  } finally {
    if (ctl >= 0) sys.close(ctl);
  }
}

/** Has everything that happens to `fd` told to `socket`. */
export function watch({ proc, events }: NameSocketOptions, fd: number, socket: NameSocket): void {
  const filter = TapEvent.Readable | TapEvent.Writable | TapEvent.Error | TapEvent.Hangup | TapEvent.RdHup;
  proc.sys.tapFds([{ fd, command: Tap.Add, filter, queue: events, id: fd, data: socket, level: true }]);
}

/** One short read, as text. */
export function readText({ sys }: Proc, fd: number): string {
  const buf = new Uint8Array(128);
  const count = sys.read(fd, buf);
  return count === AGAIN ? "" : decoder.decode(buf.subarray(0, count as number));
}

/** A descriptor; a file that would have to be waited for is busy. */
export function fdOf(fd: number | typeof AGAIN): number {
  if (fd === AGAIN) throw new KernelError("EBUSY", "Cannot open it now");
  return fd as number;
}
