/**
 * Route: where packets to one prefix go.
 *
 * Path: route_table, egress, network/forward → route → ifc, ip_addr.
 *
 * @module
 */

import { formatMask, type IpAddr } from "../../../kernel/wire/ip_addr.ts";
import type { Ifc } from "../link/ifc.ts";

/** Most bytes of a packet to ourselves (Akaros): mostly whole datagrams, and several fit the loopback queue. */
export const LOOPBACK_MTU = 16384;
/** Tag of an interface's own routes. */
export const ROUTE_TAG_IFC = "ifc";

/** What kind of route: an own address of some cast, a net on the link, or one behind a gateway. */
export const RouteKind = {
  Unicast: "u",
  Broadcast: "b",
  Multicast: "m",
  OnLink: "i",
  PointToPoint: "ip",
  Static: "",
} as const;
export type RouteKind = typeof RouteKind[keyof typeof RouteKind];

/** Where packets to one prefix go. */
export class Route {
  /** Static: the interface on whose link the gateway is, as of `generation`; others: their own. */
  ifc: Ifc | null;
  /** For the table: when `ifc` of a static route was found. */
  generation = -1;
  /** Next in the bucket. */
  next: Route | null = null;
  /** Whether `dest` is an address of ours: packets to it never leave. */
  readonly isLocal: boolean;

  readonly dest: IpAddr;
  readonly mask: IpAddr;
  /** Leading ones of the mask out of 128. */
  readonly length: number;
  readonly kind: RouteKind;
  /** The neighbour to send to; null: the destination itself. */
  readonly gateway: IpAddr | null;
  readonly tag: string;
  /** Whether ARP is answered for its addresses on other interfaces. */
  readonly proxy: boolean;
  /** The interface that a static route must take: a link-local gateway means something on one link only. */
  readonly via: Ifc | null;

  constructor(fields: RouteFields & { readonly length: number; readonly via?: Ifc | null }) {
    this.dest = fields.dest;
    this.mask = fields.mask;
    this.length = fields.length;
    this.kind = fields.kind;
    this.gateway = fields.gateway ?? null;
    this.tag = fields.tag ?? ROUTE_TAG_IFC;
    this.ifc = fields.ifc ?? null;
    this.proxy = fields.proxy ?? false;
    this.via = fields.via ?? null;
    this.isLocal = fields.kind === RouteKind.Unicast;
  }

  /** Whether an interface made it. */
  get isOwnRoute(): boolean {
    return this.kind !== RouteKind.Static;
  }

  /** Most bytes of an IP packet on it; its interface must be known. */
  get mtu(): number {
    return this.isLocal ? LOOPBACK_MTU : this.ifc!.mtu;
  }

  /** One line of the `iproute` file. */
  format(): string {
    const type = `${this.dest.isV4 ? "4" : "6"}${this.kind}`.padEnd(4);
    const mask = formatMask(this.mask, this.dest.isV4);
    return `${this.dest} ${mask} ${this.gateway ?? this.dest} ${type} ${this.tag} ${this.ifc?.number ?? "-"}\n`;
  }
}

/** The fields of a new route. */
export interface RouteFields {
  readonly dest: IpAddr;
  /** Contiguous; of 128 bits. */
  readonly mask: IpAddr;
  readonly kind: RouteKind;
  readonly gateway?: IpAddr | null;
  readonly tag?: string;
  readonly ifc?: Ifc | null;
  readonly proxy?: boolean;
}
