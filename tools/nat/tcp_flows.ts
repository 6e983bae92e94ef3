/**
 * TcpFlows: the TCP connections of one map, and what they make of it.
 *
 * Path: map → tcp_flows → addr_hash, map_class.
 *
 * Limits: {@link FLOWS_MAX} connections.
 *
 * @module
 */

import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from "../../kernel/wire/tcp.ts";
import { type AddrEntry, AddrMap, copyAddr, type RemoteAddr } from "./addr_hash.ts";
import { MapClass } from "./map_class.ts";

/** Most TCP connections of one guest port: several remotes are rare, as clients take a port for each connection. */
export const FLOWS_MAX = 64;

/** What was seen of a TCP connection; bits of {@link TcpFlow.seen}. */
const Seen = { GuestAck: 1, WorldAck: 2, GuestFin: 4, WorldFin: 8, Rst: 16 } as const;
const BOTH_ACK = Seen.GuestAck | Seen.WorldAck;
const BOTH_FIN = Seen.GuestFin | Seen.WorldFin;

/** The remote end of a connection. */
export interface RemoteEnd extends RemoteAddr {
  readonly remotePort: number;
}

/** One TCP connection of a map. */
class TcpFlow implements AddrEntry<TcpFlow> {
  readonly addr: IpAddr;
  readonly hash: number;
  readonly port: number;
  nextSame: TcpFlow | null = null;
  seen = 0;
  class: MapClass = MapClass.TcpClosing;
  constructor({ remote, remoteHash, remotePort }: RemoteEnd) {
    this.addr = copyAddr(remote);
    this.hash = remoteHash;
    this.port = remotePort;
  }
}

/** See above. Most maps have one connection: the first needs no table. */
export class TcpFlows {
  #first: TcpFlow | null = null;
  #others: AddrMap<TcpFlow> | null = null;
  #established = 0;
  #halfClosed = 0;
  #opening = 0;

  /** How many connections it knows. */
  get count(): number {
    return (this.#first === null ? 0 : 1) + (this.#others?.size ?? 0);
  }

  /** The address of the first connection, if it is `addr`: for others to keep, too. */
  keptAddr(addr: IpAddr): IpAddr | null {
    return this.#first?.addr.equals(addr) === true ? this.#first.addr : null;
  }

  /** A TCP segment passed to or from the remote `end`; returns the class that the map has by that. */
  track(end: RemoteEnd, flags: number, fromGuest: boolean): MapClass {
    const flow = this.#flowOf(end) ?? this.#addFlow(end);
    this.#move(flow, nextClass(flow, flags, fromGuest));
    if (this.#established > 0) return MapClass.TcpEstablished;
    if (this.#halfClosed > 0) return MapClass.TcpHalfClosed;
    return this.#opening > 0 ? MapClass.TcpOpening : MapClass.TcpClosing;
  }

  /** Whether a segment from the remote `end` belongs to a connection of the map, and is no new call. */
  isConnected(end: RemoteEnd, flags: number): boolean {
    const flow = this.#flowOf(end);
    if (flow === null) return false;
    // A SYN from there is half of a simultaneous open only while the guest's own is on its way (RFC 5382 REQ-2a).
    return (flags & (TCP_SYN | TCP_ACK)) !== TCP_SYN || flow.class === MapClass.TcpOpening;
  }

  #flowOf(end: RemoteEnd): TcpFlow | null {
    const { remote, remotePort } = end;
    const first = this.#first;
    if (first !== null && first.port === remotePort && first.addr.equals(remote)) return first;
    return this.#others === null ? null : this.#others.get(end.remoteHash, remote, remotePort);
  }

  #addFlow(end: RemoteEnd): TcpFlow {
    if (this.count >= FLOWS_MAX) this.#forgetFlow();
    const flow = new TcpFlow(end);
    if (this.#first === null) this.#first = flow;
    else (this.#others ??= new AddrMap()).add(flow);
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
    const first = this.#first!;
    let victim: TcpFlow = first;
    if (isConnection(first)) {
      for (const flow of this.#others!.values()) {
        if (isConnection(flow)) continue;
        victim = flow;
        break;
      }
    }
    this.#count(victim.class, -1);
    if (victim === first) this.#first = null;
    else this.#others!.delete(victim);
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
