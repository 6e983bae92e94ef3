/**
 * virtio_net_hdr: carries a packet's owed checksum and segmentation between a Block and Linux (virtio 1.3, 5.1.6).
 *
 * Path: tun, large_reader, tun_device → vnet_header → inet/vnet_header, block.
 *
 * csum_start counts from the frame of a TAP, the packet of a TUN. Linux' own hdr_len is only a hint (how much of its
 * buffer was in one piece), so the length of the headers is read from the packet itself.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../../kernel/block.ts";
import {
  gsoOf,
  segmentOfGso,
  VNET_DATA_VALID,
  VNET_GSO_ECN,
  VNET_GSO_NONE,
  VNET_HEADER_LEN,
  VNET_NEEDS_CSUM,
  VnetField,
} from "../../kernel/inet/vnet_header.ts";
import { get16le, put16le } from "../../kernel/wire/bytes.ts";
import { TCP_HEADER_LEN, tcpHeaderLen } from "../../kernel/wire/tcp.ts";
import { UDP_HEADER_LEN } from "../../kernel/wire/udp.ts";

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
    buf[at] = VNET_NEEDS_CSUM;
    put16le(buf, at + VnetField.CsumStart, start);
    put16le(buf, at + VnetField.CsumOffset, offset);
  } else if (block.checksum === Checksum.Verified) {
    buf[at] = VNET_DATA_VALID;
  }
  const headerLen = linkLen + block.segmentHeaderLen;
  // A packet that fits one piece is not cut.
  if (block.segment === Segment.None || length - headerLen <= block.segmentSize) return true;
  if (block.segmentSize <= 0 || block.segmentSize > 0xffff || headerLen > 0xffff) return false;
  buf[at + VnetField.GsoType] = gsoOf(block);
  put16le(buf, at + VnetField.HdrLen, headerLen);
  put16le(buf, at + VnetField.GsoSize, block.segmentSize);
  return true;
}

/**
 * Gives `block`, whose `rp` is at the first byte of frame or packet, the metadata of the header in `buf` at `at`. False
 * if they are malformed; the packet is to be dropped.
 */
export function takeVnetHeader(buf: Uint8Array, at: number, block: Block, linkLen: number): boolean {
  const flags = buf[at]!;
  const gso = buf[at + VnetField.GsoType]! & ~VNET_GSO_ECN;
  if (flags & VNET_NEEDS_CSUM) {
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + get16le(buf, at + VnetField.CsumStart);
    block.checksumField = block.checksumStart + get16le(buf, at + VnetField.CsumOffset);
    if (block.checksumField + 2 > block.wp) return false;
  } else if (flags & VNET_DATA_VALID) {
    block.checksum = Checksum.Verified;
  }
  return gso === VNET_GSO_NONE || takeSegment(block, gso, get16le(buf, at + VnetField.GsoSize), linkLen);
}

/** The part about segmentation. Linux never sends a packet to be cut without owing its checksum. */
function takeSegment(block: Block, gso: number, size: number, linkLen: number): boolean {
  if (block.checksum !== Checksum.Owed || size === 0) return false;
  const start = block.checksumStart;
  const segment = segmentOfGso(gso);
  if (segment === Segment.None) return false;
  let transportLen = UDP_HEADER_LEN;
  if (segment !== Segment.Udp) {
    if (start + TCP_HEADER_LEN > block.wp) return false;
    transportLen = tcpHeaderLen(block.buf, start);
    if (transportLen < TCP_HEADER_LEN) return false;
  }
  if (start + transportLen > block.wp) return false;
  block.segment = segment;
  block.segmentSize = size;
  block.segmentHeaderLen = start + transportLen - (block.rp + linkLen);
  return block.segmentHeaderLen > 0;
}
