/**
 * NatMap: one mapping: guestPort of a guest stands behind hostPort of the host; and what is remembered of its remotes.
 *
 * Path: table, outbound, inbound → map → remotes.
 *
 * States of a dynamic map are its {@link MapClass}es; each has a lifetime (RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 5508
 * REQ-1c) and a list in which the least recently used map stands first.
 *
 * ```
 *   udp: Dns --another port than 53 is asked--> UdpUnanswered --a packet comes back--> Udp          icmp: Icmp
 *   tcp: TcpOpening --ACK seen from both sides--> TcpEstablished --FIN from one--> TcpHalfClosed
 *        TcpHalfClosed --FIN from the other--> TcpClosing; RST in any state --> TcpClosing
 *        TcpClosing --SYN--> TcpOpening; after an RST --ACK from the guest--> TcpEstablished (RFC 7857 2.2)
 * ```
 *
 * A map of several connections (one guest port, several remotes) is established as long as one of them is, then
 * half-closed as long as one of them is.
 *
 * Limits: {@link FLOWS_MAX} TCP connections a map; the remotes that the filter lets in are the table's to limit.
 *
 * @module
 */

import { DNS_PORT } from "../../kernel/wire/dns.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from "../../kernel/wire/tcp.ts";
import type { Guest } from "./guest.ts";
import { Remote } from "./remotes.ts";

/** Protocols that are mapped; index of caps and counts. */
export const MapProto = { Udp: 0, Tcp: 1, Icmp: 2 } as const;
export type MapProto = typeof MapProto[keyof typeof MapProto];
/** Their names, which are also those of their directories in /net. */
export const MAP_PROTO_NAMES = ["udp", "tcp", "icmp"] as const;

/** Where a map's remotes are: each has its own maps, so that neither can be taken for the other. */
export const Realm = {
  /** Wherever the host has a route. */
  World: 0,
  /** The host's loopback, which the guest calls the router. */
  Host: 1,
  /** The door of the name server: connections to it end at the host (services/dns). */
  Dns: 2,
} as const;
export type Realm = typeof Realm[keyof typeof Realm];

/** What a dynamic map is at the moment. */
export const MapClass = {
  Udp: 0,
  Dns: 1,
  Icmp: 2,
  TcpOpening: 3,
  TcpClosing: 4,
  TcpEstablished: 5,
  UdpUnanswered: 6,
  TcpHalfClosed: 7,
} as const;
export type MapClass = typeof MapClass[keyof typeof MapClass];
/** Their names, as `maps` prints them. */
export const MAP_CLASS_NAMES = [
  "udp",
  "dns",
  "icmp",
  "opening",
  "closing",
  "established",
  "unanswered",
  "half-closed",
] as const;

/** Most TCP connections of one guest port: several remotes are rare, as clients take a port for each connection. */
export const FLOWS_MAX = 64;

/** What was seen of a TCP connection; bits of {@link TcpFlow.seen}. */
const Seen = { GuestAck: 1, WorldAck: 2, GuestFin: 4, WorldFin: 8, Rst: 16 } as const;
const BOTH_ACK = Seen.GuestAck | Seen.WorldAck;
const BOTH_FIN = Seen.GuestFin | Seen.WorldFin;

/** One TCP connection of a map. */
class TcpFlow {
  seen = 0;
  class: MapClass = MapClass.TcpClosing;
  constructor(readonly key: number) {}
}

/** What a new map is, by protocol. */
const FIRST_CLASS = [MapClass.Dns, MapClass.TcpOpening, MapClass.Icmp] as const;

/** A key for a remote end; `port` 0 where only the address counts. */
export function remoteKey(word: number, port: number): number {
  return (word >>> 0) * 0x10000 + port;
}

/** One mapping. */
export class NatMap {
  /** For the list of its class: neighbours, less recently used first. */
  prev: NatMap | null = null;
  next: NatMap | null = null;
  /** For the table: the next map of the same hash. */
  nextSame: NatMap | null = null;
  /** For the table: whether it is in it. */
  live = false;
  class: MapClass;
  lastUse = 0;
  /** The host's port or identifier (the first, if there are several); 0 until it has one. */
  hostPort = 0;
  /** How many ports stand side by side: more than 1 only in a forward. */
  count = 1;
  /** Whether its guest is one of IPv6. */
  readonly is6: boolean;
  /** A forward: it lives until it is removed, and lets everybody in. */
  isStatic = false;
  /** The host's address it is bound to; null: all of them. */
  bound: IpAddr | null = null;
  /** For whoever holds its conversation: descriptor, and place in the queue of those with packets. */
  fd = -1;
  dir = "";
  isReady = false;
  packetsOut = 0;
  packetsIn = 0;
  /** The forward that took over its host port, and carries its packets; null: it has its own conversation. */
  carrier: NatMap | null = null;
  /** Of a forward: the maps whose host ports it took over, by port; null: none. */
  carried: Map<number, NatMap[]> | null = null;
  /** The remotes that the filter lets in. Most maps have one: the first needs no table. */
  #remote: Remote<NatMap> | null = null;
  #remotes: Map<number, Remote<NatMap>> | null = null;
  /** The connections, likewise. */
  #flow: TcpFlow | null = null;
  #flows: Map<number, TcpFlow> | null = null;
  #established = 0;
  #halfClosed = 0;
  #opening = 0;

  /** `remoteWord` and `remotePort` are 0 unless mapping depends on them. */
  constructor(
    /** Of a forward it changes when that follows the guest. */
    public guest: Guest,
    readonly proto: MapProto,
    readonly guestPort: number,
    readonly realm: Realm,
    readonly remoteWord: number,
    readonly remotePort: number,
  ) {
    this.is6 = !guest.addr.isV4;
    this.class = FIRST_CLASS[proto];
  }

  /** Whether the host's `port` is one of its. */
  holds(port: number): boolean {
    return port >= this.hostPort && port < this.hostPort + this.count;
  }

  /** The remote `key` that the filter knows, or null. */
  remote(key: number): Remote<NatMap> | null {
    const first = this.#remote;
    if (first !== null && first.key === key) return first;
    return this.#remotes === null ? null : this.#remotes.get(key) ?? null;
  }

  /** Whether the remote `key` was sent to within the last `lifetime` milliseconds. */
  lets(key: number, now: number, lifetime: number): boolean {
    const remote = this.remote(key);
    return remote !== null && now - remote.lastUse < lifetime;
  }

  /** A remote that is let in already stays so for another lifetime; nothing for others. */
  keepOpen(key: number, now: number): void {
    const remote = this.remote(key);
    if (remote !== null) remote.lastUse = now;
  }

  /** For the table: a remote that is let in from now on. */
  addRemote(key: number, now: number): Remote<NatMap> {
    const remote = new Remote<NatMap>(this, key, now);
    if (this.#remote === null) this.#remote = remote;
    else (this.#remotes ??= new Map()).set(key, remote);
    return remote;
  }

  /** For the table: `remote` is let in no more. */
  removeRemote(remote: Remote<NatMap>): void {
    if (this.#remote === remote) this.#remote = null;
    else this.#remotes?.delete(remote.key);
  }

  /** For the table: takes out all remotes, each shown to `gone`. */
  clearRemotes(gone: (remote: Remote<NatMap>) => void): void {
    if (this.#remote !== null) gone(this.#remote);
    this.#remotes?.forEach(gone);
    this.#remote = this.#remotes = null;
  }

  /** How many remotes it lets in, and how many connections it has: for limits. */
  get sizes(): { remotes: number; flows: number } {
    return {
      remotes: (this.#remote === null ? 0 : 1) + (this.#remotes?.size ?? 0),
      flows: this.#flowCount,
    };
  }

  get #flowCount(): number {
    return (this.#flow === null ? 0 : 1) + (this.#flows?.size ?? 0);
  }

  /** What a map of UDP or ICMP is when its guest sends to `port`. */
  classAfterSending(port: number): MapClass {
    if (this.class === MapClass.Icmp || (this.class === MapClass.Dns && port === DNS_PORT)) return this.class;
    return this.packetsIn > 0 ? MapClass.Udp : MapClass.UdpUnanswered;
  }

  /** What a map of UDP or ICMP is when a packet comes in. */
  get classAfterReceiving(): MapClass {
    return this.class === MapClass.UdpUnanswered ? MapClass.Udp : this.class;
  }

  /** A TCP segment with `flags` passed to or from the remote `key`; answers the class that the map has by that. */
  track(key: number, flags: number, fromGuest: boolean): MapClass {
    const flow = this.#flowOf(key) ?? this.#addFlow(key);
    this.#move(flow, nextClass(flow, flags, fromGuest));
    if (this.#established > 0) return MapClass.TcpEstablished;
    if (this.#halfClosed > 0) return MapClass.TcpHalfClosed;
    return this.#opening > 0 ? MapClass.TcpOpening : MapClass.TcpClosing;
  }

  /** Whether a segment with `flags` from the remote `key` belongs to a connection of this map, and is no new call. */
  isConnected(key: number, flags: number): boolean {
    const flow = this.#flowOf(key);
    if (flow === null) return false;
    // A SYN from there is half of a simultaneous open only while the guest's own is on its way (RFC 5382 REQ-2a).
    return (flags & (TCP_SYN | TCP_ACK)) !== TCP_SYN || flow.class === MapClass.TcpOpening;
  }

  #flowOf(key: number): TcpFlow | null {
    const first = this.#flow;
    if (first !== null && first.key === key) return first;
    return this.#flows === null ? null : this.#flows.get(key) ?? null;
  }

  #addFlow(key: number): TcpFlow {
    if (this.#flowCount >= FLOWS_MAX) this.#forgetFlow();
    const flow = new TcpFlow(key);
    if (this.#flow === null) this.#flow = flow;
    else (this.#flows ??= new Map()).set(key, flow);
    this.#move(flow, MapClass.TcpOpening);
    return flow;
  }

  #move(flow: TcpFlow, to: MapClass): void {
    this.#count(flow.class, -1);
    flow.class = to;
    this.#count(to, 1);
  }

  #count(cls: MapClass, by: number): void {
    if (cls === MapClass.TcpEstablished) this.#established += by;
    else if (cls === MapClass.TcpHalfClosed) this.#halfClosed += by;
    else if (cls === MapClass.TcpOpening) this.#opening += by;
  }

  /** Forgets the first connection that is opening or closing, or the first of all. */
  #forgetFlow(): void {
    const first = this.#flow!;
    let victim: TcpFlow = first;
    if (isConnection(first)) {
      for (const flow of this.#flows!.values()) {
        if (isConnection(flow)) continue;
        victim = flow;
        break;
      }
    }
    this.#count(victim.class, -1);
    if (victim === first) this.#flow = null;
    else this.#flows!.delete(victim.key);
  }
}

function isConnection(flow: TcpFlow): boolean {
  return flow.class === MapClass.TcpEstablished || flow.class === MapClass.TcpHalfClosed;
}

/** The state table: what a connection is after a segment with `flags`. */
function nextClass(flow: TcpFlow, flags: number, fromGuest: boolean): MapClass {
  if ((flags & TCP_RST) !== 0) {
    flow.seen |= Seen.Rst;
    return MapClass.TcpClosing;
  }
  const isSyn = (flags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
  // A new connection between the same ends: after the old one was closed.
  if (isSyn && flow.class === MapClass.TcpClosing) flow.seen = 0;
  if ((flags & TCP_ACK) !== 0) {
    flow.seen |= fromGuest ? Seen.GuestAck : Seen.WorldAck;
    // RFC 7857 2.2: an RST may have been forged. Who goes on sending is still connected.
    if (fromGuest) flow.seen &= ~Seen.Rst;
  }
  if ((flags & TCP_FIN) !== 0) flow.seen |= fromGuest ? Seen.GuestFin : Seen.WorldFin;
  if ((flow.seen & BOTH_FIN) === BOTH_FIN || (flow.seen & Seen.Rst) !== 0) return MapClass.TcpClosing;
  if ((flow.seen & BOTH_ACK) !== BOTH_ACK) return MapClass.TcpOpening;
  return (flow.seen & BOTH_FIN) === 0 ? MapClass.TcpEstablished : MapClass.TcpHalfClosed;
}
