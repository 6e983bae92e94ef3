/**
 * Completes blocks in software for a link that cannot: computes the transport checksum, and cuts a large segment.
 *
 * Path: ip_output, bypass, ether, cable, capture → inet/segment → block, wire/tcp, wire/udp.
 *
 * Segments are cut as a network card does. Every piece gets the headers of the whole; then: IPv4 total length and
 * identification (one more each) or IPv6 payload length; TCP sequence number, with CWR on the first piece only (RFC
 * 3168 6.1.2), FIN and PSH on the last only; or UDP length. Pieces owe their checksum, so that a link with checksum
 * offload alone still computes it.
 *
 * Limits: metadata that do not fit the block (they may be a guest's) are refused.
 *
 * @module
 */

import { type Block, type BlockPool, Checksum, Segment } from "../block.ts";
import { put16 } from "../wire/bytes.ts";
import { checksum, pseudoSum } from "../wire/checksum.ts";
import { IP_PROTO_TCP, IP_PROTO_UDP } from "../wire/ip_proto.ts";
import { IPV4_HEADER_LEN, ipv4Dst, ipv4HeaderLen, ipv4Id, ipv4Src, setIpv4Id, setIpv4TotalLen } from "../wire/ipv4.ts";
import { IPV6_HEADER_LEN, ipv6Dst, ipv6Src, setIpv6PayloadLen } from "../wire/ipv6.ts";
import {
  setTcpFlags,
  setTcpSeq,
  TCP_CWR,
  TCP_FIN,
  TCP_HEADER_LEN,
  TCP_PSH,
  tcpChecksumAt,
  tcpFlags,
  tcpSeq,
} from "../wire/tcp.ts";
import { putUdpLength, UDP_HEADER_LEN, udpChecksumAt } from "../wire/udp.ts";

/** Most pieces of one segment: 64 KiB in the smallest pieces of a usual MSS (RFC 9293 3.7.1: 536), and room. */
const SEGMENT_PIECES_MAX = 512;

/** Flags that only the last piece of a segment has, and only the first. */
const TCP_LAST_ONLY = TCP_FIN | TCP_PSH;
const TCP_FIRST_ONLY = TCP_CWR;

/** Positions of the headers in a block to be cut. */
interface Layout {
  readonly isV4: boolean;
  readonly isTcp: boolean;
  /** Bytes from the network header to the transport's. */
  readonly transport: number;
  /** Bytes of all headers. */
  readonly headerLen: number;
  /** Payload bytes of each piece. */
  readonly size: number;
}

/**
 * Computes an owed transport checksum; nothing if none is owed. For UDP a result of zero is written as 0xffff: zero
 * would mean "none" (RFC 768). False: the metadata do not fit the block.
 */
export function finishChecksum(block: Block): boolean {
  if (block.checksum !== Checksum.Owed) return true;
  if (block.extents !== null) block.own();
  const { checksumStart, checksumField } = block;
  if (checksumStart < block.rp || checksumField < checksumStart || checksumField + 2 > block.wp) return false;
  const sum = checksum(block.buf, checksumStart, block.wp);
  put16(block.buf, checksumField, sum === 0 && checksumField === udpChecksumAt(checksumStart) ? 0xffff : sum);
  block.checksum = Checksum.None;
  return true;
}

/**
 * The bytes of `block` for an observer, valid until the block moves on. An owed checksum is computed, on a copy: work
 * left to a card must not look like a fault. A segment that is to be cut is shown whole.
 */
export function wholeBytes(block: Block): Uint8Array {
  if (block.checksum !== Checksum.Owed) return block.bytes();
  const copy = block.clone();
  finishChecksum(copy);
  return copy.bytes();
}

/**
 * Cuts a segmentation block whose first byte is its IP header into packets that owe their checksum; the block stays the
 * caller's. A block that fits one piece comes back as a plain copy. Null: the metadata do not fit the block.
 */
export function cutSegments(block: Block, blocks: BlockPool): Block[] | null {
  if (block.extents !== null) block.own();
  const layout = layoutOf(block);
  if (layout === null) return null;
  const pieces: Block[] = [];
  const payloadLen = block.wp - block.rp - layout.headerLen;
  for (let offset = 0; offset < payloadLen; offset += layout.size) {
    const piece = blocks.alloc(layout.headerLen + Math.min(layout.size, payloadLen - offset));
    fillPiece(piece, block, offset, layout);
    pieces.push(piece);
  }
  return pieces;
}

/** Length of the longest piece that cutting `block` makes, headers included. */
export function pieceLength(block: Block): number {
  return Math.min(block.length, block.segmentHeaderLen + block.segmentSize);
}

/** Finds and checks the headers; null if they contradict the metadata. */
function layoutOf(block: Block): Layout | null {
  const { buf, rp, segment, segmentSize: size, segmentHeaderLen: headerLen } = block;
  const length = block.wp - rp;
  if (size < 1 || headerLen >= length || headerLen < IPV4_HEADER_LEN) return null;
  if (Math.ceil((length - headerLen) / size) > SEGMENT_PIECES_MAX) return null;
  const isV4 = buf[rp]! >>> 4 === 4;
  if (!isV4 && buf[rp]! >>> 4 !== 6) return null;
  if (isV4 ? segment === Segment.Tcp6 : segment === Segment.Tcp4) return null;
  const isTcp = segment !== Segment.Udp;
  const ipLen = isV4 ? ipv4HeaderLen(buf, rp) : IPV6_HEADER_LEN;
  const transport = block.checksum === Checksum.Owed ? block.checksumStart - rp : ipLen;
  if (transport < ipLen || ipLen < IPV4_HEADER_LEN) return null;
  if (headerLen < transport + (isTcp ? TCP_HEADER_LEN : UDP_HEADER_LEN)) return null;
  return { isV4, isTcp, transport, headerLen, size };
}

/** Makes `piece` the packet with the payload of `whole` from `offset` on. */
function fillPiece(piece: Block, whole: Block, offset: number, layout: Layout): void {
  const { headerLen, transport, isV4, isTcp } = layout;
  const from = whole.rp + headerLen + offset;
  const length = Math.min(layout.size, whole.wp - from);
  const { buf, rp } = piece;
  buf.set(whole.buf.subarray(whole.rp, whole.rp + headerLen), rp);
  buf.set(whole.buf.subarray(from, from + length), rp + headerLen);
  piece.wp = rp + headerLen + length;
  if (isV4) {
    setIpv4TotalLen(buf, rp, headerLen + length);
    setIpv4Id(buf, rp, ipv4Id(buf, rp) + offset / layout.size);
  } else {
    setIpv6PayloadLen(buf, rp, headerLen + length - IPV6_HEADER_LEN);
  }
  const at = rp + transport;
  const transportLen = headerLen - transport + length;
  if (isTcp) {
    const isLast = from + length === whole.wp;
    const cleared = (offset > 0 ? TCP_FIRST_ONLY : 0) | (isLast ? 0 : TCP_LAST_ONLY);
    setTcpSeq(buf, at, (tcpSeq(buf, at) + offset) >>> 0);
    setTcpFlags(buf, at, tcpFlags(buf, at) & ~cleared);
  } else {
    putUdpLength(buf, at, transportLen);
  }
  const src = isV4 ? ipv4Src(buf, rp) : ipv6Src(buf, rp);
  const dst = isV4 ? ipv4Dst(buf, rp) : ipv6Dst(buf, rp);
  const pseudo = pseudoSum(src, dst, isTcp ? IP_PROTO_TCP : IP_PROTO_UDP, transportLen);
  oweChecksum(piece, at, isTcp ? tcpChecksumAt(at) : udpChecksumAt(at), pseudo);
}

/**
 * Makes a block owe the checksum of the transport header at `start`, whose field is at `field`; `pseudo`, the sum of
 * the pseudo-header, is there until a link or `finishChecksum` computes the rest.
 */
export function oweChecksum(block: Block, start: number, field: number, pseudo: number): void {
  put16(block.buf, field, pseudo);
  block.checksum = Checksum.Owed;
  block.checksumStart = start;
  block.checksumField = field;
}
