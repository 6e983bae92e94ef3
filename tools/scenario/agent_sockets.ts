/**
 * Sockets of the Linux in a virtual machine, which its agent opens and uses for us.
 *
 * Path: qemu_side → agent_sockets → agent_channel, socket_endpoint, endpoint, environment.
 *
 * Bytes are kept until a caller reads them; a write settles once the guest's kernel has taken all of it.
 *
 * @module
 */

import type { Clock } from "../../kernel/time.ts";
import type { AgentChannel, AgentMessage } from "./agent_channel.ts";
import { type ByteConn, Refused, type Service } from "./endpoint.ts";
import type { Datagram, DatagramOptions, Datagrams, Sockets } from "./socket_endpoint.ts";
import { ANSWER_MS, within } from "./environment.ts";
import type { IpVersion } from "./ip_family.ts";

/** Bytes of one write: a message of the channel has room for them. */
const CHUNK = 65536;
const REFUSED = "ECONNREFUSED";

/** Handles the agent's messages about a socket. */
interface SocketHandler {
  take(message: AgentMessage): void;
  /** Called when the agent has gone. */
  fail(error: Error): void;
}

/** An error that a socket in the guest met. */
function errorOf(attempt: string, code: string): Error {
  return code === REFUSED ? new Refused(`${attempt}: connection refused`) : new Error(`${attempt}: ${code}`);
}

/** See above. */
export class AgentSockets implements Sockets {
  readonly clock: Clock;
  readonly #channel: AgentChannel;
  readonly #handlers = new Map<number, SocketHandler>();
  readonly #findNeighbor: (addr: string) => Promise<string | null>;
  #next = 1;

  /** Takes over the messages of `channel`; `findNeighbor` reads the neighbour tables of the guest. */
  constructor(channel: AgentChannel, clock: Clock, findNeighbor: (addr: string) => Promise<string | null>) {
    this.#channel = channel;
    this.clock = clock;
    this.#findNeighbor = findNeighbor;
    // A message about a socket that was closed meanwhile has no handler any more.
    channel.onMessage = (message) => this.#handlers.get(message.socket)?.take(message);
    channel.onEnd = (why) => {
      const handlers = [...this.#handlers.values()];
      this.#handlers.clear();
      for (const one of handlers) one.fail(new Error(`The guest's agent ended: ${why}`));
    };
  }

  async udp(options: DatagramOptions): Promise<Datagrams> {
    const { version, local = "-", ttl = "-", tos = "-", peer } = options;
    const words = [version, local, ttl, tos, ...(peer === undefined ? [] : [peer.addr, peer.port])];
    const attempt = local === "-" ? "Cannot open a socket for udp" : `Cannot bind udp port ${local}`;
    return await this.#open("udp", words, attempt, (link) => new AgentDatagrams(link));
  }

  async icmp(version: IpVersion): Promise<Datagrams> {
    return await this.#open("icmp", [version], "Cannot open a socket for icmp", (link) => new AgentDatagrams(link));
  }

  async listen(version: IpVersion, port: number, take: (conn: ByteConn) => void): Promise<Service> {
    const accept = ({ words }: AgentMessage) => {
      const [number, addr, from] = words;
      take(new AgentConn(this.#link(Number(number)), `${addr}!${from}`));
    };
    return await this.#open("listen", [version, port], `Cannot listen at tcp port ${port}`, (link) => {
      link.onMessage = accept;
      return link;
    });
  }

  async dial(addr: string, port: number): Promise<ByteConn> {
    const attempt = `Cannot connect to ${addr}!${port}`;
    return await this.#open("dial", [addr, port], attempt, (link) => new AgentConn(link, `${addr}!${port}`));
  }

  neighbor(addr: string): Promise<string | null> {
    return this.#findNeighbor(addr);
  }

  #link(number: number): Link {
    const link = new Link(this.#channel, number, () => this.#handlers.delete(number));
    this.#handlers.set(number, link);
    return link;
  }

  /** Asks for a socket; `make` takes it over before a message about it can come. */
  async #open<T>(verb: string, words: readonly unknown[], attempt: string, make: (link: Link) => T): Promise<T> {
    const link = this.#link(this.#next++);
    const opened = Promise.withResolvers<T>();
    link.onFailure = opened.reject;
    link.onMessage = ({ what, words }) => {
      link.onMessage = link.onFailure = null;
      if (what === "ok") opened.resolve(make(link));
      else opened.reject(errorOf(attempt, words[0] ?? what));
    };
    link.say(verb, words);
    try {
      return await within(this.clock, ANSWER_MS, `answer to "${verb} ${words.join(" ")}"`, opened.promise);
    } catch (error) {
      link.close();
      throw error;
    }
  }
}

/** The messages about one socket, both ways. */
class Link implements SocketHandler, Service {
  onMessage: ((message: AgentMessage) => void) | null = null;
  onFailure: ((error: Error) => void) | null = null;
  #isOpen = true;

  constructor(readonly channel: AgentChannel, readonly number: number, readonly forget: () => void) {}

  say(verb: string, words: readonly unknown[], bytes?: Uint8Array): void {
    this.channel.say([verb, this.number, ...words].join(" "), bytes);
  }

  take(message: AgentMessage): void {
    this.onMessage?.(message);
  }

  fail(error: Error): void {
    this.onFailure?.(error);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.forget();
    this.say("close", []);
  }
}

/** A datagram socket in the guest. */
class AgentDatagrams implements Datagrams {
  onMessage: ((message: Datagram) => void) | null = null;
  onRefused: (() => void) | null = null;
  readonly #link: Link;

  constructor(link: Link) {
    this.#link = link;
    link.onMessage = ({ what, words, bytes }) => {
      if (what === "error" && words[0] === REFUSED) this.onRefused?.();
      else if (what === "from") this.onMessage?.({ bytes, addr: words[0]!, port: Number(words[1]) });
    };
  }

  send(bytes: Uint8Array, addr: string, port: number): void {
    this.#link.say("send", [addr, port], bytes);
  }

  close(): void {
    this.#link.close();
  }
}

/** A connection of the guest. */
class AgentConn implements ByteConn {
  readonly #link: Link;
  #got: Uint8Array[] = [];
  #isEnded = false;
  #failure: Error | null = null;
  /** Writes that Linux has not taken. */
  #untaken = 0;
  #waiting: (() => void)[] = [];

  constructor(link: Link, readonly remote: string) {
    this.#link = link;
    link.onMessage = (message) => this.#take(message);
    link.onFailure = (error) => this.#fail(error);
  }

  #take({ what, words, bytes }: AgentMessage): void {
    if (what === "data") this.#got.push(bytes);
    else if (what === "end") this.#isEnded = true;
    else if (what === "taken") this.#untaken--;
    else return this.#fail(errorOf(`The connection to ${this.remote} broke`, words[0] ?? what));
    this.#wake();
  }

  #fail(error: Error): void {
    this.#failure = error;
    this.#wake();
  }

  /** Settles at the next message. */
  async #news(): Promise<void> {
    const news = Promise.withResolvers<void>();
    this.#waiting.push(news.resolve);
    await news.promise;
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  async read(): Promise<Uint8Array | null> {
    while (this.#got.length === 0) {
      if (this.#failure !== null) throw this.#failure;
      if (this.#isEnded) return null;
      await this.#news();
    }
    return this.#got.shift()!;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += CHUNK) {
      this.#link.say("write", [], bytes.subarray(at, at + CHUNK));
      this.#untaken++;
    }
    while (this.#untaken > 0) {
      if (this.#failure !== null) throw this.#failure;
      await this.#news();
    }
  }

  closeWrite(): Promise<void> {
    this.#link.say("shut", []);
    return Promise.resolve();
  }

  close(): void {
    this.#link.close();
  }
}
