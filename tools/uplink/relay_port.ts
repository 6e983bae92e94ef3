/**
 * RelayPort: one UDP socket of the machine and the source port on the link that it stands for, with the datagrams that
 * wait to be sent.
 *
 * Path: datagram_relay, datagram_answers → relay_port → link_packet, link_version, caller_table, idle_table,
 * host_sockets.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { DatagramOut, HostDatagrams, SocketEnd } from "../../kernel/host_sockets.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { UDP_HEADER_LEN } from "../../kernel/wire/udp.ts";
import type { CallerTable } from "./caller_table.ts";
import type { IdleEntry } from "./idle_table.ts";
import { SentHeaders } from "./link_packet.ts";
import { type LinkVersion, linkVersion } from "./link_version.ts";

/** Datagrams that one call of the machine takes, and that wait for a socket without room. */
export const BATCH_MAX = 64;
/** Time without use after which a port's socket closes: the NAT's own timers are shorter, this is the net below. */
const UDP_IDLE_MS = 300_000;
/** The same for a port that only asked name servers, and has an answer. */
const DNS_IDLE_MS = 30_000;
/** The port of name servers (RFC 1035 4.2.1). */
const DNS_PORT = 53;

/** Where a datagram goes. */
export interface Route {
  readonly to: SocketEnd;
  /** Source address; null: the route's. */
  readonly from: IpAddr | null;
}

/** The key of a port in tables: versions apart. */
export function portKey(version: 4 | 6, port: number): number {
  return (version << 16) | port;
}

const NO_BYTES = new Uint8Array(0);
const NOWHERE: SocketEnd = { address: linkVersion(4).loopback, port: 0 };

/** Messages for a call of the machine, made once and used for every socket: the call reads them and keeps none. */
export class Outbox {
  /** Memory of all blocks that wait in ports. */
  waitingBytes = 0;
  readonly messages: DatagramOut[] = Array.from({ length: BATCH_MAX }, () => ({
    to: NOWHERE,
    from: null,
    parts: [NO_BYTES],
    ttl: 0,
    tos: 0,
    dontFragment: false,
    segmentSize: 0,
  }));

  /** Makes message `i` the payload, from `at` on, of the packet in `block`. */
  put(i: number, { link, block, route, at }: { link: LinkVersion; block: Block; route: Route; at: number }): void {
    const { buf, rp, wp } = block;
    const message = this.messages[i]!;
    message.to = route.to;
    message.from = route.from;
    (message.parts as Uint8Array[])[0] = buf.subarray(at, wp);
    message.ttl = link.header.ttl(buf, rp);
    message.tos = link.tos(buf, rp);
    message.dontFragment = link.dontFragment(block);
    const { segmentSize } = block;
    message.segmentSize = segmentSize < wp - at ? segmentSize : 0;
  }

  /** Lets go of the bytes of the first `count` messages. */
  clear(count: number): void {
    for (let i = 0; i < count; i++) (this.messages[i]!.parts as Uint8Array[])[0] = NO_BYTES;
  }
}

/** A port with its socket. */
export class RelayPort implements IdleEntry {
  readonly key: number;
  /** Of a forward: who called it. */
  readonly callers: CallerTable<RelayPort> | null;
  readonly sent: SentHeaders = new SentHeaders();
  usedMs = 0;
  /** Whether it waits to be served, to be flushed. */
  isReady = false;
  isDirty = false;
  /** Whether the socket had no room. */
  isBlocked = false;
  isClosed = false;
  /** Whether every datagram so far went to a name server; whether the last has an answer. */
  #asksNames = true;
  #isAnswered = false;
  #blocks: Block[] = [];
  #routes: Route[] = [];
  readonly #outbox: Outbox;

  /** The port `linkPort` of the link, of a socket that it owns; `callers` are those of a forward. */
  constructor(
    readonly link: LinkVersion,
    readonly linkPort: number,
    readonly socket: HostDatagrams,
    { outbox, callers = null }: { readonly outbox: Outbox; readonly callers?: CallerTable<RelayPort> | null },
  ) {
    this.key = portKey(link.version, linkPort);
    this.callers = callers;
    this.#outbox = outbox;
  }

  get isShortLived(): boolean {
    return this.#asksNames;
  }

  get idleMs(): number {
    return this.#asksNames && this.#isAnswered ? DNS_IDLE_MS : UDP_IDLE_MS;
  }

  /** Datagrams that wait. */
  get waiting(): number {
    return this.#blocks.length;
  }

  /** Whether one more may wait: with room in the socket they do not wait long. */
  get hasRoom(): boolean {
    return this.#blocks.length < BATCH_MAX;
  }

  /** Appends a datagram; the packet is the port's from now on. */
  push(block: Block, route: Route): void {
    if (route.to.port !== DNS_PORT) this.#asksNames = false;
    this.#isAnswered = false;
    this.#blocks.push(block);
    this.#routes.push(route);
    this.#outbox.waitingBytes += block.buf.length;
  }

  /** Puts datagrams before all others. */
  unshift(blocks: readonly Block[], route: Route): void {
    this.#blocks.unshift(...blocks);
    this.#routes.unshift(...blocks.map(() => route));
    for (const { buf } of blocks) this.#outbox.waitingBytes += buf.length;
  }

  /** A datagram came from `port`. True: it may close earlier than before. */
  answered(port: number): boolean {
    if (!this.#asksNames || this.#isAnswered || port !== DNS_PORT) return false;
    this.#isAnswered = true;
    return true;
  }

  /** Sends what waits, at most a batch: how many datagrams the machine took. */
  send(): number {
    const outbox = this.#outbox;
    const count = Math.min(BATCH_MAX, this.#blocks.length);
    for (let i = 0; i < count; i++) {
      const block = this.#blocks[i]!;
      const { link } = this;
      outbox.put(i, { link, block, route: this.#routes[i]!, at: transportAt(link, block) + UDP_HEADER_LEN });
    }
    const sent = this.socket.send(outbox.messages, count);
    outbox.clear(count);
    if (sent > 0) {
      const last = this.#blocks[sent - 1]!;
      this.sent.keep(last, transportAt(this.link, last));
    }
    for (const block of this.#blocks.splice(0, sent)) this.#free(block);
    this.#routes.splice(0, sent);
    return sent;
  }

  /** Takes the datagram that the machine refused. */
  takeRefused(): { readonly block: Block; readonly route: Route } {
    const block = this.#blocks.shift()!;
    this.#outbox.waitingBytes -= block.buf.length;
    return { block, route: this.#routes.shift()! };
  }

  /** Closes the socket and frees what waits. */
  close(): void {
    this.isClosed = true;
    this.socket.onReady = null;
    this.socket.close();
    for (const block of this.#blocks) this.#free(block);
    this.#blocks = [];
    this.#routes = [];
  }

  #free(block: Block): void {
    this.#outbox.waitingBytes -= block.buf.length;
    block.free();
  }
}

/** Where the UDP header of a packet is that was checked. */
function transportAt({ header }: LinkVersion, { buf, rp, wp }: Block): number {
  return rp + header.headerLen(buf, rp, wp);
}
