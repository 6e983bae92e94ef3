/**
 * NatObserver: sees the packets on both sides of a NAT with the NAT's decisions, for captures and for tests.
 *
 * Path: capture, program, guest_types → observer → nat/counters, decision, map.
 *
 * Without an observer nothing here runs. With one, the bytes are copied before the translation writes over them, and
 * shown after the decision, before the packet goes on. So packets are seen in the order in which they went: the guest's
 * frame, then the packet that came of it.
 *
 * @module
 */

import { REASON_NAMES } from "./counters.ts";
import { Decision } from "./decision.ts";
import { MAP_CLASS_NAMES, MAP_PROTO_NAMES, type NatMap, Realm } from "./map.ts";

/** Where a packet was seen: an Ethernet frame on the guest's link, or an IP packet at a bypassed conversation. */
export type NatPoint = "guest" | "bypass";

/** What was seen. `out` leaves the guest, `in` goes to it. */
export interface NatSight {
  /** Where it was seen. */
  readonly point: NatPoint;
  /** Which way it goes. */
  readonly direction: "in" | "out";
  /** The frame or packet, an owed checksum paid; valid until the observer returns. */
  readonly bytes: Uint8Array;
  /** What the NAT decided, in words; empty: it has no say in this one. */
  readonly note: string;
}

/** Sees every packet of a NAT. Must not call back into it. */
export type NatObserver = (sight: NatSight) => void;

/** A decision in words: which mapping a packet took, or why it went no further. */
export function describeDecision(decision: Decision, isNewMap: boolean): string {
  const { kind, reason, map } = decision;
  switch (kind) {
    case Decision.Drop:
      return `refused: ${REASON_NAMES[reason]}`;
    case Decision.Service:
      return "answered by the router";
    case Decision.Held:
      return "fragment: kept until the rest is there";
    default:
      return map === null ? "" : `${isNewMap ? "new map" : "map"} ${describeMap(map)}`;
  }
}

/** A mapping in words: `udp 10.0.2.15:4000 = host 127.0.0.1:5000, loopback, dns`. */
function describeMap(map: NatMap): string {
  const { guest, guestPort, hostPort, bound, count, realm } = map;
  const last = count > 1 ? `-${hostPort + count - 1}` : "";
  const host = `host ${bound === null ? "" : `${bound}:`}${hostPort}${last}`;
  const words = [`${MAP_PROTO_NAMES[map.proto]} ${guest.addr}:${guestPort} = ${host}`];
  if (realm !== Realm.World) words.push(realm === Realm.Host ? "loopback" : "name server");
  words.push(map.isStatic ? "forward" : MAP_CLASS_NAMES[map.class]!);
  return words.join(", ");
}
