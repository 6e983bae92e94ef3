/**
 * What a block still owes when its link cannot pay: the transport checksum, and the cutting of a large segment.
 *
 * Path: ip_output, bypass, ether, cable, capture → inet/segment → block.
 *
 * Cutting follows what a network card does. Every piece gets the headers of the whole; then: IPv4 total length and
 * identification (one more each) or IPv6 payload length; TCP sequence number, with CWR on the first piece only (RFC
 * 3168 6.1.2), FIN and PSH on the last only; or UDP length. Pieces owe their checksum, so that a link which can sum but
 * not cut is given no more work than it asked for.
 *
 * Limits: metadata that do not fit the block (they may be a guest's) are refused, never believed.
 *
 * @module
 */

import { type Block, type BlockPool, Checksum, Segment } from "../block.ts";
import { get32, put16, put32 } from "../wire/bytes.ts";
import { checksum, pseudoSum } from "../wire/checksum.ts";
import { IpAddr } from "../wire/ip_addr.ts";
import { IP_PROTO_TCP, IP_PROTO_UDP } from "../wire/ip_proto.ts";
import { IPV4_HEADER_LEN, ipv4Dst, ipv4HeaderLen, ipv4Id, ipv4Src, setIpv4Id, setIpv4TotalLen } from "../wire/ipv4.ts";

/** Most pieces of one segment: 64 KiB in the smallest pieces a sane MSS makes (RFC 9293 3.7.1: 536), and room. */
const SEGMENT_PIECES_MAX = 512;

const IPV6_HEADER_LEN = 40;
const IPV6_PAYLOAD_LEN = 4;
const IPV6_SRC = 8;
const IPV6_DST = 24;

const TCP_SEQ = 4;
const TCP_FLAGS = 13;
const TCP_CHECKSUM = 16;
const TCP_HEADER_LEN = 20;
const TCP_LAST_ONLY = 0x09; // FIN, PSH
const TCP_FIRST_ONLY = 0x80; // CWR

const UDP_LENGTH = 4;
const UDP_CHECKSUM = 6;
const UDP_HEADER_LEN = 8;

/** Where the headers of a block to be cut are. */
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
 * Computes an owed transport checksum; nothing if none is owed. To UDP a result of zero is written as its other form,
 * 0xffff: zero would mean "none" (RFC 768). False: the metadata do not fit the block.
 */
export function finishChecksum(block: Block): boolean {
  if (block.checksum !== Checksum.Owed) return true;
  if (block.extents !== null) block.own();
  const { checksumStart, checksumField } = block;
  if (checksumStart < block.rp || checksumField < checksumStart || checksumField + 2 > block.wp) return false;
  const sum = checksum(block.buf, checksumStart, block.wp);
  put16(block.buf, checksumField, sum === 0 && checksumField - checksumStart === UDP_CHECKSUM ? 0xffff : sum);
  block.checksum = Checksum.None;
  return true;
}

/**
 * The bytes of `block` for whoever looks on, valid until the block goes on. An owed checksum is paid, on a copy: what
 * was left to a card to compute must not look like a fault. A segment that is to be cut is shown whole.
 */
export function wholeBytes(block: Block): Uint8Array {
  if (block.checksum !== Checksum.Owed) return block.bytes();
  const copy = block.clone();
  finishChecksum(copy);
  return copy.bytes();
}

/**
 * Cuts a segmentation block whose first byte is its IP header into packets that owe their checksum; the block stays the
 * caller's. A block that fits one piece comes back as a plain copy. Null: its metadata do not fit it.
 */
export function cutSegments(block: Block, blocks: BlockPool): Block[] | null {
  if (block.extents !== null) block.own();
  const layout = layoutOf(block);
  if (layout === null) return null;
  const pieces: Block[] = [];
  const payloadLen = block.wp - block.rp - layout.headerLen;
  for (let offset = 0; offset < payloadLen; offset += layout.size) {
    pieces.push(cutPiece(block, offset, Math.min(layout.size, payloadLen - offset), layout, blocks));
  }
  return pieces;
}

/** Length of the longest piece that cutting `block` makes, headers included. */
export function pieceLength(block: Block): number {
  return Math.min(block.length, block.segmentHeaderLen + block.segmentSize);
}

/** Finds and checks the headers; null if they are not what the metadata say. */
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

function cutPiece(whole: Block, offset: number, length: number, layout: Layout, blocks: BlockPool): Block {
  const { headerLen, transport, isV4, isTcp } = layout;
  const from = whole.rp + headerLen + offset;
  const piece = blocks.alloc(headerLen + length);
  const { buf, rp } = piece;
  buf.set(whole.buf.subarray(whole.rp, whole.rp + headerLen), rp);
  buf.set(whole.buf.subarray(from, from + length), rp + headerLen);
  piece.wp = rp + headerLen + length;
  if (isV4) {
    setIpv4TotalLen(buf, rp, headerLen + length);
    setIpv4Id(buf, rp, ipv4Id(buf, rp) + offset / layout.size);
  } else {
    put16(buf, rp + IPV6_PAYLOAD_LEN, headerLen + length - IPV6_HEADER_LEN);
  }
  const at = rp + transport;
  const transportLen = headerLen - transport + length;
  if (isTcp) {
    const isLast = from + length === whole.wp;
    put32(buf, at + TCP_SEQ, get32(buf, at + TCP_SEQ) + offset);
    buf[at + TCP_FLAGS]! &= ~((offset > 0 ? TCP_FIRST_ONLY : 0) | (isLast ? 0 : TCP_LAST_ONLY));
  } else {
    put16(buf, at + UDP_LENGTH, transportLen);
  }
  const src = isV4 ? ipv4Src(buf, rp) : IpAddr.at(buf, rp + IPV6_SRC);
  const dst = isV4 ? ipv4Dst(buf, rp) : IpAddr.at(buf, rp + IPV6_DST);
  owe(piece, at, isTcp, pseudoSum(src, dst, isTcp ? IP_PROTO_TCP : IP_PROTO_UDP, transportLen));
  return piece;
}

/** Makes `piece` owe the checksum of the transport header at `at`; `pseudo` is its pseudo-header's sum. */
function owe(piece: Block, at: number, isTcp: boolean, pseudo: number): void {
  piece.checksum = Checksum.Owed;
  piece.checksumStart = at;
  piece.checksumField = at + (isTcp ? TCP_CHECKSUM : UDP_CHECKSUM);
  put16(piece.buf, piece.checksumField, pseudo);
}
