/**
 * What a block still owes, the transport checksum or its cutting: settled by a port, or in software.
 *
 * Path: ether, ether_conv → offload → inet/segment.
 *
 * @module
 */

import { type Block, Segment } from "../../kernel/block.ts";
import type { PortOffloads } from "../../kernel/host.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";

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

/** Settles what a block owes. A segment longer than the wire allows stays whole: it cannot be cut here. */
export function makePlain(block: Block): void {
  finishChecksum(block);
  block.clearOffload();
}
