/**
 * IPv6 for output and forwarding (RFC 8200, RFC 4443, RFC 4291 2.5.6).
 *
 * Path: ip_output, forward → family6 → wire/ipv6.
 *
 * Only a source fragments, so it must know what the whole path takes: see path_mtu. A fragment header that makes a
 * user's packet the whole of a datagram (RFC 6946) says that it may be fragmented, and goes if it need not be; without
 * one a packet larger than the path takes is refused, as by any router.
 *
 * @module
 */

import { type Block, Segment } from "../../../kernel/block.ts";
import { pieceLength } from "../../../kernel/inet/segment.ts";
import {
  IPV6_FRAGMENT_LEN,
  IPV6_HEADER_LEN,
  IPV6_MTU_MIN,
  IPV6_TOTAL_MAX,
  ipv6Dst,
  ipv6HopLimit,
  ipv6NextHeader,
  ipv6Src,
  type Ipv6Walk,
  isIpv6Extension,
  putIpv6,
  setIpv6HopLimit,
  setIpv6TrafficClass,
  walkIpv6,
} from "../../../kernel/wire/ipv6.ts";
import { extensionFault } from "../../../kernel/inet/extensions6.ts";
import type { IpFamily } from "./family.ts";
import { IcmpFault } from "../packet/icmp_fault.ts";
import { dropFragmentHeader } from "../../../kernel/inet/fragment6.ts";
import { pathMtu } from "../route/egress.ts";

/** Hop limit and traffic class that the kernel gives to raw packets when it is to choose (Akaros). */
const KERNEL_HOP_LIMIT = 255;
const KERNEL_CLASS = 0;

/** IPv6. */
export const FAMILY_6: IpFamily = {
  headerLen: IPV6_HEADER_LEN,
  totalMax: IPV6_TOTAL_MAX,
  mtu: pathMtu,

  pushHeader(_stack, block, options) {
    const payloadLen = block.length;
    const at = block.push(IPV6_HEADER_LEN);
    putIpv6(options, payloadLen, block.buf, at);
  },

  own: (block) => void block.own(),
  isSound: (buf, at) => !ipv6Dst(buf, at).isV4,
  src: ipv6Src,
  dst: ipv6Dst,
  wireLength(block) {
    if (block.segment !== Segment.None) return pieceLength(block);
    return block.length - (fragmentHeaderOf(block) === null ? 0 : IPV6_FRAGMENT_LEN);
  },
  /**
   * Of a datagram that came in fragments: its sender has learnt that the path takes no more, and would not learn it
   * again from us (RFC 8201 4).
   */
  fragmentMax: ({ fragmentMax }) => fragmentMax === 0 ? Infinity : Math.max(fragmentMax, IPV6_MTU_MIN),
  mayFragment(block, kernelHeader) {
    return block.segment === Segment.None && (kernelHeader || fragmentHeaderOf(block) !== null);
  },

  finishHeader(_stack, block, kernelHeader) {
    const found = fragmentHeaderOf(block);
    if (found !== null) dropFragmentHeader(block, found);
    if (!kernelHeader) return;
    setIpv6HopLimit(block.buf, block.rp, KERNEL_HOP_LIMIT);
    setIpv6TrafficClass(block.buf, block.rp, KERNEL_CLASS);
  },

  isForwardable: (addr) => !addr.isLinkLocal && !addr.isMulticast && !addr.isLoopback && !addr.isUnspecified,
  /** A router looks at the options for every hop, and at no other extension header. */
  optionFault(stack, packet) {
    const { buf, rp } = packet.block;
    const fault = extensionFault(buf, rp, rp + packet.headerLen, { isMulticast: false, hopsOnly: true });
    if (fault === null) return null;
    if (fault.what === "option") stack.icmpErrors.report(packet, IcmpFault.Option, fault.at - rp);
    return "inBadExtension";
  },
  hops: ipv6HopLimit,
  setHops: setIpv6HopLimit,
  routerMayFragment: () => false,
  linkMtu: (route) => route.ifc!.mtu6,
  reassembled: (_stack, packet) => packet,
};

/** The extension headers of a packet that has a fragment header; null: it has none. */
function fragmentHeaderOf({ buf, rp, wp }: Block): Ipv6Walk | null {
  if (!isIpv6Extension(ipv6NextHeader(buf, rp))) return null;
  const found = walkIpv6(buf, rp, wp);
  return found !== null && found.fragmentAt >= 0 ? found : null;
}
