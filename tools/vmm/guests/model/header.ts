/**
 * The virtio_net header as the model driver writes and reads it (virtio 1.2, 5.1.6.1).
 *
 * Path: driver, tx → header → ids, block, wire/bytes.
 *
 * Written from the specification, independently of the device. hdr_len, which a device must not rely on, is right here.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../../../../kernel/block.ts";
import { get16le, put16le } from "../../../../kernel/wire/bytes.ts";
import { Feature } from "../../virtio/ids.ts";

/** Bytes of the header. */
export const HEADER_BYTES = 12;

const LINK_BYTES = 14;

/** The metadata of a frame in its header; numbers count from the frame's start, `field` from `start`. */
export interface FrameMeta {
  checksum: Checksum;
  start: number;
  field: number;
  segment: Segment;
  size: number;
  /** Bytes of all headers, that of Ethernet included. */
  headerLen: number;
}

/** Work that a driver may leave to its device. */
export interface SendRights {
  readonly checksum: boolean;
  readonly tso4: boolean;
  readonly tso6: boolean;
  readonly ecn: boolean;
}

/** The negotiated features. */
export function sendRights(features: ReadonlySet<number>): SendRights {
  return {
    checksum: features.has(Feature.Csum),
    tso4: features.has(Feature.HostTso4),
    tso6: features.has(Feature.HostTso6),
    ecn: features.has(Feature.HostEcn),
  };
}

/** Writes the header for `block`; false if it leaves work that was not negotiated. */
export function writeHeader(header: Uint8Array, block: Block, rights: SendRights): boolean {
  for (let i = 0; i < HEADER_BYTES; i++) header[i] = 0;
  if (block.checksum !== Checksum.Owed) return block.segment === Segment.None;
  if (!rights.checksum) return false;
  header[0] = 1; // NEEDS_CSUM
  put16le(header, 6, block.checksumStart - block.rp);
  put16le(header, 8, block.checksumField - block.checksumStart);
  const headerLen = LINK_BYTES + block.segmentHeaderLen;
  if (block.segment === Segment.None || block.length - headerLen <= block.segmentSize) return true;
  const v4 = block.segment === Segment.Tcp4;
  if (block.segment === Segment.Udp || !(v4 ? rights.tso4 : rights.tso6)) return false;
  const cwr = (block.buf[block.checksumStart + 13]! & 0x80) !== 0;
  if (cwr && !rights.ecn) return false;
  header[1] = (v4 ? 1 : 4) | (cwr ? 0x80 : 0);
  put16le(header, 2, headerLen);
  put16le(header, 4, block.segmentSize);
  return true;
}

/** Reads the header in `mem` at `at`. */
export function readHeader(mem: Uint8Array, at: number, meta: FrameMeta): void {
  const flags = mem[at]!;
  const gso = mem[at + 1]! & 0x7f;
  meta.checksum = (flags & 1) !== 0 ? Checksum.Owed : (flags & 2) !== 0 ? Checksum.Verified : Checksum.None;
  meta.segment = gso === 1 ? Segment.Tcp4 : gso === 4 ? Segment.Tcp6 : gso === 5 ? Segment.Udp : Segment.None;
  meta.headerLen = get16le(mem, at + 2);
  meta.size = get16le(mem, at + 4);
  meta.start = get16le(mem, at + 6);
  meta.field = get16le(mem, at + 8);
}

/** Applies the metadata of the header to a received frame; false if they are malformed. */
export function applyMeta(meta: FrameMeta, block: Block): boolean {
  block.checksum = meta.checksum;
  if (meta.checksum !== Checksum.Owed) return meta.segment === Segment.None;
  block.checksumStart = block.rp + meta.start;
  block.checksumField = block.checksumStart + meta.field;
  if (block.checksumField + 2 > block.wp) return false;
  if (meta.segment === Segment.None) return true;
  block.segment = meta.segment;
  block.segmentSize = meta.size;
  block.segmentHeaderLen = meta.headerLen - LINK_BYTES;
  return meta.size > 0 && block.segmentHeaderLen > 0 && meta.headerLen <= block.length;
}
