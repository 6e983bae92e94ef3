/**
 * What both versions check of a packet that came in: whether it is for us, and where it goes if it is not.
 *
 * Path: ip_input, ip6_input → input_checks → forward.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { Arrival } from "../packet/arrival.ts";
import type { Cast } from "../env/cast.ts";
import { forward } from "./forward.ts";
import type { Ifc } from "../link/ifc.ts";
import type { NetContext } from "./context.ts";
import type { InputPacket } from "../packet/packet.ts";
import type { SelfEntry } from "../route/self_table.ts";

/** Why a packet that came in is dropped; counters of IpStats. */
type InputReason =
  | "inShort"
  | "inBadVersion"
  | "inBadHeaderLen"
  | "inBadTotalLen"
  | "inBadChecksum"
  | "inBadExtension"
  | "inMartian"
  | "inNotForUs"
  | "inLinkBroadcast";

/** Counts the reason and frees the block. */
export function drop(stack: NetContext, block: Block, reason: InputReason): void {
  stack.stats[reason]++;
  block.free();
}

/**
 * How a packet that came in by `ifc` is addressed to us, `entry` being its destination among our addresses; null: not
 * to us. A host address is ours wherever the packet comes in (RFC 1122 3.3.4.2's weak model), unless it means one host
 * on each link (`onLinkOnly`, RFC 4291 2.5.6); a group or broadcast address only where we have it.
 */
export function castOf(entry: SelfEntry, ifc: Ifc, arrival: Arrival, onLinkOnly: boolean): Cast | null {
  const isEverywhere = arrival === Arrival.Local || (entry.cast === "unicast" && !onLinkOnly);
  return isEverywhere || entry.isOn(ifc) ? entry.cast : null;
}

/** A packet (consumed) that is not addressed to us: forwarded, if that is on and it may be. */
export function notForUs(stack: NetContext, packet: InputPacket, arrival: Arrival): void {
  const { block, dst, version } = packet;
  // IPv6 has no broadcasts: a frame for many stations is right for a group.
  const isGroup6 = version === 6 && dst.isMulticast;
  if (arrival === Arrival.LinkBroadcast && !isGroup6) return drop(stack, block, "inLinkBroadcast");
  if (arrival === Arrival.Local || !stack.forwarding || isGroup6) return drop(stack, block, "inNotForUs");
  forward(stack, packet);
}
