/**
 * Sockets of Linux' own stack, opened in a network namespace: the other side of a TAP or TUN, without any tool
 * installed.
 *
 * Path: scenario, tests → linux_socket → libc. Manuals: udp(7), raw(7), icmp(7).
 *
 * Everything is IPv4 and never waits: `receive` answers null when nothing is there. A reactor says when there is
 * something.
 *
 * @module
 */

import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { call, EAGAIN, EINVAL, holdLibc, HostError, lastErrno, libc, releaseLibc } from "./libc.ts";
import type { Netns } from "./netns.ts";
import type { Pollable } from "./reactor.ts";

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const IPPROTO_ICMP = 1;
const IPPROTO_UDP = 17;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SOCKADDR_LEN = 16;
/** Longest message that is received whole: the largest IP packet. */
const MESSAGE_MAX = 65536;
/** Bytes of socket buffer asked for: bursts of the largest datagrams fit. */
const SOCKET_BUFFER = 1 << 20;

/** A message and where it came from. */
export interface Received {
  readonly bytes: Uint8Array;
  readonly addr: string;
  readonly port: number;
}

/** A datagram socket of Linux; ICMP sockets carry ICMP messages and receive them with their IP header. */
export class LinuxSocket implements Pollable {
  /** The descriptor, for the reactor; -1 when closed. */
  fd: number;
  /** Takes each message that a reactor finds. */
  onMessage: ((message: Received) => void) | null = null;
  /** Told of the error that an earlier message met, such as ECONNREFUSED: a port unreachable, if it is connected. */
  onError: ((errno: number) => void) | null = null;
  /** For the reactor. */
  onClose: (() => void) | null = null;
  #buffer = new Uint8Array(MESSAGE_MAX);
  #from = new Uint8Array(SOCKADDR_LEN);

  /** Opens it inside `netns` (null: where the program is). Throws {@link HostError}: EPERM for a raw socket. */
  constructor(kind: "udp" | "icmp", netns: Netns | null) {
    holdLibc();
    const open = () => {
      const type = (kind === "udp" ? SOCK_DGRAM : SOCK_RAW) | SOCK_NONBLOCK | SOCK_CLOEXEC;
      const protocol = kind === "udp" ? IPPROTO_UDP : IPPROTO_ICMP;
      return call(`Cannot open a socket for ${kind}`, libc().socket(AF_INET, type, protocol));
    };
    try {
      this.fd = netns === null ? open() : netns.run(open);
    } catch (error) {
      releaseLibc();
      throw error;
    }
    for (const option of [SO_SNDBUF, SO_RCVBUF]) this.#setBuffer(option);
  }

  #setBuffer(option: number): void {
    // A smaller buffer than asked for is no error: Linux limits it silently.
    const value = new Uint8Array(new Int32Array([SOCKET_BUFFER]).buffer);
    call("Cannot size a socket's buffer", libc().setsockopt(this.fd, SOL_SOCKET, option, value, value.length));
  }

  /** Gives it a local end; throws {@link HostError}: EADDRINUSE, EADDRNOTAVAIL. */
  bind(addr: string, port: number): void {
    const name = sockaddr(addr, port);
    call(`Cannot bind ${addr}!${port}`, libc().bind(this.fd, name, name.length));
  }

  /** Sends one message whole; false if Linux has no room for it now. Throws {@link HostError} for any other refusal. */
  sendTo(bytes: Uint8Array, addr: string, port: number): boolean {
    const name = sockaddr(addr, port);
    const attempt = `Cannot send ${bytes.length} bytes to ${addr}!${port}`;
    const data = bytes as Uint8Array<ArrayBuffer>;
    // Safe because both lengths are those of the views, and C keeps neither.
    const sent = libc().sendto(this.fd, data, BigInt(bytes.length), 0, name, name.length);
    if (sent < 0 && lastErrno() === EAGAIN) return false;
    call(attempt, sent);
    return true;
  }

  /** The next message, or null. */
  receive(): Received | null {
    const length = new Uint8Array(new Int32Array([SOCKADDR_LEN]).buffer);
    // Safe because the lengths are those of the buffers.
    const count = libc().recvfrom(this.fd, this.#buffer, BigInt(MESSAGE_MAX), 0, this.#from, length);
    if (count < 0) {
      const errno = lastErrno();
      if (errno !== EAGAIN) this.onError?.(errno);
      return null;
    }
    const from = this.#from;
    return {
      bytes: this.#buffer.slice(0, count),
      addr: `${from[4]}.${from[5]}.${from[6]}.${from[7]}`,
      port: (from[2]! << 8) | from[3]!,
    };
  }

  /** For the reactor: hands on what is there. */
  drain(max: number): number {
    let count = 0;
    while (count < max) {
      const message = this.receive();
      if (message === null) break;
      this.onMessage?.(message);
      count++;
    }
    return count;
  }

  close(): void {
    if (this.fd < 0) return;
    this.onClose?.();
    libc().close(this.fd);
    this.fd = -1;
    releaseLibc();
  }
}

/** struct sockaddr_in: family in host order, port and address in network order. */
function sockaddr(addr: string, port: number): Uint8Array<ArrayBuffer> {
  const parsed = parseIpAddr(addr);
  if (parsed === null || !parsed.isV4) throw new HostError(`Cannot use the address "${addr}"`, EINVAL);
  const name = new Uint8Array(SOCKADDR_LEN);
  name[0] = AF_INET;
  name[2] = port >> 8;
  name[3] = port;
  parsed.putV4(name, 4);
  return name;
}
