/**
 * Host refusal: a translated packet that the host did not take is the guest's again, so that it can be reported to the
 * guest.
 *
 * Path: nat → host_refusal → context, errors, link, map.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { KernelError } from "../../kernel/error.ts";
import { DNS_PORT } from "../../kernel/wire/dns.ts";
import { copyAddr } from "./addr_hash.ts";
import type { FamilyContext, NatContext } from "./context.ts";
import { Reason } from "./counters.ts";
import { Decision } from "./decision.ts";
import { addrSeen } from "./errors.ts";
import { errorToGuest } from "./link.ts";
import { type NatMap, Realm } from "./map.ts";
import { Kind } from "./packet.ts";

/** Why the host did not take a packet. */
export interface HostRefusal {
  readonly reason: Reason;
  /** The next hop's MTU, of TooBig. */
  readonly mtu?: number;
}

/** Why a write of a packet was refused. */
export function refusalOf(error: KernelError): HostRefusal {
  if (error.code === "EMSGSIZE") {
    return error.length === undefined ? { reason: Reason.TooBig } : { reason: Reason.TooBig, mtu: error.length };
  }
  return { reason: error.code === "EHOSTUNREACH" ? Reason.NoRoute : Reason.HostRefused };
}

/** The host refused `block` (consumed), which was translated for `map`: reported if the guest can do something. */
export function refusedByHost(nat: NatContext, block: Block, map: NatMap, refusal: HostRefusal): Decision {
  const ctx = map.is6 ? nat.v6! : nat.v4;
  const { packet, family } = ctx;
  const { reason, mtu = 0 } = refusal;
  nat.counters.refuse(reason);
  const isTooBig = reason === Reason.TooBig;
  if (isTooBig || reason === Reason.NoRoute) {
    const isOwn = packet.read(block) === Reason.None && packet.kind !== Kind.Error && map.holds(packet.srcPort);
    if (isOwn) {
      restore(ctx, map);
      const { tooBig, noRoute } = family.refusals;
      errorToGuest(ctx, map.guest, isTooBig ? tooBig : noRoute, isTooBig ? Math.max(family.mtuMin, mtu) : 0);
    }
  }
  block.free();
  return nat.decision.set(Decision.Drop, reason, map, null);
}

/** Makes the packet what the guest sent. */
function restore(ctx: FamilyContext, map: NatMap): void {
  const { packet, family } = ctx;
  const { dstPort, kind } = packet;
  const dst = copyAddr(packet.dst);
  packet.setSource(map.guest.addr, map.guestPort + packet.srcPort - map.hostPort);
  const port = map.realm === Realm.Dns ? DNS_PORT : dstPort;
  packet.setDestination(addrSeen(ctx, map, dst), kind === Kind.Query ? packet.srcPort : port);
  if (map.realm !== Realm.World || dst.isLoopback) return;
  family.setHops(packet.buf, packet.at, Math.min(255, family.hops(packet.buf, packet.at) + 1));
}
