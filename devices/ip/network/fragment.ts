/**
 * Cutting an IPv4 packet into fragments (RFC 791 3.2).
 *
 * Path: network/forward, ip_output → fragment → fragment6, segment, context, block.
 *
 * A packet that is a fragment itself keeps its place: offsets go on from its own, and only its last piece may say that
 * nothing follows. The first piece carries all options, the others those with the copied flag.
 *
 * @module
 */

import { type Block, type BlockPool, Segment } from "../../../kernel/block.ts";
import { cutSegments, finishChecksum } from "../../../kernel/inet/segment.ts";
import { copiedIpv4Options, emitIpv4, IPV4_HEADER_LEN, parseIpv4 } from "../../../kernel/wire/ipv4.ts";
import { fragment6 } from "./fragment6.ts";
import type { NetContext } from "./context.ts";

/** Offsets count in units of so many bytes. */
const FRAGMENT_UNIT = 8;

/**
 * Cuts `block`, a whole IPv4 packet with a finished transport checksum, into pieces of at most `mtu` bytes; it stays
 * the caller's. "Don't fragment" is the caller's business: the pieces do not have it. Null: malformed, or the MTU has
 * no room for a header and 8 bytes.
 */
export function fragment4(block: Block, mtu: number, blocks: BlockPool): Block[] | null {
  const { buf, rp } = block.own();
  const header = parseIpv4(buf, rp, block.wp);
  if (header === null || header.headerLen + FRAGMENT_UNIT > mtu) return null;
  const laterOptions = copiedIpv4Options(header.options);
  const pieces: Block[] = [];
  for (let offset = 0; offset < header.payloadLen;) {
    const options = offset === 0 ? header.options : laterOptions;
    const headerLen = IPV4_HEADER_LEN + options.length;
    const room = mtu - headerLen;
    const rest = header.payloadLen - offset;
    const payloadLen = rest <= room ? rest : room - room % FRAGMENT_UNIT;
    const fragment = {
      ...header,
      options,
      payloadLen,
      dontFragment: false,
      moreFragments: header.moreFragments || payloadLen < rest,
      fragOffset: header.fragOffset + offset,
    };
    const piece = blocks.alloc(headerLen + payloadLen);
    emitIpv4(fragment, piece.buf, piece.rp);
    piece.wp = piece.rp + headerLen;
    const from = rp + header.headerLen + offset;
    pieces.push(piece.append(buf.subarray(from, from + payloadLen)));
    offset += payloadLen;
  }
  return pieces;
}

/**
 * The fragments of `block` (given away) for a link of `mtu`, its checksum finished and its segments cut; counted.
 * Empty: it could not be done.
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
  // RFC 7739: an identification that nobody can foresee.
  return fragment6(packet, mtu, env.random.u32(), env.blocks);
}
