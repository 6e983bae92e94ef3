/**
 * NatMap: one mapping: guestPort of a guest stands behind hostPort of the host; and what is remembered of its remotes.
 *
 * Path: table, outbound, inbound → map → addr_hash, nat/guest, map_class, remotes, tcp_flows.
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
import { AddrMap, copyAddr, type RemoteAddr } from "./addr_hash.ts";
import type { GuestRecord } from "./guest.ts";
import { MapClass, MapProto, type Realm } from "./map_class.ts";
import { Remote } from "./remotes.ts";
import { type RemoteEnd, TcpFlows } from "./tcp_flows.ts";

export { MAP_CLASS_NAMES, MAP_PROTO_NAMES, MapClass, MapProto, Realm } from "./map_class.ts";
export { FLOWS_MAX } from "./tcp_flows.ts";

/** What a new map is, by protocol. */
const FIRST_CLASS = [MapClass.Dns, MapClass.TcpOpening, MapClass.Icmp] as const;

/** Whose map it is: the guest's end, and the remote's as far as mapping depends on it. */
export interface MapEnds {
  readonly proto: MapProto;
  readonly guestPort: number;
  readonly realm: Realm;
  /** The remote as the guest sees it, and its {@link AddrHash}; null and 0: any. */
  readonly remote: IpAddr | null;
  readonly remoteHash: number;
  readonly remotePort: number;
}

/** A guest of these maps. */
export type Guest = GuestRecord<NatMap>;

/** One mapping. */
export class NatMap implements MapEnds {
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
  readonly proto: MapProto;
  readonly guestPort: number;
  readonly realm: Realm;
  readonly remote: IpAddr | null;
  readonly remoteHash: number;
  readonly remotePort: number;
  /** Whether its guest is one of IPv6. */
  readonly is6: boolean;
  /** A forward: it lives until it is removed, and lets everybody in. */
  isStatic = false;
  /** The host's address it is bound to; null: all of them. */
  bound: IpAddr | null = null;
  /** For the holder of its conversation: descriptor, and place in the queue of those with packets. */
  fd = -1;
  /** Number of the conversation in its protocol's directory. */
  conv = -1;
  isReady = false;
  packetsOut = 0;
  packetsIn = 0;
  /** The forward that took over its host port, and carries its packets; null: it has its own conversation. */
  carrier: NatMap | null = null;
  /** Of a forward: the maps whose host ports it took over, by port; null: none. */
  carried: Map<number, NatMap[]> | null = null;
  /** The remotes that the filter lets in. Most maps have one: the first needs no table. */
  #remote: Remote<NatMap> | null = null;
  #remotes: AddrMap<Remote<NatMap>> | null = null;
  /** Its connections; null but for TCP. */
  readonly #flows: TcpFlows | null;

  /** `guest` of a forward changes when that follows the guest. */
  constructor(public guest: Guest, ends: MapEnds) {
    this.proto = ends.proto;
    this.guestPort = ends.guestPort;
    this.realm = ends.realm;
    this.remote = ends.remote;
    this.remoteHash = ends.remoteHash;
    this.remotePort = ends.remotePort;
    this.is6 = !guest.addr.isV4;
    this.class = FIRST_CLASS[this.proto];
    this.#flows = ends.proto === MapProto.Tcp ? new TcpFlows() : null;
  }

  /** Whether the host's `port` is one of its. */
  holds(port: number): boolean {
    return port >= this.hostPort && port < this.hostPort + this.count;
  }

  /** The remote `at` that the filter knows, with `port` or (0) without; or null. */
  remoteOf(at: RemoteAddr, port: number): Remote<NatMap> | null {
    const first = this.#remote;
    if (first !== null && first.port === port && first.addr.equals(at.remote)) return first;
    return this.#remotes === null ? null : this.#remotes.get(at.remoteHash, at.remote, port);
  }

  /** Whether that remote was sent to within the lifetime that ends with `oldest`, a time. */
  lets(at: RemoteAddr, port: number, oldest: number): boolean {
    const remote = this.remoteOf(at, port);
    return remote !== null && remote.lastUse > oldest;
  }

  /** For the table: a remote that is let in from now on. */
  addRemote(at: RemoteAddr, port: number, now: number): Remote<NatMap> {
    const { remoteHash } = at;
    const addr = this.#flows?.keptAddr(at.remote) ?? copyAddr(at.remote);
    const remote = new Remote<NatMap>(this, { remote: addr, remoteHash }, port, now);
    if (this.#remote === null) this.#remote = remote;
    else (this.#remotes ??= new AddrMap()).add(remote);
    return remote;
  }

  /** For the table: `remote` is let in no more. */
  removeRemote(remote: Remote<NatMap>): void {
    if (this.#remote === remote) this.#remote = null;
    else this.#remotes?.delete(remote);
  }

  /** For the table: takes out all remotes, each shown to `gone`. */
  clearRemotes(gone: (remote: Remote<NatMap>) => void): void {
    if (this.#remote !== null) gone(this.#remote);
    if (this.#remotes !== null) { for (const remote of this.#remotes.values()) gone(remote); }
    this.#remote = this.#remotes = null;
  }

  /** How many remotes it lets in, and how many connections it has: for limits. */
  get sizes(): { remotes: number; flows: number } {
    return {
      remotes: (this.#remote === null ? 0 : 1) + (this.#remotes?.size ?? 0),
      flows: this.#flows?.count ?? 0,
    };
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

  /** A TCP segment passed to or from the remote `end`; returns the class that the map has by that. */
  track(end: RemoteEnd, flags: number, fromGuest: boolean): MapClass {
    return this.#flows!.track(end, flags, fromGuest);
  }

  /** Whether a segment from the remote `end` belongs to a connection of this map, and is no new call. */
  isConnected(end: RemoteEnd, flags: number): boolean {
    return this.#flows!.isConnected(end, flags);
  }
}
