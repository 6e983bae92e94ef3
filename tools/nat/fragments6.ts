/**
 * Fragments of IPv6: a guest's for the reassembler, the packet they become, and cutting what is too large (RFC 8200
 * 4.5).
 *
 * Path: family6 → fragments6 → nat/packet, reassembler, segment, block.
 *
 * A datagram that was put together keeps a fragment header, of the whole: by it the host knows that it may cut (RFC
 * 6946; ip(3), Bypass).
 *
 * @module
 */

import { Block, BLOCK_HEADROOM } from "../../kernel/block.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { IP_PROTO_FRAGMENT, IP_PROTO_HOP_BY_HOP } from "../../kernel/wire/ip_proto.ts";
import {
  emitIpv6Fragment,
  IPV6_FRAGMENT_LEN,
  IPV6_HEADER_LEN,
  ipv6ExtensionLen,
  ipv6NextHeader,
  ipv6TrafficClass,
  parseIpv6Fragment,
  setIpv6PayloadLen,
  setIpv6TrafficClass,
} from "../../kernel/wire/ipv6.ts";
import type { NatPacket } from "./packet.ts";
import type { Piece, WholeDatagram } from "./reassembler.ts";

const ECN_CE = 3;
const FRAGMENT_UNIT = 8;
const PAYLOAD_MAX = 65535;

/** The fragment that was read. */
export function pieceOf6({ buf, at, end, fragmentAt, src, dst }: NatPacket): Piece {
  const { id, fragOffset, moreFragments } = parseIpv6Fragment(buf, fragmentAt, end)!;
  const headerLen = fragmentAt + IPV6_FRAGMENT_LEN - at;
  return {
    src,
    dst,
    protocol: IP_PROTO_FRAGMENT,
    id,
    start: fragOffset,
    isLast: !moreFragments,
    bytes: buf.subarray(at + headerLen, end),
    header: buf.subarray(at, at + headerLen),
    room: PAYLOAD_MAX - (headerLen - IPV6_HEADER_LEN),
    isMarked: (ipv6TrafficClass(buf, at) & ECN_CE) === ECN_CE,
  };
}

/** The whole packet, under the first piece's headers, with the identification `id`; null if it would be too long. */
export function wholeOf6({ header, payload, largest, isMarked }: WholeDatagram, id: number): Block | null {
  const payloadLen = header.length - IPV6_HEADER_LEN + payload.length;
  if (payloadLen > PAYLOAD_MAX) return null;
  const joined = Block.alloc(header.length + payload.length).append(header).append(payload);
  joined.fragmentMax = largest;
  const fragment = { nextHeader: header[header.length - IPV6_FRAGMENT_LEN]!, fragOffset: 0, moreFragments: false, id };
  emitIpv6Fragment(fragment, joined.buf, joined.rp + header.length - IPV6_FRAGMENT_LEN);
  setIpv6PayloadLen(joined.buf, joined.rp, payloadLen);
  if (isMarked) setIpv6TrafficClass(joined.buf, joined.rp, ipv6TrafficClass(joined.buf, joined.rp) | ECN_CE);
  return joined;
}

/** Cuts a whole packet (consumed) into pieces of at most `mtu` bytes; null if it cannot be cut. */
export function cutPacket6(block: Block, mtu: number, id: number): Block[] | null {
  if (!finishChecksum(block)) return null;
  const { buf, rp, wp } = block.own();
  // Hop-by-hop options stand in each piece; everything behind them is cut.
  const isHopByHop = ipv6NextHeader(buf, rp) === IP_PROTO_HOP_BY_HOP && wp - rp >= IPV6_HEADER_LEN + FRAGMENT_UNIT;
  const named = isHopByHop ? IPV6_HEADER_LEN : IPV6_HEADER_LEN - 34;
  const optionsLen = isHopByHop ? ipv6ExtensionLen(IP_PROTO_HOP_BY_HOP, buf[rp + IPV6_HEADER_LEN + 1]!) : 0;
  const headLen = IPV6_HEADER_LEN + optionsLen;
  const room = (mtu - headLen - IPV6_FRAGMENT_LEN) & ~(FRAGMENT_UNIT - 1);
  if (room < FRAGMENT_UNIT || rp + headLen > wp) return null;
  // What a guest's own fragments became says already that it may be cut: its header gives way.
  const isWhole = buf[rp + named] === IP_PROTO_FRAGMENT && wp - rp > headLen + IPV6_FRAGMENT_LEN;
  const nextHeader = buf[rp + (isWhole ? headLen : named)]!;
  const first = rp + headLen + (isWhole ? IPV6_FRAGMENT_LEN : 0);
  const pieces: Block[] = [];
  for (let from = first; from < wp; from += room) {
    const size = Math.min(room, wp - from);
    const piece = Block.alloc(headLen + IPV6_FRAGMENT_LEN + size, BLOCK_HEADROOM).append(
      buf.subarray(rp, rp + headLen),
    );
    piece.buf[piece.rp + named] = IP_PROTO_FRAGMENT;
    setIpv6PayloadLen(piece.buf, piece.rp, optionsLen + IPV6_FRAGMENT_LEN + size);
    const fields = { nextHeader, fragOffset: from - first, moreFragments: from + size < wp, id };
    piece.wp += emitIpv6Fragment(fields, piece.buf, piece.wp);
    pieces.push(piece.append(buf.subarray(from, from + size)));
  }
  block.free();
  return pieces;
}
