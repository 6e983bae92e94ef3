/**
 * What a frame leaves undone, done in software: for a guest that takes less than the network was started with, and for
 * a network that takes less than the guest's driver leaves to its card.
 *
 * Path: vm → net_finish → segment, block, ethernet.
 *
 * @module
 */

import { type Block, type BlockPool, Checksum, Segment } from "../../../kernel/block.ts";
import { cutSegments, finishChecksum } from "../../../kernel/inet/segment.ts";
import { ETHER_HEADER_LEN } from "../../../kernel/wire/ethernet.ts";

/** Whether something of the frame is left undone. */
export function isUnfinished(frame: Block): boolean {
  return frame.checksum === Checksum.Owed || frame.segment !== Segment.None;
}

/**
 * Cuts a frame into frames that owe their checksum; the frame stays the caller's, and is changed. Null: its metadata do
 * not fit it.
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

/** The frames that `frame` (given away) stands for, each whole; none if its metadata do not fit it. */
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
