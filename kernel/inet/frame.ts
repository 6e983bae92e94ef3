/**
 * Finishes Ethernet frames in software: cuts a segment and computes owed checksums, for a reader or a port that takes
 * less than the sender left undone.
 *
 * Path: ether, vm → inet/frame → inet/segment, block, ethernet.
 *
 * @module
 */

import { type Block, type BlockPool, Checksum, Segment } from "../block.ts";
import { ETHER_HEADER_LEN } from "../wire/ethernet.ts";
import { cutSegments, finishChecksum } from "./segment.ts";

/** Whether the frame owes a checksum or is to be cut. */
export function isUnfinished(frame: Block): boolean {
  return frame.checksum === Checksum.Owed || frame.segment !== Segment.None;
}

/**
 * Cuts a frame into frames that owe their checksum. The frame stays the caller's, without its Ethernet header. Null:
 * its metadata do not fit it.
 */
export function cutFrame(frame: Block, blocks: BlockPool): Block[] | null {
  frame.own();
  const link = frame.buf.subarray(frame.rp, frame.rp + ETHER_HEADER_LEN);
  frame.pull(ETHER_HEADER_LEN);
  const pieces = cutSegments(frame, blocks);
  for (const piece of pieces ?? []) {
    const at = piece.push(ETHER_HEADER_LEN);
    piece.buf.set(link, at);
  }
  return pieces;
}

/** Converts `frame`, which it consumes, into finished frames; none if its metadata do not fit it. */
export function finishFrame(frame: Block, blocks: BlockPool): Block[] {
  const pieces = frame.segment === Segment.None ? [frame] : cutFrame(frame, blocks);
  if (pieces?.[0] !== frame) frame.free();
  const finished: Block[] = [];
  for (const piece of pieces ?? []) {
    if (finishChecksum(piece)) finished.push(piece);
    else piece.free();
  }
  return finished;
}
