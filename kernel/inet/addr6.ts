/**
 * Well-known and derived IPv6 addresses (RFC 4291).
 *
 * Path: iplifc, ipifc_ctl, source6, nd, ra6 → addr6.
 *
 * @module
 */

import { IpAddr, prefixMask } from "../wire/ip_addr.ts";
import type { MacAddr } from "../wire/mac_addr.ts";

/** ff02::1: every node on the link. */
export const ALL_NODES = new IpAddr(0xff020000 | 0, 0, 0, 1);
/** ff02::2: every router on the link. */
export const ALL_ROUTERS = new IpAddr(0xff020000 | 0, 0, 0, 2);
/** ff02::16: every router that listens to reports of groups (RFC 3810). */
export const ALL_MLD_ROUTERS = new IpAddr(0xff020000 | 0, 0, 0, 0x16);
/** fe80::/64, the prefix of link-local addresses. */
export const LINK_LOCAL_PREFIX = new IpAddr(0xfe800000 | 0, 0, 0, 0);
/** The mask of networks with autoconfigured addresses (/64). */
export const MASK_64: IpAddr = prefixMask(64);

/** The solicited-node group of `addr`: ff02::1:ff and its last 24 bits (RFC 4291 2.7.1). */
export function solicitedNode(addr: IpAddr): IpAddr {
  return new IpAddr(0xff020000 | 0, 0, 1, 0xff000000 | (addr.w3 & 0xffffff));
}

/** The address in the /64 of `prefix` that is derived from a hardware address (RFC 4291, appendix A). */
export function eui64(prefix: IpAddr, mac: MacAddr): IpAddr {
  const w2 = ((mac.hi ^ 0x0200) << 16) | ((mac.lo >>> 24) << 8) | 0xff;
  return new IpAddr(prefix.w0, prefix.w1, w2, (0xfe << 24) | (mac.lo & 0xffffff));
}

/** How far an address reaches (RFC 4291 2.7): 2 the link, 14 the world. */
export function scopeOf(addr: IpAddr): number {
  if (addr.isMulticast) return (addr.w0 >>> 16) & 0xf;
  return addr.isLinkLocal || addr.isLoopback ? 2 : 14;
}
