/**
 * Cutting an IPv6 packet into fragments (RFC 8200 4.5): only its source does that.
 *
 * Path: network/fragment, fragment_format, family6, ip6_input → fragment6 → wire/ipv6.
 *
 *     | header, hop-by-hop options, routing | fragment header 8 | a piece of the rest |      one fragment
 *
 * @module
 */

import type { Block } from "../block.ts";
import { IP_PROTO_AH, IP_PROTO_FRAGMENT, IP_PROTO_HOP_BY_HOP, IP_PROTO_ROUTING } from "../wire/ip_proto.ts";
import {
  emitIpv6Fragment,
  IPV6_FRAGMENT_LEN,
  IPV6_HEADER_LEN,
  ipv6ExtensionLen,
  ipv6NextHeaderAt,
  ipv6PayloadLen,
  type Ipv6Walk,
  isIpv6Extension,
  setIpv6PayloadLen,
} from "../wire/ipv6.ts";
import { type BlockSource, FRAGMENT_UNIT } from "./fragment4.ts";

/**
 * Cuts `block`, a whole IPv6 packet without a fragment header and with a finished transport checksum, into pieces of at
 * most `mtu` bytes, with the identification `id` (32 bits); it stays the caller's. Null: malformed, or the MTU has no
 * room for the headers and 8 bytes.
 */
export function fragment6(block: Block, mtu: number, id: number, blocks: BlockSource): Block[] | null {
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

/**
 * Takes the fragment header out of the packet in `block`: what is before it moves up, and the header that named it
 * names what followed it.
 */
export function dropFragmentHeader(block: Block, walk: Pick<Ipv6Walk, "fragmentAt" | "fragmentNamedAt">): void {
  const { buf, rp } = block;
  const { fragmentAt, fragmentNamedAt } = walk;
  buf[fragmentNamedAt] = buf[fragmentAt]!;
  buf.copyWithin(rp + IPV6_FRAGMENT_LEN, rp, fragmentAt);
  block.rp = rp + IPV6_FRAGMENT_LEN;
  setIpv6PayloadLen(buf, block.rp, ipv6PayloadLen(buf, block.rp) - IPV6_FRAGMENT_LEN);
}

/**
 * Bytes of the part before a fragment header that every fragment repeats (RFC 8200 4.5), and where its last
 * header names what follows.
 */
function unfragmentable6(buf: Uint8Array, at: number, end: number): { length: number; namedAt: number } {
  let namedAt = ipv6NextHeaderAt(at);
  let length = IPV6_HEADER_LEN;
  const part = { length, namedAt };
  // Hop-by-hop options, and everything up to a routing header.
  for (let next = buf[namedAt]!; isIpv6Extension(next) && next !== IP_PROTO_FRAGMENT && next !== IP_PROTO_AH;) {
    if (at + length + 8 > end) break;
    namedAt = at + length;
    length += ipv6ExtensionLen(next, buf[namedAt + 1]!);
    if (at + length > end) break;
    if (next === IP_PROTO_HOP_BY_HOP || next === IP_PROTO_ROUTING) Object.assign(part, { length, namedAt });
    next = buf[namedAt]!;
  }
  return part;
}
