/**
 * Calls on a socket's descriptor that answer with an error's number, and throw nothing.
 *
 * Path: linux_sockets, stream, listener, datagrams → calls → libc, netns, family.
 *
 * @module
 */

import { errnoName } from "../../../kernel/error.ts";
import type { SocketEnd, SocketFailure } from "../../../kernel/host_sockets.ts";
import { cString, lastErrno, libc } from "../libc.ts";
import type { Netns } from "../netns.ts";
import { SOCKADDR_LEN, sockaddrAt, sockaddrOf, type SocketFamily } from "./family.ts";

/** SOCK_NONBLOCK and SOCK_CLOEXEC: what every socket here is. */
export const NONBLOCK_CLOEXEC = 0x8_0800;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_BINDTODEVICE = 25;
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
/** States of a TCP socket (linux/tcp_states.h). */
const TCP_SYN_SENT = 2;
const TCP_SYN_RECV = 3;
const TCP_CLOSE = 7;

/** An option that is an int, and its value. */
export type Option = readonly [level: number, name: number, value: number];

const value = new Int32Array(1);
const valueBytes = new Uint8Array(value.buffer);
const length = new Uint32Array(1);
const lengthBytes = new Uint8Array(length.buffer);
const name = new Uint8Array(SOCKADDR_LEN);

/** Which socket is opened. */
interface SocketType {
  readonly family: SocketFamily;
  readonly type: number;
  readonly protocol: number;
}

/** Opens a socket inside `netns` (null: where the program is): a descriptor, or an error's number below 0. */
export function openInside(netns: Netns | null, { family, type, protocol }: SocketType): number {
  const open = () => {
    const fd = libc().socket(family.domain, type | NONBLOCK_CLOEXEC, protocol);
    return fd >= 0 ? fd : -lastErrno();
  };
  return netns === null ? open() : netns.run(open);
}

/** Sets an option; the error's number, or 0. */
export function setInt(fd: number, option: Option): number {
  value[0] = option[2];
  // Safe because the length is that of the one int.
  return libc().setsockopt(fd, option[0], option[1], valueBytes, 4) < 0 ? lastErrno() : 0;
}

/** Sets options that Linux may lack or limit: one that is refused leaves the socket as useful as it can be. */
export function setInts(fd: number, options: readonly Option[]): void {
  for (const option of options) setInt(fd, option);
}

/** Takes the error that is pending; 0: none. */
export function takeError(fd: number): number {
  length[0] = 4;
  // Safe because the length is that of the one int.
  if (libc().getsockopt(fd, SOL_SOCKET, SO_ERROR, valueBytes, lengthBytes) < 0) return lastErrno();
  return value[0]!;
}

/** Whether a TCP socket has a connection that stands, or stood until one side ended it: not while it connects. */
export function isEstablished(fd: number): boolean {
  length[0] = 4;
  // Safe because the length is that of the one int. The state is the first byte of struct tcp_info.
  if (libc().getsockopt(fd, IPPROTO_TCP, TCP_INFO, valueBytes, lengthBytes) < 0) return false;
  const state = valueBytes[0];
  return state !== TCP_SYN_SENT && state !== TCP_SYN_RECV && state !== TCP_CLOSE;
}

/** Binds a socket; the error's number, or 0. */
export function bindTo(fd: number, family: SocketFamily, end: SocketEnd): number {
  const bytes = sockaddrOf(family.version, end);
  // Safe because the length is that of the struct.
  return libc().bind(fd, bytes, bytes.length) < 0 ? lastErrno() : 0;
}

/** Lets a socket use one interface only; the error's number, or 0. */
export function bindToDevice(fd: number, device: string): number {
  const text = cString(device);
  // Safe because the length is that of the text.
  return libc().setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, text, text.length) < 0 ? lastErrno() : 0;
}

/** The local end of a socket; null: it is closed. */
export function localEnd(fd: number): SocketEnd | null {
  length[0] = SOCKADDR_LEN;
  // Safe because the buffer is as long as the length says.
  return libc().getsockname(fd, name, lengthBytes) < 0 ? null : sockaddrAt(name, 0);
}

/** Closes `fd`, and answers with the name of `errno`: the end of a call that failed half way. */
export function abandonWith(fd: number, errno: number): SocketFailure {
  libc().close(fd);
  return errnoName(errno);
}
