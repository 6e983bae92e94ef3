/**
 * Gather: writes bytes from several places to a socket in one call, without copying them.
 *
 * Path: stream → gather → libc.
 *
 * @module
 */

import { put32le, put64le } from "../../../kernel/wire/bytes.ts";
import { addressOf, libc } from "../libc.ts";

/** Parts of one call. */
const PARTS_MAX = 64;
const MSGHDR_LEN = 56;
const MSG_IOV = 16;
const MSG_IOV_COUNT = 24;
const IOV_LEN = 16;

/** A struct msghdr with its iovec, used for one call after the other. */
export class Gather {
  readonly #header = new Uint8Array(MSGHDR_LEN);
  readonly #iov = new Uint8Array(PARTS_MAX * IOV_LEN);
  /** Where buffers are: asking takes five times as long. Memory that moves (grow, transfer) gets another buffer. */
  readonly #addresses = new WeakMap<ArrayBufferLike, number>();
  /** What the pointers point to: it must not be collected before the call. */
  #held: readonly Uint8Array[] | null = null;

  constructor() {
    put64le(this.#header, MSG_IOV, Number(addressOf(this.#iov)));
  }

  /** sendmsg(2) of the first `count` of `parts`, or as many as one call takes. */
  send(fd: number, parts: readonly Uint8Array[], count: number, flags: number): number {
    const taken = Math.min(count, PARTS_MAX);
    this.#held = parts;
    for (let i = 0; i < taken; i++) {
      const part = parts[i]!;
      put64le(this.#iov, i * IOV_LEN, this.#addressOf(part.buffer) + part.byteOffset);
      put32le(this.#iov, i * IOV_LEN + 8, part.length);
    }
    put32le(this.#header, MSG_IOV_COUNT, taken);
    // Safe because the iovec is a member, its parts are held, and each has the length of its view.
    const result = libc().sendmsg(fd, this.#header, flags);
    this.#held = null;
    return result;
  }

  #addressOf(buffer: ArrayBufferLike): number {
    const known = this.#addresses.get(buffer);
    if (known !== undefined) return known;
    const address = Number(addressOf(new Uint8Array(buffer as ArrayBuffer)));
    this.#addresses.set(buffer, address);
    return address;
  }
}
