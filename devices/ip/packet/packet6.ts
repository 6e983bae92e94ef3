/**
 * An IPv6 header and its extension headers as the facts that travel with a packet inside `#ip`.
 *
 * Path: neighbor/nd, ip6_input, fragment_format → packet/packet6 → packet/packet, block, cast, ifc.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import {
  IP_PROTO_AH,
  IP_PROTO_DEST_OPTIONS,
  IP_PROTO_FRAGMENT,
  IP_PROTO_HOP_BY_HOP,
  IP_PROTO_ROUTING,
} from "../../../kernel/wire/ip_proto.ts";
import {
  IPV6_FRAGMENT_LEN,
  IPV6_HEADER_LEN,
  ipv6Dst,
  ipv6ExtensionLen,
  type Ipv6Fragment,
  ipv6NextHeader,
  ipv6PayloadLen,
  ipv6Src,
  type Ipv6Walk,
  setIpv6PayloadLen,
  walkIpv6,
} from "../../../kernel/wire/ipv6.ts";
import type { Cast } from "../env/cast.ts";
import type { Ifc } from "../link/ifc.ts";
import type { FragmentPlace, InputPacket } from "./packet.ts";

/** Most bytes of an IPv6 packet: a payload of 16 bits' length behind the header. */
export const IPV6_TOTAL_MAX = IPV6_HEADER_LEN + 65535;

/** What is known of a packet before its header chain is walked. */
export interface Arrived6 {
  readonly block: Block;
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly cast: Cast;
  readonly ifc: Ifc;
}

/** Whether something stands between the header and the transport's: most packets have nothing there. */
export function hasExtensions(nextHeader: number): boolean {
  return nextHeader === IP_PROTO_HOP_BY_HOP || nextHeader === IP_PROTO_ROUTING || nextHeader === IP_PROTO_FRAGMENT ||
    nextHeader === IP_PROTO_DEST_OPTIONS || nextHeader === IP_PROTO_AH;
}

/** The facts of a packet whose transport header, of `protocol`, starts `headerLen` bytes from its first. */
export function packet6(arrived: Arrived6, headerLen: number, protocol: number): InputPacket {
  const { block, src, dst, cast, ifc } = arrived;
  return { block, version: 6, headerLen, protocol, src, dst, cast, ifc };
}

/** The facts of a packet of ours, or of one that was walked before. */
export function packet6Of(block: Block, ifc: Ifc, cast: Cast): InputPacket {
  const { buf, rp, wp } = block;
  const arrived = { block, src: ipv6Src(buf, rp), dst: ipv6Dst(buf, rp), cast, ifc };
  const next = ipv6NextHeader(buf, rp);
  const walk = hasExtensions(next) ? walkIpv6(buf, rp, wp) : null;
  return packet6(arrived, walk === null ? IPV6_HEADER_LEN : walk.at - rp, walk === null ? next : walk.protocol);
}

/** Where the payload of a fragment belongs. IPv6 has no "don't fragment": nobody but the source ever may. */
export function fragmentPlace6({ fragOffset, moreFragments, id }: Ipv6Fragment): FragmentPlace {
  return { id, offset: fragOffset, more: moreFragments, dontFragment: false };
}

/**
 * Takes the fragment header out of the packet in `block`: what is before it moves up, and the header that named it
 * names what followed it.
 */
export function dropFragmentHeader(block: Block, walk: Pick<Ipv6Walk, "fragmentAt" | "fragmentNamedAt">): void {
  const { buf, rp } = block;
  const { fragmentAt, fragmentNamedAt } = walk;
  buf[fragmentNamedAt] = buf[fragmentAt]!;
  buf.copyWithin(rp + IPV6_FRAGMENT_LEN, rp, fragmentAt);
  block.rp = rp + IPV6_FRAGMENT_LEN;
  setIpv6PayloadLen(buf, block.rp, ipv6PayloadLen(buf, block.rp) - IPV6_FRAGMENT_LEN);
}

/** Bytes of the part before a fragment header that every fragment repeats (RFC 8200 4.5), and who is named last. */
export function unfragmentable6(buf: Uint8Array, at: number, end: number): { length: number; namedAt: number } {
  let namedAt = at + 6;
  let length = IPV6_HEADER_LEN;
  const part = { length, namedAt };
  // Hop-by-hop options, and everything up to a routing header.
  for (let next = buf[namedAt]!; hasExtensions(next) && next !== IP_PROTO_FRAGMENT && next !== IP_PROTO_AH;) {
    if (at + length + 8 > end) break;
    namedAt = at + length;
    length += ipv6ExtensionLen(next, buf[namedAt + 1]!);
    if (at + length > end) break;
    if (next === IP_PROTO_HOP_BY_HOP || next === IP_PROTO_ROUTING) Object.assign(part, { length, namedAt });
    next = buf[namedAt]!;
  }
  return part;
}
