/**
 * Headers-only records: what a conversation that was set to `headersonly` reads in place of each frame (Akaros).
 *
 * Path: ether → headers_only → wire/bytes.
 *
 * @module
 */

import type { Block, BlockPool } from "../../kernel/block.ts";
import type { Clock } from "../../kernel/time.ts";
import { put16, put32 } from "../../kernel/wire/bytes.ts";

/** Length of a headers-only record: 58 bytes of frame, u16 length of the frame, u64 milliseconds since 1970. */
export const RECORD_LEN = 68;
/** Bytes of the frame in such a record. */
const RECORD_FRAME_LEN = 58;

/** The record of a frame for a headers-only conversation. */
export function headersOf(frame: Block, { blocks, clock }: { blocks: BlockPool; clock: Clock }): Block {
  const record = blocks.alloc(RECORD_LEN);
  const { buf, rp } = record;
  const length = frame.wp - frame.rp;
  const shown = Math.min(length, RECORD_FRAME_LEN);
  for (let i = 0; i < shown; i++) buf[rp + i] = frame.buf[frame.rp + i]!;
  buf.fill(0, rp + shown, rp + RECORD_FRAME_LEN);
  const ms = Math.floor(clock.wall());
  put16(buf, rp + RECORD_FRAME_LEN, Math.min(length, 0xffff));
  put32(buf, rp + RECORD_FRAME_LEN + 2, Math.floor(ms / 0x100000000));
  put32(buf, rp + RECORD_FRAME_LEN + 6, ms % 0x100000000);
  record.wp = rp + RECORD_LEN;
  return record;
}
