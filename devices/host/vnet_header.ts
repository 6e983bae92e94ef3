/**
 * virtio_net_hdr: carries a packet's owed checksum and segmentation between a Block and Linux (virtio 1.3, 5.1.6).
 *
 * Path: tun, large_reader, tun_device → vnet_header → block, wire/bytes.
 *
 * ```
 *   0      1         2        4         6           8            10
 *   | flags | gso_type | hdr_len | gso_size | csum_start | csum_offset |      little endian
 * ```
 *
 * csum_start counts from the start of the frame (TAP) or packet (TUN); csum_offset from csum_start. Linux' own hdr_len
 * is only a hint (how much of its buffer was in one piece), so the length of the headers is read from the packet
 * itself.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../../kernel/block.ts";
import { get16le, put16le } from "../../kernel/wire/bytes.ts";

/** Bytes of the header. */
export const VNET_HEADER_LEN = 10;

const NEEDS_CSUM = 1;
const DATA_VALID = 2;

const GSO_NONE = 0;
const GSO_TCPV4 = 1;
const GSO_TCPV6 = 4;
/** UDP cut into datagrams (USO), not into IP fragments (UFO, 3, which Linux no longer makes). */
const GSO_UDP_L4 = 5;
/** The first segment's TCP header has CWR set, and only the first may. */
const GSO_ECN = 0x80;

const TCP_HEADER_MIN = 20;
const TCP_DATA_OFFSET = 12;
const TCP_FLAGS = 13;
const TCP_CWR = 0x80;
const UDP_HEADER_LEN = 8;

const GSO_OF_SEGMENT: Readonly<Record<Segment, number>> = {
  [Segment.None]: GSO_NONE,
  [Segment.Tcp4]: GSO_TCPV4,
  [Segment.Tcp6]: GSO_TCPV6,
  [Segment.Udp]: GSO_UDP_L4,
};

/**
 * Writes the header for `block` into `buf` at `at`; `linkLen` bytes of link header stand before the network header.
 * False if the block's metadata do not fit the block: such a packet cannot be sent.
 */
export function putVnetHeader(buf: Uint8Array, at: number, block: Block, linkLen: number): boolean {
  buf.fill(0, at, at + VNET_HEADER_LEN);
  if (block.checksum === Checksum.None && block.segment === Segment.None) return true;
  const length = block.length;
  const start = block.checksumStart - block.rp;
  if (block.checksum === Checksum.Owed) {
    const offset = block.checksumField - block.checksumStart;
    if (start < 0 || offset < 0 || start + offset + 2 > length) return false;
    buf[at] = NEEDS_CSUM;
    put16le(buf, at + 6, start);
    put16le(buf, at + 8, offset);
  } else if (block.checksum === Checksum.Verified) {
    buf[at] = DATA_VALID;
  }
  const headerLen = linkLen + block.segmentHeaderLen;
  // A packet that fits one piece is not cut.
  if (block.segment === Segment.None || length - headerLen <= block.segmentSize) return true;
  if (block.segmentSize <= 0 || block.segmentSize > 0xffff || headerLen > 0xffff) return false;
  buf[at + 1] = GSO_OF_SEGMENT[block.segment] | (hasCwr(block) ? GSO_ECN : 0);
  put16le(buf, at + 2, headerLen);
  put16le(buf, at + 4, block.segmentSize);
  return true;
}

/** Whether this is TCP with the CWR flag, in the block's own bytes. */
function hasCwr(block: Block): boolean {
  if (block.segment === Segment.Udp || block.checksum !== Checksum.Owed) return false;
  const flags = block.checksumStart + TCP_FLAGS;
  return flags < block.wp && (block.buf[flags]! & TCP_CWR) !== 0;
}

/**
 * Gives `block`, whose `rp` is at the first byte of frame or packet, the metadata of the header in `buf` at `at`. False
 * if they are malformed; the packet is to be dropped.
 */
export function takeVnetHeader(buf: Uint8Array, at: number, block: Block, linkLen: number): boolean {
  const flags = buf[at]!;
  const gso = buf[at + 1]! & ~GSO_ECN;
  if (flags & NEEDS_CSUM) {
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + get16le(buf, at + 6);
    block.checksumField = block.checksumStart + get16le(buf, at + 8);
    if (block.checksumField + 2 > block.wp) return false;
  } else if (flags & DATA_VALID) {
    block.checksum = Checksum.Verified;
  }
  return gso === GSO_NONE || takeSegment(block, gso, get16le(buf, at + 4), linkLen);
}

/** The part about segmentation. Linux never sends a packet to be cut without owing its checksum. */
function takeSegment(block: Block, gso: number, size: number, linkLen: number): boolean {
  if (block.checksum !== Checksum.Owed || size === 0) return false;
  const start = block.checksumStart;
  let transportLen = UDP_HEADER_LEN;
  if (gso === GSO_TCPV4 || gso === GSO_TCPV6) {
    if (start + TCP_HEADER_MIN > block.wp) return false;
    transportLen = (block.buf[start + TCP_DATA_OFFSET]! >> 4) * 4;
    if (transportLen < TCP_HEADER_MIN) return false;
    block.segment = gso === GSO_TCPV4 ? Segment.Tcp4 : Segment.Tcp6;
  } else if (gso === GSO_UDP_L4) {
    block.segment = Segment.Udp;
  } else {
    return false;
  }
  if (start + transportLen > block.wp) return false;
  block.segmentSize = size;
  block.segmentHeaderLen = start + transportLen - (block.rp + linkLen);
  return block.segmentHeaderLen > 0;
}
