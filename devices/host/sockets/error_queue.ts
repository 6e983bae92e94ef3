/**
 * The error queue of a socket (ip(7), IP_RECVERR): ICMP errors about what it sent, and refusals of the machine's own.
 *
 * Path: stream, datagrams → error_queue → libc, message_blocks, family.
 *
 * @module
 */

import { errnoName } from "../../../kernel/error.ts";
import type { SocketReport } from "../../../kernel/host_sockets.ts";
import { get32le } from "../../../kernel/wire/bytes.ts";
import { libc } from "../libc.ts";
import { CMSG_LEN, MessageBlocks } from "./message_blocks.ts";
import { FAMILY4, FAMILY6, sockaddrAt } from "./family.ts";

const MSG_ERRQUEUE_DONTWAIT = 0x2040;
/** Bytes of a payload that are kept: Linux keeps fewer. */
const PAYLOAD_MAX = 2048;
/** struct sock_extended_err (linux/errqueue.h), and the struct sockaddr of the offender behind it. */
const EE_ORIGIN = 4;
const EE_TYPE = 5;
const EE_CODE = 6;
const EE_INFO = 8;
const EE_LEN = 16;
const ORIGIN_LOCAL = 1;
const ORIGIN_ICMP = 2;
const ORIGIN_ICMP6 = 3;
const EMSGSIZE = 90;

let blocks: MessageBlocks | null = null;

/** Takes the oldest entry that is an error; null: there is none. */
export function nextReport(fd: number): SocketReport | null {
  const room = blocks ??= new MessageBlocks(1, PAYLOAD_MAX);
  for (;;) {
    room.setRoom(0);
    room.setPayload(0, 0, PAYLOAD_MAX);
    // Safe because the one struct msghdr points to memory of `room`, with its lengths.
    const count = libc().recvmsg(fd, room.headers, MSG_ERRQUEUE_DONTWAIT);
    if (count < 0) return null;
    const report = reportOf(room, count);
    // Time stamps and the like are no errors; no socket here asks for them.
    if (report !== null) return report;
  }
}

function reportOf(room: MessageBlocks, count: number): SocketReport | null {
  const at = extendedErrorAt(room);
  if (at < 0) return null;
  const { controls } = room;
  const origin = controls[at + EE_ORIGIN]!;
  if (origin !== ORIGIN_LOCAL && origin !== ORIGIN_ICMP && origin !== ORIGIN_ICMP6) return null;
  const isLocal = origin === ORIGIN_LOCAL;
  const errno = get32le(controls, at);
  const to = sockaddrAt(room.names, 0);
  if (to === null) return null;
  return {
    failure: errnoName(errno),
    origin: isLocal ? "local" : "icmp",
    type: isLocal ? 0 : controls[at + EE_TYPE]!,
    code: isLocal ? 0 : controls[at + EE_CODE]!,
    mtu: errno === EMSGSIZE ? get32le(controls, at + EE_INFO) : 0,
    offender: isLocal ? null : sockaddrAt(controls, at + EE_LEN)?.address ?? null,
    to,
    payload: room.payload.slice(0, count),
  };
}

/** Where the struct sock_extended_err begins in the control data; -1: there is none. */
function extendedErrorAt(room: MessageBlocks): number {
  const { controls } = room;
  const end = room.controlLengthOf(0);
  for (let at = 0; at + CMSG_LEN <= end;) {
    const length = get32le(controls, at);
    if (length < CMSG_LEN) return -1;
    const level = get32le(controls, at + 8);
    const type = get32le(controls, at + 12);
    for (const { level: own, control } of [FAMILY4, FAMILY6]) {
      if (level === own && type === control.errors && length >= CMSG_LEN + EE_LEN) return at + CMSG_LEN;
    }
    at += length + 7 & ~7;
  }
  return -1;
}
