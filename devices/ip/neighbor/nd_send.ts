/**
 * Messages of neighbour discovery as packets (RFC 4861 4).
 *
 * Path: dad, neighbor/nd, ra6 → nd_send → wire/nd, addr6, block, env.
 *
 * They go out on the link they are about, not by the routes, with the hop limit that proves it.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import {
  ICMP6_NEIGHBOR_ADVERT,
  ICMP6_NEIGHBOR_SOLICIT,
  ICMP6_ROUTER_SOLICIT,
  setIcmp6Checksum,
} from "../../../kernel/wire/icmp6.ts";
import { IP_UNSPECIFIED, type IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP6 } from "../../../kernel/wire/ip_proto.ts";
import { emitIpv6, IPV6_HEADER_LEN } from "../../../kernel/wire/ipv6.ts";
import type { MacAddr } from "../../../kernel/wire/mac_addr.ts";
import { emitNd, ND_HOP_LIMIT, ndLen, type NdMessage } from "../../../kernel/wire/nd.ts";
import { ALL_ROUTERS } from "../../../kernel/inet/addr6.ts";
import type { IpEnv } from "../env/env.ts";
import type { NdLink } from "../link/ifc.ts";

/** "`target` is at our hardware address." */
export function sendNeighborAdvert(
  stack: IpEnv,
  link: NdLink,
  to: { target: IpAddr; dst: IpAddr; solicited: boolean },
): void {
  const { target, dst, solicited } = to;
  const isRouter = stack.forwarding;
  const type = ICMP6_NEIGHBOR_ADVERT;
  const message: NdMessage = { type, target, isRouter, solicited, override: true, targetMac: link.mac };
  link.ifc.send(packetOf(stack, target, dst, message), dst);
}

/** "Who has `target`?": to `dst`, at the station `mac` if that is known. An unspecified `src`: we only try it. */
export function sendNeighborSolicit(
  stack: IpEnv,
  link: NdLink,
  to: { target: IpAddr; src: IpAddr; dst: IpAddr; mac: MacAddr | null },
): void {
  const { target, src, dst, mac } = to;
  const sourceMac = src.isUnspecified ? null : link.mac;
  const block = packetOf(stack, src, dst, { type: ICMP6_NEIGHBOR_SOLICIT, target, sourceMac });
  if (mac === null) link.ifc.send(block, dst);
  else link.sendResolved(block, mac);
}

/** "Who routes here?" */
export function sendRouterSolicit(stack: IpEnv, link: NdLink, from: IpAddr | null): void {
  const sourceMac = from === null ? null : link.mac;
  const src = from ?? IP_UNSPECIFIED;
  link.ifc.send(packetOf(stack, src, ALL_ROUTERS, { type: ICMP6_ROUTER_SOLICIT, sourceMac }), ALL_ROUTERS);
}

function packetOf(stack: IpEnv, src: IpAddr, dst: IpAddr, message: NdMessage): Block {
  const payloadLen = ndLen(message);
  const block = stack.env.blocks.alloc(IPV6_HEADER_LEN + payloadLen);
  const { buf, rp } = block;
  emitIpv6({ src, dst, nextHeader: IP_PROTO_ICMP6, payloadLen, hopLimit: ND_HOP_LIMIT }, buf, rp);
  emitNd(message, buf, rp + IPV6_HEADER_LEN);
  block.wp = rp + IPV6_HEADER_LEN + payloadLen;
  setIcmp6Checksum(buf, rp + IPV6_HEADER_LEN, block.wp, { src, dst });
  stack.icmp6.countOut(message.type);
  return block;
}
