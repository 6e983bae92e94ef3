/**
 * virtio_net_hdr: how a packet's owed checksum and its cutting are written, for Linux' TUN and for guests (virtio 1.3,
 * 5.1.6).
 *
 * Path: vnet_header, net_header → inet/vnet_header → block, wire/tcp.
 *
 * ```
 *   0       1          2         4          6            8             10
 *   | flags | gso_type | hdr_len | gso_size | csum_start | csum_offset | num_buffers |      little endian
 * ```
 *
 * csum_start counts from the start of frame or packet, csum_offset from csum_start. num_buffers is the guests' alone.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../block.ts";
import { TCP_CWR, TCP_HEADER_LEN, tcpFlags } from "../wire/tcp.ts";

/** Bytes without `num_buffers`, and so where that stands. */
export const VNET_HEADER_LEN = 10;

/** Where the fields stand. */
export const VnetField = {
  Flags: 0,
  GsoType: 1,
  HdrLen: 2,
  GsoSize: 4,
  CsumStart: 6,
  CsumOffset: 8,
} as const;

/** Flag: the checksum at csum_start is owed. */
export const VNET_NEEDS_CSUM = 1;
/** Flag: the checksum was verified. */
export const VNET_DATA_VALID = 2;

/** gso_type: not to be cut. */
export const VNET_GSO_NONE = 0;
/** With another gso_type: the first segment's TCP header has CWR set, and only the first may. */
export const VNET_GSO_ECN = 0x80;

const GSO_TCPV4 = 1;
const GSO_TCPV6 = 4;
/** UDP cut into datagrams (USO), not into IP fragments (UFO, 3, which Linux no longer makes). */
const GSO_UDP_L4 = 5;

/** What a packet of `gso`, without {@link VNET_GSO_ECN}, is to be cut into; None: not a kind that is known. */
export function segmentOfGso(gso: number): Segment {
  switch (gso) {
    case GSO_TCPV4:
      return Segment.Tcp4;
    case GSO_TCPV6:
      return Segment.Tcp6;
    case GSO_UDP_L4:
      return Segment.Udp;
    default:
      return Segment.None;
  }
}

/** The gso_type of `block`, which is to be cut, {@link VNET_GSO_ECN} included. */
export function gsoOf(block: Block): number {
  const { segment } = block;
  if (segment === Segment.Udp) return GSO_UDP_L4;
  const ecn = block.checksum === Checksum.Owed && hasCwr(block) ? VNET_GSO_ECN : 0;
  return (segment === Segment.Tcp4 ? GSO_TCPV4 : GSO_TCPV6) | ecn;
}

/** Whether the TCP header at `checksumStart` has the CWR flag, in the block's own bytes. */
export function hasCwr({ buf, checksumStart, wp }: Block): boolean {
  return checksumStart + TCP_HEADER_LEN <= wp && (tcpFlags(buf, checksumStart) & TCP_CWR) !== 0;
}
