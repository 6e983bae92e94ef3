/**
 * RouteTable: where packets go next, by longest prefix; IPv4 and IPv6 in one table (the file `iproute`).
 *
 * Path: ip_stack, egress → route_table → route, kernel/ctl, error, ifc, ip_addr.
 *
 * All prefixes are lengths of 128 bits (an IPv4 /24 has 120): one hash table for each length in use, and a small cache
 * of destinations before them. Every change makes a new generation, which empties the cache.
 *
 * Precedence: the longer prefix; for one prefix, an interface's own route before a static one.
 *
 * @module
 */

import { shown } from "../../../kernel/ctl.ts";
import { KernelError } from "../../../kernel/error.ts";
import {
  formatMask,
  IpAddr,
  parseIpAddr,
  parseIpMask,
  prefixLength,
  prefixMask,
} from "../../../kernel/wire/ip_addr.ts";
import type { Ifc } from "../link/ifc.ts";
import { Route, ROUTE_TAG_IFC, type RouteFields, RouteKind } from "./route.ts";

/** Most routes of a stack: room for a large private network, about 10 MiB. */
export const ROUTES_MAX = 65536;
/** Characters of a tag (Akaros). */
const ROUTE_TAG_MAX = 4;
/** Tag of routes added without one. */
export const ROUTE_TAG_NONE = "none";
/** Destinations remembered; a power of two. */
const CACHE_SIZE = 64;
/** The mask of a default route. */
const DEFAULT_MASK = prefixMask(0);

/** Routes of one stack. */
export class RouteTable {
  /** By prefix length, then by hash of the prefix: buckets, interfaces' routes first. */
  #tables: (Map<number, Route> | undefined)[] = [];
  /** Prefix lengths in use, longest first; the first list only those of IPv4 (96 and more). */
  #lengths4: number[] = [];
  #lengths6: number[] = [];
  #count = 0;
  #generation = 0;
  readonly #cache: (Route | null | undefined)[] = new Array(CACHE_SIZE);
  readonly #cached: IpAddr[] = [];

  /** By interface number: its route to everything on its link. */
  readonly #direct: Route[] = [];

  /** The route to everything on the link of `ifc`, for broadcasts and groups that no other route decides. */
  directTo(ifc: Ifc): Route {
    const known = this.#direct[ifc.number];
    if (known?.ifc === ifc) return known;
    const route = new Route({ dest: DEFAULT_MASK, mask: DEFAULT_MASK, length: 0, kind: RouteKind.OnLink, ifc });
    while (this.#direct.length < ifc.number) this.#direct.push(route);
    return this.#direct[ifc.number] = route;
  }

  /** Routes in it. */
  get size(): number {
    return this.#count;
  }

  /** The route for packets to `dst`, with its interface found; null if there is none that can be used now. */
  lookup(dst: IpAddr): Route | null {
    const slot = (dst.w3 ^ (dst.w3 >>> 8) ^ (dst.w3 >>> 16) ^ dst.w1) & (CACHE_SIZE - 1);
    const cached = this.#cache[slot];
    if (cached !== undefined && this.#cached[slot]!.equals(dst)) return cached;
    const route = this.#search(dst, false);
    this.#cached[slot] = dst;
    this.#cache[slot] = route;
    return route;
  }

  /** The on-link route to `neighbour`: the interface on whose link it is. */
  lookupOnLink(neighbour: IpAddr): Route | null {
    return this.#search(neighbour, true);
  }

  /** ENOSPC unless `count` more routes fit. */
  requireRoom(count: number): void {
    if (this.#count + count > ROUTES_MAX) {
      throw new KernelError("ENOSPC", `Cannot add a route: there are ${ROUTES_MAX}`);
    }
  }

  /** Adds a route; a static one takes the place of a static one to the same prefix. */
  add(fields: RouteFields): Route {
    const { mask, kind, gateway = null, ifc = null, proxy = false } = fields;
    const dest = fields.dest.and(mask);
    const length = prefixLength(mask) ?? 128;
    const isStatic = kind === RouteKind.Static;
    const { tag = isStatic ? ROUTE_TAG_NONE : ROUTE_TAG_IFC } = fields;
    const via = isStatic ? ifc : null;
    const route = new Route({ dest, mask, length, kind, gateway, tag, ifc, proxy, via });
    const same = this.#exact(dest, length);
    if (!route.isOwnRoute) {
      const own = same.find((one) => one.isOwnRoute);
      if (own !== undefined) {
        const where = `${dest} ${formatMask(mask, dest.isV4)}`;
        throw new KernelError("EEXIST", `Cannot add a route to ${where}: interface ${own.ifc!.number} has it`);
      }
      for (const old of same) this.#unlink(old);
    }
    this.requireRoom(1);
    this.#link(route);
    return route;
  }

  /** The static route to exactly this prefix, or null. */
  staticTo(dest: IpAddr, mask: IpAddr): Route | null {
    return this.#exact(dest.and(mask), prefixLength(mask) ?? 128).find((one) => !one.isOwnRoute) ?? null;
  }

  /** Removes a static route that is in the table. */
  removeStatic(route: Route): void {
    this.#unlink(route);
  }

  /** Removes the route that interface `ifc` made to this prefix; nothing if there is none. */
  removeOwn(dest: IpAddr, mask: IpAddr, ifc: Ifc, kind: RouteKind): void {
    const net = dest.and(mask);
    for (const route of this.#exact(net, prefixLength(mask) ?? 128)) {
      if (route.ifc === ifc && route.kind === kind) return this.#unlink(route);
    }
  }

  /** Looks again for the interfaces of gateways: one was bound or unbound, or an address came or went. */
  changed(): void {
    this.#generation++;
    this.#cache.fill(undefined);
  }

  /** All routes, in the order of their prefixes; IPv4 first. */
  routes(): Route[] {
    const all: Route[] = [];
    for (const table of this.#tables) {
      for (const first of table?.values() ?? []) {
        for (let route: Route | null = first; route !== null; route = route.next) all.push(route);
      }
    }
    const version = (route: Route) => route.dest.isV4 ? 4 : 6;
    return all.sort((a, b) => version(a) - version(b) || a.dest.compare(b.dest) || a.length - b.length);
  }

  /** The `iproute` file. */
  format(): string {
    return this.routes().map((route) => {
      if (!route.isOwnRoute) this.#resolve(route);
      return route.format();
    }).join("");
  }

  /** One command of the `iproute` file; routes it adds carry `tag`. Returns the tag for the next command. */
  ctl(words: readonly string[], tag: string): string {
    const [verb = "", ...args] = words;
    switch (verb) {
      case "add":
        this.#ctlAdd(args, tag);
        return tag;
      case "remove":
        this.#ctlRemove(args);
        return tag;
      case "flush":
        expectArgs("flush [tag]", args, 0, 1);
        for (const route of this.routes()) {
          if (!route.isOwnRoute && (args[0] === undefined || route.tag === args[0])) this.#unlink(route);
        }
        return tag;
      case "tag":
        expectArgs("tag NAME", args, 1, 1);
        if (!/^[\x21-\x7e]+$/.test(args[0]!)) throw new KernelError("EINVAL", "Cannot set the tag: not printable");
        return args[0]!.slice(0, ROUTE_TAG_MAX);
      default:
        throw new KernelError("EINVAL", `Cannot run ${shown(verb)}: iproute knows add, remove, flush and tag`);
    }
  }

  #ctlAdd(args: readonly string[], tag: string): void {
    expectArgs("add DEST MASK GATEWAY", args, 3, 3);
    const gateway = parseIpAddr(args[2]!);
    if (gateway === null || gateway.isUnspecified || gateway.isMulticast || gateway.isLimitedBroadcast) {
      throw new KernelError("EINVAL", `Cannot add a route by ${shown(args[2]!)}: not a gateway`);
    }
    const { dest, mask } = parsePrefix(args[0]!, args[1]!, gateway.isV4);
    this.add({ dest, mask, kind: RouteKind.Static, gateway, tag });
  }

  #ctlRemove(args: readonly string[]): void {
    expectArgs("remove DEST MASK", args, 2, 2);
    const { dest, mask } = parsePrefix(args[0]!, args[1]!, !args[0]!.includes(":"));
    const same = this.#exact(dest.and(mask), prefixLength(mask)!);
    const route = same.find((one) => !one.isOwnRoute);
    if (route !== undefined) return this.#unlink(route);
    if (same.length === 0) {
      throw new KernelError("ENOENT", `Cannot remove the route to ${shown(args.join(" "))}: there is none`);
    }
    throw new KernelError("EPERM", `Cannot remove the route to ${shown(args.join(" "))}: it belongs to an interface`);
  }

  #search(dst: IpAddr, onLinkOnly: boolean): Route | null {
    const isV4 = dst.isV4;
    for (const length of isV4 ? this.#lengths4 : this.#lengths6) {
      const mask = prefixMask(length);
      const net = dst.and(mask);
      let route = this.#tables[length]!.get(net.hash()) ?? null;
      for (; route !== null; route = route.next) {
        if (!route.dest.equals(net)) continue;
        const onLink = route.kind === RouteKind.OnLink || route.kind === RouteKind.PointToPoint;
        if (onLinkOnly ? onLink : route.isOwnRoute || this.#resolve(route)) return route;
      }
    }
    return null;
  }

  /** Finds the interface of a static route's gateway; false if there is none now. */
  #resolve(route: Route): boolean {
    if (route.generation !== this.#generation) {
      route.generation = this.#generation;
      route.ifc = route.via ?? this.#search(route.gateway!, true)?.ifc ?? null;
    }
    return route.ifc !== null;
  }

  /** Every route to exactly this prefix. */
  #exact(dest: IpAddr, length: number): Route[] {
    const found: Route[] = [];
    let route = this.#tables[length]?.get(dest.hash()) ?? null;
    for (; route !== null; route = route.next) if (route.dest.equals(dest)) found.push(route);
    return found;
  }

  #link(route: Route): void {
    let table = this.#tables[route.length];
    if (table === undefined) {
      table = this.#tables[route.length] = new Map();
      this.#listLengths();
    }
    const hash = route.dest.hash();
    const first = table.get(hash) ?? null;
    if (first === null || (route.isOwnRoute && !first.isOwnRoute)) {
      route.next = first;
      table.set(hash, route);
    } else {
      let before = first;
      while (before.next !== null && (before.next.isOwnRoute || !route.isOwnRoute)) before = before.next;
      route.next = before.next;
      before.next = route;
    }
    this.#count++;
    this.changed();
  }

  #unlink(route: Route): void {
    const table = this.#tables[route.length]!;
    const hash = route.dest.hash();
    const first = table.get(hash)!;
    if (first === route) {
      if (route.next !== null) table.set(hash, route.next);
      else table.delete(hash);
    } else {
      let before = first;
      while (before.next !== route) before = before.next!;
      before.next = route.next;
    }
    if (table.size === 0) {
      this.#tables[route.length] = undefined;
      this.#listLengths();
    }
    this.#count--;
    this.changed();
  }

  #listLengths(): void {
    this.#lengths6 = [];
    for (let length = 128; length >= 0; length--) if (this.#tables[length] !== undefined) this.#lengths6.push(length);
    this.#lengths4 = this.#lengths6.filter((length) => length >= 96);
  }
}

/** The prefix that two words spell; `0 0` is everything. */
function parsePrefix(destText: string, maskText: string, isV4: boolean): { dest: IpAddr; mask: IpAddr } {
  const dest = destText === "0" ? (isV4 ? IpAddr.v4(0) : new IpAddr(0, 0, 0, 0)) : parseIpAddr(destText);
  if (dest === null || dest.isV4 !== isV4) {
    throw new KernelError("EINVAL", `Cannot use ${shown(destText)}: not an IPv${isV4 ? 4 : 6} destination`);
  }
  const mask = parseIpMask(maskText === "0" ? "/0" : maskText, isV4);
  if (mask === null) throw new KernelError("EINVAL", `Cannot use ${shown(maskText)}: not a mask of IPv${isV4 ? 4 : 6}`);
  return { dest, mask };
}

function expectArgs(usage: string, args: readonly string[], min: number, max: number): void {
  if (args.length >= min && args.length <= max) return;
  throw new KernelError("EINVAL", `Cannot run this with ${args.length} arguments: usage: ${usage}`);
}
