/**
 * Whether what a block still owes, a transport checksum or its cutting, fits the packet in it.
 *
 * Path: bypass, dev_ether, net_header → inet/offload → inet/segment, block.
 *
 * Metadata may be a guest's or a user program's: they are checked here before anything follows them.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../block.ts";
import { ICMP_HEADER_LEN, icmpChecksumAt } from "../wire/icmp.ts";
import { IP_PROTO_ICMP, IP_PROTO_ICMP6, IP_PROTO_TCP, IP_PROTO_UDP } from "../wire/ip_proto.ts";
import { TCP_HEADER_LEN, tcpChecksumAt } from "../wire/tcp.ts";
import { UDP_HEADER_LEN, udpChecksumAt } from "../wire/udp.ts";
import { finishChecksum } from "./segment.ts";

/**
 * Whether the metadata of a block stay inside it: nothing of them points before `networkAt`, where its network header
 * is.
 */
export function offloadFits(block: Block, networkAt: number): boolean {
  const { length, rp } = block;
  if (block.checksum === Checksum.Owed) {
    const { checksumStart, checksumField } = block;
    if (!(checksumStart >= networkAt && checksumField >= checksumStart && checksumField + 2 <= rp + length)) {
      return false;
    }
  }
  if (block.segment === Segment.None) return true;
  const { segmentSize, segmentHeaderLen } = block;
  return segmentSize >= 1 && segmentHeaderLen >= 1 && networkAt - rp + segmentHeaderLen < length;
}

/** Of a transport header: where its checksum is, and how many bytes of it a checker reads. */
const HEADERS: ReadonlyMap<number, { readonly field: number; readonly length: number }> = new Map([
  [IP_PROTO_ICMP, { field: icmpChecksumAt(0), length: ICMP_HEADER_LEN }],
  [IP_PROTO_ICMP6, { field: icmpChecksumAt(0), length: ICMP_HEADER_LEN }],
  [IP_PROTO_TCP, { field: tcpChecksumAt(0), length: TCP_HEADER_LEN }],
  [IP_PROTO_UDP, { field: udpChecksumAt(0), length: UDP_HEADER_LEN }],
]);

/**
 * Whether the metadata of a packet in the block's own bytes fit its headers, which were checked: they must not change
 * them. `transport` is the index of the transport header, of `protocol`. A checksum behind that header, which a tunnel
 * owes to the packet inside, is finished here.
 */
export function settleOffload(block: Block, transport: number, protocol: number): boolean {
  const { checksum, checksumStart, checksumField, wp, rp, segment } = block;
  const header = HEADERS.get(protocol);
  if (checksum === Checksum.Owed) {
    const isOwn = checksumStart === transport && checksumField - transport === header?.field;
    if (!isOwn) return finishInner(block, transport + (header?.length ?? 0));
    if (checksumField + 2 > wp) return false;
  } else if (segment !== Segment.None) {
    return false;
  }
  if (segment === Segment.None) return true;
  if (protocol !== (segment === Segment.Udp ? IP_PROTO_UDP : IP_PROTO_TCP)) return false;
  const { segmentSize, segmentHeaderLen } = block;
  return segmentSize > 0 && segmentHeaderLen > transport - rp && segmentHeaderLen < wp - rp;
}

/**
 * Finishes a checksum that is owed to a packet inside this one, as a tunnel makes them (virtio 1.3, 5.1.6.2.1). False:
 * it lies before `first`, in headers that were checked, or outside of the block; or the block is to be cut as well.
 */
function finishInner(block: Block, first: number): boolean {
  if (block.segment !== Segment.None) return false;
  if (block.checksum !== Checksum.Owed) return true;
  return block.checksumField >= first && finishChecksum(block);
}
