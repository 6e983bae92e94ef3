/**
 * Forwarding of IPv6, while `iprouting` is on (RFC 8200, RFC 4443, RFC 4291 2.5.6).
 *
 * Path: ip6_input → forward6 → ipifc.send | icmp_errors.
 *
 * Never forwarded: multicast, link-local, loopback and nobody's addresses. A router never fragments: it says what the
 * next link takes. Of the extension headers it looks at the options for every hop and nothing else.
 *
 * @module
 */

import { type Block, Segment } from "../../kernel/block.ts";
import { pieceLength } from "../../kernel/inet/segment.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { ipv6HopLimit, setIpv6HopLimit } from "../../kernel/wire/ipv6.ts";
import { extensionFault } from "./extensions6.ts";
import { IcmpFault } from "./icmp_errors.ts";
import type { IpStack } from "./ip_stack.ts";
import type { InputPacket } from "./packet.ts";

/** Why a packet is not forwarded; counters of IpStats. */
type Reason = "forwRefused" | "forwSameIfc" | "ttlExpired" | "outNoRoutes" | "fragFails" | "inBadExtension";

/** Passes on a packet for somebody else (given away), or tells its sender why not. */
export function forward6(stack: IpStack, packet: InputPacket): void {
  const { block, src, dst, ifc, headerLen } = packet;
  const { buf, rp } = block;
  if (!isForwardable(src) || !isForwardable(dst)) return drop(stack, block, "forwRefused");
  if (ipv6HopLimit(buf, rp) <= 1) {
    stack.icmpErrors.report(packet, IcmpFault.Hops);
    return drop(stack, block, "ttlExpired");
  }
  const fault = extensionFault(buf, rp, rp + headerLen, { isMulticast: false, hopsOnly: true });
  if (fault !== null) {
    if (fault.what === "option") stack.icmpErrors.report(packet, IcmpFault.Option, fault.at - rp);
    return drop(stack, block, "inBadExtension");
  }
  const route = stack.routes.lookup(dst);
  if (route === null) {
    stack.icmpErrors.report(packet, IcmpFault.NoRoute);
    return drop(stack, block, "outNoRoutes");
  }
  if (route.isLocal) return drop(stack, block, "forwRefused");
  if (route.ifc === ifc) return drop(stack, block, "forwSameIfc");
  const out = route.ifc!;
  const length = block.segment === Segment.None ? block.length : pieceLength(block);
  if (length > out.mtu6) {
    stack.icmpErrors.report(packet, IcmpFault.TooBig, out.mtu6);
    return drop(stack, block, "fragFails");
  }
  setIpv6HopLimit(buf, rp, ipv6HopLimit(buf, rp) - 1);
  stack.stats.forwDatagrams++;
  out.send(block, route.gateway ?? dst);
}

/** Whether an address has a meaning beyond its link. */
function isForwardable(addr: IpAddr): boolean {
  return !addr.isLinkLocal && !addr.isMulticast && !addr.isLoopback && !addr.isUnspecified;
}

function drop(stack: IpStack, block: Block, reason: Reason): void {
  stack.stats[reason]++;
  block.free();
}
