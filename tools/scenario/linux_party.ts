/**
 * A party that is Linux' own stack in a network namespace: real sockets, no tools.
 *
 * Path: guest_steps → linux_party → linux_socket, linux_tcp.
 *
 * @module
 */

import { lastErrno, libc } from "../../devices/host/libc.ts";
import { LinuxSocket, type Received } from "../../devices/host/linux_socket.ts";
import type { Netns } from "../../devices/host/netns.ts";
import { get16, put16 } from "../../kernel/wire/bytes.ts";
import { checksum } from "../../kernel/wire/checksum.ts";
import { connectLinux, LinuxListener, type LinuxLoop, sockaddrOf } from "./linux_tcp.ts";
import { type ByteConn, type Party, Refused, type SendOptions, type Service, type Told } from "./party.ts";
import { ANSWER_MS, sleep, within } from "./world.ts";

const ICMP_HEADER_LEN = 8;
const IPPROTO_IP = 0;
const IP_TOS = 1;
const IP_TTL = 2;
const ECONNREFUSED = 111;

/** Linux. */
export class LinuxParty implements Party {
  /** What went wrong in its services. */
  readonly errors: string[] = [];
  readonly #open = new Set<{ close(): void }>();

  constructor(
    readonly name: string,
    readonly loop: LinuxLoop,
    readonly netns: Netns,
    public address: string,
  ) {}

  serveUdp(
    port: number,
    answer: (bytes: Uint8Array) => Uint8Array | null,
    options: SendOptions = {},
  ): Promise<Service> {
    const socket = this.#udp({ ...options, local: port });
    socket.onMessage = ({ bytes, addr, port: from }) => {
      const payload = answer(bytes);
      if (payload !== null) socket.sendTo(payload, addr, from);
    };
    return Promise.resolve({ close: () => this.#end(socket) });
  }

  serveTcp(port: number, talk: (conn: ByteConn) => Promise<void>): Promise<Service> {
    const listener = new LinuxListener(this.loop, this.netns, port, (conn) => {
      this.#open.add(conn);
      talk(conn).catch((error) => this.errors.push(`${this.name}: ${error}`)).finally(() => this.#end(conn));
    });
    this.#open.add(listener);
    return Promise.resolve({ close: () => this.#end(listener) });
  }

  async exchange(addr: string, port: number, payload: Uint8Array, options: SendOptions = {}): Promise<Uint8Array> {
    const socket = this.#udp(options);
    const answer = Promise.withResolvers<Uint8Array>();
    socket.onMessage = ({ bytes }) => answer.resolve(bytes);
    // Connected, so that Linux tells of a port unreachable: as the error of the next send.
    const name = sockaddrOf(addr, port);
    libc().connect(socket.fd, name, name.length);
    let isOver = false;
    try {
      socket.sendTo(payload, addr, port);
      const looked = this.#look(socket, () => isOver);
      const what = `answer of ${payload.length} bytes`;
      return await within(this.loop.clock, ANSWER_MS, what, Promise.race([answer.promise, looked]));
    } finally {
      isOver = true;
      this.#end(socket);
    }
  }

  /** Rejects once Linux knows that nobody is there; the reactor's own reads pass errors over. */
  async #look(socket: LinuxSocket, isOver: () => boolean): Promise<never> {
    const drain = socket.drain.bind(socket);
    let refused = false;
    socket.drain = (max) => {
      const count = drain(max);
      // What ended the reading is the error that the socket had, or that there is nothing more.
      if (count < max && lastErrno() === ECONNREFUSED) refused = true;
      return count;
    };
    while (!isOver()) {
      if (refused) throw new Refused("Connection refused: port unreachable");
      await sleep(this.loop.clock, 1);
    }
    return await new Promise<never>(() => {});
  }

  async ping(addr: string, id: number, payload: Uint8Array): Promise<Uint8Array> {
    const heard = await this.#hear(`answer to echo request ${id}`, (bytes, at) => {
      return bytes[at] === 0 && get16(bytes, at + 4) === id;
    }, (socket) => socket.sendTo(echoRequest(id, 1, payload), addr, 0));
    return heard.bytes.slice((heard.bytes[0]! & 15) * 4 + ICMP_HEADER_LEN);
  }

  async probe(addr: string, port: number, ttl: number): Promise<Told> {
    const udp = this.#udp({ ttl });
    try {
      const { bytes, addr: from } = await this.#hear(`ICMP message about TTL ${ttl}`, (bytes, at) => {
        const type = bytes[at];
        const quote = at + ICMP_HEADER_LEN;
        return (type === 3 || type === 11) && get16(bytes, quote + (bytes[quote]! & 15) * 4 + 2) === port;
      }, () => udp.sendTo(new Uint8Array(32), addr, port));
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
    send: (socket: LinuxSocket) => void,
  ): Promise<Received> {
    const socket = new LinuxSocket("icmp", this.netns);
    this.#open.add(socket);
    const answer = Promise.withResolvers<Received>();
    socket.onMessage = (message) => {
      if (isIt(message.bytes, (message.bytes[0]! & 15) * 4)) answer.resolve(message);
    };
    this.loop.reactor.add(socket);
    try {
      send(socket);
      return await within(this.loop.clock, ANSWER_MS, what, answer.promise);
    } finally {
      this.#end(socket);
    }
  }

  async dial(addr: string, port: number): Promise<ByteConn> {
    const conn = await connectLinux(this.loop, this.netns, addr, port);
    this.#open.add(conn);
    return conn;
  }

  #udp(options: SendOptions): LinuxSocket {
    const socket = new LinuxSocket("udp", this.netns);
    this.#open.add(socket);
    if (options.local !== undefined) socket.bind("0.0.0.0", options.local);
    for (const [option, value] of [[IP_TTL, options.ttl], [IP_TOS, options.tos]] as const) {
      if (value === undefined) continue;
      const bytes = new Uint8Array(new Int32Array([value]).buffer);
      libc().setsockopt(socket.fd, IPPROTO_IP, option, bytes, bytes.length);
    }
    this.loop.reactor.add(socket);
    return socket;
  }

  #end(socket: { close(): void }): void {
    this.#open.delete(socket);
    socket.close();
  }

  /** Ends every service and connection. */
  close(): void {
    for (const one of [...this.#open]) this.#end(one);
  }
}

/** An ICMP echo request (RFC 792). */
export function echoRequest(id: number, seq: number, payload: Uint8Array): Uint8Array {
  const message = new Uint8Array(8 + payload.length);
  message[0] = 8;
  put16(message, 4, id);
  put16(message, 6, seq);
  message.set(payload, 8);
  put16(message, 2, checksum(message, 0, message.length));
  return message;
}
