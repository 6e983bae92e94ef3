/**
 * Takeover: what becomes of the guests' maps that have the host ports of a new forward.
 *
 * Path: nat, forward_ports → takeover → map, ip_addr.
 *
 * A guest may have sent from a port before the port is forwarded. The forward gets the port: new calls are its.
 * The map stays with all that it remembers, and the forward's conversation carries its packets: out, and in from the
 * remotes of its connections (UDP: from the addresses that its filter lets in). It ends when it would have ended
 * anyway; if the forward goes first, it gets its port back.
 *
 * Limits: the conversation of a forward speaks one version of IP from one address or from all. A map of the other
 * version on the same port of all addresses cannot be carried, and ends; so does an IPv6 guest's map to the name
 * server, which speaks both.
 *
 * @module
 */

import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { type NatMap, Realm } from "./map.ts";

/** What becomes of a map. */
export const Fate = {
  /** It keeps its conversation: the two do not meet. */
  Leave: 0,
  /** The forward carries its packets. */
  Carry: 1,
  End: 2,
} as const;
export type Fate = typeof Fate[keyof typeof Fate];

/**
 * What becomes of `map`, which has a host port of a forward to a guest of IPv6 or not, with `bound` as its address of
 * the host kernel; `hostAddr` is the address that the map's packets leave from.
 */
export function fateOf(
  map: NatMap,
  { bound }: Pick<NatMap, "bound">,
  to: { is6: boolean; hostAddr: IpAddr },
): Fate {
  const isSameVersion = map.is6 === to.is6;
  if (map.bound !== null) {
    const meets = isSameVersion && (bound === null || bound.equals(map.bound));
    return meets ? Fate.Carry : Fate.Leave;
  }
  const isDns = map.realm === Realm.Dns;
  if (bound === null) return isSameVersion && !(isDns && map.is6) ? Fate.Carry : Fate.End;
  // The name server may be the host's own, so answers come to its loopback as well.
  if (isDns) return isSameVersion && (bound.isLoopback || bound.equals(to.hostAddr)) ? Fate.End : Fate.Leave;
  return bound.equals(to.hostAddr) ? Fate.Carry : Fate.Leave;
}

/** `forward`, which has its ports, carries the packets of `map`, which has given up its own conversation. */
export function carry(forward: NatMap, map: NatMap): void {
  map.carrier = forward;
  const carried = forward.carried ??= new Map<number, NatMap[]>();
  const same = carried.get(map.hostPort);
  if (same === undefined) carried.set(map.hostPort, [map]);
  else same.push(map);
}

/** `map` is carried no more. */
export function uncarry(map: NatMap): void {
  const forward = map.carrier!;
  map.carrier = null;
  const left = forward.carried!.get(map.hostPort)!.filter((other) => other !== map);
  if (left.length > 0) forward.carried!.set(map.hostPort, left);
  else forward.carried!.delete(map.hostPort);
  if (forward.carried!.size === 0) forward.carried = null;
}
