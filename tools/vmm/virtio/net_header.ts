/**
 * virtio_net_hdr: carries a frame's owed checksum and segmentation between a guest and a Block (virtio 1.2, 5.1.6).
 *
 * Path: net, net_rx, net_tx → net_header → inet/vnet_header, ids, block, ethernet.
 *
 * hdr_len is a driver's hint that a device must not rely on (5.1.6.2.2): the length of the headers is read from the
 * frame itself.
 *
 * The bytes that are read here are copies: the guest cannot change them any more.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../../../kernel/block.ts";
import { get16, get16le, put16le } from "../../../kernel/wire/bytes.ts";
import { offloadFits } from "../../../kernel/inet/offload.ts";
import {
  gsoOf,
  hasCwr,
  segmentOfGso,
  VNET_DATA_VALID,
  VNET_GSO_ECN,
  VNET_GSO_NONE,
  VNET_HEADER_LEN,
  VNET_NEEDS_CSUM,
  VnetField,
} from "../../../kernel/inet/vnet_header.ts";
import {
  ETHER_HEADER_LEN,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_VLAN,
  VLAN_TAG_LEN,
} from "../../../kernel/wire/ethernet.ts";
import { IPV4_HEADER_LEN, ipv4HeaderLen } from "../../../kernel/wire/ipv4.ts";
import { IPV6_HEADER_LEN } from "../../../kernel/wire/ipv6.ts";
import { TCP_HEADER_LEN, TCP_HEADER_MAX, tcpChecksumAt, tcpHeaderLen } from "../../../kernel/wire/tcp.ts";
import { UDP_HEADER_LEN, udpChecksumAt } from "../../../kernel/wire/udp.ts";
import { Feature, type Features } from "./ids.ts";

/** Bytes of the header (5.1.6.1: num_buffers is always there with VERSION_1). */
export const NET_HEADER_LEN = 12;
/** Where `num_buffers` is in it. */
export const NUM_BUFFERS = VNET_HEADER_LEN;

/** Smallest size of a TCP segment that is cut for a guest: Linux' TCP_MIN_SND_MSS; 64 KiB are then 1366 pieces. */
const TCP_SEGMENT_MIN = 48;
/** Most datagrams that are cut of one block: Linux' UDP_MAX_SEGMENTS. */
const UDP_SEGMENTS_MAX = 128;

/** Offloads of one direction. */
export interface HeaderCaps {
  readonly checksum: boolean;
  readonly tso4: boolean;
  readonly tso6: boolean;
  /** Segments with CWR may be cut. */
  readonly ecn: boolean;
  readonly uso: boolean;
}

/** A direction without offloads. */
export const NO_CAPS: HeaderCaps = { checksum: false, tso4: false, tso6: false, ecn: false, uso: false };

/** Work that a driver may leave to the device, by the negotiated features. */
export function txCaps(features: Features): HeaderCaps {
  return {
    checksum: features.has(Feature.Csum),
    tso4: features.has(Feature.HostTso4),
    tso6: features.has(Feature.HostTso6),
    ecn: features.has(Feature.HostEcn),
    uso: features.has(Feature.HostUso),
  };
}

/** Work that the device may leave to a driver, by the negotiated features. */
export function rxCaps(features: Features): HeaderCaps {
  return {
    checksum: features.has(Feature.GuestCsum),
    tso4: features.has(Feature.GuestTso4),
    tso6: features.has(Feature.GuestTso6),
    ecn: features.has(Feature.GuestEcn),
    uso: features.has(Feature.GuestUso4) && features.has(Feature.GuestUso6),
  };
}

/** How many bytes of a frame must be copied so that `takeTxHeader` finds all it needs; may be more than there are. */
export function headersEnd(header: Uint8Array): number {
  if ((header[VnetField.Flags]! & VNET_NEEDS_CSUM) === 0) return 0;
  const start = get16le(header, VnetField.CsumStart);
  const transport = header[VnetField.GsoType] === VNET_GSO_NONE ? 0 : TCP_HEADER_MAX;
  return start + Math.max(get16le(header, VnetField.CsumOffset) + 2, transport);
}

/** Reasons why a transmitted frame is refused. */
type HeaderFault =
  /** It asks for a feature that was not negotiated. */
  | "not-negotiated"
  /** The header does not fit the frame. */
  | "bad-header";

/** Gives `block`, which begins with the frame's headers, the metadata of `header`; or returns why it cannot. */
export function takeTxHeader(header: Uint8Array, block: Block, caps: HeaderCaps): HeaderFault | null {
  const gso = header[VnetField.GsoType]!;
  if ((header[VnetField.Flags]! & VNET_NEEDS_CSUM) === 0) return gso === VNET_GSO_NONE ? null : "bad-header";
  if (!caps.checksum) return "not-negotiated";
  const start = block.rp + get16le(header, VnetField.CsumStart);
  const field = start + get16le(header, VnetField.CsumOffset);
  if (start < block.rp + ETHER_HEADER_LEN || field + 2 > block.wp) return "bad-header";
  block.checksum = Checksum.Owed;
  block.checksumStart = start;
  block.checksumField = field;
  return gso === VNET_GSO_NONE ? null : takeSegment(block, gso, get16le(header, VnetField.GsoSize), caps);
}

/** The part about segmentation; the block's checksum is owed (5.1.6.2.1: a driver must ask for both). */
function takeSegment(block: Block, gso: number, size: number, caps: HeaderCaps): HeaderFault | null {
  const segment = segmentOfGso(gso & ~VNET_GSO_ECN);
  if (segment === Segment.None) return "bad-header";
  const allowed = mayCut(segment, caps) && ((gso & VNET_GSO_ECN) === 0 || (caps.ecn && segment !== Segment.Udp));
  if (!allowed) return "not-negotiated";
  const headerLen = headerLength(block, segment);
  if (headerLen < 0) return "bad-header";
  const linkLen = linkLength(block);
  const payload = block.length - linkLen - headerLen;
  if (payload < 0) return "bad-header";
  if (payload <= size) return null; // It fits one piece.
  if (segment === Segment.Udp ? payload > size * UDP_SEGMENTS_MAX : size < TCP_SEGMENT_MIN) return "bad-header";
  block.segment = segment;
  block.segmentSize = size;
  block.segmentHeaderLen = headerLen;
  return null;
}

function mayCut(segment: Segment, caps: HeaderCaps): boolean {
  switch (segment) {
    case Segment.Tcp4:
      return caps.tso4;
    case Segment.Tcp6:
      return caps.tso6;
    default:
      return caps.uso;
  }
}

/** Bytes before the network header; the frame has its Ethernet header in bytes of its own. */
export function linkLength(block: Block): number {
  const tagged = get16(block.buf, block.rp + ETHER_HEADER_LEN - 2) === ETHERTYPE_VLAN;
  return tagged ? ETHER_HEADER_LEN + VLAN_TAG_LEN : ETHER_HEADER_LEN;
}

/**
 * Bytes from the network header to the payload of a segment whose transport header is at `checksumStart`; -1 if that is
 * not where the frame has one of that kind.
 */
function headerLength(block: Block, segment: Segment): number {
  const { buf, checksumStart: start, checksumField: field } = block;
  const network = block.rp + linkLength(block);
  if (start < network + IPV4_HEADER_LEN) return -1;
  const type = get16(buf, network - 2);
  if (type !== (segment === Segment.Tcp4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6)) {
    if (segment !== Segment.Udp || type !== ETHERTYPE_IPV4) return -1;
  }
  if (type === ETHERTYPE_IPV4 ? start !== network + ipv4HeaderLen(buf, network) : start < network + IPV6_HEADER_LEN) {
    return -1;
  }
  if (segment === Segment.Udp) {
    return field === udpChecksumAt(start) && start + UDP_HEADER_LEN <= block.wp ? start + UDP_HEADER_LEN - network : -1;
  }
  if (field !== tcpChecksumAt(start) || start + TCP_HEADER_LEN > block.wp) return -1;
  const tcpLen = tcpHeaderLen(buf, start);
  return tcpLen < TCP_HEADER_LEN ? -1 : start + tcpLen - network;
}

/** Whether `block`, a frame, must be cut before a guest may have it. `frameMax` is the longest frame in one piece. */
export function mustCut(block: Block, caps: HeaderCaps, frameMax: number): boolean {
  if (block.segment === Segment.None || block.length <= frameMax) return false;
  if (block.checksum !== Checksum.Owed || !caps.checksum || !mayCut(block.segment, caps)) return true;
  return block.segment !== Segment.Udp && !caps.ecn && hasCwr(block);
}

/** Whether the metadata of a frame stays inside it: it may be what a user program wrote. */
export function metadataFits(block: Block): boolean {
  if (!offloadFits(block, block.rp)) return false;
  // The header of a packet counts in 16 bits, and a guest's checksum is computed in the block's own bytes.
  const isOwed = block.checksum === Checksum.Owed;
  if (isOwed && (block.checksumField + 2 > block.wp || block.checksumStart - block.rp > 0xffff)) return false;
  return block.segment === Segment.None || block.segmentSize <= 0xffff;
}

/** Writes the header for `block`, which need not be cut and owes no checksum that the guest cannot finish. */
export function putRxHeader(header: Uint8Array, block: Block, caps: HeaderCaps, frameMax: number): void {
  for (let i = 0; i < NET_HEADER_LEN; i++) header[i] = 0;
  header[NUM_BUFFERS] = 1;
  if (!caps.checksum) return;
  if (block.checksum === Checksum.Verified) header[VnetField.Flags] = VNET_DATA_VALID;
  if (block.checksum !== Checksum.Owed) return;
  header[VnetField.Flags] = VNET_NEEDS_CSUM;
  put16le(header, VnetField.CsumStart, block.checksumStart - block.rp);
  put16le(header, VnetField.CsumOffset, block.checksumField - block.checksumStart);
  if (block.segment === Segment.None || block.length <= frameMax) return;
  header[VnetField.GsoType] = gsoOf(block);
  put16le(header, VnetField.HdrLen, linkLength(block) + block.segmentHeaderLen);
  put16le(header, VnetField.GsoSize, block.segmentSize);
}
