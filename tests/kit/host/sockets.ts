/**
 * The machine's sockets in a loop of their own, for tests:
 *
 *     await using lab = openSocketLab();
 *     const { client, server } = await lab.pair("127.0.0.1");
 *
 * @module
 */

import { assert, assertEquals, fail } from "@std/assert";
import { RealClock } from "../../../devices/host/clock.ts";
import { LinuxSockets, type LinuxSocketsOptions } from "../../../devices/host/sockets/linux_sockets.ts";
import { pause } from "../../../devices/host/pause.ts";
import { Reactor } from "../../../devices/host/reactor.ts";
import {
  type ConnectRequest,
  type DatagramIn,
  type DatagramOut,
  FAILED,
  type HostDatagrams,
  type HostListener,
  type HostStream,
  NOT_NOW,
  type SocketEnd,
  type SocketFailure,
  type SocketReport,
} from "../../../kernel/host_sockets.ts";
import { type IpAddr, parseIpAddr } from "../../../kernel/wire/ip_addr.ts";

/** Longest that a condition may take to come true, in milliseconds. */
const PATIENCE_MS = 10_000;
const CHUNK = 65536;

/** The address that `text` spells. */
export function addr(text: string): IpAddr {
  return parseIpAddr(text) ?? fail(`"${text}" is no address`);
}

/** A socket, where the call may answer why there is none. */
export function made<S extends object>(answer: S | SocketFailure): S {
  return typeof answer === "string" ? fail(`No socket: ${answer}`) : answer;
}

/** A copy of a datagram that came. */
export interface Heard extends DatagramIn {
  readonly text: string;
}

/** Sockets and their loop. */
export class SocketLab implements AsyncDisposable {
  readonly clock: RealClock = new RealClock();
  readonly reactor: Reactor = new Reactor({ clock: this.clock });
  readonly sockets: LinuxSockets;

  /** Sockets as `options` say; the loop runs, or does when it is started. */
  constructor(options: Pick<LinuxSocketsOptions, "netns" | "gro"> = {}, runs = true) {
    this.sockets = new LinuxSockets({ reactor: this.reactor, clock: this.clock, ...options });
    if (runs) this.reactor.start();
  }

  /** Those of 127.0.0.1 and ::1 that this machine has. */
  get loopbacks(): string[] {
    return ["127.0.0.1", "::1"].filter((address) => this.sockets.isLocal(addr(address)));
  }

  /** Waits, while the loop runs, until `condition` is not false, and answers with what it is. */
  async until<T>(what: string, condition: () => T | false): Promise<T> {
    const from = performance.now();
    for (;;) {
      const value = condition();
      if (value !== false) return value;
      if (performance.now() - from > PATIENCE_MS) fail(`Not within ${PATIENCE_MS} ms: ${what}`);
      await pause();
    }
  }

  /** A listener at a free port. */
  listen(address: string): HostListener {
    return made(this.sockets.listen({ version: addr(address).isV4 ? 4 : 6, address: addr(address), port: 0 }));
  }

  /** A UDP socket. */
  datagrams(address: string, port = 0): HostDatagrams {
    return made(this.sockets.datagrams({ version: addr(address).isV4 ? 4 : 6, address: addr(address), port }));
  }

  /** Begins to connect. */
  connect(to: SocketEnd, request: Partial<ConnectRequest> = {}): HostStream {
    return made(this.sockets.connect({ to, from: null, ttl: 0, tos: 0, ...request }));
  }

  /** Waits for the end of an attempt. */
  async settled(stream: HostStream): Promise<HostStream> {
    await this.until(`connection to ${stream.remote.address}`, () => stream.state !== "connecting");
    return stream;
  }

  /** Accepts the next call. */
  accept(listener: HostListener): Promise<HostStream> {
    return this.until("a call", () => {
      const call = listener.accept();
      return call === null || call === "shortage" ? false : call;
    });
  }

  /** Two ends of a connection. */
  async pair(address: string): Promise<{ client: HostStream; server: HostStream }> {
    const listener = this.listen(address);
    const client = this.connect(listener.local);
    const server = await this.accept(listener);
    await this.settled(client);
    listener.close();
    assertEquals(client.state, "connected");
    return { client, server };
  }

  /** Reads to the end, or to a failure: the bytes, and 0 or {@link FAILED}. */
  async readAll(stream: HostStream): Promise<{ bytes: Uint8Array; end: number }> {
    const parts: Uint8Array[] = [];
    const end = await this.until("the end", () => {
      const into = new Uint8Array(CHUNK);
      const count = stream.read(into);
      if (count > 0) parts.push(into.subarray(0, count));
      return count === 0 || count === FAILED ? count : false;
    });
    return { bytes: join(parts), end };
  }

  /** Writes all of `bytes`, as there is room. */
  async writeAll(stream: HostStream, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const count = stream.write([bytes.subarray(at)], 1);
      assert(count !== FAILED, `${stream.failure}`);
      if (count === NOT_NOW) await pause();
      else at += count;
    }
  }

  /** The next datagram, or `count` of them. */
  async hear(socket: HostDatagrams, count = 1): Promise<Heard[]> {
    const heard: Heard[] = [];
    await this.until(`${count} datagrams, ${heard.length} are here`, () => {
      socket.receive((datagram) => {
        const { from, to, ttl, tos, segmentSize } = datagram;
        const payload = datagram.payload.slice();
        heard.push({ from, to, ttl, tos, segmentSize, payload, text: new TextDecoder().decode(payload) });
      }, count - heard.length);
      return heard.length >= count;
    });
    return heard;
  }

  /** The next report of a socket. */
  report(socket: HostDatagrams | HostStream): Promise<SocketReport> {
    return this.until("a report", () => socket.takeReport() ?? false);
  }

  /** Closes every socket, and the loop. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.sockets.close();
    await this.reactor.stop();
    assertEquals([this.sockets.size, this.clock.timerCount], [0, 0]);
  }
}

/** A datagram to send; what is not said is as usual. */
export function message(to: SocketEnd, payload: string | Uint8Array, more: Partial<DatagramOut> = {}): DatagramOut {
  const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  return { to, from: null, parts: [bytes], ttl: 64, tos: 0, dontFragment: false, segmentSize: 0, ...more };
}

/** All parts as one. */
export function join(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
