/**
 * Frames on a byte stream, as QEMU puts them there: 32 bits of length, most significant byte first, then the frame.
 *
 * Path: dgram, port, stream → frame_stream → wire/bytes, block.
 *
 * Pure: the owner of the stream reads into the one and writes from the other. Each has one buffer for its whole life.
 *
 * @module
 */

import type { Block } from "../../../../kernel/block.ts";
import { get32, put32 } from "../../../../kernel/wire/bytes.ts";

/** Bytes of length before each frame. */
export const PREFIX_LEN = 4;
/** Longest frame that QEMU sends or takes (its NET_BUFSIZE); a greater length is malformed. */
export const FRAME_MAX = 4096 + 65536;
/** Bytes that may wait for a peer that reads slowly: a few of the largest frames, or a burst of 170 usual ones. */
export const WAITING_MAX = 256 * 1024;

/** Result of {@link FrameReader.take} when the peer announced a frame longer than the limit. */
export const MALFORMED = -1;

/** Bytes in, frames out. */
export class FrameReader {
  /** Takes each frame as a view that is only valid during the call; may be of any length, also 0. */
  readonly #onFrame: (frame: Uint8Array) => void;
  /** Room for the longest frame: any incomplete frame fits. */
  #buf = new Uint8Array(PREFIX_LEN + FRAME_MAX);
  #start = 0;
  #end = 0;

  constructor(onFrame: (frame: Uint8Array) => void) {
    this.#onFrame = onFrame;
  }

  /** Buffer for the next bytes of the stream; never empty. */
  room(): Uint8Array {
    if (this.#start > 0) {
      // At most a part of one frame: complete ones were passed on.
      this.#buf.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    return this.#buf.subarray(this.#end);
  }

  /**
   * Takes `count` bytes that were put into {@link room} and passes on every whole frame; returns how many, or
   * MALFORMED.
   */
  take(count: number): number {
    this.#end += count;
    let frames = 0;
    while (this.#end - this.#start >= PREFIX_LEN) {
      const length = get32(this.#buf, this.#start);
      if (length > FRAME_MAX) return MALFORMED;
      const at = this.#start + PREFIX_LEN;
      if (at + length > this.#end) break;
      // Advanced before the call: the callee may call reset.
      this.#start = at + length;
      frames++;
      this.#onFrame(this.#buf.subarray(at, at + length));
    }
    return frames;
  }

  /** Drops an incomplete frame: another stream begins. */
  reset(): void {
    this.#start = this.#end = 0;
  }
}

/** Frames in, bytes out. */
export class FrameWriter {
  #buf = new Uint8Array(WAITING_MAX);
  #start = 0;
  #end = 0;

  /** The bytes that wait, to be written in part or whole; valid until the next call. */
  get waiting(): Uint8Array {
    return this.#buf.subarray(this.#start, this.#end);
  }

  /** How many bytes wait. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** Adds a frame of `length` bytes, copied; false if there is no room, and nothing is added. */
  put(block: Block, length: number): boolean {
    const need = PREFIX_LEN + length;
    if (this.length + need > WAITING_MAX) return false;
    if (this.#end + need > WAITING_MAX) {
      this.#buf.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    put32(this.#buf, this.#end, length);
    let at = this.#end + PREFIX_LEN;
    this.#buf.set(block.buf.subarray(block.rp, block.wp), at);
    at += block.wp - block.rp;
    for (const extent of block.extents ?? []) {
      this.#buf.set(extent, at);
      at += extent.length;
    }
    this.#end = at;
    return true;
  }

  /** Removes the first `count` bytes, which were written. */
  written(count: number): void {
    this.#start += count;
    if (this.#start === this.#end) this.#start = this.#end = 0;
  }

  /** Drops everything: the stream is gone. */
  reset(): void {
    this.#start = this.#end = 0;
  }
}
