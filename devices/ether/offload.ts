/**
 * What a block still owes, the transport checksum or its cutting: checked, or settled in software.
 *
 * Path: ether, ether_conv → offload → inet/segment.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../../kernel/block.ts";
import type { PortOffloads } from "../../kernel/host.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { ETHER_HEADER_LEN } from "../../kernel/wire/ethernet.ts";

/** Whether the metadata of a frame stays inside it: what a user wrote there is not to be believed. */
export function offloadFits(block: Block): boolean {
  const start = block.rp + ETHER_HEADER_LEN;
  const length = block.length;
  const end = block.rp + length;
  if (block.checksum === Checksum.Owed) {
    const { checksumStart, checksumField } = block;
    if (!(checksumStart >= start && checksumField >= checksumStart && checksumField + 2 <= end)) return false;
  }
  if (block.segment === Segment.None) return true;
  const { segmentSize, segmentHeaderLen } = block;
  return segmentSize >= 1 && segmentHeaderLen >= 1 && ETHER_HEADER_LEN + segmentHeaderLen < length;
}

/** Whether a port that offers `offloads` cuts this block by itself. */
export function portCuts(block: Block, offloads: PortOffloads): boolean {
  switch (block.segment) {
    case Segment.Tcp4:
    case Segment.Tcp6:
      return offloads.tcpSegment;
    case Segment.Udp:
      return offloads.udpSegment;
    default:
      return false;
  }
}

/** Makes of a block one without metadata. A segment longer than the wire allows stays whole: nobody here can cut it. */
export function makePlain(block: Block): void {
  finishChecksum(block);
  block.clearOffload();
}
