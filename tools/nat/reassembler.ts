/**
 * Reassembler: puts fragments of guests together, of both versions of IP (RFC 791 3.2, RFC 8200 4.5).
 *
 * Path: nat, fragments4, fragments6 → reassembler → addr_hash, nat/counters, ip_addr.
 *
 * Why together and not tracked: only a datagram's first piece shows its ports, pieces come in any order (RFC 4787
 * REQ-14), and a bypassed conversation takes whole packets and fragments them again for its own link. Holding them back
 * costs the memory below; tracking would cost as much for pieces that come before the first.
 *
 * Pieces that overlap are an attack or a fault: the datagram is dropped (RFC 5722 4); a piece that comes
 * twice is ignored. If a router marked any piece, the datagram is marked (RFC 3168 5.3).
 *
 * Limits: {@link DATAGRAMS_MAX} at a time, {@link BYTES_MAX} in all, {@link HOLES_MAX} holes each,
 * {@link REASSEMBLY_MS} of time.
 *
 * @module
 */

import { hasBytesAt } from "../../kernel/wire/bytes.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { copyAddr } from "./addr_hash.ts";
import { Reason } from "./counters.ts";

/** Datagrams that wait for their rest: a burst of large ones, one after another. */
export const DATAGRAMS_MAX = 32;
/** Bytes that wait: sixteen of the largest datagrams. */
export const BYTES_MAX = 1 << 20;
/** Separate stretches of one datagram: pieces come nearly in order. */
export const HOLES_MAX = 64;
/** How long a datagram may take (RFC 791's own figure). */
export const REASSEMBLY_MS = 15_000;

const FRAGMENT_UNIT = 8;
/** Room that a datagram gets at first: two frames. */
const ROOM_MIN = 4096;

/** A datagram that is not whole yet. */
interface Datagram {
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly id: number;
  readonly protocol: number;
  readonly deadline: number;
  /** Header of the first piece; null until it came. */
  header: Uint8Array | null;
  payload: Uint8Array;
  /** Stretches that came, in order, apart from each other: start, end, start, end … */
  have: number[];
  /** Length of the whole payload; -1 until the last piece came. */
  total: number;
  /** Bytes of the largest piece, its header included. */
  largest: number;
  isMarked: boolean;
}

/** A fragment, by either version of IP. */
export interface Piece {
  /** What tells its datagram from others: addresses, protocol, identification. */
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly protocol: number;
  readonly id: number;
  /** Where its bytes belong, and whether none come after them. */
  readonly start: number;
  readonly isLast: boolean;
  readonly bytes: Uint8Array;
  /** What stands before the bytes of the first piece; of others it is not read. */
  readonly header: Uint8Array;
  /** Most bytes that the whole may have. */
  readonly room: number;
  readonly isMarked: boolean;
}

/** A datagram of which every piece came. */
export interface WholeDatagram {
  readonly header: Uint8Array;
  readonly payload: Uint8Array;
  /** Bytes of the largest piece, its header included. */
  readonly largest: number;
  readonly isMarked: boolean;
}

/** Puts datagrams together. */
export class Reassembler {
  #datagrams: Datagram[] = [];
  #bytes = 0;

  get length(): number {
    return this.#datagrams.length;
  }

  /** Bytes of memory that it holds. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Takes a fragment, whose bytes are copied: returns the whole datagram, null if more must come, or the refusal. */
  take(piece: Piece, now: number): WholeDatagram | null | Reason {
    const { bytes, start, isLast } = piece;
    const size = bytes.length;
    if (size === 0 || (!isLast && size % FRAGMENT_UNIT !== 0)) return Reason.Fragment;
    if (start + size > piece.room) return Reason.Fragment;
    const datagram = this.#find(piece) ?? this.#start(piece, now);
    if (!this.#put(datagram, bytes, start, isLast)) {
      this.#forget(datagram);
      return Reason.Fragment;
    }
    if (piece.isMarked) datagram.isMarked = true;
    datagram.largest = Math.max(datagram.largest, piece.header.length + size);
    if (start === 0) datagram.header = piece.header.slice();
    const { header, payload, total, have, largest, isMarked } = datagram;
    if (total < 0 || have.length !== 2 || have[1] !== total || header === null) return null;
    this.#forget(datagram);
    return { header, payload: payload.subarray(0, total), largest, isMarked };
  }

  /** Forgets what took too long; answers how many datagrams. */
  expire(now: number): number {
    const before = this.#datagrams.length;
    for (const datagram of [...this.#datagrams]) if (datagram.deadline <= now) this.#forget(datagram);
    return before - this.#datagrams.length;
  }

  /** When the first of them is given up; Infinity if there is none. */
  nextExpiry(): number {
    return this.#datagrams[0]?.deadline ?? Infinity;
  }

  #find({ src, dst, protocol, id }: Piece): Datagram | null {
    for (const one of this.#datagrams) {
      if (one.id === id && one.protocol === protocol && one.src.equals(src) && one.dst.equals(dst)) return one;
    }
    return null;
  }

  /** The oldest must go if there are too many. */
  #start({ src, dst, protocol, id }: Piece, now: number): Datagram {
    if (this.#datagrams.length >= DATAGRAMS_MAX) this.#forget(this.#datagrams[0]!);
    const datagram: Datagram = {
      src: copyAddr(src),
      dst: copyAddr(dst),
      protocol,
      id,
      deadline: now + REASSEMBLY_MS,
      header: null,
      payload: new Uint8Array(0),
      have: [],
      total: -1,
      largest: 0,
      isMarked: false,
    };
    this.#datagrams.push(datagram);
    return datagram;
  }

  #forget(datagram: Datagram): void {
    const at = this.#datagrams.indexOf(datagram);
    if (at < 0) return;
    this.#datagrams.splice(at, 1);
    this.#bytes -= datagram.payload.length;
  }

  /** Puts a piece in its place; false if it contradicts what came before, or if there is no room. */
  #put(datagram: Datagram, piece: Uint8Array, start: number, isLast: boolean): boolean {
    const end = start + piece.length;
    const { have } = datagram;
    const highest = have.at(-1) ?? 0;
    if (isLast && (datagram.total >= 0 ? datagram.total !== end : highest > end)) return false;
    if (datagram.total >= 0 && end > datagram.total) return false;
    let i = 0;
    while (i < have.length && have[i + 1]! < start) i += 2;
    const [from, to] = [have[i] ?? Infinity, have[i + 1] ?? Infinity];
    // Only touching is good; all inside and the same is a piece that came twice.
    if (start >= from && end <= to) return hasBytesAt(datagram.payload, start, piece);
    if (end > from && start < to) return false;
    if (start === to && end > (have[i + 2] ?? Infinity)) return false;
    if (!this.#grow(datagram, end)) return false;
    datagram.payload.set(piece, start);
    if (isLast) datagram.total = end;
    insert(have, i, start, end);
    return have.length <= 2 * HOLES_MAX;
  }

  #grow(datagram: Datagram, size: number): boolean {
    const old = datagram.payload;
    if (size <= old.length) return true;
    let room = Math.max(ROOM_MIN, old.length);
    while (room < size) room *= 2;
    while (this.#bytes + room - old.length > BYTES_MAX) {
      const victim = this.#datagrams.find((one) => one !== datagram);
      if (victim === undefined) return false;
      this.#forget(victim);
    }
    this.#bytes += room - old.length;
    datagram.payload = new Uint8Array(room);
    datagram.payload.set(old);
    return true;
  }
}

/** Adds a stretch before or at index `i`, joined with those that it touches. */
function insert(have: number[], i: number, start: number, end: number): void {
  if (have[i + 1] === start) {
    have[i + 1] = end;
    if (have[i + 2] === end) have.splice(i + 1, 2);
  } else if (have[i] === end) have[i] = start;
  else have.splice(i, 0, start, end);
}
