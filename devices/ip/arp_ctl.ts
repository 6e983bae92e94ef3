/**
 * The commands of the `arp` file: `flush`, `add [medium] ip mac`, `del ip`.
 *
 * Path: dev_ip → arp → arp_ctl.
 *
 * @module
 */

import { shown } from "../../kernel/ctl.ts";
import { KernelError } from "../../kernel/error.ts";
import { type IpAddr, parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { parseMacAddr } from "../../kernel/wire/mac_addr.ts";
import type { ArpTable } from "./arp.ts";
import { ARP_ENTRIES_MAX } from "./arp_store.ts";

/** Runs one command. EINVAL: not understood. EHOSTUNREACH: no interface leads there. ENOENT: nothing to delete. */
export function runArpCtl(arp: ArpTable, words: readonly string[]): void {
  const [verb = "", ...args] = words;
  switch (verb) {
    case "flush":
      expectArgs("flush", args, 0, 0);
      for (const entry of arp.entries()) arp.remove(entry);
      return;
    case "add":
      expectArgs("add [medium] ip mac", args, 2, 3);
      return add(arp, args);
    case "del":
      expectArgs("del ip", args, 1, 1);
      return remove(arp, args[0]!);
    default:
      throw new KernelError("EINVAL", `Cannot run ${shown(verb)}: arp knows flush, add and del`);
  }
}

function add(arp: ArpTable, args: readonly string[]): void {
  const medium = args.length === 3 ? args[0]! : null;
  const ip = parseV4(args.at(-2)!);
  const mac = parseMacAddr(args.at(-1)!);
  if (mac === null || mac.isGroup || mac.isZero) {
    throw new KernelError("EINVAL", `Cannot add ${shown(args.at(-1)!)}: not a station's hardware address`);
  }
  const link = arp.stack.routes.lookupOnLink(ip)?.ifc?.link?.arpLink ?? null;
  if (link === null) throw new KernelError("EHOSTUNREACH", `Cannot add ${ip}: no interface with ARP leads there`);
  if (medium !== null && medium !== link.medium) {
    throw new KernelError("EINVAL", `Cannot add ${ip} on ${shown(medium)}: it is on ${link.medium}`);
  }
  if (link.ifc.hasAddress(ip)) throw new KernelError("EINVAL", `Cannot add ${ip}: it is our own`);
  if (!arp.addPermanent(link, ip, mac)) {
    throw new KernelError("ENOSPC", `Cannot add ${ip}: all ${ARP_ENTRIES_MAX} entries are permanent`);
  }
}

function remove(arp: ArpTable, text: string): void {
  const ip = parseV4(text);
  const found = arp.entries().filter((entry) => entry.ip.equals(ip));
  if (found.length === 0) throw new KernelError("ENOENT", `Cannot delete ${ip}: no such entry`);
  for (const entry of found) arp.remove(entry);
}

function parseV4(text: string): IpAddr {
  const ip = parseIpAddr(text);
  if (ip !== null && ip.isV4 && !ip.isMulticast && !ip.isUnspecified && !ip.isLimitedBroadcast) return ip;
  throw new KernelError("EINVAL", `Cannot use ${shown(text)}: not the IPv4 address of a host`);
}

function expectArgs(usage: string, args: readonly string[], min: number, max: number): void {
  if (args.length >= min && args.length <= max) return;
  throw new KernelError("EINVAL", `Cannot run this with ${args.length} arguments: usage: ${usage}`);
}
