/**
 * IPv6 output: which way, which header, in how many pieces (RFC 8200).
 *
 * Path: ip_output → ip6_output → way → ipifc.send | ipifc.sendLocal.
 *
 * Only a source fragments, so it must know what the whole way takes: see path_mtu. Everything is decided before a byte
 * is changed: on `noRoute` and `tooBig` the block is the caller's as it was.
 *
 * @module
 */

import { type Block, Segment } from "../../kernel/block.ts";
import { pieceLength } from "../../kernel/inet/segment.ts";
import { put16, put32 } from "../../kernel/wire/bytes.ts";
import {
  IPV6_FRAGMENT_LEN,
  IPV6_HEADER_LEN,
  ipv6Dst,
  ipv6NextHeader,
  ipv6Src,
  setIpv6HopLimit,
  setIpv6TrafficClass,
  walkIpv6,
} from "../../kernel/wire/ipv6.ts";
import { fragmentsFor } from "./fragment.ts";
import type { IpStack } from "./ip_stack.ts";
import type { SendOptions, SendResult } from "./packet.ts";
import { dropFragmentHeader, hasExtensions, IPV6_TOTAL_MAX } from "./packet6.ts";
import { dispatch, pathMtu, wayTo } from "./way.ts";

const VERSION_6 = 0x60000000;
const PAYLOAD_LEN = 4;
const NEXT_HEADER = 6;
const HOP_LIMIT = 7;
const SRC = 8;
const DST = 24;

/** Hop limit and traffic class that the kernel gives to raw packets when it is to choose (Akaros). */
const KERNEL_HOP_LIMIT = 255;
const KERNEL_CLASS = 0;

/** Sends transport header and payload under a new IPv6 header. */
export function sendPacket6(stack: IpStack, block: Block, options: SendOptions): SendResult {
  const { stats } = stack;
  const { src, dst } = options;
  stats.outRequests++;
  const route = dst.isV4 || src.isV4 ? null : wayTo(stack, src, dst);
  if (route === null) {
    stats.outNoRoutes++;
    return "noRoute";
  }
  const payloadLen = block.length;
  const totalLen = payloadLen + IPV6_HEADER_LEN;
  const mtu = pathMtu(stack, route, dst);
  const fits = (block.segment === Segment.None ? totalLen : pieceLength(block)) <= mtu;
  if (totalLen > IPV6_TOTAL_MAX) {
    stats.outTooLong++;
    return "tooBig";
  }
  if (!fits && (options.dontFragment === true || block.segment !== Segment.None)) {
    stats.fragFails++;
    return "tooBig";
  }
  const at = block.push(IPV6_HEADER_LEN);
  const { buf } = block;
  put32(buf, at, VERSION_6 | (options.tos << 20));
  put16(buf, at + PAYLOAD_LEN, payloadLen);
  buf[at + NEXT_HEADER] = options.protocol;
  buf[at + HOP_LIMIT] = options.ttl;
  src.put(buf, at + SRC);
  dst.put(buf, at + DST);
  if (fits) dispatch(block, route, dst);
  else for (const piece of fragmentsFor(stack, block, mtu)) dispatch(piece, route, dst);
  return "sent";
}

/**
 * Sends a packet that begins with an IPv6 header, which the caller has found right in version, lengths and addresses.
 * A fragment header that makes it the whole of a datagram says that it may be fragmented, and goes if it need not be;
 * without one what is larger than the way takes is `tooBig`, as for any router. `kernelHeader` gives it hop limit 255
 * and traffic class 0, as Akaros does, and fragments whatever is too large.
 */
export function sendRaw6(stack: IpStack, block: Block, options: { kernelHeader: boolean }): SendResult {
  const { stats } = stack;
  stats.outRequests++;
  const { buf, rp } = block.own();
  const dst = ipv6Dst(buf, rp);
  const route = dst.isV4 ? null : wayTo(stack, ipv6Src(buf, rp), dst);
  if (route === null) {
    stats.outNoRoutes++;
    return "noRoute";
  }
  const mtu = pathMtu(stack, route, dst);
  const found = hasExtensions(ipv6NextHeader(buf, rp)) ? walkIpv6(buf, rp, block.wp) : null;
  const fragmentHeader = found !== null && found.fragmentAt >= 0 ? IPV6_FRAGMENT_LEN : 0;
  const length = block.segment === Segment.None ? block.length - fragmentHeader : pieceLength(block);
  const fits = length <= mtu;
  const mayFragment = block.segment === Segment.None && (options.kernelHeader || fragmentHeader > 0);
  if (!fits && !mayFragment) {
    stats.fragFails++;
    return "tooBig";
  }
  if (fragmentHeader > 0) dropFragmentHeader(block, found!);
  if (options.kernelHeader) {
    setIpv6HopLimit(buf, block.rp, KERNEL_HOP_LIMIT);
    setIpv6TrafficClass(buf, block.rp, KERNEL_CLASS);
  }
  if (fits) dispatch(block, route, dst);
  else for (const piece of fragmentsFor(stack, block, mtu)) dispatch(piece, route, dst);
  return "sent";
}
