/**
 * The commands of the `arp` file: `flush`, `add [medium] ip mac`, `del ip`; for the neighbours of both versions.
 *
 * Path: dev_ip → arp_ctl → neighbor/arp, neighbor/nd, route, kernel/ctl.
 *
 * @module
 */

import { shown } from "../../../kernel/ctl.ts";
import { KernelError } from "../../../kernel/error.ts";
import { type IpAddr, parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { parseMacAddr } from "../../../kernel/wire/mac_addr.ts";
import type { ArpTable } from "./arp.ts";
import type { NdTable } from "./nd.ts";
import type { RouteTable } from "../route/route_table.ts";

/** The tables that the `arp` file changes. */
interface NeighborTables {
  readonly arp: ArpTable;
  readonly nd: NdTable;
  readonly routes: RouteTable;
}

/** Runs one command. EINVAL: not understood. EHOSTUNREACH: no interface leads there. ENOENT: nothing to delete. */
export function runArpCtl(stack: NeighborTables, words: readonly string[]): void {
  const { arp, nd } = stack;
  const [verb = "", ...args] = words;
  switch (verb) {
    case "flush":
      expectArgs("flush", args, 0, 0);
      for (const entry of arp.entries()) arp.remove(entry);
      for (const entry of nd.entries()) nd.remove(entry);
      return;
    case "add":
      expectArgs("add [medium] ip mac", args, 2, 3);
      return add(stack, args);
    case "del":
      expectArgs("del ip", args, 1, 1);
      return remove(stack, args[0]!);
    default:
      throw new KernelError("EINVAL", `Cannot run ${shown(verb)}: arp knows flush, add and del`);
  }
}

function add(stack: NeighborTables, args: readonly string[]): void {
  const medium = args.length === 3 ? args[0]! : null;
  const ip = parseHost(args.at(-2)!);
  const mac = parseMacAddr(args.at(-1)!);
  if (mac === null || mac.isGroup || mac.isZero) {
    throw new KernelError("EINVAL", `Cannot add ${shown(args.at(-1)!)}: not a station's hardware address`);
  }
  const link = stack.routes.lookupOnLink(ip)?.ifc?.link ?? null;
  const neighbors = (ip.isV4 ? link?.arpLink : link?.ndLink) ?? null;
  if (link === null || neighbors === null) {
    throw new KernelError("EHOSTUNREACH", `Cannot add ${ip}: no interface with ARP leads there`);
  }
  if (medium !== null && medium !== neighbors.medium) {
    throw new KernelError("EINVAL", `Cannot add ${ip} on ${shown(medium)}: it is on ${neighbors.medium}`);
  }
  if (neighbors.ifc.hasAddress(ip)) throw new KernelError("EINVAL", `Cannot add ${ip}: it is our own`);
  const added = ip.isV4 ? stack.arp.addPermanent(link.arpLink!, ip, mac) : stack.nd.addPermanent(link.ndLink!, ip, mac);
  if (!added) throw new KernelError("ENOSPC", `Cannot add ${ip}: all entries are permanent`);
}

function remove({ arp, nd }: NeighborTables, text: string): void {
  const ip = parseHost(text);
  const found = arp.entries().filter((entry) => entry.ip.equals(ip));
  const found6 = nd.entries().filter((entry) => entry.ip.equals(ip));
  if (found.length + found6.length === 0) throw new KernelError("ENOENT", `Cannot delete ${ip}: no such entry`);
  for (const entry of found) arp.remove(entry);
  for (const entry of found6) nd.remove(entry);
}

function parseHost(text: string): IpAddr {
  const ip = parseIpAddr(text);
  if (ip !== null && !ip.isMulticast && !ip.isUnspecified && !ip.isLimitedBroadcast) return ip;
  throw new KernelError("EINVAL", `Cannot use ${shown(text)}: not the address of a host`);
}

function expectArgs(usage: string, args: readonly string[], min: number, max: number): void {
  if (args.length >= min && args.length <= max) return;
  throw new KernelError("EINVAL", `Cannot run this with ${args.length} arguments: usage: ${usage}`);
}
