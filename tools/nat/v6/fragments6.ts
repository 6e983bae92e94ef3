/**
 * Fragments of IPv6: those of guests are put together, and what is too large for the guest's link is cut (RFC 8200
 * 4.5). The pieces wait in the NAT's reassembler, with those of IPv4 and under the same limits; pieces that overlap end
 * their datagram (RFC 5722).
 *
 * Path: link6, outbound6 → fragments6 → nat6, segment, nat/counters, block.
 *
 * A datagram that was put together keeps a fragment header, of the whole: by it the host knows that it may cut (RFC
 * 6946; ip(3), Bypass).
 *
 * @module
 */

import { Block } from "../../../kernel/block.ts";
import { finishChecksum } from "../../../kernel/inet/segment.ts";
import { IP_PROTO_FRAGMENT, IP_PROTO_HOP_BY_HOP } from "../../../kernel/wire/ip_proto.ts";
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
} from "../../../kernel/wire/ipv6.ts";
import { Reason } from "../counters.ts";
import type { Nat6 } from "./nat6.ts";

const ECN_CE = 3;
const FRAGMENT_UNIT = 8;
const PAYLOAD_MAX = 65535;

/**
 * Takes the fragment in `six.packet` (given away unless it is refused): answers the whole datagram, null if more must
 * come, or why it was refused.
 */
export function addFragment6(six: Nat6): Block | null | Reason {
  const { packet, keys, nat } = six;
  const { block, buf, at, end, fragmentAt, src, dst } = packet;
  const { id, fragOffset, moreFragments } = parseIpv6Fragment(buf, fragmentAt, end)!;
  const headerLen = fragmentAt + IPV6_FRAGMENT_LEN - at;
  const whole = nat.reassembler.take({
    ...{ src: keys.ofGuest(src), dst: keys.ofGuest(dst), protocol: IP_PROTO_FRAGMENT, id, start: fragOffset },
    isLast: !moreFragments,
    bytes: buf.subarray(at + headerLen, end),
    header: buf.subarray(at, at + headerLen),
    room: PAYLOAD_MAX - (headerLen - IPV6_HEADER_LEN),
    isMarked: (ipv6TrafficClass(buf, at) & ECN_CE) === ECN_CE,
  }, nat.now);
  if (typeof whole === "number") return whole;
  block.free();
  if (whole === null) return null;
  const { header, payload, largest, isMarked } = whole;
  const payloadLen = header.length - IPV6_HEADER_LEN + payload.length;
  if (payloadLen > PAYLOAD_MAX) return Reason.Fragment;
  const joined = Block.alloc(header.length + payload.length).append(header).append(payload);
  joined.fragmentMax = largest;
  const fragment = { nextHeader: header[header.length - IPV6_FRAGMENT_LEN]!, fragOffset: 0, moreFragments: false, id };
  emitIpv6Fragment(fragment, joined.buf, joined.rp + header.length - IPV6_FRAGMENT_LEN);
  setIpv6PayloadLen(joined.buf, joined.rp, payloadLen);
  if (isMarked) setIpv6TrafficClass(joined.buf, joined.rp, ipv6TrafficClass(joined.buf, joined.rp) | ECN_CE);
  return joined;
}

/** Cuts a whole packet (given away) into pieces of at most `mtu` bytes; null if it cannot be cut. */
export function cutPacket6(block: Block, mtu: number, id: number, headroom: number): Block[] | null {
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
    const piece = Block.alloc(headLen + IPV6_FRAGMENT_LEN + size, headroom).append(buf.subarray(rp, rp + headLen));
    piece.buf[piece.rp + named] = IP_PROTO_FRAGMENT;
    setIpv6PayloadLen(piece.buf, piece.rp, optionsLen + IPV6_FRAGMENT_LEN + size);
    const fields = { nextHeader, fragOffset: from - first, moreFragments: from + size < wp, id };
    piece.wp += emitIpv6Fragment(fields, piece.buf, piece.wp);
    pieces.push(piece.append(buf.subarray(from, from + size)));
  }
  block.free();
  return pieces;
}
