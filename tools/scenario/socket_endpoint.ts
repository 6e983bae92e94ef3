/**
 * A party with the sockets of a Linux: of this machine's in a namespace, or of one in a virtual machine.
 *
 * Path: agent_sockets, linux_sockets, guest_side → socket_endpoint → endpoint, environment, time, checksum.
 *
 * @module
 */

import type { Clock } from "../../kernel/time.ts";
import { get16, put16 } from "../../kernel/wire/bytes.ts";
import { checksum } from "../../kernel/wire/checksum.ts";
import { type ByteConn, type Endpoint, type IcmpReport, Refused, type SendOptions, type Service } from "./endpoint.ts";
import { ANSWER_MS, within } from "./environment.ts";

const ICMP_HEADER_LEN = 8;
const ICMP_ECHO_REPLY = 0;
const ICMP_UNREACHABLE = 3;
const ICMP_ECHO_REQUEST = 8;
const ICMP_TIME_EXCEEDED = 11;

/** A message and where it came from. */
export interface Datagram {
  readonly bytes: Uint8Array;
  readonly addr: string;
  readonly port: number;
}

/** A datagram socket; one of ICMP sends messages without, and receives them with their IP header. */
export interface Datagrams {
  /** Takes each message. */
  onMessage: ((message: Datagram) => void) | null;
  /** IcmpReport that nobody is at the port of the peer that it is connected to. */
  onRefused: (() => void) | null;
  send(bytes: Uint8Array, addr: string, port: number): void;
  close(): void;
}

/** How a datagram socket is opened. */
export interface DatagramOptions extends SendOptions {
  /** Connects it, so that Linux tells of a port unreachable. */
  readonly peer?: { readonly addr: string; readonly port: number };
}

/** What a Linux gives to programs. */
export interface Sockets {
  readonly clock: Clock;
  udp(options: DatagramOptions): Promise<Datagrams>;
  icmp(): Promise<Datagrams>;
  /** Has `take` called with each call (given away) to `port`. */
  listen(port: number, take: (conn: ByteConn) => void): Promise<Service>;
  /** Connects; throws {@link Refused}, or TimedOut. */
  dial(addr: string, port: number): Promise<ByteConn>;
}

/** See above. */
export class SocketEndpoint implements Endpoint {
  readonly errors: string[] = [];
  readonly #open = new Set<{ close(): void }>();
  /** Of the last echo request: a late answer to another one is none. */
  #seq = 0;

  constructor(readonly name: string, readonly sockets: Sockets, public address: string) {}

  async serveUdp(
    port: number,
    answer: (bytes: Uint8Array) => Uint8Array | null,
    options: SendOptions = {},
  ): Promise<Service> {
    const socket = this.#keep(await this.sockets.udp({ ...options, local: port }));
    socket.onMessage = ({ bytes, addr, port: from }) => {
      const payload = answer(bytes);
      if (payload !== null) socket.send(payload, addr, from);
    };
    return { close: () => this.#end(socket) };
  }

  async serveTcp(port: number, talk: (conn: ByteConn) => Promise<void>): Promise<Service> {
    const listener = this.#keep(
      await this.sockets.listen(port, (conn) => {
        this.#keep(conn);
        talk(conn).catch((error) => this.errors.push(`${this.name}: ${error}`)).finally(() => this.#end(conn));
      }),
    );
    return { close: () => this.#end(listener) };
  }

  async exchange(addr: string, port: number, payload: Uint8Array, options: SendOptions = {}): Promise<Uint8Array> {
    const socket = this.#keep(await this.sockets.udp({ ...options, peer: { addr, port } }));
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
    const seq = this.#seq = (this.#seq + 1) & 0xffff;
    const isAnswer = (bytes: Uint8Array, at: number) =>
      bytes[at] === ICMP_ECHO_REPLY && get16(bytes, at + 4) === id && get16(bytes, at + 6) === seq;
    const send = (socket: Datagrams) => socket.send(echoRequest(id, seq, payload), addr, 0);
    const { bytes } = await this.#hear(`answer to echo request ${id}`, isAnswer, send);
    return bytes.slice((bytes[0]! & 15) * 4 + ICMP_HEADER_LEN);
  }

  async probe(addr: string, port: number, ttl: number): Promise<IcmpReport> {
    const udp = this.#keep(await this.sockets.udp({ ttl }));
    const isAbout = (bytes: Uint8Array, at: number) => {
      const quote = at + ICMP_HEADER_LEN;
      const isError = bytes[at] === ICMP_UNREACHABLE || bytes[at] === ICMP_TIME_EXCEEDED;
      return isError && get16(bytes, quote + (bytes[quote]! & 15) * 4 + 2) === port;
    };
    try {
      const send = () => udp.send(new Uint8Array(32), addr, port);
      const { bytes, addr: from } = await this.#hear(`ICMP message about TTL ${ttl}`, isAbout, send);
      const at = (bytes[0]! & 15) * 4;
      return { from, type: bytes[at]!, code: bytes[at + 1]! };
    } finally {
      this.#end(udp);
    }
  }

  /** The first ICMP message that `isIt` likes, after `send`. */
  async #hear(
    what: string,
    isIt: (bytes: Uint8Array, at: number) => boolean,
    send: (socket: Datagrams) => void,
  ): Promise<Datagram> {
    const socket = this.#keep(await this.sockets.icmp());
    const answer = Promise.withResolvers<Datagram>();
    socket.onMessage = (message) => {
      if (isIt(message.bytes, (message.bytes[0]! & 15) * 4)) answer.resolve(message);
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

/** An ICMP echo request (RFC 792). */
export function echoRequest(id: number, seq: number, payload: Uint8Array): Uint8Array {
  const message = new Uint8Array(ICMP_HEADER_LEN + payload.length);
  message[0] = ICMP_ECHO_REQUEST;
  put16(message, 4, id);
  put16(message, 6, seq);
  message.set(payload, ICMP_HEADER_LEN);
  put16(message, 2, checksum(message, 0, message.length));
  return message;
}
