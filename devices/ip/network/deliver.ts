/**
 * A whole packet for us goes to its protocol, in either version.
 *
 * Path: ip6_input, ip_input → deliver → segment, icmp_fault, context, block.
 *
 * @module
 */

import { Segment } from "../../../kernel/block.ts";
import { cutSegments } from "../../../kernel/inet/segment.ts";
import { IP_PROTO_NONE } from "../../../kernel/wire/ip_proto.ts";
import { IcmpFault } from "../packet/icmp_fault.ts";
import type { NetContext } from "./context.ts";
import type { InputPacket } from "../packet/packet.ts";

/** Gives the packet (consumed) to the receiver of its protocol; if there is none, notifies its sender. */
export function deliver(stack: NetContext, packet: InputPacket): void {
  if (packet.block.segment === Segment.Udp) return deliverPieces(stack, packet);
  const proto = stack.protocolFor(packet.protocol);
  if (proto?.input !== undefined) {
    stack.stats.inDelivers++;
    proto.input(packet);
    return;
  }
  stack.stats.inUnknownProtos++;
  // RFC 8200 4.7: a packet with nothing behind its headers is no error.
  if (packet.protocol !== IP_PROTO_NONE) stack.icmpErrors.report(packet, IcmpFault.Protocol);
  packet.block.free();
}

/** Datagrams that came merged are as many messages; merged TCP segments are none the worse. */
function deliverPieces(stack: NetContext, packet: InputPacket): void {
  const pieces = cutSegments(packet.block, stack.env.blocks);
  packet.block.free();
  if (pieces === null) {
    stack.stats.inBadOffload++;
    return;
  }
  for (const block of pieces) deliver(stack, { ...packet, block });
}
