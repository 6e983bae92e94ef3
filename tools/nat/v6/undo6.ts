/**
 * Undo6: a translated packet that the host did not take is the guest's again, so that the guest can be told about it.
 * As nat/undo for IPv4.
 *
 * Path: nat → undo6 → link6, errors6, nat6, v6/packet6.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { DNS_PORT } from "../../../kernel/wire/dns.ts";
import { ICMP6_PACKET_TOO_BIG, ICMP6_UNREACHABLE, ICMP6_UNREACHABLE_NO_ROUTE } from "../../../kernel/wire/icmp6.ts";
import { IPV6_MTU_MIN, ipv6HopLimit, setIpv6HopLimit } from "../../../kernel/wire/ipv6.ts";
import { Reason } from "../counters.ts";
import { type Decision, Verdict } from "../decision.ts";
import { type NatMap, Realm } from "../map.ts";
import type { HostRefusal } from "../undo.ts";
import { calledBy6 } from "./errors6.ts";
import { errorToGuest6 } from "./link6.ts";
import type { Nat6 } from "./nat6.ts";
import { Kind6 } from "./packet6.ts";

/** The host refused `block` (given away), which was translated for `map`: the guest is told if it can do something. */
export function refusedByHost6(six: Nat6, block: Block, map: NatMap, refusal: HostRefusal): Decision {
  const { packet, nat } = six;
  const { reason, mtu = IPV6_MTU_MIN } = refusal;
  nat.counters.refuse(reason);
  const isTooBig = reason === Reason.TooBig;
  if (isTooBig || reason === Reason.NoRoute) {
    const isOwn = packet.read(block) === Reason.None && packet.kind !== Kind6.Error && map.holds(packet.srcPort);
    if (isOwn) {
      restore(six, map);
      const error = isTooBig
        ? { type: ICMP6_PACKET_TOO_BIG, code: 0, rest: Math.max(IPV6_MTU_MIN, mtu) }
        : { type: ICMP6_UNREACHABLE, code: ICMP6_UNREACHABLE_NO_ROUTE };
      errorToGuest6(six, block, map.guest, error);
    }
  }
  block.free();
  return nat.decision.set(Verdict.Drop, reason, map, null);
}

/** Makes the packet what the guest sent. */
function restore(six: Nat6, map: NatMap): void {
  const { packet } = six;
  const { dst, dstPort, kind } = packet;
  packet.setSource(map.guest.addr, map.guestPort + packet.srcPort - map.hostPort);
  const port = map.realm === Realm.Dns ? DNS_PORT : dstPort;
  packet.setDestination(calledBy6(six, map, dst), kind === Kind6.Query ? packet.srcPort : port);
  if (map.realm !== Realm.World || dst.isLoopback) return;
  setIpv6HopLimit(packet.buf, packet.at, Math.min(255, ipv6HopLimit(packet.buf, packet.at) + 1));
}
