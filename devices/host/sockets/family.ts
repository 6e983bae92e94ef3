/**
 * The two families of Linux' internet sockets as two records, and struct sockaddr both ways.
 *
 * Path: linux_sockets, stream, listener, datagrams, error_queue → family → ip_addr.
 *
 * An IPv4 address in a socket of IPv6 is an IPv4-mapped one (RFC 4291 2.5.5.2), which is how {@link IpAddr} carries it
 * anyway.
 *
 * @module
 */

import type { SocketEnd } from "../../../kernel/host_sockets.ts";
import { get16, put16, put16le } from "../../../kernel/wire/bytes.ts";
import { IP_UNSPECIFIED, IpAddr, IPV4_UNSPECIFIED } from "../../../kernel/wire/ip_addr.ts";

const AF_INET = 2;
const AF_INET6 = 10;
/** Bytes of a struct sockaddr_in6, the longer of the two. */
export const SOCKADDR_LEN = 28;
const SOCKADDR_IN_LEN = 16;

/** What differs between sockets of the two versions of IP: numbers of ip(7) and ipv6(7). */
export interface SocketFamily {
  readonly version: 4 | 6;
  readonly domain: number;
  /** Level of its options and control messages. */
  readonly level: number;
  readonly unspecified: IpAddr;
  /** Protocol of its ping sockets. */
  readonly icmp: number;
  /** Options of the socket. */
  readonly options: {
    readonly ttl: number;
    readonly tos: number;
    readonly mtuDiscover: number;
    readonly receiveErrors: number;
    readonly receiveTtl: number;
    readonly receiveTos: number;
    readonly receiveInfo: number;
  };
  /** Control messages of one datagram; `errors` comes from the error queue. */
  readonly control: { readonly ttl: number; readonly tos: number; readonly info: number; readonly errors: number };
  /** struct in_pktinfo or in6_pktinfo: its length, and where the source to send from and the destination stand. */
  readonly info: { readonly length: number; readonly source: number; readonly destination: number };
}

/** IPv4. */
export const FAMILY4: SocketFamily = {
  version: 4,
  domain: AF_INET,
  level: 0,
  unspecified: IPV4_UNSPECIFIED,
  icmp: 1,
  options: {
    ttl: 2,
    tos: 1,
    mtuDiscover: 10,
    receiveErrors: 11,
    receiveTtl: 12,
    receiveTos: 13,
    receiveInfo: 8,
  },
  control: { ttl: 2, tos: 1, info: 8, errors: 11 },
  info: { length: 12, source: 4, destination: 8 },
};

/** IPv6. */
export const FAMILY6: SocketFamily = {
  version: 6,
  domain: AF_INET6,
  level: 41,
  unspecified: IP_UNSPECIFIED,
  icmp: 58,
  options: {
    ttl: 16,
    tos: 67,
    mtuDiscover: 23,
    receiveErrors: 25,
    receiveTtl: 51,
    receiveTos: 66,
    receiveInfo: 49,
  },
  control: { ttl: 52, tos: 67, info: 50, errors: 25 },
  info: { length: 20, source: 0, destination: 0 },
};

/** The family of a version. */
export function socketFamily(version: 4 | 6): SocketFamily {
  return version === 4 ? FAMILY4 : FAMILY6;
}

/** Writes a struct sockaddr_in or sockaddr_in6 at `at`, where bytes that it leaves out are 0; returns its length. */
export function putSockaddr(into: Uint8Array, at: number, version: 4 | 6, end: SocketEnd): number {
  put16le(into, at, version === 4 ? AF_INET : AF_INET6);
  put16(into, at + 2, end.port);
  if (version === 4) end.address.putV4(into, at + 4);
  else end.address.put(into, at + 8);
  return version === 4 ? SOCKADDR_IN_LEN : SOCKADDR_LEN;
}

/** A struct sockaddr_in or sockaddr_in6 of its own. */
export function sockaddrOf(version: 4 | 6, end: SocketEnd): Uint8Array<ArrayBuffer> {
  const name = new Uint8Array(SOCKADDR_LEN);
  return name.subarray(0, putSockaddr(name, 0, version, end));
}

/** The end that a struct sockaddr names; null if it is none of IP. */
export function sockaddrAt(bytes: Uint8Array, at: number): SocketEnd | null {
  const domain = bytes[at];
  if (domain === AF_INET) return { address: IpAddr.v4At(bytes, at + 4), port: get16(bytes, at + 2) };
  if (domain === AF_INET6) return { address: IpAddr.at(bytes, at + 8), port: get16(bytes, at + 2) };
  return null;
}
