/**
 * Reassembly: the datagrams of one stack whose fragments are still arriving (RFC 791 3.2, RFC 8200 4.5).
 *
 * Path: ip_stack → network/reassembly → inet/reassembly, fragment_format, icmp_fault, context.
 *
 * Limits: named below; at a limit the oldest datagram gives way. Datagrams live for 30 s from their first fragment
 * (RFC 8200 would have those of IPv6 live for 60 at most).
 *
 * @module
 */

import { assert } from "../../../kernel/assert.ts";
import type { Block } from "../../../kernel/block.ts";
import { FRAGMENT_FORMATS, type FragmentPlace } from "../../../kernel/inet/fragment_format.ts";
import { isSoundFragment, PartialDatagram, type ReassemblyFault } from "../../../kernel/inet/reassembly.ts";
import type { Timer } from "../../../kernel/time.ts";
import { REASSEMBLY_TIMEOUT_S } from "../env/stats.ts";
import { IcmpFault } from "../packet/icmp_fault.ts";
import type { InputPacket } from "../packet/packet.ts";
import type { NetContext } from "./context.ts";

/** Most datagrams at once (Akaros' number). */
export const REASSEMBLY_DATAGRAMS_MAX = 100;
/** Most bytes of buffers at once: sixty datagrams of the largest size (Linux' ipfrag_high_thresh). */
export const REASSEMBLY_BYTES_MAX = 4 << 20;

/** Why a datagram is dropped; the name of its counter. */
type Fault = "reasmOverlap" | "reasmInconsistent" | "reasmTooMany" | "reasmEvicted";

const COUNTERS: Readonly<Record<ReassemblyFault, Fault>> = {
  overlap: "reasmOverlap",
  inconsistent: "reasmInconsistent",
  tooMany: "reasmTooMany",
};

/** A datagram in the tables. */
interface Entry {
  /** Next in the bucket. */
  next: Entry | null;
  readonly key: number;
  readonly id: number;
  /** The fragment that came first; its block is gone. */
  readonly packet: InputPacket;
  readonly deadlineMs: number;
  readonly datagram: PartialDatagram;
}

/** Datagrams whose fragments are still arriving. */
export class Reassembly {
  readonly #buckets = new Map<number, Entry>();
  /** Oldest first: all live equally long. */
  readonly #byAge: Entry[] = [];
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
   * Takes a fragment (its block is consumed). The whole datagram as one block, `rp` at its IP header, if this was the
   * last that was missing; otherwise null.
   */
  add(packet: InputPacket, place: FragmentPlace): Block | null {
    const { stats } = this.stack;
    const { block } = packet;
    stats.reasmReqds++;
    if (!isSoundFragment(packet, place, FRAGMENT_FORMATS[packet.version])) {
      stats.inBadFragment++;
      block.free();
      return null;
    }
    const end = place.offset + block.wp - block.rp - packet.headerLen;
    const entry = this.#find(packet, place.id) ?? this.#begin(packet, place.id, end);
    const { datagram } = entry;
    const before = datagram.bytes;
    const fault = datagram.add(packet, place);
    block.free();
    this.#bytes += datagram.bytes - before;
    if (fault !== null) return this.#giveUp(entry, COUNTERS[fault]);
    this.#limitBytes(entry);
    return datagram.isComplete ? this.#finish(entry) : null;
  }

  /** Forgets everything: the stack goes away. */
  clear(): void {
    while (this.#byAge.length > 0) this.#remove(this.#byAge[0]!).free();
  }

  #find(packet: InputPacket, id: number): Entry | null {
    let entry = this.#buckets.get(keyOf(packet, id)) ?? null;
    while (entry !== null && !matches(entry, packet, id)) entry = entry.next;
    return entry;
  }

  #begin(packet: InputPacket, id: number, size: number): Entry {
    const { blocks, clock } = this.stack.env;
    if (this.#byAge.length >= REASSEMBLY_DATAGRAMS_MAX) this.#giveUp(this.#byAge[0]!, "reasmEvicted");
    const key = keyOf(packet, id);
    const entry: Entry = {
      next: this.#buckets.get(key) ?? null,
      key,
      id,
      packet,
      deadlineMs: clock.now() + REASSEMBLY_TIMEOUT_S * 1000,
      datagram: new PartialDatagram(FRAGMENT_FORMATS[packet.version], blocks, size),
    };
    this.#buckets.set(key, entry);
    this.#byAge.push(entry);
    this.#bytes += entry.datagram.bytes;
    this.#limitBytes(entry);
    if (!this.#timer.armed) this.#timer.arm(REASSEMBLY_TIMEOUT_S * 1000);
    return entry;
  }

  /** Gives the oldest datagrams up, but not `kept`, until the memory limit holds. */
  #limitBytes(kept: Entry): void {
    while (this.#bytes > REASSEMBLY_BYTES_MAX) {
      const oldest = this.#byAge[0] === kept ? this.#byAge[1] : this.#byAge[0];
      assert(oldest !== undefined, "one datagram fits the limit");
      this.#giveUp(oldest, "reasmEvicted");
    }
  }

  #finish(entry: Entry): Block | null {
    const block = entry.datagram.finish();
    if (block === null) return this.#giveUp(entry, "reasmInconsistent");
    this.#remove(entry);
    this.stack.stats.reasmOks++;
    return block;
  }

  #giveUp(entry: Entry, fault: Fault): null {
    this.stack.stats[fault]++;
    this.#remove(entry).free();
    return null;
  }

  /** Takes the datagram out of the tables; its buffer is the caller's. */
  #remove(entry: Entry): PartialDatagram {
    const first = this.#buckets.get(entry.key)!;
    if (first !== entry) {
      let before = first;
      while (before.next !== entry) before = before.next!;
      before.next = entry.next;
    } else if (entry.next === null) {
      this.#buckets.delete(entry.key);
    } else {
      this.#buckets.set(entry.key, entry.next);
    }
    this.#byAge.splice(this.#byAge.indexOf(entry), 1);
    this.#bytes -= entry.datagram.bytes;
    if (this.#byAge.length === 0) this.#timer.disarm();
    return entry.datagram;
  }

  /** Ends the datagrams whose time is over; the sender is notified if its first fragment came (RFC 1122 3.3.2). */
  #expire(): void {
    const now = this.stack.env.clock.now();
    for (let oldest = this.#byAge[0]; oldest !== undefined && oldest.deadlineMs <= now; oldest = this.#byAge[0]) {
      this.stack.stats.reasmTimedOut++;
      const datagram = this.#remove(oldest);
      const block = datagram.firstFragment();
      if (block !== null) {
        const packet = { ...oldest.packet, headerLen: datagram.headerLen, block };
        this.stack.icmpErrors.report(packet, IcmpFault.Reassembly);
      }
      datagram.free();
    }
    if (this.#byAge.length > 0) this.#timer.arm(this.#byAge[0]!.deadlineMs - now);
  }
}

/** A hash of what names a datagram (RFC 791 3.2: source, destination, protocol, identification). */
function keyOf(packet: InputPacket, id: number): number {
  return Math.imul(packet.src.hash(), 31) ^ packet.dst.hash() ^ Math.imul(id, 0x9e3779b1) ^ (packet.protocol << 8);
}

function matches(entry: Entry, packet: InputPacket, id: number): boolean {
  const { protocol, src, dst } = entry.packet;
  return entry.id === id && protocol === packet.protocol && src.equals(packet.src) && dst.equals(packet.dst);
}
