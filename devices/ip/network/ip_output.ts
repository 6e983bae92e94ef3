/**
 * IP output, of both versions: which route, which header, in how many pieces (RFC 791, RFC 1122 3.3, RFC 8200).
 *
 * Path: bypass, tcp/tcp, udp/udp → ip_output → family4, family6, fragment, segment.
 *
 * Packets to an address of ours never see a link: they come in again by the interface's own loopback queue. Akaros asks
 * ARP for itself and has #ether turn them around.
 *
 * Everything is decided before a byte is changed: on `noRoute` and `tooBig` the block is the caller's as it was.
 *
 * @module
 */

import { type Block, Segment } from "../../../kernel/block.ts";
import { pieceLength } from "../../../kernel/inet/segment.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { FAMILY_4 } from "./family4.ts";
import { FAMILY_6 } from "./family6.ts";
import { fragmentsFor } from "./fragment.ts";
import type { NetContext } from "./context.ts";
import type { SendOptions, SendResult } from "../packet/packet.ts";
import type { Route } from "../route/route.ts";
import { dispatch, selectRoute } from "../route/egress.ts";

/** The largest MTU: every IPv4 packet fits. */
const WHOLE_MTU = 65_535;

/**
 * Sends transport header and payload under a new IP header. A packet that does not fit the link is fragmented, and one
 * that does may be fragmented by IPv4's routers; `dontFragment` forbids both. (Akaros sets DF on all that fits, and
 * never learns of a smaller link.)
 */
export function sendPacket(stack: NetContext, block: Block, options: SendOptions): SendResult {
  const { stats } = stack;
  const { src, dst } = options;
  const family = dst.isV4 ? FAMILY_4 : FAMILY_6;
  stats.outRequests++;
  const route = !dst.isV4 && src.isV4 ? null : selectRoute(stack, src, dst);
  if (route === null) {
    stats.outNoRoutes++;
    return "noRoute";
  }
  const totalLen = block.length + family.headerLen;
  const mtu = family.mtu(stack, route, dst);
  const fits = (block.segment === Segment.None ? totalLen : pieceLength(block)) <= mtu;
  if (totalLen > family.totalMax) {
    stats.outTooLong++;
    return "tooBig";
  }
  if (!fits && (options.dontFragment === true || block.segment !== Segment.None)) {
    stats.fragFails++;
    return "tooBig";
  }
  family.pushHeader(stack, block, options);
  if (fits) dispatch(stack, block, route, dst);
  else sendFragments(stack, block, mtu, { route, dst });
  return "sent";
}

/**
 * Sends a packet that begins with an IP header, which the caller has checked: version, lengths and addresses. Its own
 * fields are kept, options, extension and fragment headers included; `kernelHeader` gives it TTL 255, TOS 0 and DF
 * instead, as Akaros does, or an id if it is cut (but a fragment keeps its place). IPv4's header checksum is ours.
 */
export function sendRaw(stack: NetContext, block: Block, options: { kernelHeader: boolean }): SendResult {
  const { stats } = stack;
  const { kernelHeader } = options;
  const family = block.buf[block.rp]! >>> 4 === 6 ? FAMILY_6 : FAMILY_4;
  stats.outRequests++;
  family.own(block);
  const { buf, rp } = block;
  const dst = family.dst(buf, rp);
  const route = family.isSound(buf, rp) ? selectRoute(stack, family.src(buf, rp), dst) : null;
  if (route === null) {
    stats.outNoRoutes++;
    return "noRoute";
  }
  const linkMtu = family.mtu(stack, route, dst);
  // A link that carries every packet whole is that to a program: what is behind it fragments.
  const mtu = linkMtu >= WHOLE_MTU ? linkMtu : Math.min(linkMtu, family.fragmentMax(block));
  const fits = family.wireLength(block) <= mtu;
  if (!fits && !family.mayFragment(block, kernelHeader)) {
    stats.fragFails++;
    return "tooBig";
  }
  family.finishHeader(stack, block, kernelHeader, fits);
  if (fits) dispatch(stack, block, route, dst);
  else sendFragments(stack, block, mtu, { route, dst });
  return "sent";
}

/** Sends the fragments of `block` (consumed). */
function sendFragments(stack: NetContext, block: Block, mtu: number, to: { route: Route; dst: IpAddr }): void {
  for (const piece of fragmentsFor(stack, block, mtu)) dispatch(stack, piece, to.route, to.dst);
}
