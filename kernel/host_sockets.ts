/**
 * HostSockets: what the socket uplink needs of an operating system's own sockets. Implemented by devices/host for
 * Linux, and by a fake with virtual time for stories.
 *
 * Path: tools/uplink/uplink → host_sockets → ip_addr, error.
 *
 * Nothing here waits, and nothing throws for what the network or the machine answers: a call returns a count, a socket,
 * or says why not. Readiness is reported on edges: {@link HostSocket.onReady} is called once when a socket may have
 * become readable, writable or broken, and not again until a call of it has answered {@link NOT_NOW}. An owner
 * therefore reads, or writes, until it gets that answer, or remembers by itself that it stopped earlier.
 *
 * @module
 */

import type { ErrnoName } from "./error.ts";
import type { IpAddr } from "./wire/ip_addr.ts";

/** Result of a read or write: nothing is there, or no room; {@link HostSocket.onReady} follows. */
export const NOT_NOW = -1;
/** Result of a read or write: the socket is broken, and its `failure` says how. */
export const FAILED = -2;

/** An error of a socket, by Linux' name; `E` and a number if it has none in our table. */
export type SocketFailure = ErrnoName | `E${number}`;

/** One end of a connection or datagram. */
export interface SocketEnd {
  readonly address: IpAddr;
  /** UDP or TCP port; 0 for echo. */
  readonly port: number;
}

/** An entry of a socket's error queue (ip(7), IP_RECVERR): an ICMP error, or a refusal of the machine's own. */
export interface SocketReport {
  /** The error that Linux made of it. */
  readonly failure: SocketFailure;
  /** Who found it: a router or the destination by ICMP or ICMPv6, or this machine. */
  readonly origin: "icmp" | "local";
  /** ICMP or ICMPv6 type; 0 for a local one. */
  readonly type: number;
  /** ICMP or ICMPv6 code; 0 for a local one. */
  readonly code: number;
  /** MTU of the next hop in bytes where the packet was too big, otherwise 0. */
  readonly mtu: number;
  /** Who sent the ICMP error; null for a local one. */
  readonly offender: IpAddr | null;
  /** Destination of the packet that it is about. */
  readonly to: SocketEnd;
  /**
   * Start of that packet's payload as far as Linux kept it: of UDP the payload, of echo the message from its type on.
   */
  readonly payload: Uint8Array;
}

/** The members of every socket. */
export interface HostSocket {
  /** See the module: called on edges, never inside a call of this socket. */
  onReady: (() => void) | null;
  /** Why it is broken; null while it is not. */
  readonly failure: SocketFailure | null;
  /** Our end, as the machine's others see it. */
  readonly local: SocketEnd;
  /** Takes the oldest entry of its error queue; null: it is empty. */
  takeReport(): SocketReport | null;
  /** Gives the descriptor back; a second time does nothing. */
  close(): void;
}

/** A TCP connection, or the attempt at one. */
export interface HostStream extends HostSocket {
  /** The other end: the destination of connecting, or the caller. */
  readonly remote: SocketEnd;
  /** `connecting` until the handshake ended; `failed` if it was refused, and `failure` says why. */
  readonly state: "connecting" | "connected" | "failed";
  /**
   * Reads into `into`, which has room: a count, 0 at the end of what the peer sends, {@link NOT_NOW}, {@link FAILED}.
   */
  read(into: Uint8Array): number;
  /** Writes a part of the first `count` of `parts`: how many bytes, {@link NOT_NOW}, {@link FAILED}. */
  write(parts: readonly Uint8Array[], count: number): number;
  /** Ends our half: the peer reads to the end. */
  shutdownWrite(): void;
  /** Ends both halves with a reset (SO_LINGER of 0 s), and closes. */
  reset(): void;
  /** TTL of later packets: 0 is the machine's default. Set after a probe's small one. */
  setTtl(ttl: number): void;
}

/** A listening TCP socket. */
export interface HostListener extends HostSocket {
  /** The oldest call that waits, connected; null: none. `shortage`: there is one, and no descriptor for it. */
  accept(): HostStream | "shortage" | null;
}

/** A datagram to send. The parts are read during the call only. */
export interface DatagramOut {
  to: SocketEnd;
  /** Source address; null: the route's. */
  from: IpAddr | null;
  /** UDP payload, or the echo message from its type on, in one or more pieces. */
  parts: readonly Uint8Array[];
  ttl: number;
  /** TOS or traffic class, all 8 bits. */
  tos: number;
  /** IPv4: Don't Fragment. IPv6: not to be fragmented here (RFC 3542 11.2). */
  dontFragment: boolean;
  /** Above 0: the payload is datagrams of this many bytes, all but the last, one behind the other (UDP_SEGMENT). */
  segmentSize: number;
}

/** A datagram that came. It and its payload are valid during the call only. */
export interface DatagramIn {
  readonly from: SocketEnd;
  /** The destination address that it came to. */
  readonly to: IpAddr;
  readonly payload: Uint8Array;
  readonly ttl: number;
  readonly tos: number;
  /** As in {@link DatagramOut}, joined by UDP_GRO. */
  readonly segmentSize: number;
}

/** An unconnected UDP socket, or a ping socket. */
export interface HostDatagrams extends HostSocket {
  /**
   * Sends the first `count` of `messages` in order: how many the machine took. If that is fewer, `refusal` says why the
   * next one was not taken: null for {@link NOT_NOW}. An error of an earlier message is never the answer for a later
   * one: it is left for {@link HostSocket.takeReport}, and the message is tried again (udp(7): a pending error is
   * reported by the next call, whatever its destination).
   */
  send(messages: readonly DatagramOut[], count: number): number;
  /** See {@link send}. */
  readonly refusal: SocketFailure | null;
  /** Hands at most `max` datagrams to `sink`: how many. Fewer than `max`: there are no more, and onReady follows. */
  receive(sink: (datagram: DatagramIn) => void, max: number): number;
}

/** How a connection is made. */
export interface ConnectRequest {
  readonly to: SocketEnd;
  /** Source address, or null for the route's. */
  readonly from: IpAddr | null;
  /** TTL or hop limit of the SYN; 0 is the machine's default. */
  readonly ttl: number;
  /** DSCP in the upper six bits; the lower two are ECN and are not taken. */
  readonly tos: number;
}

/** Where a socket is bound. */
export interface BindRequest {
  /** IP version of a socket at every address. */
  readonly version: 4 | 6;
  /** An address of the machine; null: every one. */
  readonly address: IpAddr | null;
  /** 0: any free one. */
  readonly port: number;
  /** With version 6 and no address: IPv4 too, whose callers are shown as IPv4. */
  readonly dualStack?: boolean;
  /** Name of an interface; left out: every one. */
  readonly device?: string;
}

/** The sockets of a machine. Each call answers with a socket, or with the name of the error that there is none. */
export interface HostSockets {
  /** Begins a TCP connection; its `state` and `onReady` tell how it goes. */
  connect(request: ConnectRequest): HostStream | SocketFailure;
  /** Listens for TCP. */
  listen(request: BindRequest): HostListener | SocketFailure;
  /** Opens a UDP port. */
  datagrams(request: BindRequest): HostDatagrams | SocketFailure;
  /**
   * Opens a ping socket (icmp(7)); the kernel chooses its identifier. EACCES: ping_group_range leaves this process out.
   */
  echo(version: 4 | 6, from: IpAddr | null): HostDatagrams | SocketFailure;
  /** Whether `address` is one of the machine's own, now; broadcast and group addresses are not. */
  isLocal(address: IpAddr): boolean;
}
