/**
 * IPv6 input: checks a packet, whether it is for us, its extension headers, and whether it is whole (RFC 8200).
 *
 * Path: ip_input → ip6_input → deliver, input_checks, arrival, extensions6.
 *
 * A protocol gets a validated packet: trimmed to its payload length, whole and without a fragment header, its
 * other extension headers in place. Packets without extension headers, nearly all, are not walked.
 *
 * An address that maps an IPv4 one (::ffff:0:0/96) is no address on a wire: inside it means IPv4, and a host that
 * sends it could pretend to be an IPv4 host (RFC 4942 2.2).
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { IP_PROTO_FRAGMENT } from "../../../kernel/wire/ip_proto.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import {
  IPV6_FRAGMENT_LEN,
  IPV6_HEADER_LEN,
  ipv6Dst,
  ipv6NextHeader,
  ipv6PayloadLen,
  ipv6PayloadLenAt,
  ipv6Src,
  type Ipv6Walk,
  isIpv6Extension,
  parseIpv6Fragment,
  walkIpv6,
} from "../../../kernel/wire/ipv6.ts";
import { Arrival } from "../packet/arrival.ts";
import { deliver } from "./deliver.ts";
import { extensionFault } from "../../../kernel/inet/extensions6.ts";
import { IcmpFault } from "../packet/icmp_fault.ts";
import { castOf, drop, notForUs } from "./input_checks.ts";
import type { Ifc } from "../link/ifc.ts";
import type { NetContext } from "./context.ts";
import type { Cast } from "../env/cast.ts";
import type { InputPacket } from "../packet/packet.ts";
import { type Arrived6, packet6, packet6Of } from "../packet/packet6.ts";
import { dropFragmentHeader } from "../../../kernel/inet/fragment6.ts";
import { fragmentPlace6 } from "../../../kernel/inet/fragment_format.ts";

/** Takes an IPv6 packet (consumed); `rp` is at its first byte, whose version is right. */
export function input6(stack: NetContext, block: Block, ifc: Ifc, arrival: Arrival): void {
  const { buf, rp } = block;
  const length = block.wp - rp;
  if (length < IPV6_HEADER_LEN) return drop(stack, block, "inShort");
  const totalLen = IPV6_HEADER_LEN + ipv6PayloadLen(buf, rp);
  if (totalLen > length) return drop(stack, block, "inBadTotalLen");
  block.wp = rp + totalLen;
  const src = ipv6Src(buf, rp);
  const dst = ipv6Dst(buf, rp);
  if (isMartian(stack, src, dst, arrival)) return drop(stack, block, "inMartian");
  const cast = castOf6(stack, dst, ifc, arrival);
  if (cast === null) return notForUs(stack, packet6Of(block, ifc, "unicast"), arrival);
  if (cast === "unicast" && arrival === Arrival.LinkBroadcast) return drop(stack, block, "inLinkBroadcast");
  const next = ipv6NextHeader(buf, rp);
  const arrived = { block, src, dst, cast, ifc };
  if (isIpv6Extension(next)) walk(stack, arrived);
  else deliver(stack, packet6(arrived, IPV6_HEADER_LEN, next));
}

/** How a destination is ours; null: it is not. */
function castOf6(stack: NetContext, dst: IpAddr, ifc: Ifc, arrival: Arrival): Cast | null {
  const entry = stack.self.find(dst);
  if (entry !== null) return castOf(entry, ifc, arrival, dst.isLinkLocal);
  return ifc.acceptsAny(6) && !dst.isMulticast ? "unicast" : null;
}

/** Whether no honest host sends this (RFC 4291 2.5.2, 2.5.3, 2.7). */
function isMartian(stack: NetContext, src: IpAddr, dst: IpAddr, arrival: Arrival): boolean {
  if (src.isMulticast || src.isV4 || dst.isV4 || dst.isUnspecified) return true;
  if (arrival === Arrival.Local) return false;
  if (src.isLoopback || dst.isLoopback) return true;
  // Interface-local groups (ff01::) stay in their host.
  if (dst.isMulticast && (dst.w0 >>> 16 & 0xf) <= 1) return true;
  // A host without an address asks a group.
  if (src.isUnspecified) return !dst.isMulticast;
  return stack.self.isLocal(src);
}

/** A packet with extension headers. */
function walk(stack: NetContext, arrived: Arrived6): void {
  const { block } = arrived;
  const { buf, rp, wp } = block;
  const found = walkIpv6(buf, rp, wp);
  if (found === null) return drop(stack, block, "inBadExtension");
  const packet = packet6(arrived, found.at - rp, found.protocol);
  const fault = extensionFault(buf, rp, found.at, { isMulticast: arrived.cast !== "unicast" });
  if (fault !== null) {
    const kind = fault.what === "option" ? IcmpFault.Option : IcmpFault.Header;
    if (fault.what !== "silent") stack.icmpErrors.report(packet, kind, fault.at - rp);
    return drop(stack, block, "inBadExtension");
  }
  if (found.fragmentAt < 0) deliver(stack, packet);
  else reassemble(stack, arrived, found);
}

/** A piece of a datagram, or a whole one that says it might have been more (RFC 6946). */
function reassemble(stack: NetContext, arrived: Arrived6, found: Ipv6Walk): void {
  const { block, ifc, cast } = arrived;
  const { buf, rp, wp } = block;
  const { fragmentAt } = found;
  const place = fragmentPlace6(parseIpv6Fragment(buf, fragmentAt, wp)!);
  if (place.offset === 0 && !place.more) {
    dropFragmentHeader(block, found);
    return deliver(stack, packet6Of(block, ifc, cast));
  }
  // The header that the datagram's first fragment keeps: all before its payload, the fragment header last.
  const packet = packet6(arrived, fragmentAt + IPV6_FRAGMENT_LEN - rp, IP_PROTO_FRAGMENT);
  if (place.more && (wp - fragmentAt) % 8 !== 0) reportBadLength(stack, packet);
  const whole = stack.reassembly.add(packet, place);
  if (whole === null) return;
  // What was behind the fragment header of the first may be more extension headers: they are walked now.
  const { src, dst } = arrived;
  if (isIpv6Extension(ipv6NextHeader(whole.buf, whole.rp))) walkWhole(stack, { block: whole, src, dst, cast, ifc });
  else deliver(stack, packet6Of(whole, ifc, cast));
}

function walkWhole(stack: NetContext, arrived: Arrived6): void {
  const { block } = arrived;
  const found = walkIpv6(block.buf, block.rp, block.wp);
  // A datagram is put together once: no honest sender fragments a fragment.
  if (found === null || found.fragmentAt >= 0) drop(stack, block, "inBadExtension");
  else walk(stack, arrived);
}

/** RFC 8200 4.5: the parameter problem about a fragment's length points at the payload length. */
function reportBadLength(stack: NetContext, packet: InputPacket): void {
  stack.icmpErrors.report(packet, IcmpFault.Header, ipv6PayloadLenAt(0));
}
