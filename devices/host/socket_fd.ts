/**
 * What sockets of Linux have in common: opened in a namespace, named by struct sockaddr_in, closed once.
 *
 * Path: linux_socket, linux_tcp, linux_dhcp → socket_fd → libc, netns, ip_addr.
 *
 * @module
 */

import { IpAddr, parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { call, EINVAL, holdLibc, HostError, libc, releaseLibc } from "./libc.ts";
import type { Netns } from "./netns.ts";

export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
/** SOCK_NONBLOCK and SOCK_CLOEXEC: what every socket here is. */
export const SOCK_FLAGS = 0o2004000;
export const SOL_SOCKET = 1;
/** Bytes of a struct sockaddr_in. */
export const SOCKADDR_LEN = 16;

const AF_INET = 2;

/** Opens a socket inside `netns` (null: where the program is); it holds libc. Throws {@link HostError}. */
export function openSocket(what: string, type: number, protocol: number, netns: Netns | null): number {
  const open = () => call(`Cannot open a socket for ${what}`, libc().socket(AF_INET, type | SOCK_FLAGS, protocol));
  holdLibc();
  try {
    return netns === null ? open() : netns.run(open);
  } catch (error) {
    releaseLibc();
    throw error;
  }
}

/** Sets an option that is an int. Throws {@link HostError}, which says what was attempted. */
export function setOption(fd: number, attempt: string, level: number, option: number, value: number): void {
  const bytes = new Uint8Array(new Int32Array([value]).buffer);
  // Safe because the length is that of the buffer.
  call(attempt, libc().setsockopt(fd, level, option, bytes, bytes.length));
}

/** struct sockaddr_in: family in host order, port and address in network order. EINVAL: no IPv4 address. */
export function sockaddrIn(addr: string, port: number): Uint8Array<ArrayBuffer> {
  const parsed = parseIpAddr(addr);
  if (parsed === null || !parsed.isV4) throw new HostError(`Cannot use the address "${addr}"`, EINVAL);
  const name = new Uint8Array(SOCKADDR_LEN);
  name[0] = AF_INET;
  name[2] = port >> 8;
  name[3] = port;
  parsed.putV4(name, 4);
  return name;
}

/** Address and port of a struct sockaddr_in. */
export function endOf(name: Uint8Array): { addr: string; port: number } {
  return { addr: `${IpAddr.v4At(name, 4)}`, port: (name[2]! << 8) | name[3]! };
}

/** A socket that a reactor looks after until it is closed. */
export class SocketFd {
  /** The descriptor; -1 when closed. */
  fd: number;
  /** For the reactor. */
  onClose: (() => void) | null = null;

  /** Takes over `fd`, and its hold of libc. */
  constructor(fd: number) {
    this.fd = fd;
  }

  close(): void {
    if (this.fd < 0) return;
    this.onClose?.();
    libc().close(this.fd);
    this.fd = -1;
    releaseLibc();
  }
}
