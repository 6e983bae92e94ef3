/**
 * Reassembler: the datagrams of guests of which fragments are missing, of both versions of IP (RFC 791 3.2, RFC 8200
 * 4.5). How one is put together is inet/reassembly's; this is which of them wait, how long, and in how much memory.
 *
 * Path: nat, context → reassembler → inet/reassembly, nat/packet, addr_hash, nat/counters.
 *
 * Why together and not tracked: only a datagram's first piece shows its ports, pieces come in any order (RFC 4787
 * REQ-14), and a bypassed conversation takes whole packets and fragments them again for its own link. Holding them back
 * costs the memory below; tracking would cost as much for pieces that come before the first.
 *
 * Limits: {@link DATAGRAMS_MAX} at a time, {@link BYTES_MAX} in all, {@link REASSEMBLY_MS} of time.
 *
 * @module
 */

import { Block } from "../../kernel/block.ts";
import { isSoundFragment, PartialDatagram } from "../../kernel/inet/reassembly.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { copyAddr } from "./addr_hash.ts";
import { Reason } from "./counters.ts";
import type { NatPacket } from "./packet.ts";

/** Datagrams that wait for their rest: a burst of large ones, one after another. */
export const DATAGRAMS_MAX = 32;
/** Bytes that wait: fifteen of the largest datagrams. */
export const BYTES_MAX = 1 << 20;
/** How long a datagram may take (RFC 791's own figure). */
export const REASSEMBLY_MS = 15_000;

/** Room that a datagram gets at first: two frames. From there it doubles. */
const ROOM_MIN = 4096;
const BLOCKS = {
  alloc: (size: number, headroom?: number) =>
    Block.alloc(Math.max(ROOM_MIN, 2 ** Math.ceil(Math.log2(size))), headroom),
};

/** A datagram that is not whole yet, and what tells it from others. */
interface Entry {
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly id: number;
  readonly protocol: number;
  readonly deadline: number;
  readonly datagram: PartialDatagram;
}

/** Puts datagrams together. */
export class Reassembler {
  /** Oldest first: all live equally long. */
  readonly #entries: Entry[] = [];
  #bytes = 0;

  get length(): number {
    return this.#entries.length;
  }

  /** Bytes of memory that it holds. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes the fragment that was read (copied): returns the whole packet, null if more must come, or the refusal. */
  take(packet: NatPacket, now: number): Block | null | Reason {
    const { block, family } = packet;
    const { headerLen, protocol, place } = family.fragmentOf(packet);
    const fragment = { block, headerLen };
    if (!isSoundFragment(fragment, place, family.fragments)) return Reason.Fragment;
    const end = place.offset + block.wp - block.rp - headerLen;
    const entry = this.#find(packet, protocol, place.id) ?? this.#begin(packet, { protocol, id: place.id, end }, now);
    const { datagram } = entry;
    const before = datagram.bytes;
    const fault = datagram.add(fragment, place);
    this.#bytes += datagram.bytes - before;
    if (fault === null && !datagram.isComplete) {
      this.#limit(entry);
      return null;
    }
    this.#forget(entry);
    return (fault === null ? datagram.finish() : null) ?? Reason.Fragment;
  }

  /** Forgets what took too long; answers how many datagrams. */
  expire(now: number): number {
    const late = this.#entries.filter(({ deadline }) => deadline <= now);
    for (const entry of late) this.#forget(entry);
    return late.length;
  }

  /** When the first of them is given up; Infinity if there is none. */
  nextExpiry(): number {
    return this.#entries[0]?.deadline ?? Infinity;
  }

  #find({ src, dst }: NatPacket, protocol: number, id: number): Entry | null {
    for (const one of this.#entries) {
      if (one.id === id && one.protocol === protocol && one.src.equals(src) && one.dst.equals(dst)) return one;
    }
    return null;
  }

  #begin(packet: NatPacket, what: { protocol: number; id: number; end: number }, now: number): Entry {
    if (this.#entries.length >= DATAGRAMS_MAX) this.#forget(this.#entries[0]!);
    const { protocol, id, end } = what;
    const datagram = new PartialDatagram(packet.family.fragments, BLOCKS, end);
    const ends = { src: copyAddr(packet.src), dst: copyAddr(packet.dst) };
    const entry = { ...ends, id, protocol, deadline: now + REASSEMBLY_MS, datagram };
    this.#entries.push(entry);
    this.#bytes += datagram.bytes;
    return entry;
  }

  /** Gives the oldest up, but not `kept`, until the memory limit holds. */
  #limit(kept: Entry): void {
    while (this.#bytes > BYTES_MAX) this.#forget(this.#entries[this.#entries[0] === kept ? 1 : 0]!);
  }

  #forget(entry: Entry): void {
    this.#entries.splice(this.#entries.indexOf(entry), 1);
    this.#bytes -= entry.datagram.bytes;
  }
}
