/**
 * Reassembly of fragmented datagrams (RFC 791 3.2, RFC 8200 4.5, RFC 815's idea of holes, RFC 5722 on overlaps, RFC
 * 3168 5.3 on ECN).
 *
 * Path: ip_stack → reassembly → fragment_format, icmp_fault, context, assert.
 *
 * One buffer per datagram: a fragment's payload is copied to its place in it and its own block is given back at once,
 * so the result is one contiguous block and a fragment's memory is no more than its bytes. The first fragment's header
 * waits right before the payload.
 *
 * ```
 *   head room … | header of the fragment at offset 0 | payload, with holes until all are there |
 *                                                    dataAt
 * ```
 *
 * A fragment that says the same as one before is ignored; one that overlaps another otherwise ends the whole datagram:
 * no honest sender makes it, and whichever half one takes, a firewall may have seen the other.
 *
 * Limits: named below; at a limit the oldest datagram gives way. Datagrams live for 30 s from their first fragment
 * (RFC 8200 would have those of IPv6 live for 60 at most).
 *
 * @module
 */

import { assert } from "../../../kernel/assert.ts";
import type { Block } from "../../../kernel/block.ts";
import type { Timer } from "../../../kernel/time.ts";
import { sameBytes } from "../../../kernel/wire/bytes.ts";
import { FRAGMENT_FORMATS, type FragmentFormat } from "../packet/fragment_format.ts";
import { IcmpFault } from "../packet/icmp_fault.ts";
import type { NetContext } from "./context.ts";
import type { FragmentPlace, InputPacket } from "../packet/packet.ts";
import { REASSEMBLY_TIMEOUT_S } from "../env/stats.ts";

/** Most datagrams at once (Akaros' number). */
export const REASSEMBLY_DATAGRAMS_MAX = 100;
/** Most bytes of buffers at once: sixty datagrams of the largest size (Linux' ipfrag_high_thresh). */
export const REASSEMBLY_BYTES_MAX = 4 << 20;
/**
 * Most fragments of one datagram: 65535 bytes over the smallest MTU that a link may have (68, RFC 791 3.2) are 1365.
 */
export const REASSEMBLY_FRAGMENTS_MAX = 1366;

const ECN_MASK = 3;
const ECN_NOT_ECT = 0;
const ECN_CE = 3;

/** Why a datagram is given up; the name of its counter. */
type Fault = "reasmOverlap" | "reasmInconsistent" | "reasmTooMany" | "reasmEvicted" | "reasmTimedOut";

/** One datagram on its way together. */
class Datagram {
  /** Next in the bucket. */
  next: Datagram | null = null;
  /** Bytes of the whole payload; -1 until the last fragment came. */
  total = -1;
  /** Bytes of payload that are there. */
  have = 0;
  /** Behind the furthest byte that is there. */
  end = 0;
  /** Start and end of each fragment, in order. */
  readonly starts: number[] = [];
  readonly ends: number[] = [];
  /** Bytes of the header before the payload; 0 until the first fragment came. */
  headerLen = 0;
  /** ECN codepoints seen, a bit each. */
  ecn = 0;
  /** Bytes of the largest fragment. */
  largest = 0;
  /** Whether every fragment said so. */
  dontFragment = true;

  constructor(
    readonly key: number,
    readonly id: number,
    /** The fragment that came first; its block is gone. */
    readonly packet: InputPacket,
    readonly deadlineMs: number,
    /** What the packet's version has to say about fragments. */
    readonly format: FragmentFormat,
    public block: Block,
  ) {}

  matches(packet: InputPacket, id: number): boolean {
    return this.id === id && this.packet.protocol === packet.protocol && this.packet.src.equals(packet.src) &&
      this.packet.dst.equals(packet.dst);
  }
}

/** Datagrams whose fragments are on the way. */
export class Reassembly {
  readonly #buckets = new Map<number, Datagram>();
  /** Oldest first: all live equally long. */
  readonly #byAge: Datagram[] = [];
  #bytes = 0;
  readonly #timer: Timer;

  constructor(readonly stack: NetContext) {
    this.#timer = stack.env.clock.timer(() => this.#expire());
  }

  /** Datagrams that wait. */
  get size(): number {
    return this.#byAge.length;
  }

  /** Bytes of their buffers. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes a fragment (its block is given away). The whole datagram as one block, `rp` at its IP header, if this was the
   * last that was missing; otherwise null.
   */
  add(packet: InputPacket, place: FragmentPlace): Block | null {
    const { stats } = this.stack;
    const { block, headerLen } = packet;
    const format = FRAGMENT_FORMATS[packet.version];
    const end = place.offset + block.wp - block.rp - headerLen;
    stats.reasmReqds++;
    const isUneven = place.more && (end - place.offset) % 8 !== 0;
    if (end === place.offset || end + headerLen > format.totalMax || headerLen > format.headerMax || isUneven) {
      stats.inBadFragment++;
      block.free();
      return null;
    }
    const datagram = this.#find(packet, place.id) ?? this.#begin(packet, place.id, end);
    const fault = this.#insert(datagram, packet, place, end);
    block.free();
    if (fault !== null) return this.#giveUp(datagram, fault);
    if (datagram.have !== datagram.total || datagram.headerLen === 0) return null;
    return this.#finish(datagram);
  }

  /** Forgets everything: the stack goes away. */
  clear(): void {
    while (this.#byAge.length > 0) this.#remove(this.#byAge[0]!).free();
  }

  #find(packet: InputPacket, id: number): Datagram | null {
    let datagram = this.#buckets.get(keyOf(packet, id)) ?? null;
    while (datagram !== null && !datagram.matches(packet, id)) datagram = datagram.next;
    return datagram;
  }

  #begin(packet: InputPacket, id: number, size: number): Datagram {
    const { blocks, clock } = this.stack.env;
    if (this.#byAge.length >= REASSEMBLY_DATAGRAMS_MAX) this.#giveUp(this.#byAge[0]!, "reasmEvicted");
    const key = keyOf(packet, id);
    const deadlineMs = clock.now() + REASSEMBLY_TIMEOUT_S * 1000;
    const format = FRAGMENT_FORMATS[packet.version];
    const datagram = new Datagram(key, id, packet, deadlineMs, format, blocks.alloc(size, format.dataAt));
    datagram.next = this.#buckets.get(key) ?? null;
    this.#buckets.set(key, datagram);
    this.#byAge.push(datagram);
    this.#bytes += datagram.block.buf.length;
    this.#limitBytes(datagram);
    if (!this.#timer.armed) this.#timer.arm(REASSEMBLY_TIMEOUT_S * 1000);
    return datagram;
  }

  /** Puts the payload into its place; the reason if the datagram cannot go on. */
  #insert(datagram: Datagram, packet: InputPacket, place: FragmentPlace, end: number): Fault | null {
    const start = place.offset;
    const { starts, ends, format } = datagram;
    const { dataAt } = format;
    const { block, headerLen } = packet;
    const from = block.rp + headerLen;
    if (datagram.total >= 0 && (end > datagram.total || (!place.more && end !== datagram.total))) {
      return "reasmInconsistent";
    }
    if (!place.more && datagram.end > end) return "reasmInconsistent";
    // From the end: fragments mostly come in order.
    let at = starts.length;
    while (at > 0 && starts[at - 1]! >= start) at--;
    if (starts[at] === start && ends[at] === end) {
      const isSame = sameBytes(datagram.block.buf, dataAt + start, block.buf, from, end - start);
      return isSame ? null : "reasmOverlap";
    }
    if ((at > 0 && ends[at - 1]! > start) || (at < starts.length && starts[at]! < end)) return "reasmOverlap";
    if (starts.length >= REASSEMBLY_FRAGMENTS_MAX) return "reasmTooMany";
    this.#reserve(datagram, end);
    if (start === 0) {
      datagram.headerLen = headerLen;
      datagram.block.buf.set(block.buf.subarray(block.rp, from), dataAt - headerLen);
    }
    datagram.block.buf.set(block.buf.subarray(from, from + end - start), dataAt + start);
    starts.splice(at, 0, start);
    ends.splice(at, 0, end);
    datagram.have += end - start;
    datagram.end = Math.max(datagram.end, end);
    datagram.largest = Math.max(datagram.largest, block.wp - block.rp);
    datagram.ecn |= 1 << (format.tos(block.buf, block.rp) & ECN_MASK);
    datagram.dontFragment &&= place.dontFragment;
    if (!place.more) datagram.total = end;
    return null;
  }

  /** Makes the buffer large enough for payload up to `end`. */
  #reserve(datagram: Datagram, end: number): void {
    const old = datagram.block;
    const { dataAt } = datagram.format;
    if (dataAt + end <= old.buf.length) return;
    const block = this.stack.env.blocks.alloc(end, dataAt);
    const from = dataAt - datagram.headerLen;
    block.buf.set(old.buf.subarray(from, dataAt + datagram.end), from);
    datagram.block = block;
    this.#bytes += block.buf.length - old.buf.length;
    old.free();
    this.#limitBytes(datagram);
  }

  /** Gives the oldest datagrams up, but not `kept`, until the memory limit holds. */
  #limitBytes(kept: Datagram): void {
    while (this.#bytes > REASSEMBLY_BYTES_MAX) {
      const oldest = this.#byAge[0] === kept ? this.#byAge[1] : this.#byAge[0];
      assert(oldest !== undefined, "one datagram fits the limit");
      this.#giveUp(oldest, "reasmEvicted");
    }
  }

  /** Makes the header say what the whole is. RFC 3168 5.3: congestion seen by one fragment was seen by all. */
  #finish(datagram: Datagram): Block | null {
    const { headerLen, total, ecn, format, dontFragment } = datagram;
    const sawCe = (ecn & (1 << ECN_CE)) !== 0;
    // Fragments of one datagram left its sender alike: a mark on what was not capable is a mistake on the way.
    if (headerLen + total > format.totalMax || (sawCe && (ecn & (1 << ECN_NOT_ECT)) !== 0)) {
      return this.#giveUp(datagram, "reasmInconsistent");
    }
    const block = this.#remove(datagram);
    block.rp = format.dataAt - headerLen;
    block.wp = format.dataAt + total;
    block.fragmentMax = datagram.largest;
    format.makeWhole(block, headerLen, dontFragment);
    if (sawCe) format.setTos(block.buf, block.rp, format.tos(block.buf, block.rp) | ECN_CE);
    this.stack.stats.reasmOks++;
    return block;
  }

  #giveUp(datagram: Datagram, fault: Fault): null {
    this.stack.stats[fault]++;
    this.#remove(datagram).free();
    return null;
  }

  /** Takes the datagram out of the tables; its block is the caller's. */
  #remove(datagram: Datagram): Block {
    const first = this.#buckets.get(datagram.key)!;
    if (first !== datagram) {
      let before = first;
      while (before.next !== datagram) before = before.next!;
      before.next = datagram.next;
    } else if (datagram.next === null) {
      this.#buckets.delete(datagram.key);
    } else {
      this.#buckets.set(datagram.key, datagram.next);
    }
    this.#byAge.splice(this.#byAge.indexOf(datagram), 1);
    this.#bytes -= datagram.block.buf.length;
    if (this.#byAge.length === 0) this.#timer.disarm();
    return datagram.block;
  }

  /** Ends the datagrams whose time is over; the sender hears of it if we have what to quote (RFC 1122 3.3.2). */
  #expire(): void {
    const now = this.stack.env.clock.now();
    for (let oldest = this.#byAge[0]; oldest !== undefined && oldest.deadlineMs <= now; oldest = this.#byAge[0]) {
      this.stack.stats.reasmTimedOut++;
      const block = this.#remove(oldest);
      if (oldest.headerLen > 0) {
        block.rp = oldest.format.dataAt - oldest.headerLen;
        block.wp = oldest.format.dataAt + oldest.ends[0]!;
        oldest.format.setLength(block);
        const packet = { ...oldest.packet, headerLen: oldest.headerLen, block };
        this.stack.icmpErrors.report(packet, IcmpFault.Reassembly);
      }
      block.free();
    }
    if (this.#byAge.length > 0) this.#timer.arm(this.#byAge[0]!.deadlineMs - now);
  }
}

/** A hash of what names a datagram (RFC 791 3.2: source, destination, protocol, identification). */
function keyOf(packet: InputPacket, id: number): number {
  return Math.imul(packet.src.hash(), 31) ^ packet.dst.hash() ^ Math.imul(id, 0x9e3779b1) ^ (packet.protocol << 8);
}
