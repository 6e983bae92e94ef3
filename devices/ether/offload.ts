/**
 * Offload metadata of frames: whether a port takes them, and how software resolves them.
 *
 * Path: ether → offload → inet/frame.
 *
 * @module
 */

import { type Block, type BlockPool, Segment } from "../../kernel/block.ts";
import type { PortOffloads } from "../../kernel/host.ts";
import { finishFrame } from "../../kernel/inet/frame.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { ETHER_HEADER_LEN } from "../../kernel/wire/ethernet.ts";

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

/** Finishes an owed checksum and clears the metadata, in place. A field outside the block is left alone. */
export function makePlain(block: Block): void {
  finishChecksum(block);
  block.clearOffload();
}

/**
 * Converts a segment, which it consumes, into frames without metadata, as a network card cuts them. None: its metadata
 * do not fit it, or a piece would be longer than `frameMax`.
 */
export function cutToFrames(segment: Block, frameMax: number, blocks: BlockPool): readonly Block[] {
  const isFit = ETHER_HEADER_LEN + segment.segmentHeaderLen + segment.segmentSize <= frameMax;
  const frames = isFit ? finishFrame(segment, blocks) : [];
  if (!isFit) segment.free();
  for (const frame of frames) frame.clearOffload();
  return frames;
}
