/**
 * IP output: which way, which header, in how many pieces (RFC 791, RFC 1122 3.3).
 *
 * Path: protocols, bypass → ip_output → route → ipifc.send | ipifc.sendLocal.
 *
 * Packets to an address of ours never see a link: they come in again by the interface's own loopback queue. Akaros asks
 * ARP for itself and has #ether turn them around.
 *
 * Everything is decided before a byte is changed: on `noRoute` and `tooBig` the block is the caller's as it was.
 *
 * @module
 */

import { type Block, Segment } from "../../kernel/block.ts";
import { pieceLength } from "../../kernel/segment.ts";
import { put16 } from "../../kernel/wire/bytes.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import {
  IPV4_HEADER_LEN,
  IPV4_TOTAL_MAX,
  ipv4DontFragment,
  ipv4Dst,
  ipv4HeaderLen,
  ipv4Id,
  ipv4IsFragment,
  ipv4Src,
  setIpv4Checksum,
} from "../../kernel/wire/ipv4.ts";
import { fragmentsFor } from "./fragment.ts";
import type { IpStack } from "./ip_stack.ts";
import type { SendOptions, SendResult } from "./packet.ts";
import type { Route } from "./route.ts";

/** What is assumed of a way that is not known: every host can take it (RFC 1122 3.3.3). */
export const MTU_UNKNOWN = 576;

const VERSION_4_IHL_5 = 0x45;
const TOS = 1;
const TOTAL_LEN = 2;
const ID = 4;
const FRAG = 6;
const TTL = 8;
const PROTOCOL = 9;
const SRC = 12;
const DST = 16;
const DONT_FRAGMENT = 0x4000;

/** TTL and TOS that the kernel gives to raw packets when it is to choose (Akaros). */
const KERNEL_TTL = 255;
const KERNEL_TOS = 0;

/**
 * Sends transport header and payload under a new IP header. What does not fit the link is fragmented, and what does may
 * be further on; `dontFragment` forbids both. (Akaros sets DF on all that fits, and never hears of a smaller link.)
 */
export function sendPacket(stack: IpStack, block: Block, options: SendOptions): SendResult {
  const { stats } = stack;
  const { src, dst } = options;
  stats.outRequests++;
  const route = routeFor(stack, src, dst);
  if (route === null) {
    stats.outNoRoutes++;
    return "noRoute";
  }
  const totalLen = block.length + IPV4_HEADER_LEN;
  const { mtu } = route;
  const fits = (block.segment === Segment.None ? totalLen : pieceLength(block)) <= mtu;
  if (totalLen > IPV4_TOTAL_MAX) {
    stats.outTooLong++;
    return "tooBig";
  }
  if (!fits && (options.dontFragment === true || block.segment !== Segment.None)) {
    stats.fragFails++;
    return "tooBig";
  }
  const at = block.push(IPV4_HEADER_LEN);
  const { buf } = block;
  buf[at] = VERSION_4_IHL_5;
  buf[at + TOS] = options.tos;
  put16(buf, at + TOTAL_LEN, totalLen);
  put16(buf, at + ID, stack.nextIpId(options.protocol));
  put16(buf, at + FRAG, options.dontFragment === true ? DONT_FRAGMENT : 0);
  buf[at + TTL] = options.ttl;
  buf[at + PROTOCOL] = options.protocol;
  src.putV4(buf, at + SRC);
  dst.putV4(buf, at + DST);
  setIpv4Checksum(buf, at, IPV4_HEADER_LEN);
  if (fits) dispatch(stack, block, route, dst);
  else for (const piece of fragmentsFor(stack, block, mtu)) dispatch(stack, piece, route, dst);
  return "sent";
}

/**
 * Sends a packet that begins with an IP header, which the caller has found right in version, lengths and addresses. Its
 * own fields are kept, options and fragment fields included; `kernelHeader` gives it TTL 255, TOS 0, a fresh id and DF
 * instead, as Akaros does (but a fragment keeps its place). The header checksum is always ours.
 */
export function sendRaw(stack: IpStack, block: Block, options: { kernelHeader: boolean }): SendResult {
  const { stats } = stack;
  stats.outRequests++;
  if (block.wp - block.rp < Math.min(block.length, 60)) block.own();
  const { buf, rp } = block;
  const dst = ipv4Dst(buf, rp);
  const route = buf[rp]! >>> 4 === 4 ? routeFor(stack, ipv4Src(buf, rp), dst) : null;
  if (route === null) {
    stats.outNoRoutes++;
    return "noRoute";
  }
  const { mtu } = route;
  const fits = (block.segment === Segment.None ? block.length : pieceLength(block)) <= mtu;
  if (!fits && (ipv4DontFragment(buf, rp) || block.segment !== Segment.None)) {
    stats.fragFails++;
    return "tooBig";
  }
  if (options.kernelHeader) {
    buf[rp + TTL] = KERNEL_TTL;
    buf[rp + TOS] = KERNEL_TOS;
    if (!ipv4IsFragment(buf, rp)) {
      put16(buf, rp + ID, stack.nextIpId(buf[rp + PROTOCOL]!));
      put16(buf, rp + FRAG, fits ? DONT_FRAGMENT : 0);
    }
  } else if (!fits && ipv4Id(buf, rp) === 0 && !ipv4IsFragment(buf, rp)) {
    // RFC 6864 4.2: what becomes fragments needs an id of its own, and this writer left it to us.
    put16(buf, rp + ID, stack.nextIpId(buf[rp + PROTOCOL]!));
  }
  setIpv4Checksum(buf, rp, ipv4HeaderLen(buf, rp));
  if (fits) dispatch(stack, block, route, dst);
  else for (const piece of fragmentsFor(stack, block, mtu)) dispatch(stack, piece, route, dst);
  return "sent";
}

/**
 * Our address for packets to `dst`: `dst` itself if it is ours; else that of the outgoing interface whose net the next
 * hop is in, or its first; else the first of any interface that is not loopback. Null: we have none.
 */
export function sourceFor(stack: IpStack, dst: IpAddr): IpAddr | null {
  if (stack.self.isLocal(dst)) return dst;
  const route = stack.routes.lookup(dst);
  const near = route?.ifc?.sourceFor(route.gateway ?? dst) ?? null;
  if (near !== null) return near;
  let fallback: IpAddr | null = null;
  for (const ifc of stack.ifcs) {
    const addr = ifc.sourceFor(dst);
    if (addr === null) continue;
    if (ifc.link?.isLoopback !== true) return addr;
    fallback ??= addr;
  }
  return fallback;
}

/** Most bytes of an IP packet on the first link of the way to `dst`; {@link MTU_UNKNOWN} without a route. */
export function routeMtu(stack: IpStack, dst: IpAddr): number {
  const route = stack.routes.lookup(dst);
  return route === null ? MTU_UNKNOWN : route.mtu;
}

/** The way from `src` to `dst`; null: none, or one that must not be taken. */
function routeFor(stack: IpStack, src: IpAddr, dst: IpAddr): Route | null {
  if (!dst.isV4) return null;
  if (dst.isMulticast || dst.isLimitedBroadcast) return groupRoute(stack, src, dst);
  const route = stack.routes.lookup(dst);
  if (route === null || route.isLocal) return route;
  // RFC 1122 3.2.1.3(g): 127/8 never appears outside a host; unless that is what is behind the interface.
  const ifc = route.ifc!;
  const leaks = src.isLoopback || (dst.isLoopback && !ifc.localnet);
  return leaks && ifc.link?.isLoopback !== true ? null : route;
}

/** Broadcasts and groups go out where their source is, or its address is asked for; then by route; then anywhere. */
function groupRoute(stack: IpStack, src: IpAddr, dst: IpAddr): Route | null {
  const asking = src.isUnspecified ? stack.ifcs.find((ifc) => ifc.acceptsAny) : undefined;
  if (asking !== undefined) return asking.direct;
  const from = stack.self.find(src);
  if (from !== null && from.cast === "unicast") return from.ifc.direct;
  const route = stack.routes.lookup(dst);
  if (route !== null) return route;
  return stack.ifcs.find((ifc) => ifc.link !== null && ifc.link.isLoopback !== true)?.direct ?? null;
}

/** Hands a finished packet (given away) to its interface. */
function dispatch(stack: IpStack, block: Block, route: Route, dst: IpAddr): void {
  const ifc = route.ifc!;
  if (route.isLocal) return ifc.sendLocal(block);
  // RFC 1112 6.1: a host in the group hears its own packets. Broadcasts come back from #ether.
  if (dst.isMulticast && ifc.link?.isLoopback !== true && stack.self.find(dst)?.isOn(ifc) === true) {
    ifc.sendLocal(block.clone());
  }
  ifc.send(block, route.gateway ?? dst);
}
