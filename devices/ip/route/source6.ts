/**
 * Which of an interface's IPv6 addresses is the source for a destination (RFC 6724 5: rules 2, 3, 6 and 8).
 *
 * Path: ifc_addresses → source6 → addr6, iplifc, ip_addr.
 *
 * @module
 */

import { scopeOf } from "../../../kernel/inet/addr6.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import type { Iplifc } from "../link/iplifc.ts";

/** The best source for `dst` among `lifcs`; null: none of them is a usable IPv6 address. */
export function source6(lifcs: readonly Iplifc[], dst: IpAddr): IpAddr | null {
  let best: Iplifc | null = null;
  for (const lifc of lifcs) {
    if (lifc.tentative || lifc.local.isV4 || lifc.local.isUnspecified) continue;
    if (lifc.local.equals(dst)) return dst;
    if (best === null || isBetter(lifc, best, dst)) best = lifc;
  }
  return best?.local ?? null;
}

function isBetter(one: Iplifc, other: Iplifc, dst: IpAddr): boolean {
  const [scope, otherScope, wanted] = [scopeOf(one.local), scopeOf(other.local), scopeOf(dst)];
  if (scope !== otherScope) {
    // Rule 2: the narrowest that is wide enough; else the widest.
    return scope < otherScope ? scope >= wanted : otherScope < wanted;
  }
  if (one.isDeprecated !== other.isDeprecated) return other.isDeprecated;
  // Rule 6, as far as its labels differ here.
  const [unique, otherUnique] = [isUniqueLocal(one.local), isUniqueLocal(other.local)];
  if (unique !== otherUnique) return unique === isUniqueLocal(dst);
  return commonBits(one.local, dst) > commonBits(other.local, dst);
}

/** fc00::/7 (RFC 4193). */
function isUniqueLocal(addr: IpAddr): boolean {
  return addr.w0 >>> 25 === 0x7e;
}

/** How many leading bits two addresses share. */
function commonBits(a: IpAddr, b: IpAddr): number {
  if (a.w0 !== b.w0) return Math.clz32(a.w0 ^ b.w0);
  if (a.w1 !== b.w1) return 32 + Math.clz32(a.w1 ^ b.w1);
  if (a.w2 !== b.w2) return 64 + Math.clz32(a.w2 ^ b.w2);
  return 96 + Math.clz32(a.w3 ^ b.w3);
}
