/**
 * SendBatch: datagrams to be sent by one sendmmsg(2), with TTL, TOS, source address and segment size of each.
 *
 * Path: datagrams → send_batch → libc, message_blocks, family.
 *
 * Payloads are copied to one place: for 1460 bytes that takes as long as it takes to find their address (50 ns), and
 * nothing of the sender's is pointed at.
 *
 * @module
 */

import type { DatagramOut } from "../../../kernel/host_sockets.ts";
import { put16le, put32le } from "../../../kernel/wire/bytes.ts";
import { libc } from "../libc.ts";
import { CMSG_LEN, MessageBlocks } from "./message_blocks.ts";
import { FAMILY4, FAMILY6, putSockaddr, type SocketFamily } from "./family.ts";

/** Datagrams of one call, or bursts of them. */
const BATCH_MAX = 64;
/** Bytes of their payloads: at least one of the longest fits. */
const PAYLOAD_MAX = 4 * 65536;
/** Most bytes of one burst: a UDP datagram of IPv4. */
const BURST_MAX = 65507;
/** Most segments of one burst: UDP_MAX_SEGMENTS of Linux before 6.9. */
const SEGMENTS_MAX = 64;
const MSG_DONTWAIT_NOSIGNAL = 0x4040;
const IPPROTO_UDP = 17;
const UDP_SEGMENT = 103;
/** A control message with an int, padded to 8 bytes. */
const INT_SPACE = CMSG_LEN + 8;

/** Memory for a call, used by all sockets. */
export class SendBatch {
  #blocks = new MessageBlocks(BATCH_MAX, PAYLOAD_MAX);
  /** For each slot: the message, and the place in it, that the next slot begins with. */
  #nextMessage = new Int32Array(BATCH_MAX);
  #nextPart = new Int32Array(BATCH_MAX);
  /** The message that comes next; and, if the one there is sent in pieces, how many of its bytes were sent. */
  index = 0;
  offset = 0;

  /**
   * Fills slots with `messages` from {@link index} on, until `count`, the room, or a message with another
   * `dontFragment`; answers how many slots.
   */
  fill(messages: readonly DatagramOut[], count: number, family: SocketFamily): number {
    const { dontFragment } = messages[this.index]!;
    let { index, offset } = this;
    let slot = 0;
    for (let used = 0; slot < BATCH_MAX && index < count; slot++) {
      const message = messages[index]!;
      if (message.dontFragment !== dontFragment) break;
      const total = lengthOf(message.parts);
      const { segmentSize } = message;
      const piece = Math.min(total - offset, segmentSize === 0 ? PAYLOAD_MAX : burstOf(segmentSize));
      if (used + piece > PAYLOAD_MAX) break;
      copyParts(message.parts, offset, this.#blocks.payload.subarray(used, used + piece));
      this.#blocks.setPayload(slot, used, piece);
      this.#address(slot, family, message, piece);
      used += piece;
      offset += piece;
      if (offset >= total) {
        offset = 0;
        index++;
      }
      this.#nextMessage[slot] = index;
      this.#nextPart[slot] = offset;
    }
    return slot;
  }

  /** sendmmsg(2) of the first `slots`: how many were sent, and {@link index} moves on; or a negative number. */
  send(fd: number, slots: number): number {
    // Safe because every header points to memory of #blocks, with its length.
    const sent = libc().sendmmsg(fd, this.#blocks.headers, slots, MSG_DONTWAIT_NOSIGNAL);
    if (sent > 0) {
      this.index = this.#nextMessage[sent - 1]!;
      this.offset = this.#nextPart[sent - 1]!;
    }
    return sent;
  }

  /** Writes name and control data; those depend on the version of the address, in a socket for both as well. */
  #address(slot: number, socket: SocketFamily, message: DatagramOut, length: number): void {
    const { names, controls } = this.#blocks;
    const { to, from, ttl, tos, segmentSize } = message;
    const { level, control, info } = to.address.isV4 ? FAMILY4 : FAMILY6;
    const start = this.#blocks.controlAt(slot);
    let at = start;
    at = putInt(controls, at, { length: 4, level, type: control.ttl }, ttl);
    at = putInt(controls, at, { length: 4, level, type: control.tos }, tos);
    if (from !== null) {
      putHeader(controls, at, { length: info.length, level, type: control.info });
      controls.fill(0, at + CMSG_LEN, at + CMSG_LEN + info.length);
      if (to.address.isV4) from.putV4(controls, at + CMSG_LEN + info.source);
      else from.put(controls, at + CMSG_LEN + info.source);
      at += CMSG_LEN + info.length + 7 & ~7;
    }
    if (segmentSize > 0 && length > segmentSize) {
      putHeader(controls, at, { length: 2, level: IPPROTO_UDP, type: UDP_SEGMENT });
      put16le(controls, at + CMSG_LEN, segmentSize);
      at += INT_SPACE;
    }
    const name = putSockaddr(names, this.#blocks.nameAt(slot), socket.version, to);
    this.#blocks.setLengths(slot, name, at - start);
  }
}

/** Bytes of one call for segments of `size`: whole ones. */
function burstOf(size: number): number {
  return size * Math.max(1, Math.min(SEGMENTS_MAX, Math.floor(BURST_MAX / size)));
}

/** A struct cmsghdr, `length` without itself. */
interface Header {
  readonly length: number;
  readonly level: number;
  readonly type: number;
}

function putInt(controls: Uint8Array, at: number, header: Header, value: number): number {
  putHeader(controls, at, header);
  put32le(controls, at + CMSG_LEN, value);
  return at + INT_SPACE;
}

function putHeader(controls: Uint8Array, at: number, { length, level, type }: Header): void {
  put32le(controls, at, CMSG_LEN + length);
  put32le(controls, at + 4, 0);
  put32le(controls, at + 8, level);
  put32le(controls, at + 12, type);
}

function lengthOf(parts: readonly Uint8Array[]): number {
  let total = 0;
  for (const part of parts) total += part.length;
  return total;
}

/** Copies what is at `offset` of the parts, which are one behind the other, to fill `into`. */
function copyParts(parts: readonly Uint8Array[], offset: number, into: Uint8Array): void {
  let skip = offset;
  let at = 0;
  for (const part of parts) {
    if (at >= into.length) return;
    if (skip >= part.length) {
      skip -= part.length;
      continue;
    }
    const length = Math.min(part.length - skip, into.length - at);
    into.set(length === part.length ? part : part.subarray(skip, skip + length), at);
    at += length;
    skip = 0;
  }
}
