/**
 * Fragments of IPv4: a guest's for the reassembler, the packet they become, and cutting (RFC 791 3.2).
 *
 * Path: family4 → fragments4 → nat/packet, reassembler, segment, block.
 *
 * @module
 */

import { Block, BLOCK_HEADROOM } from "../../kernel/block.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { get16 } from "../../kernel/wire/bytes.ts";
import {
  copiedIpv4Options,
  emitIpv4,
  IPV4_HEADER_LEN,
  IPV4_TOTAL_MAX,
  ipv4FragOffset,
  ipv4Id,
  ipv4Tos,
  parseIpv4,
  setIpv4DontFragment,
  setIpv4Fragment,
  setIpv4Tos,
  setIpv4TotalLen,
} from "../../kernel/wire/ipv4.ts";
import type { NatPacket } from "./packet.ts";
import type { Piece, WholeDatagram } from "./reassembler.ts";

const MORE_FRAGMENTS = 0x2000;
const FRAG = 6;
const FRAGMENT_UNIT = 8;
const ECN_CE = 3;

/** The fragment that was read. */
export function pieceOf4({ block, headerLen, src, dst, protocol }: NatPacket): Piece {
  const { buf, rp, wp } = block;
  return {
    src,
    dst,
    protocol,
    id: ipv4Id(buf, rp),
    start: ipv4FragOffset(buf, rp),
    isLast: (get16(buf, rp + FRAG) & MORE_FRAGMENTS) === 0,
    bytes: buf.subarray(rp + headerLen, wp),
    header: buf.subarray(rp, rp + headerLen),
    room: IPV4_TOTAL_MAX - headerLen,
    isMarked: (ipv4Tos(buf, rp) & ECN_CE) === ECN_CE,
  };
}

/** The whole packet, under the first piece's header; null if it would be too long. */
export function wholeOf4({ header, payload, largest, isMarked }: WholeDatagram): Block | null {
  const totalLen = header.length + payload.length;
  if (totalLen > IPV4_TOTAL_MAX) return null;
  const block = Block.alloc(totalLen).append(header).append(payload);
  block.fragmentMax = largest;
  const { buf, rp } = block;
  setIpv4TotalLen(buf, rp, totalLen);
  setIpv4Fragment(buf, rp, 0, false);
  setIpv4DontFragment(buf, rp, false);
  if (isMarked) setIpv4Tos(buf, rp, ipv4Tos(buf, rp) | ECN_CE);
  return block;
}

/**
 * Cuts a whole packet (consumed) into pieces of at most `mtu` bytes, each with head room; null if it cannot be cut. The
 * first piece carries all options, the others those with the copied flag.
 */
export function cutPacket4(block: Block, mtu: number): Block[] | null {
  if (!finishChecksum(block)) return null;
  const { buf, rp, wp } = block.own();
  const header = parseIpv4(buf, rp, wp);
  if (header === null || header.headerLen + FRAGMENT_UNIT > mtu) return null;
  const later = copiedIpv4Options(header.options);
  const pieces: Block[] = [];
  for (let offset = 0; offset < header.payloadLen;) {
    const options = offset === 0 ? header.options : later;
    const headerLen = IPV4_HEADER_LEN + options.length;
    const room = mtu - headerLen;
    const rest = header.payloadLen - offset;
    const payloadLen = rest <= room ? rest : room - room % FRAGMENT_UNIT;
    const piece = Block.alloc(headerLen + payloadLen, BLOCK_HEADROOM);
    const moreFragments = payloadLen < rest;
    const fields = { ...header, options, payloadLen, dontFragment: false, moreFragments, fragOffset: offset };
    emitIpv4(fields, piece.buf, piece.rp);
    piece.wp = piece.rp + headerLen;
    const from = rp + header.headerLen + offset;
    pieces.push(piece.append(buf.subarray(from, from + payloadLen)));
    offset += payloadLen;
  }
  block.free();
  return pieces;
}
