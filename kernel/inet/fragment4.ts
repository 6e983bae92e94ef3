/**
 * Cutting an IPv4 packet into fragments (RFC 791 3.2).
 *
 * Path: network/fragment → fragment4 → wire/ipv4.
 *
 * A packet that is a fragment itself keeps its place: offsets go on from its own, and only its last piece may say that
 * nothing follows. The first piece carries all options, the others those with the copied flag.
 *
 * @module
 */

import type { Block } from "../block.ts";
import { copiedIpv4Options, emitIpv4, IPV4_HEADER_LEN, parseIpv4 } from "../wire/ipv4.ts";

/** Offsets count in units of so many bytes, in both versions. */
export const FRAGMENT_UNIT = 8;

/** Where the blocks of pieces come from: a `BlockPool`, or what allocates with another head room. */
export interface BlockSource {
  /** An empty block with room for `size` bytes. */
  alloc(size: number): Block;
}

/**
 * Cuts `block`, a whole IPv4 packet with a finished transport checksum, into pieces of at most `mtu` bytes; it stays
 * the caller's. "Don't fragment" is the caller's business: the pieces do not have it. Null: malformed, or the MTU has
 * no room for a header and 8 bytes.
 */
export function fragment4(block: Block, mtu: number, blocks: BlockSource): Block[] | null {
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
