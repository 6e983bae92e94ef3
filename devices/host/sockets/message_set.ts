/**
 * MessageSet: a row of struct mmsghdr with room for names, control data and pieces, for sendmsg(2) and its kin.
 *
 * Path: stream, datagram_sets, error_queue → message_set → libc.
 *
 * Everything that a header points to lies in one buffer, whose address is asked for once: a pointer keeps nothing
 * alive, so a buffer of its own for each would be collected under Linux' hands. Pieces of others (packets) are pointed
 * to for one call only; their owners keep them.
 *
 *     headers 64 each | names 32 each | control data | pieces (struct iovec) 16 each
 *
 * @module
 */

import { addressOf } from "../libc.ts";

const HEADER_LEN = 64;
/** Room of a name: the longest is 28 bytes. */
const NAME_ROOM = 32;
const PIECE_LEN = 16;
const AT_NAME_LEN = 8;
const AT_PIECES = 16;
const AT_PIECE_COUNT = 24;
const AT_CONTROL = 32;
const AT_CONTROL_LEN = 40;
const AT_FLAGS = 48;
/** Where a struct mmsghdr says how many bytes a message has. */
const AT_LENGTH = 56;
/** Bytes of a struct cmsghdr before its data. */
const CONTROL_HEADER = 16;

/** How much a set has room for. */
interface SetSize {
  /** Pieces of a message. Default 1. */
  readonly pieces?: number;
  /** Bytes of control data of a message; a multiple of 8. Default 0. */
  readonly control?: number;
}

/** See above. */
export class MessageSet {
  /** The headers, for the system calls. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView;
  readonly #pieces: number;
  readonly #control: number;
  readonly #namesAt: number;
  readonly #controlAt: number;
  readonly #piecesAt: number;

  constructor(count: number, { pieces = 1, control = 0 }: SetSize = {}) {
    this.#pieces = pieces;
    this.#control = control;
    this.#namesAt = count * HEADER_LEN;
    this.#controlAt = this.#namesAt + count * NAME_ROOM;
    this.#piecesAt = this.#controlAt + count * control;
    this.bytes = new Uint8Array(this.#piecesAt + count * pieces * PIECE_LEN);
    this.view = new DataView(this.bytes.buffer);
    const base = addressOf(this.bytes);
    for (let i = 0; i < count; i++) {
      const at = i * HEADER_LEN;
      this.view.setBigUint64(at, base + BigInt(this.nameAt(i)), true);
      this.view.setBigUint64(at + AT_PIECES, base + BigInt(this.#pieceAt(i, 0)), true);
      if (control > 0) this.view.setBigUint64(at + AT_CONTROL, base + BigInt(this.controlAt(i)), true);
    }
  }

  /** Where the name of message `i` is in {@link bytes}. */
  nameAt(i: number): number {
    return this.#namesAt + i * NAME_ROOM;
  }

  /** Where its control data are. */
  controlAt(i: number): number {
    return this.#controlAt + i * this.#control;
  }

  #pieceAt(i: number, piece: number): number {
    return this.#piecesAt + (i * this.#pieces + piece) * PIECE_LEN;
  }

  /** Bytes of the name; 0: it has none. */
  setNameLength(i: number, length: number): void {
    this.view.setUint32(i * HEADER_LEN + AT_NAME_LEN, length, true);
  }

  /** Has message `i` consist of the first `count` of `parts`, which its owner keeps until the call has returned. */
  setParts(i: number, parts: readonly Uint8Array[], count: number = parts.length): void {
    for (let j = 0; j < count; j++) this.setPiece(i, j, parts[j] as Uint8Array<ArrayBuffer>);
    this.setPieceCount(i, count);
  }

  /** Points piece `j` of message `i` to `part`. */
  setPiece(i: number, j: number, part: Uint8Array<ArrayBuffer>): void {
    const at = this.#pieceAt(i, j);
    this.view.setBigUint64(at, addressOf(part), true);
    this.view.setUint32(at + 8, part.length, true);
  }

  setPieceCount(i: number, count: number): void {
    this.view.setUint32(i * HEADER_LEN + AT_PIECE_COUNT, count, true);
  }

  setControlLength(i: number, length: number): void {
    this.view.setUint32(i * HEADER_LEN + AT_CONTROL_LEN, length, true);
  }

  /** Before receiving: there is room for a name and for control data. */
  clear(i: number): void {
    this.setNameLength(i, NAME_ROOM);
    this.setControlLength(i, this.#control);
    this.view.setUint32(i * HEADER_LEN + AT_FLAGS, 0, true);
  }

  /** MSG_TRUNC and its like, of a received message. */
  flags(i: number): number {
    return this.view.getUint32(i * HEADER_LEN + AT_FLAGS, true);
  }

  /** Bytes of message `i` of recvmmsg(2). */
  length(i: number): number {
    return this.view.getUint32(i * HEADER_LEN + AT_LENGTH, true);
  }

  /** Adds an int to the control data of message `i`, which have `at` bytes; returns how many they have then. */
  putInt(i: number, at: number, [level, type]: readonly [level: number, type: number], value: number): number {
    const data = this.putControl(i, at, { level, type, length: 4 });
    this.view.setInt32(data, value, true);
    return at + CONTROL_HEADER + 8;
  }

  /** Adds a struct cmsghdr; returns where in {@link bytes} its data are. */
  putControl(i: number, at: number, { level, type, length }: Control): number {
    const to = this.controlAt(i) + at;
    this.view.setBigUint64(to, BigInt(CONTROL_HEADER + length), true);
    this.view.setInt32(to + 8, level, true);
    this.view.setInt32(to + 12, type, true);
    return to + CONTROL_HEADER;
  }

  /** Calls `take` with each piece of control data of a received message. */
  eachControl(i: number, take: (level: number, type: number, at: number, length: number) => void): void {
    const from = this.controlAt(i);
    const end = from + this.view.getUint32(i * HEADER_LEN + AT_CONTROL_LEN, true);
    for (let at = from; at + CONTROL_HEADER <= end;) {
      const length = this.view.getUint32(at, true);
      if (length < CONTROL_HEADER) return;
      const data = at + CONTROL_HEADER;
      take(this.view.getInt32(at + 8, true), this.view.getInt32(at + 12, true), data, length - CONTROL_HEADER);
      at += (length + 7) & ~7;
    }
  }
}

/** A struct cmsghdr. */
interface Control {
  readonly level: number;
  readonly type: number;
  /** Bytes of data. */
  readonly length: number;
}

/** Bytes that control data of `length` bytes take in a row of them. */
export function controlSpace(length: number): number {
  return CONTROL_HEADER + ((length + 7) & ~7);
}
