/**
 * Sockets of Linux for the tools: opened in a namespace, named by struct sockaddr_in or sockaddr_in6.
 *
 * Path: linux_socket, linux_tcp, linux_dhcp → socket_fd → libc, netns, family.
 *
 * @module
 */

import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { call, EINVAL, holdLibc, HostError, libc, releaseLibc } from "./libc.ts";
import type { Netns } from "./netns.ts";
import { sockaddrAt, sockaddrOf, socketFamily } from "./sockets/family.ts";

export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
/** SOCK_NONBLOCK and SOCK_CLOEXEC: what every socket here is. */
export const SOCK_FLAGS = 0o2004000;
export const SOL_SOCKET = 1;

const IPV6_V6ONLY = 26;

/** Which socket is opened. */
export interface SocketKind {
  /** Completes "Cannot open a socket for …". */
  readonly what: string;
  readonly type: number;
  readonly protocol: number;
  /** The version of IP that it is for, and for no other. Default 4. */
  readonly version?: 4 | 6;
}

/** Opens a socket inside `netns` (null: where the program is); it holds libc. Throws {@link HostError}. */
export function openSocket({ what, type, protocol, version = 4 }: SocketKind, netns: Netns | null): number {
  const attempt = `Cannot open a socket for ${what}`;
  const family = socketFamily(version);
  const open = () => {
    const fd = call(attempt, libc().socket(family.domain, type | SOCK_FLAGS, protocol));
    // So that one of IPv4 may have the same port; a raw one has none, and Linux refuses this.
    if (version === 6 && type !== SOCK_RAW) {
      setOption(fd, { level: family.level, option: IPV6_V6ONLY, value: 1 }, attempt);
    }
    return fd;
  };
  holdLibc();
  try {
    return netns === null ? open() : netns.run(open);
  } catch (error) {
    releaseLibc();
    throw error;
  }
}

/** An option of a socket that is an int. */
interface IntOption {
  readonly level: number;
  readonly option: number;
  readonly value: number;
}

/** Sets an option. Throws {@link HostError}, which says what was attempted. */
export function setOption(fd: number, { level, option, value }: IntOption, attempt: string): void {
  const bytes = new Uint8Array(new Int32Array([value]).buffer);
  // Safe because the length is that of the buffer.
  call(attempt, libc().setsockopt(fd, level, option, bytes, bytes.length));
}

/**
 * struct sockaddr_in, or sockaddr_in6 for an IPv6 address: family in host order, port and address in network order.
 * EINVAL: no IP address.
 */
export function sockaddr(addr: string, port: number): Uint8Array<ArrayBuffer> {
  const address = parseIpAddr(addr);
  if (address === null) throw new HostError(`Cannot use the address "${addr}"`, EINVAL);
  return sockaddrOf(address.isV4 ? 4 : 6, { address, port });
}

/** Address and port of a struct sockaddr_in or sockaddr_in6. */
export function endOf(name: Uint8Array): { addr: string; port: number } {
  const { address, port } = sockaddrAt(name, 0)!;
  return { addr: `${address}`, port };
}
