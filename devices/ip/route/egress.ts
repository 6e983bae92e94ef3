/**
 * How a packet leaves this host: by which route, from which address, in which sizes; for both versions of IP.
 *
 * Path: bypass, ip_output, conv_ctl → egress → route, self_table, path_mtu, block.
 *
 * Groups and IPv6 link-local addresses mean something on one link only: packets to them go out where their source
 * address is. So a conversation chooses its link by its local address (RFC 4007 6 has zone indexes for that).
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IPV6_MTU_MIN } from "../../../kernel/wire/ipv6.ts";
import type { IpEnv } from "../env/env.ts";
import type { Ifc } from "../link/ifc.ts";
import type { PathMtus } from "./path_mtu.ts";
import type { Route } from "./route.ts";
import type { RouteTable } from "./route_table.ts";
import type { SelfTable } from "./self_table.ts";

/** One stack, as the choice of a route sees it. */
export interface RouteContext extends IpEnv {
  readonly ifcs: readonly Ifc[];
  readonly routes: RouteTable;
  readonly self: SelfTable;
  readonly pathMtus: PathMtus;
}

/** The size that is assumed of an unknown path: every host can take it (RFC 1122 3.3.3). */
export const MTU_UNKNOWN = 576;

/**
 * Our address for packets to `dst`: `dst` itself if it is ours; else that of the outgoing interface whose net the next
 * hop is in, or its first (IPv6: by RFC 6724); else the first of any interface that is not loopback. Null: we have
 * none.
 */
export function sourceFor(stack: RouteContext, dst: IpAddr): IpAddr | null {
  if (stack.self.isLocal(dst)) return dst;
  const route = stack.routes.lookup(dst);
  const towards = dst.isV4 ? route?.gateway ?? dst : dst;
  const near = route?.ifc?.sourceFor(towards) ?? null;
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

/**
 * Most bytes of an IP packet to `dst`: on the first link, and of IPv6 on the whole path as far as that is known.
 * Without a route, the size that every path takes.
 */
export function routeMtu(stack: RouteContext, dst: IpAddr): number {
  const route = stack.routes.lookup(dst);
  if (route === null) return dst.isV4 ? MTU_UNKNOWN : IPV6_MTU_MIN;
  return dst.isV4 ? route.mtu : pathMtu(stack, route, dst);
}

/** Most bytes of an IPv6 packet to `dst` by `route`. */
export function pathMtu(stack: RouteContext, route: Route, dst: IpAddr): number {
  const first = route.isLocal ? route.mtu : route.ifc!.mtu6;
  const known = stack.pathMtus.size === 0 ? 0 : stack.pathMtus.lookup(dst);
  return known > 0 && known < first ? known : first;
}

/** The route from `src` to `dst`; null: none, or one that must not be taken. */
export function selectRoute(stack: RouteContext, src: IpAddr, dst: IpAddr): Route | null {
  if (dst.isMulticast || dst.isLimitedBroadcast) return groupRoute(stack, src, dst);
  const route = stack.routes.lookup(dst);
  if (route === null || route.isLocal) return route;
  if (!dst.isV4 && dst.isLinkLocal) return linkRoute(stack, src) ?? route;
  // RFC 1122 3.2.1.3(g), RFC 4291 2.5.3: loopback addresses never appear outside a host; unless the hosts behind
  // the interface have IPv4's.
  const ifc = route.ifc!;
  const leaks = src.isLoopback || (dst.isLoopback && !(dst.isV4 && ifc.localnet));
  return leaks && ifc.link?.isLoopback !== true ? null : route;
}

/** Hands a finished packet (consumed) to its interface. */
export function dispatch(stack: RouteContext, block: Block, route: Route, dst: IpAddr): void {
  const ifc = route.ifc!;
  if (route.isLocal) return ifc.sendLocal(block);
  // RFC 1112 6.1: a host in the group hears its own packets. Broadcasts come back from #ether.
  if (dst.isMulticast && ifc.link?.isLoopback !== true && stack.self.find(dst)?.isOn(ifc) === true) {
    ifc.sendLocal(block.clone());
  }
  ifc.send(block, route.gateway ?? dst);
}

/** A route to everything on the link whose interface has `src`; null: no interface has it. */
function linkRoute(stack: RouteContext, src: IpAddr): Route | null {
  const from = stack.self.find(src);
  return from !== null && from.cast === "unicast" ? stack.routes.directTo(from.ifc) : null;
}

/** Broadcasts and groups leave by the interface of their source, or the one that asks for an address; else by route. */
function groupRoute(stack: RouteContext, src: IpAddr, dst: IpAddr): Route | null {
  const asking = src.isUnspecified ? stack.ifcs.find((ifc) => ifc.acceptsAny(4)) : undefined;
  if (asking !== undefined) return stack.routes.directTo(asking);
  const route = linkRoute(stack, src) ?? stack.routes.lookup(dst);
  if (route !== null) return route;
  const first = stack.ifcs.find((ifc) => ifc.link !== null && ifc.link.isLoopback !== true);
  return first === undefined ? null : stack.routes.directTo(first);
}
