/**
 * Cutting an IPv6 packet into fragments (RFC 8200 4.5): only its source does that.
 *
 * Path: fragment → fragment6.
 *
 *     | header, hop-by-hop options, routing | fragment header 8 | a piece of the rest |      one fragment
 *
 * @module
 */

import type { Block, BlockPool } from "../../../kernel/block.ts";
import { IP_PROTO_FRAGMENT } from "../../../kernel/wire/ip_proto.ts";
import { emitIpv6Fragment, IPV6_FRAGMENT_LEN, IPV6_HEADER_LEN, setIpv6PayloadLen } from "../../../kernel/wire/ipv6.ts";
import { unfragmentable6 } from "../packet/packet6.ts";

/** Offsets count in units of so many bytes. */
const FRAGMENT_UNIT = 8;

/**
 * Cuts `block`, a whole IPv6 packet without a fragment header and with a finished transport checksum, into pieces of at
 * most `mtu` bytes, with the identification `id` (32 bits); it stays the caller's. Null: malformed, or the MTU has no
 * room for the headers and 8 bytes.
 */
export function fragment6(block: Block, mtu: number, id: number, blocks: BlockPool): Block[] | null {
  const { buf, rp, wp } = block.own();
  if (wp - rp < IPV6_HEADER_LEN) return null;
  const { length: before, namedAt } = unfragmentable6(buf, rp, wp);
  const room = mtu - before - IPV6_FRAGMENT_LEN;
  if (room < FRAGMENT_UNIT) return null;
  const nextHeader = buf[namedAt]!;
  const restLen = wp - rp - before;
  const pieces: Block[] = [];
  for (let fragOffset = 0; fragOffset < restLen;) {
    const rest = restLen - fragOffset;
    const length = rest <= room ? rest : room - room % FRAGMENT_UNIT;
    const piece = blocks.alloc(before + IPV6_FRAGMENT_LEN + length);
    const at = piece.rp;
    piece.buf.set(buf.subarray(rp, rp + before), at);
    piece.buf[at + namedAt - rp] = IP_PROTO_FRAGMENT;
    setIpv6PayloadLen(piece.buf, at, before - IPV6_HEADER_LEN + IPV6_FRAGMENT_LEN + length);
    emitIpv6Fragment({ nextHeader, fragOffset, moreFragments: length < rest, id }, piece.buf, at + before);
    piece.wp = at + before + IPV6_FRAGMENT_LEN;
    const from = rp + before + fragOffset;
    pieces.push(piece.append(buf.subarray(from, from + length)));
    fragOffset += length;
  }
  return pieces;
}
