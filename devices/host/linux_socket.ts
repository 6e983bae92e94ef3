/**
 * Sockets of Linux' own stack, opened in a network namespace: the other side of a TAP or TUN, without any tool
 * installed.
 *
 * Path: benches, linux_dhcp, linux_sockets → linux_socket → libc, socket_fd, netns, pollable.
 *
 * Nothing here waits: `receive` returns null when nothing is there. A reactor says when there is something.
 *
 * @module
 */

import { call, EAGAIN, lastErrno, libc } from "./libc.ts";
import type { Netns } from "./netns.ts";
import type { Pollable } from "./pollable.ts";
import {
  endOf,
  openSocket,
  setOption,
  SOCK_DGRAM,
  SOCK_RAW,
  sockaddr,
  type SocketKind,
  SOL_SOCKET,
} from "./socket_fd.ts";
import { PolledFd } from "./polled_fd.ts";
import { SOCKADDR_LEN } from "./sockets/family.ts";

const IPPROTO_ICMP = 1;
const IPPROTO_UDP = 17;
const IPPROTO_ICMPV6 = 58;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
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

/**
 * A datagram socket of Linux. ICMP sockets carry ICMP messages; those that they receive have their IP header in IPv4,
 * and none in IPv6 (RFC 3542 3).
 */
export class LinuxSocket extends PolledFd implements Pollable {
  /** Takes each message that a reactor finds. */
  onMessage: ((message: Received) => void) | null = null;
  /** Called for the error that an earlier message met, such as ECONNREFUSED: port unreachable, if it is connected. */
  onError: ((errno: number) => void) | null = null;
  #buffer = new Uint8Array(MESSAGE_MAX);
  #from = new Uint8Array(SOCKADDR_LEN);

  /** Opens it inside `netns` (null: where the program is). Throws {@link HostError}: EPERM for a raw socket. */
  constructor(kind: "udp" | "icmp", netns: Netns | null, version: 4 | 6 = 4) {
    super(openSocket(kindOf(kind, version), netns));
    // A smaller buffer than asked for is no error: Linux limits it silently.
    for (const option of [SO_SNDBUF, SO_RCVBUF]) {
      setOption(this.fd, { level: SOL_SOCKET, option, value: SOCKET_BUFFER }, "Cannot size a socket's buffer");
    }
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
    return { bytes: this.#buffer.slice(0, count), ...endOf(this.#from) };
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
}

function kindOf(kind: "udp" | "icmp", version: 4 | 6): SocketKind {
  if (kind === "udp") return { what: kind, type: SOCK_DGRAM, protocol: IPPROTO_UDP, version };
  return { what: kind, type: SOCK_RAW, protocol: version === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, version };
}
