/**
 * The fragments of a packet that is too large for its link, with its checksum finished and its segments cut.
 *
 * Path: network/forward, ip_output → network/fragment → fragment4, fragment6, segment, context, block.
 *
 * @module
 */

import { type Block, Segment } from "../../../kernel/block.ts";
import { fragment4 } from "../../../kernel/inet/fragment4.ts";
import { fragment6 } from "../../../kernel/inet/fragment6.ts";
import { cutSegments, finishChecksum } from "../../../kernel/inet/segment.ts";
import type { NetContext } from "./context.ts";

/**
 * Counts and returns the fragments of `block` (consumed) for a link of `mtu`. Empty: it could not be done.
 */
export function fragmentsFor(stack: NetContext, block: Block, mtu: number): readonly Block[] {
  const { stats, env } = stack;
  const packets = block.segment === Segment.None ? [block] : cutSegments(block, env.blocks);
  const fragments: Block[] = [];
  for (const packet of packets ?? []) {
    const pieces = finishChecksum(packet) ? piecesOf(stack, packet, mtu) : null;
    if (pieces === null) {
      stats.fragFails++;
    } else {
      stats.fragOks++;
      stats.fragCreates += pieces.length;
      for (const piece of pieces) fragments.push(piece);
    }
    if (packet !== block) packet.free();
  }
  if (packets === null) stats.outBadOffload++;
  block.free();
  return fragments;
}

function piecesOf({ env }: NetContext, packet: Block, mtu: number): Block[] | null {
  if (packet.buf[packet.rp]! >>> 4 === 4) return fragment4(packet, mtu, env.blocks);
  // RFC 7739: an identification that cannot be foreseen.
  return fragment6(packet, mtu, env.random.u32(), env.blocks);
}
