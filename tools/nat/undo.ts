/**
 * Undo: a translated packet that the host did not take is the guest's again, so that the guest can be told about it.
 *
 * Path: nat, undo6 → undo → link, nat, nat/counters, decision.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { DNS_PORT } from "../../kernel/wire/dns.ts";
import { ICMP_UNREACHABLE, ICMP_UNREACHABLE_NET, ICMP_UNREACHABLE_TOO_BIG } from "../../kernel/wire/icmp.ts";
import { ipv4Ttl, setIpv4Ttl } from "../../kernel/wire/ipv4.ts";
import type { Nat } from "./nat.ts";
import { Reason } from "./counters.ts";
import { type Decision, Verdict } from "./decision.ts";
import { calledBy } from "./errors.ts";
import { errorToGuest } from "./link.ts";
import { type NatMap, Realm } from "./map.ts";
import { Kind } from "./packet.ts";

/** Why the host did not take a packet. */
export interface HostRefusal {
  readonly reason: Reason;
  /** The next hop's MTU, of TooBig. */
  readonly mtu?: number;
}

/** The host refused `block` (given away), which was translated for `map`: the guest is told if it can do something. */
export function refusedByHost(nat: Nat, block: Block, map: NatMap, refusal: HostRefusal): Decision {
  const { packet, counters, decision } = nat;
  const { reason, mtu } = refusal;
  counters.refuse(reason);
  if (reason === Reason.TooBig || reason === Reason.NoRoute) {
    const isOwn = packet.read(block) === Reason.None && packet.kind !== Kind.Error && map.holds(packet.srcPort);
    if (isOwn) {
      restore(nat, map);
      const code = reason === Reason.TooBig ? ICMP_UNREACHABLE_TOO_BIG : ICMP_UNREACHABLE_NET;
      errorToGuest(nat, block, map.guest, { type: ICMP_UNREACHABLE, code, ...(mtu === undefined ? {} : { mtu }) });
    }
  }
  block.free();
  return decision.set(Verdict.Drop, reason, map, null);
}

/** Makes the packet what the guest sent. */
function restore(nat: Nat, map: NatMap): void {
  const { packet } = nat;
  const { dstAddr, dstPort, kind } = packet;
  packet.setSource(map.guest.addr, map.guestPort + packet.srcPort - map.hostPort);
  const port = map.realm === Realm.Dns ? DNS_PORT : dstPort;
  packet.setDestination(calledBy(nat, map, dstAddr), kind === Kind.Query ? packet.srcPort : port);
  if (map.realm !== Realm.World || dstAddr.isLoopback) return;
  setIpv4Ttl(packet.buf, packet.at, Math.min(255, ipv4Ttl(packet.buf, packet.at) + 1));
}
