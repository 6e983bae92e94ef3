/**
 * The addresses of one version of IP, on the guests' link and on the host's side, and what an address is by them.
 *
 * Path: config, config6, context, flow, outbound → family_config → nat/forward, ip_addr.
 *
 * @module
 */

import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { DoorLink } from "./forward.ts";

/** What a NAT knows of one version of IP. */
export interface FamilyConfig {
  /** Address that the host sends from. */
  readonly hostAddr: IpAddr;
  /** All addresses of the host but loopback and link-local ones. */
  readonly hostAddrs: readonly IpAddr[];
  /** The guests' network; in real style the host's. */
  readonly subnet: IpAddr;
  readonly mask: IpAddr;
  readonly router: IpAddr;
  /** The router's link-local address; null: it has none. */
  readonly linkLocal: IpAddr | null;
  readonly dns: IpAddr | null;
  /** Real style: the one address that a guest may have, which is the host's; null: any of the network. */
  readonly onlyGuest: IpAddr | null;
  /** Words of broadcast and network addresses of the host's and the guests' networks: nothing is sent there. */
  readonly broadcasts: readonly number[];
  /** Whether the router's address may stand for a loopback. */
  readonly hasLoopback: boolean;
  /** That loopback, and the host's address when it talks to it: the same, unless it is another machine's. */
  readonly loopback: IpAddr;
  readonly loopbackFrom: IpAddr;
  /** What that other machine answers from besides its loopback; null: nothing. */
  readonly farPeer: IpAddr | null;
  /** The link by which callers of the machine's listening sockets come; null: they come by the uplink. */
  readonly doorLink: DoorLink | null;
  /** Largest MSS that a SYN may offer; 0: as it is. */
  readonly mss: number;
}

/** Whether `addr` is one of the host's. */
export function isHosts({ hostAddrs }: FamilyConfig, addr: IpAddr): boolean {
  for (let i = 0; i < hostAddrs.length; i++) if (hostAddrs[i]!.equals(addr)) return true;
  return false;
}

/** Whether `addr` stands for callers of the machine's listening sockets. */
export function isDoorPeer({ doorLink }: FamilyConfig, addr: IpAddr): boolean {
  return doorLink !== null && addr.equals(doorLink.peer);
}

/** Whether nothing can be sent to `addr`: a broadcast, or no address at all. */
export function isNowhere({ broadcasts }: FamilyConfig, addr: IpAddr): boolean {
  if (!addr.isV4) return addr.isUnspecified;
  for (let i = 0; i < broadcasts.length; i++) if (broadcasts[i] === addr.w3) return true;
  return false;
}

/** Whether `addr` is a station's address in the guests' own network; never in real style, where it is the host's. */
export function isOnLink(config: FamilyConfig, addr: IpAddr): boolean {
  const { onlyGuest, subnet, mask } = config;
  if (onlyGuest !== null || !addr.sameNet(subnet, mask)) return false;
  const number = addr.w3 & ~mask.w3;
  return !addr.isV4 || (number !== 0 && number !== ~mask.w3);
}

/** Whether a guest may have `addr`: of the network, but the router's (::0 is every router's) and the name server's. */
export function mayBeGuest(config: FamilyConfig, addr: IpAddr): boolean {
  const { onlyGuest, subnet, router, dns } = config;
  if (onlyGuest !== null) return onlyGuest.equals(addr);
  return isOnLink(config, addr) && !addr.equals(router) && !addr.equals(subnet) && dns?.equals(addr) !== true;
}

/** Whether `addr` is one of the router's or the name server's. */
export function isRouters({ router, linkLocal, dns }: FamilyConfig, addr: IpAddr): boolean {
  return addr.equals(router) || dns?.equals(addr) === true || linkLocal?.equals(addr) === true;
}
