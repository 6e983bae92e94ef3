/**
 * Endpoint: a station with sockets: the guest, the remote, the host. The steps are written for any of them.
 *
 * Path: guest_steps, kernel_endpoint, socket_endpoint → endpoint → ip_family.
 *
 * @module
 */

import type { IpVersion, PerVersion } from "./ip_family.ts";

/** A connection. */
export interface ByteConn {
  /** The other end as `addr!port`. */
  readonly remote: string;
  /** Some bytes, valid until the next read; null at the end. */
  read(): Promise<Uint8Array | null>;
  /** Settles when every byte has been taken. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends our half. */
  closeWrite(): Promise<void>;
  close(): void;
}

/** An ICMP error about a packet that was not delivered. */
export interface IcmpReport {
  /** The station that sent it. */
  readonly from: string;
  /** Type and code of the ICMP message. */
  readonly type: number;
  readonly code: number;
}

/** How a datagram is sent. */
export interface SendOptions {
  /** TTL, or hop limit. */
  readonly ttl?: number;
  /** TOS, or traffic class. */
  readonly tos?: number;
  /** Local port. */
  readonly local?: number;
}

/** A UDP service. */
export interface UdpService {
  readonly port: number;
  /** The versions of IP that it is reached by. */
  readonly versions: readonly IpVersion[];
  /** TOS, or traffic class, of its answers. */
  readonly tos?: number;
  /** The answer to a datagram; null: none. */
  answer(bytes: Uint8Array): Uint8Array | null;
}

/** A TCP service. */
export interface TcpService {
  readonly port: number;
  readonly version: IpVersion;
  /** Serves one connection. */
  talk(conn: ByteConn): Promise<void>;
}

/** A service that runs. */
export interface Service {
  close(): void;
}

/** See above. */
export interface Endpoint {
  readonly name: string;
  /** Its address of each version; empty: none, yet. */
  readonly addresses: PerVersion<string>;
  /** What went wrong in its services. */
  readonly errors: readonly string[];
  serveUdp(service: UdpService): Promise<Service>;
  serveTcp(service: TcpService): Promise<Service>;
  /** Sends a datagram and returns the answer; throws {@link Refused} or TimedOut. */
  exchange(addr: string, port: number, payload: Uint8Array, options?: SendOptions): Promise<Uint8Array>;
  /** Sends one echo request; returns what its answer carries. Throws TimedOut. */
  ping(addr: string, id: number, payload: Uint8Array): Promise<Uint8Array>;
  /** Connects; throws {@link Refused}. */
  dial(addr: string, port: number): Promise<ByteConn>;
  /** Sends a datagram that is dropped on its way, and returns the ICMP error about it. */
  probe(addr: string, port: number, ttl: number): Promise<IcmpReport>;
  /** The hardware address that it has found for `addr`, as it writes it; null: none (yet). */
  neighbor(addr: string): Promise<string | null>;
}

/** The port has no service: a reset, or port unreachable. */
export class Refused extends Error {
  override readonly name = "Refused";
}
