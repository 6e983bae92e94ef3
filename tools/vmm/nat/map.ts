/**
 * NatMap: one mapping: guestPort of a guest stands behind hostPort of the host; and what is remembered of its remotes.
 *
 * Path: table, outbound, inbound → map.
 *
 * States of a dynamic map are its {@link MapClass}es; each has a lifetime (RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 5508
 * REQ-1c) and a list in which the least recently used map stands first.
 *
 * ```
 *   udp: Dns --another port than 53 is asked--> Udp          icmp: Icmp
 *   tcp: TcpOpening --ACK seen from both sides--> TcpEstablished --FIN from both, or RST--> TcpClosing
 *        TcpClosing --SYN--> TcpOpening; after an RST --ACK from the guest--> TcpEstablished (RFC 7857 2.2)
 * ```
 *
 * A map of several connections (one guest port, several remotes) is established as long as one of them is.
 *
 * Limits: {@link PINHOLES_MAX} remotes that the filter lets in, {@link FLOWS_MAX} TCP connections a map.
 *
 * @module
 */

import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from "../../../kernel/wire/tcp.ts";
import type { Guest } from "./guest.ts";

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
  /** The host's name servers, which the guest calls its own. */
  Dns: 2,
} as const;
export type Realm = typeof Realm[keyof typeof Realm];

/** What a dynamic map is at the moment. */
export const MapClass = { Udp: 0, Dns: 1, Icmp: 2, TcpOpening: 3, TcpClosing: 4, TcpEstablished: 5 } as const;
export type MapClass = typeof MapClass[keyof typeof MapClass];
/** Their names, as `maps` prints them. */
export const MAP_CLASS_NAMES = ["udp", "dns", "icmp", "opening", "closing", "established"] as const;

/** Most remotes of a map that the filter knows: a swarm of peers; the least recently used goes first. */
export const PINHOLES_MAX = 256;
/** Most TCP connections of one guest port: several remotes are rare, as clients take a port for each connection. */
export const FLOWS_MAX = 64;

/** A remote that the filter lets in. */
interface Pinhole {
  lastUse: number;
}

/** What was seen of a TCP connection; bits of {@link TcpFlow.seen}. */
const Seen = { GuestAck: 1, WorldAck: 2, GuestFin: 4, WorldFin: 8, Rst: 16 } as const;
const BOTH_ACK = Seen.GuestAck | Seen.WorldAck;
const BOTH_FIN = Seen.GuestFin | Seen.WorldFin;

/** One TCP connection of a map. */
interface TcpFlow {
  seen: number;
  class: MapClass;
}

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
  /** The name server that its TCP connection goes to. */
  server: IpAddr | null = null;
  packetsOut = 0;
  packetsIn = 0;
  #pinholes: Map<number, Pinhole> | null = null;
  #lastKey = -1;
  #lastPinhole: Pinhole | null = null;
  #flows: Map<number, TcpFlow> | null = null;
  #established = 0;
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
    this.class = proto === MapProto.Tcp ? MapClass.TcpOpening : proto === MapProto.Icmp ? MapClass.Icmp : MapClass.Dns;
  }

  /** Whether the host's `port` is one of its. */
  holds(port: number): boolean {
    return port >= this.hostPort && port < this.hostPort + this.count;
  }

  /** Lets the remote `key` in from now on. */
  open(key: number, now: number): void {
    if (key === this.#lastKey) {
      this.#lastPinhole!.lastUse = now;
      return;
    }
    const pinholes = this.#pinholes ??= new Map();
    let pinhole = pinholes.get(key);
    if (pinhole === undefined) {
      if (pinholes.size >= PINHOLES_MAX) forgetOldest(pinholes);
      pinholes.set(key, pinhole = { lastUse: now });
    }
    pinhole.lastUse = now;
    this.#lastKey = key;
    this.#lastPinhole = pinhole;
  }

  /** Whether the remote `key` was sent to within the last `lifetime` milliseconds. */
  lets(key: number, now: number, lifetime: number): boolean {
    const pinhole = this.#pinholes?.get(key);
    return pinhole !== undefined && now - pinhole.lastUse < lifetime;
  }

  /** As {@link open}, for a remote that is let in already; nothing for others. */
  keepOpen(key: number, now: number): void {
    const pinhole = this.#pinholes?.get(key);
    if (pinhole !== undefined) pinhole.lastUse = now;
  }

  /** How many remotes it lets in, and how many connections it has: for limits. */
  get sizes(): { pinholes: number; flows: number } {
    return { pinholes: this.#pinholes?.size ?? 0, flows: this.#flows?.size ?? 0 };
  }

  /** A TCP segment with `flags` passed to or from the remote `key`; answers the class that the map has by that. */
  track(key: number, flags: number, fromGuest: boolean): MapClass {
    const flows = this.#flows ??= new Map();
    let flow = flows.get(key);
    if (flow === undefined) {
      if (flows.size >= FLOWS_MAX) this.#forgetFlow(flows);
      flows.set(key, flow = { seen: 0, class: MapClass.TcpClosing });
      this.#move(flow, MapClass.TcpOpening);
    }
    this.#move(flow, nextClass(flow, flags, fromGuest));
    if (this.#established > 0) return MapClass.TcpEstablished;
    return this.#opening > 0 ? MapClass.TcpOpening : MapClass.TcpClosing;
  }

  #move(flow: TcpFlow, to: MapClass): void {
    this.#count(flow.class, -1);
    flow.class = to;
    this.#count(to, 1);
  }

  #count(cls: MapClass, by: number): void {
    if (cls === MapClass.TcpEstablished) this.#established += by;
    else if (cls === MapClass.TcpOpening) this.#opening += by;
  }

  /** Forgets the first connection that is not established, or the first of all. */
  #forgetFlow(flows: Map<number, TcpFlow>): void {
    let victim = -1;
    for (const [key, flow] of flows) {
      if (victim < 0) victim = key;
      if (flow.class === MapClass.TcpEstablished) continue;
      victim = key;
      break;
    }
    this.#count(flows.get(victim)!.class, -1);
    flows.delete(victim);
  }
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
  return (flow.seen & BOTH_ACK) === BOTH_ACK ? MapClass.TcpEstablished : MapClass.TcpOpening;
}

function forgetOldest(pinholes: Map<number, Pinhole>): void {
  let oldest = -1;
  let lastUse = Infinity;
  for (const [key, pinhole] of pinholes) {
    if (pinhole.lastUse >= lastUse) continue;
    oldest = key;
    lastUse = pinhole.lastUse;
  }
  pinholes.delete(oldest);
}
