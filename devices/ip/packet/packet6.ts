/**
 * An IPv6 header and its extension headers as the facts that travel with a packet inside `#ip`.
 *
 * Path: neighbor/nd, ip6_input → packet/packet6 → packet/packet, block, cast, ifc.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import {
  IPV6_HEADER_LEN,
  ipv6Dst,
  ipv6NextHeader,
  ipv6Src,
  isIpv6Extension,
  walkIpv6,
} from "../../../kernel/wire/ipv6.ts";
import type { Cast } from "../env/cast.ts";
import type { Ifc } from "../link/ifc.ts";
import type { InputPacket } from "./packet.ts";

/** The facts of a packet before its header chain is walked. */
export interface Arrived6 {
  readonly block: Block;
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly cast: Cast;
  readonly ifc: Ifc;
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
  const walk = isIpv6Extension(next) ? walkIpv6(buf, rp, wp) : null;
  return packet6(arrived, walk === null ? IPV6_HEADER_LEN : walk.at - rp, walk === null ? next : walk.protocol);
}
