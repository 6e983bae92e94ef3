/**
 * Victims: which map a guest gives up for another at a cap, and in what order.
 *
 * Path: table → victims → map.
 *
 * At a cap, what costs least is given up first, in a named order ({@link VICTIMS}), always the map of a class that was
 * not used for longest, which is the head of its list. A TCP connection that is established or half-closed goes only
 * after {@link EVICT_IDLE_MS} without a packet: RFC 5382 REQ-5 wants an idle one kept, but not at the price of refusing
 * all others.
 *
 * @module
 */

import { type Guest, MapClass, type MapProto, type NatMap } from "./map.ts";

/** A TCP connection that had a packet within this time is live: twice the keepalive of most programs. */
const EVICT_IDLE_MS = 60_000;
/** A question this old has its answer, or will not get it: a resolver asks again after 5 seconds. */
const ANSWER_MS = 5_000;

/** Which maps may be given up: of this class, if not used for so long. */
interface Victim {
  readonly cls: MapClass;
  readonly idleMs: number;
  /** Only while more than an eighth of the guest's maps are of the class: so many are a scan. */
  readonly isCrowd?: boolean;
}

/**
 * By protocol, cheapest first. The next packet of UDP or echo makes its map again; of TCP that is not so. What has just
 * been asked waits for its answer, and goes before idle maps only when there are many of its kind.
 */
const VICTIMS: readonly (readonly Victim[])[] = [
  [
    { cls: MapClass.Dns, idleMs: ANSWER_MS },
    { cls: MapClass.UdpUnanswered, idleMs: ANSWER_MS },
    { cls: MapClass.UdpUnanswered, idleMs: 0, isCrowd: true },
    { cls: MapClass.Dns, idleMs: 0, isCrowd: true },
    { cls: MapClass.Udp, idleMs: 0 },
    { cls: MapClass.UdpUnanswered, idleMs: 0 },
    { cls: MapClass.Dns, idleMs: 0 },
  ],
  [
    { cls: MapClass.TcpClosing, idleMs: 0 },
    { cls: MapClass.TcpOpening, idleMs: ANSWER_MS },
    { cls: MapClass.TcpOpening, idleMs: 0, isCrowd: true },
    { cls: MapClass.TcpHalfClosed, idleMs: EVICT_IDLE_MS },
    { cls: MapClass.TcpEstablished, idleMs: EVICT_IDLE_MS },
    { cls: MapClass.TcpOpening, idleMs: 0 },
  ],
  [{ cls: MapClass.Icmp, idleMs: 0 }],
];

/** What a map is given up for: one of this protocol; more than `crowd` maps of one class are a scan. */
interface Want {
  readonly proto: MapProto;
  readonly crowd: number;
}

/** The map of `guest` that costs least, or null: a look at the heads of its lists. */
export function cheapestOf(guest: Guest, { proto, crowd }: Want, now: number): NatMap | null {
  for (const { cls, idleMs, isCrowd } of VICTIMS[proto]!) {
    const { head, count } = guest.lists[cls]!;
    if (isCrowd === true && count <= crowd) continue;
    if (head !== null && now - head.lastUse >= idleMs) return head;
  }
  return null;
}
