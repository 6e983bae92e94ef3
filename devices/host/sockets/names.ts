/**
 * Names of sockets: struct sockaddr_in and sockaddr_in6, both ways, for addresses as numbers.
 *
 * Path: stream, listener, datagrams, error_queue → names → ip_addr, libc.
 *
 * @module
 */

import type { SocketEnd } from "../../../kernel/host_sockets.ts";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { libc } from "../libc.ts";

export const AF_INET = 2;
export const AF_INET6 = 10;
/** Bytes of a struct sockaddr_in, and of a struct sockaddr_in6. */
const IN_LEN = 16;
export const IN6_LEN = 28;

/** Writes the name of `address` and `port` for a socket of `version` at `at`; returns its length. */
export function putName(version: 4 | 6, { address, port }: SocketEnd, buf: Uint8Array, at: number): number {
  const length = version === 4 ? IN_LEN : IN6_LEN;
  buf.fill(0, at, at + length);
  buf[at] = version === 4 ? AF_INET : AF_INET6;
  buf[at + 2] = port >> 8;
  buf[at + 3] = port;
  if (version === 4) address.putV4(buf, at + 4);
  else address.put(buf, at + 8);
  return length;
}

/** The name as bytes of their own. */
export function nameOf(version: 4 | 6, end: SocketEnd): Uint8Array<ArrayBuffer> {
  const name = new Uint8Array(version === 4 ? IN_LEN : IN6_LEN);
  putName(version, end, name, 0);
  return name;
}

/** The end that the name at `at` says; null if it is of neither version. A mapped address is one of IPv4. */
export function endAt(buf: Uint8Array, at: number): SocketEnd | null {
  const family = buf[at]! | (buf[at + 1]! << 8);
  const port = (buf[at + 2]! << 8) | buf[at + 3]!;
  if (family === AF_INET) return { address: IpAddr.v4At(buf, at + 4), port };
  return family === AF_INET6 ? { address: IpAddr.at(buf, at + 8), port } : null;
}

/** The socket's own end; null if it has none. */
export function ownEnd(fd: number): SocketEnd | null {
  const name = new Uint8Array(IN6_LEN);
  const length = new Uint8Array(new Int32Array([IN6_LEN]).buffer);
  // Safe because the length is that of the buffer.
  return libc().getsockname(fd, name, length) < 0 ? null : endAt(name, 0);
}
