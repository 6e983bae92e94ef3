/**
 * Forwarding, of both versions: packets for other hosts, while `iprouting` is on (RFC 1812 4.2.2, 5.2, 5.3; RFC 8200).
 *
 * Path: input_checks → network/forward → family, family4, family6, fragment.
 *
 * Never forwarded: broadcast, multicast, link-local, loopback, unspecified and reserved addresses; packets that came in
 * a frame for many stations; packets with a source route. IPv6's routers never fragment: the sender gets the MTU of the
 * next link. A packet whose route leaves by the interface it came in by is dropped and counted, as in Akaros: with one
 * router on a link the sender has a wrong mask, and redirects (RFC 792) are not sent.
 *
 * @module
 */

import { Segment } from "../../../kernel/block.ts";
import { pieceLength } from "../../../kernel/inet/segment.ts";
import type { ForwardReason, IpFamily } from "./family.ts";
import { FAMILY_4 } from "./family4.ts";
import { FAMILY_6 } from "./family6.ts";
import { fragmentsFor } from "./fragment.ts";
import { IcmpFault } from "../packet/icmp_fault.ts";
import type { NetContext } from "./context.ts";
import type { InputPacket } from "../packet/packet.ts";
import { type Route, RouteKind } from "../route/route.ts";

/** Forwards a packet for another host (consumed), or notifies its sender. */
export function forward(stack: NetContext, packet: InputPacket): void {
  const { block, src, dst, ifc } = packet;
  const family = packet.version === 4 ? FAMILY_4 : FAMILY_6;
  if (!family.isForwardable(src) || !family.isForwardable(dst)) return drop(stack, packet, "forwRefused");
  const fault = family.optionFault(stack, packet);
  if (fault !== null) return drop(stack, packet, fault);
  if (family.hops(block.buf, block.rp) <= 1) {
    stack.icmpErrors.report(packet, IcmpFault.Hops);
    return drop(stack, packet, "ttlExpired");
  }
  const route = stack.routes.lookup(dst);
  if (route === null) {
    stack.icmpErrors.report(packet, IcmpFault.NoRoute);
    return drop(stack, packet, "outNoRoutes");
  }
  // RFC 2644: broadcasts to a net of ours from outside of it end here.
  if (route.kind === RouteKind.Broadcast || route.isLocal) return drop(stack, packet, "forwRefused");
  if (route.ifc === ifc) return drop(stack, packet, "forwSameIfc");
  const whole = family.reassembled(stack, packet, route);
  if (whole !== null) relay(stack, family, whole, route);
}

/** Sends the packet on by `route`, in pieces if need be. */
function relay(stack: NetContext, family: IpFamily, packet: InputPacket, route: Route): void {
  const { block, dst } = packet;
  const out = route.ifc!;
  const gateway = route.gateway ?? dst;
  const mtu = family.linkMtu(route);
  const length = block.segment === Segment.None ? block.length : pieceLength(block);
  const isTooBig = length > mtu;
  if (isTooBig && !family.routerMayFragment(block, mtu)) {
    stack.icmpErrors.report(packet, IcmpFault.TooBig, mtu);
    return drop(stack, packet, "fragFails");
  }
  family.setHops(block.buf, block.rp, family.hops(block.buf, block.rp) - 1);
  stack.stats.forwDatagrams++;
  if (!isTooBig) return out.send(block, gateway);
  for (const piece of fragmentsFor(stack, block, mtu)) out.send(piece, gateway);
}

function drop(stack: NetContext, packet: InputPacket, reason: ForwardReason): void {
  stack.stats[reason]++;
  packet.block.free();
}
