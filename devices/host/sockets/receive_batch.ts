/**
 * ReceiveBatch: room for the datagrams of one recvmmsg(2), and their meaning.
 *
 * Path: datagrams → receive_batch → libc, message_blocks, family.
 *
 * @module
 */

import type { DatagramIn, SocketEnd } from "../../../kernel/host_sockets.ts";
import { get32le } from "../../../kernel/wire/bytes.ts";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { libc } from "../libc.ts";
import { CMSG_LEN, MessageBlocks } from "./message_blocks.ts";
import { FAMILY4, FAMILY6, sockaddrAt, type SocketFamily } from "./family.ts";

/** Datagrams of one call. */
export const RECEIVE_MAX = 32;
/** Room of each: more than the longest, and than a burst joined by UDP_GRO. Pages that were never used cost nothing. */
const SLOT_LEN = 65536;
const MSG_DONTWAIT = 0x40;
const IPPROTO_UDP = 17;
const UDP_GRO = 104;

/** A datagram that is valid until the next is read from its batch. */
class Datagram implements DatagramIn {
  from: SocketEnd;
  to: IpAddr;
  payload: Uint8Array = new Uint8Array(0);
  ttl = 0;
  tos = 0;
  segmentSize = 0;

  constructor() {
    this.to = FAMILY4.unspecified;
    this.from = { address: this.to, port: 0 };
  }
}

/** Memory for a call, used by all sockets. */
export class ReceiveBatch {
  readonly #blocks = new MessageBlocks(RECEIVE_MAX, RECEIVE_MAX * SLOT_LEN);
  readonly #datagram = new Datagram();

  constructor() {
    for (let i = 0; i < RECEIVE_MAX; i++) {
      this.#blocks.setPayload(i, i * SLOT_LEN, SLOT_LEN);
      this.#blocks.setRoom(i);
    }
  }

  /** recvmmsg(2) of at most `max`, {@link RECEIVE_MAX} or fewer: how many, or a negative number. */
  receive(fd: number, max: number): number {
    // Safe because every header points to memory of #blocks, with its length.
    return libc().recvmmsg(fd, this.#blocks.headers, max, MSG_DONTWAIT, null);
  }

  /** Datagram `i` of the last call, of a socket of `family`; once. */
  take(i: number, family: SocketFamily): DatagramIn {
    const blocks = this.#blocks;
    const datagram = this.#datagram;
    const at = i * SLOT_LEN;
    datagram.payload = blocks.payload.subarray(at, at + blocks.lengthOf(i));
    datagram.from = sockaddrAt(blocks.names, blocks.nameAt(i)) ?? { address: family.unspecified, port: 0 };
    datagram.to = family.unspecified;
    datagram.ttl = datagram.tos = datagram.segmentSize = 0;
    this.#readControls(blocks.controlAt(i), blocks.controlLengthOf(i));
    blocks.setRoom(i);
    return datagram;
  }

  #readControls(start: number, length: number): void {
    const { controls } = this.#blocks;
    for (let at = start; at + CMSG_LEN <= start + length;) {
      const bytes = get32le(controls, at);
      if (bytes < CMSG_LEN) return;
      const level = get32le(controls, at + 8);
      const type = get32le(controls, at + 12);
      if (level === IPPROTO_UDP && type === UDP_GRO) this.#datagram.segmentSize = get32le(controls, at + CMSG_LEN);
      else if (level === FAMILY4.level) this.#readControl(FAMILY4, type, at + CMSG_LEN);
      else if (level === FAMILY6.level) this.#readControl(FAMILY6, type, at + CMSG_LEN);
      at += bytes + 7 & ~7;
    }
  }

  #readControl({ version, control, info }: SocketFamily, type: number, at: number): void {
    const { controls } = this.#blocks;
    if (type === control.ttl) this.#datagram.ttl = get32le(controls, at);
    // One byte in IPv4, an int in IPv6, on machines that are little endian.
    else if (type === control.tos) this.#datagram.tos = controls[at]!;
    else if (type === control.info) {
      const { destination } = info;
      this.#datagram.to = version === 4
        ? IpAddr.v4At(controls, at + destination)
        : IpAddr.at(controls, at + destination);
    }
  }
}
