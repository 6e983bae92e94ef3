/**
 * MessageBlocks: struct mmsghdr for sendmmsg and recvmmsg (and, with one, for recvmsg), with room for names, payloads
 * and control data.
 *
 * Path: send_batch, receive_batch, error_queue → message_blocks → libc, family.
 *
 * A msghdr holds pointers, which keep nothing alive: memory that is collected while Linux writes to it is corrupted. So
 * all of it is in one object, and the pointers are computed once: the memory of a buffer does not move.
 *
 * @module
 */

import { get32le, put32le, put64le } from "../../../kernel/wire/bytes.ts";
import { addressOf } from "../libc.ts";
import { SOCKADDR_LEN } from "./family.ts";

/** struct mmsghdr: a struct msghdr of 56 bytes, then the length of the message. */
const HEADER_LEN = 64;
const NAME = 0;
const NAME_LENGTH = 8;
const IOV = 16;
const IOV_COUNT = 24;
const CONTROL = 32;
const CONTROL_LENGTH = 40;
const LENGTH = 56;
const IOV_LEN = 16;
/** Room for a name, and for control data: more than all control messages that a socket here is given. */
const NAME_STRIDE = 32;
const CONTROL_STRIDE = 256;

/** struct cmsghdr: length with itself, level, type; what follows it is padded to 8 bytes. */
export const CMSG_LEN = 16;

/** Messages in memory of their own. */
export class MessageBlocks {
  /** The array of struct mmsghdr. */
  readonly headers: Uint8Array<ArrayBuffer>;
  /** Names; see {@link nameAt}. */
  readonly names: Uint8Array<ArrayBuffer>;
  /** Control data; see {@link controlAt}. */
  readonly controls: Uint8Array<ArrayBuffer>;
  /** All payloads. */
  readonly payload: Uint8Array<ArrayBuffer>;
  readonly #iov: Uint8Array<ArrayBuffer>;
  readonly #payloadAddress: number;

  /** `count` messages whose payloads lie in `bytes` bytes. */
  constructor(count: number, bytes: number) {
    this.headers = new Uint8Array(count * HEADER_LEN);
    this.names = new Uint8Array(count * NAME_STRIDE);
    this.controls = new Uint8Array(count * CONTROL_STRIDE);
    this.payload = new Uint8Array(bytes);
    this.#iov = new Uint8Array(count * IOV_LEN);
    // An address has 48 bits at most: a number holds it.
    const [names, iovs, controls] = [this.names, this.#iov, this.controls].map((part) => Number(addressOf(part)));
    this.#payloadAddress = Number(addressOf(this.payload));
    for (let i = 0; i < count; i++) {
      const at = i * HEADER_LEN;
      put64le(this.headers, at + NAME, names! + i * NAME_STRIDE);
      put64le(this.headers, at + IOV, iovs! + i * IOV_LEN);
      put32le(this.headers, at + IOV_COUNT, 1);
      put64le(this.headers, at + CONTROL, controls! + i * CONTROL_STRIDE);
    }
  }

  /** Where the name of message `i` begins in {@link names}. */
  nameAt(i: number): number {
    return i * NAME_STRIDE;
  }

  /** Where the control data of message `i` begin in {@link controls}. */
  controlAt(i: number): number {
    return i * CONTROL_STRIDE;
  }

  /** Sets the length of the name and of the control data of message `i`. */
  setLengths(i: number, name: number, control: number): void {
    put32le(this.headers, i * HEADER_LEN + NAME_LENGTH, name);
    put32le(this.headers, i * HEADER_LEN + CONTROL_LENGTH, control);
  }

  /** Gives message `i` all the room that there is for a name and control data. */
  setRoom(i: number): void {
    this.setLengths(i, SOCKADDR_LEN, CONTROL_STRIDE);
  }

  /** Puts the payload of message `i` at `at` in {@link payload}: it has, or has room for, `length` bytes. */
  setPayload(i: number, at: number, length: number): void {
    put64le(this.#iov, i * IOV_LEN, this.#payloadAddress + at);
    put32le(this.#iov, i * IOV_LEN + 8, length);
  }

  /** Bytes that were received. */
  lengthOf(i: number): number {
    return get32le(this.headers, i * HEADER_LEN + LENGTH);
  }

  /** Bytes of control data that were received. */
  controlLengthOf(i: number): number {
    return get32le(this.headers, i * HEADER_LEN + CONTROL_LENGTH);
  }
}
