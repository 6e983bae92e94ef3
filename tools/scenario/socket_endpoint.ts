/**
 * An endpoint with the sockets of a Linux: of this machine's in a namespace, or of one in a virtual machine.
 *
 * Path: agent_sockets, linux_sockets, guest_side → socket_endpoint → endpoint, environment, ip_family, time.
 *
 * @module
 */

import type { Clock } from "../../kernel/time.ts";
import { get16 } from "../../kernel/wire/bytes.ts";
import { ICMP_HEADER_LEN } from "../../kernel/wire/icmp.ts";
import {
  type ByteConn,
  type Endpoint,
  type IcmpReport,
  Refused,
  type SendOptions,
  type Service,
  type TcpService,
  type UdpService,
} from "./endpoint.ts";
import { ANSWER_MS, within } from "./environment.ts";
import { familyOf, type IpFamily, ipHeaderLen, type IpVersion } from "./ip_family.ts";

const PROBE_BYTES = 32;

/** A datagram and where it came from. */
export interface Datagram {
  readonly bytes: Uint8Array;
  readonly addr: string;
  readonly port: number;
}

/**
 * A datagram socket. One of ICMP sends messages without an IP header; those that it receives have one in IPv4, and none
 * in IPv6.
 */
export interface Datagrams {
  /** Takes each datagram. */
  onMessage: ((message: Datagram) => void) | null;
  /** Called when the port of the connected peer has no service. */
  onRefused: (() => void) | null;
  send(bytes: Uint8Array, addr: string, port: number): void;
  close(): void;
}

/** How a datagram socket is opened. */
export interface DatagramOptions extends SendOptions {
  readonly version: IpVersion;
  /** Connects it, so that Linux reports a port unreachable. */
  readonly peer?: { readonly addr: string; readonly port: number };
}

/** The sockets and tables that a Linux gives to programs. */
export interface Sockets {
  readonly clock: Clock;
  udp(options: DatagramOptions): Promise<Datagrams>;
  icmp(version: IpVersion): Promise<Datagrams>;
  /** Has `take` called with each call to `port`; a connection is its callee's to close. */
  listen(version: IpVersion, port: number, take: (conn: ByteConn) => void): Promise<Service>;
  /** Connects; throws {@link Refused}, or TimedOut. */
  dial(addr: string, port: number): Promise<ByteConn>;
  /** The hardware address that Linux has found for `addr`; null: none (yet). */
  neighbor(addr: string): Promise<string | null>;
}

/** See above. */
export class SocketEndpoint implements Endpoint {
  readonly errors: string[] = [];
  /** A guest's are empty until it is configured. */
  readonly addresses: Record<IpVersion, string>;
  readonly #open = new Set<{ close(): void }>();
  /** Of the last echo request: a late answer to another one is not taken. */
  #seq = 0;

  constructor(readonly name: string, readonly sockets: Sockets, addresses: Record<IpVersion, string>) {
    this.addresses = addresses;
  }

  async serveUdp({ port, versions, tos, answer }: UdpService): Promise<Service> {
    const marks = tos === undefined ? {} : { tos };
    const sockets = await Promise.all(versions.map(async (version) => {
      const socket = this.#keep(await this.sockets.udp({ ...marks, version, local: port }));
      socket.onMessage = ({ bytes, addr, port: from }) => {
        const payload = answer(bytes);
        if (payload !== null) socket.send(payload, addr, from);
      };
      return socket;
    }));
    return { close: () => sockets.forEach((socket) => this.#end(socket)) };
  }

  async serveTcp({ port, version, talk }: TcpService): Promise<Service> {
    const listener = this.#keep(
      await this.sockets.listen(version, port, (conn) => {
        this.#keep(conn);
        talk(conn).catch((error) => this.errors.push(`${this.name}: ${error}`)).finally(() => this.#end(conn));
      }),
    );
    return { close: () => this.#end(listener) };
  }

  async exchange(addr: string, port: number, payload: Uint8Array, options: SendOptions = {}): Promise<Uint8Array> {
    const { version } = familyOf(addr);
    const socket = this.#keep(await this.sockets.udp({ ...options, version, peer: { addr, port } }));
    const answer = Promise.withResolvers<Uint8Array>();
    socket.onMessage = ({ bytes }) => answer.resolve(bytes);
    socket.onRefused = () => answer.reject(new Refused("Connection refused: port unreachable"));
    try {
      socket.send(payload, addr, port);
      return await within(this.sockets.clock, ANSWER_MS, `answer of ${payload.length} bytes`, answer.promise);
    } finally {
      this.#end(socket);
    }
  }

  async ping(addr: string, id: number, payload: Uint8Array): Promise<Uint8Array> {
    const family = familyOf(addr);
    const seq = this.#seq = (this.#seq + 1) & 0xffff;
    const isAnswer = (message: Uint8Array) =>
      message[0] === family.icmp.echoReply && get16(message, 4) === id && get16(message, 6) === seq;
    const send = (socket: Datagrams) => socket.send(echoRequest(family, id, seq, payload), addr, 0);
    const { message } = await this.#hear(family, { what: `answer to echo request ${id}`, isIt: isAnswer, send });
    return message.slice(ICMP_HEADER_LEN);
  }

  async probe(addr: string, port: number, ttl: number): Promise<IcmpReport> {
    const family = familyOf(addr);
    const udp = this.#keep(await this.sockets.udp({ version: family.version, ttl }));
    const isAbout = (message: Uint8Array) => {
      const isError = message[0] === family.icmp.unreachable || message[0] === family.icmp.timeExceeded;
      const quote = message.subarray(ICMP_HEADER_LEN);
      return isError && get16(quote, ipHeaderLen(quote) + 2) === port;
    };
    try {
      const send = () => udp.send(new Uint8Array(PROBE_BYTES), addr, port);
      const what = `ICMP message about TTL ${ttl}`;
      const { message, from } = await this.#hear(family, { what, isIt: isAbout, send });
      return { from, type: message[0]!, code: message[1]! };
    } finally {
      this.#end(udp);
    }
  }

  /** The first ICMP message that `isIt` accepts, after `send`. */
  async #hear(family: IpFamily, { what, isIt, send }: IcmpWait): Promise<{ message: Uint8Array; from: string }> {
    const socket = this.#keep(await this.sockets.icmp(family.version));
    const answer = Promise.withResolvers<{ message: Uint8Array; from: string }>();
    socket.onMessage = ({ bytes, addr }) => {
      const message = family.version === 4 ? bytes.subarray(ipHeaderLen(bytes)) : bytes;
      if (isIt(message)) answer.resolve({ message, from: addr });
    };
    try {
      send(socket);
      return await within(this.sockets.clock, ANSWER_MS, what, answer.promise);
    } finally {
      this.#end(socket);
    }
  }

  async dial(addr: string, port: number): Promise<ByteConn> {
    return this.#keep(await this.sockets.dial(addr, port));
  }

  neighbor(addr: string): Promise<string | null> {
    return this.sockets.neighbor(addr);
  }

  #keep<T extends { close(): void }>(one: T): T {
    this.#open.add(one);
    return one;
  }

  #end(one: { close(): void }): void {
    this.#open.delete(one);
    one.close();
  }

  /** Ends every service and connection. */
  close(): void {
    for (const one of [...this.#open]) this.#end(one);
  }
}

/** What an ICMP socket waits for. */
interface IcmpWait {
  /** Completes "No … within …". */
  readonly what: string;
  readonly isIt: (message: Uint8Array) => boolean;
  readonly send: (socket: Datagrams) => void;
}

/** An ICMP echo request (RFC 792, RFC 4443). */
function echoRequest({ icmp }: IpFamily, id: number, seq: number, data: Uint8Array): Uint8Array {
  const message = new Uint8Array(ICMP_HEADER_LEN + data.length);
  icmp.emitEcho({ reply: false, id, seq, data }, message, 0);
  return message;
}
