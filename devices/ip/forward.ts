/**
 * Forwarding of IPv4: packets for others, while `iprouting` is on (RFC 1812 4.2.2, 5.2, 5.3).
 *
 * Path: ip_input → forward → ipifc.send | icmp_errors.
 *
 * Never forwarded: broadcast, multicast, link-local, loopback, nobody's and reserved addresses; packets that came in a
 * frame for many; packets that choose their own way. A packet whose route leads out where it came in is dropped and
 * counted, as in Akaros: with one router on a link the sender has a wrong mask, and redirects (RFC 792) are not sent.
 *
 * @module
 */

import { Segment } from "../../kernel/block.ts";
import { pieceLength } from "../../kernel/inet/segment.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IPV4_HEADER_LEN, ipv4DontFragment, ipv4IsFragment, ipv4Ttl, setIpv4Ttl } from "../../kernel/wire/ipv4.ts";
import { fragmentsFor } from "./fragment.ts";
import { IcmpFault } from "./icmp_errors.ts";
import type { IpStack } from "./ip_stack.ts";
import type { InputPacket } from "./packet.ts";
import { fragmentPlace4, packet4 } from "./packet4.ts";
import { type Route, RouteKind } from "./route.ts";

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_LOOSE_SOURCE_ROUTE = 0x83;
const OPTION_STRICT_SOURCE_ROUTE = 0x89;

/** Why a packet is not forwarded; counters of IpStats. */
type Reason = "forwRefused" | "forwSourceRoute" | "forwSameIfc" | "ttlExpired" | "outNoRoutes" | "fragFails";

/** Passes on a packet for somebody else (given away), or tells its sender why not. */
export function forward(stack: IpStack, packet: InputPacket): void {
  const { block, src, dst, ifc } = packet;
  if (!isForwardable(src) || !isForwardable(dst)) return drop(stack, packet, "forwRefused");
  if (packet.headerLen > IPV4_HEADER_LEN && hasSourceRoute(packet)) return drop(stack, packet, "forwSourceRoute");
  if (ipv4Ttl(block.buf, block.rp) <= 1) {
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
  if (!route.ifc!.reassembles || !ipv4IsFragment(block.buf, block.rp)) return relay(stack, packet, route);
  const whole = ifc.reassembly.add(packet, fragmentPlace4(block));
  if (whole !== null) relay(stack, packet4(whole, ifc, "unicast"), route);
}

/** Sends the packet on, in pieces if it must be and may be. */
function relay(stack: IpStack, packet: InputPacket, route: Route): void {
  const { block, dst } = packet;
  const out = route.ifc!;
  const gateway = route.gateway ?? dst;
  const length = block.segment === Segment.None ? block.length : pieceLength(block);
  const isTooBig = length > out.mtu;
  if (isTooBig && ipv4DontFragment(block.buf, block.rp)) {
    stack.icmpErrors.report(packet, IcmpFault.TooBig, out.mtu);
    return drop(stack, packet, "fragFails");
  }
  setIpv4Ttl(block.buf, block.rp, ipv4Ttl(block.buf, block.rp) - 1);
  stack.stats.forwDatagrams++;
  if (!isTooBig) return out.send(block, gateway);
  for (const piece of fragmentsFor(stack, block, out.mtu)) out.send(piece, gateway);
}

/** Whether an address has a meaning beyond its link. A source of nobody is refused, too (RFC 1812 5.3.7). */
function isForwardable(addr: IpAddr): boolean {
  if (addr.isLinkLocal || addr.isMulticast || addr.isLoopback) return false;
  return addr.w3 >>> 28 !== 0xf && addr.w3 >>> 24 !== 0;
}

/** Whether an option lists hops (RFC 7126 4.3, 4.4: to be dropped by default). */
function hasSourceRoute({ block, headerLen }: InputPacket): boolean {
  const { buf, rp } = block;
  const end = rp + headerLen;
  for (let at = rp + IPV4_HEADER_LEN; at < end;) {
    const kind = buf[at]!;
    if (kind === OPTION_LOOSE_SOURCE_ROUTE || kind === OPTION_STRICT_SOURCE_ROUTE) return true;
    if (kind === OPTION_END) return false;
    const length = kind === OPTION_NOP ? 1 : at + 1 < end ? buf[at + 1]! : 0;
    if (length === 0) return false;
    at += length;
  }
  return false;
}

function drop(stack: IpStack, packet: InputPacket, reason: Reason): void {
  stack.stats[reason]++;
  packet.block.free();
}
