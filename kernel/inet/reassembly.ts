/**
 * PartialDatagram: one datagram whose fragments are put together (RFC 791 3.2, RFC 8200 4.5, RFC 815's idea of holes,
 * RFC 5722 on overlaps, RFC 3168 5.3 on ECN).
 *
 * Path: network/reassembly, reassembler → inet/reassembly → fragment_format, wire/bytes, block.
 *
 * One buffer per datagram: a fragment's payload is copied to its place in it, so the result is one contiguous block and
 * a fragment's memory is no more than its bytes. The first fragment's header waits right before the payload.
 *
 * ```
 *   head room … | header of the fragment at offset 0 | payload, with holes until all are there |
 *                                                    dataAt
 * ```
 *
 * A fragment that says the same as one before is ignored; one that overlaps another otherwise ends the whole datagram:
 * no honest sender makes it, and whichever half one takes, a firewall may have seen the other.
 *
 * Limits: {@link FRAGMENTS_MAX} fragments. How many datagrams wait, how long, and in how much memory is the business of
 * the table that holds them.
 *
 * @module
 */

import type { Block, BlockPool } from "../block.ts";
import { hasBytesAt } from "../wire/bytes.ts";
import { FRAGMENT_UNIT } from "./fragment4.ts";
import type { FragmentFormat, FragmentPlace } from "./fragment_format.ts";

/**
 * Most fragments of one datagram: 65535 bytes over the smallest MTU that a link may have (68, RFC 791 3.2) are 1365.
 */
export const FRAGMENTS_MAX = 1366;

const ECN_MASK = 3;
const ECN_NOT_ECT = 0;
const ECN_CE = 3;

/** Why a datagram cannot be put together. */
export type ReassemblyFault = "overlap" | "inconsistent" | "tooMany";

/** A fragment as reassembly takes it: `headerLen` bytes from `block.rp` up to its payload. */
export interface Fragment {
  readonly block: Block;
  readonly headerLen: number;
}

/** Whether a fragment by itself can be a part of a datagram; it must be, before it is added to one. */
export function isSoundFragment({ block, headerLen }: Fragment, place: FragmentPlace, format: FragmentFormat): boolean {
  const length = block.wp - block.rp - headerLen;
  if (length === 0 || (place.more && length % FRAGMENT_UNIT !== 0)) return false;
  return place.offset + length + headerLen <= format.totalMax && headerLen <= format.headerMax;
}

/** One datagram, of which fragments are missing. */
export class PartialDatagram {
  /** Bytes of the whole payload; -1 until the last fragment came. */
  #total = -1;
  /** Bytes of payload that are there. */
  #have = 0;
  /** Behind the furthest byte that is there. */
  #end = 0;
  /** Start and end of each fragment, in order. */
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  /** Bytes of the header before the payload; 0 until the first fragment came. */
  #headerLen = 0;
  /** ECN codepoints seen, a bit each. */
  #ecn = 0;
  /** Bytes of the largest fragment. */
  #largest = 0;
  /** Whether every fragment said so. */
  #dontFragment = true;
  #block: Block;

  /** A datagram with a buffer for `size` bytes of payload, to begin with. */
  constructor(readonly format: FragmentFormat, readonly blocks: Pick<BlockPool, "alloc">, size: number) {
    this.#block = blocks.alloc(size, format.dataAt);
  }

  /** Bytes of its buffer. */
  get bytes(): number {
    return this.#block.buf.length;
  }

  /** Bytes of the header before the payload; 0 until the first fragment came. */
  get headerLen(): number {
    return this.#headerLen;
  }

  /** Whether nothing is missing. */
  get isComplete(): boolean {
    return this.#have === this.#total && this.#headerLen !== 0;
  }

  /** Copies a sound fragment to its place; the reason if the datagram cannot go on. */
  add({ block, headerLen }: Fragment, place: FragmentPlace): ReassemblyFault | null {
    const { dataAt } = this.format;
    const from = block.rp + headerLen;
    const start = place.offset;
    const end = start + block.wp - from;
    if (this.#total >= 0 && (end > this.#total || (!place.more && end !== this.#total))) return "inconsistent";
    if (!place.more && this.#end > end) return "inconsistent";
    const starts = this.#starts;
    const ends = this.#ends;
    // From the end: fragments mostly come in order.
    let at = starts.length;
    while (at > 0 && starts[at - 1]! >= start) at--;
    if (starts[at] === start && ends[at] === end) {
      return hasBytesAt(this.#block.buf, dataAt + start, block.buf.subarray(from, block.wp)) ? null : "overlap";
    }
    if ((at > 0 && ends[at - 1]! > start) || (at < starts.length && starts[at]! < end)) return "overlap";
    if (starts.length >= FRAGMENTS_MAX) return "tooMany";
    this.#reserve(end);
    const { buf } = this.#block;
    if (start === 0) {
      this.#headerLen = headerLen;
      buf.set(block.buf.subarray(block.rp, from), dataAt - headerLen);
    }
    buf.set(block.buf.subarray(from, block.wp), dataAt + start);
    starts.splice(at, 0, start);
    ends.splice(at, 0, end);
    this.#have += end - start;
    this.#end = Math.max(this.#end, end);
    this.#largest = Math.max(this.#largest, block.wp - block.rp);
    this.#ecn |= 1 << (this.format.tos(block.buf, block.rp) & ECN_MASK);
    this.#dontFragment &&= place.dontFragment;
    if (!place.more) this.#total = end;
    return null;
  }

  /** Makes the buffer large enough for payload up to `end`. */
  #reserve(end: number): void {
    const old = this.#block;
    const { dataAt } = this.format;
    if (dataAt + end <= old.buf.length) return;
    const block = this.blocks.alloc(end, dataAt);
    const from = dataAt - this.#headerLen;
    block.buf.set(old.buf.subarray(from, dataAt + this.#end), from);
    this.#block = block;
    old.free();
  }

  /**
   * The whole datagram as one block, `rp` at its header, which describes the whole; the datagram is used up. Null:
   * its fragments do not fit each other. RFC 3168 5.3: congestion seen by one fragment was seen by all.
   */
  finish(): Block | null {
    const { format } = this;
    const headerLen = this.#headerLen;
    const sawCe = (this.#ecn & (1 << ECN_CE)) !== 0;
    // Fragments of one datagram left its sender alike: a mark on what was not capable is a mistake of a router.
    if (headerLen + this.#total > format.totalMax || (sawCe && (this.#ecn & (1 << ECN_NOT_ECT)) !== 0)) return null;
    const block = this.#block;
    block.rp = format.dataAt - headerLen;
    block.wp = format.dataAt + this.#total;
    block.fragmentMax = this.#largest;
    format.makeWhole(block, headerLen, this.#dontFragment);
    if (sawCe) format.setTos(block.buf, block.rp, format.tos(block.buf, block.rp) | ECN_CE);
    return block;
  }

  /** The first fragment as it came, if it did, for an ICMP error to quote; the datagram is used up. */
  firstFragment(): Block | null {
    if (this.#headerLen === 0) return null;
    const block = this.#block;
    block.rp = this.format.dataAt - this.#headerLen;
    block.wp = this.format.dataAt + this.#ends[0]!;
    this.format.setLength(block);
    return block;
  }

  /** Frees its buffer, unless `finish` or `firstFragment` returned it. */
  free(): void {
    this.#block.free();
  }
}
