/**
 * Iplifc: one address of an interface, and what having it means: which addresses are ours, and what is on the link.
 *
 * Path: ipifc_ctl, ifc_addresses, dad → iplifc → addr6, cast, ip_addr.
 *
 * @module
 */

import { type IpAddr, IPV4_BROADCAST, prefixLength, prefixMask } from "../../../kernel/wire/ip_addr.ts";
import { ALL_NODES, solicitedNode } from "../../../kernel/inet/addr6.ts";
import type { Cast } from "../env/cast.ts";

/** A lifetime without end, as the status file prints it (Akaros: all ones of 64 bits). */
const LIFETIME_FOREVER = "18446744073709551615";

/** The fields of a new address. */
export interface IplifcFields {
  readonly local: IpAddr;
  /** Contiguous; of 128 bits. */
  readonly mask: IpAddr;
  /** The net on the link, or the other end of a point-to-point link. */
  readonly remote: IpAddr;
  /** ARP is answered for `remote` on other interfaces. */
  readonly proxy: boolean;
}

/** One address of an interface. */
export class Iplifc {
  readonly local: IpAddr;
  readonly mask: IpAddr;
  readonly remote: IpAddr;
  proxy: boolean;
  /** Not yet known to be unique on the link (IPv6): not ours, and no source of packets. */
  tentative = false;
  /** Still ours, but not for what is new (RFC 4862 5.5.4). */
  isDeprecated = false;
  /** Seconds for which the address is valid, and preferred, from when it was added. */
  validLifetimeS = Infinity;
  preferredLifetimeS = Infinity;

  constructor(fields: IplifcFields) {
    this.local = fields.local;
    this.mask = fields.mask;
    this.remote = fields.remote;
    this.proxy = fields.proxy;
  }

  /** The net that is on the link. */
  get net(): IpAddr {
    return this.remote.and(this.mask);
  }

  /** Whether the mask leaves no room for a net: the other end is a single host. */
  get isPointToPoint(): boolean {
    return prefixLength(this.mask) === 128;
  }

  /** Whether a neighbour at `addr` is reached over it. */
  reaches(addr: IpAddr): boolean {
    return addr.isV4 === this.local.isV4 && !this.local.isUnspecified && addr.sameNet(this.remote, this.mask);
  }

  /**
   * Every address that is ours by it. Of broadcasts: the net's, its old form with zeros (RFC 1122 3.2.1.3), and the
   * limited one. Akaros adds those of the address class, too; since CIDR (RFC 4632) they are ordinary addresses of
   * others. Of IPv6 the groups in which neighbours ask for it; while it is tentative only those; none for `::`.
   */
  claims(): readonly (readonly [addr: IpAddr, cast: Cast])[] {
    const claims: [IpAddr, Cast][] = [];
    if (!this.local.isUnspecified && !this.tentative) claims.push([this.local, "unicast"]);
    if (!this.local.isV4) {
      if (!this.local.isLoopback && !this.local.isUnspecified) {
        claims.push([solicitedNode(this.local), "multicast"], [ALL_NODES, "multicast"]);
      }
      return claims;
    }
    claims.push([IPV4_BROADCAST, "broadcast"]);
    // RFC 3021: a net of two has no broadcast address.
    if (!this.local.isUnspecified && (prefixLength(this.mask) ?? 128) < 127) {
      claims.push([this.net.or(this.mask.not()), "broadcast"], [this.net, "broadcast"]);
    }
    return claims;
  }

  /** Its line in the status file. */
  format(maskText: string): string {
    const lifetime = (seconds: number) => seconds === Infinity ? LIFETIME_FOREVER : `${seconds}`;
    return `\t${this.local} ${maskText} ${this.isPointToPoint ? this.remote : this.net}` +
      ` ${lifetime(this.validLifetimeS)} ${lifetime(this.preferredLifetimeS)}\n`;
  }
}

/** The mask of an address by its class (RFC 791 3.2), for `add` without a mask; IPv6: /64. */
export function defaultMask(addr: IpAddr): IpAddr {
  if (!addr.isV4) return prefixMask(64);
  const top = addr.w3 >>> 24;
  return prefixMask(96 + (top < 128 ? 8 : top < 192 ? 16 : top < 224 ? 24 : 32));
}
