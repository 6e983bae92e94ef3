/**
 * Endpoint: somebody with sockets: the guest, the remote, the host. The guest's steps are written for any of them.
 *
 * Path: guest_steps, kernel_endpoint, socket_endpoint → endpoint.
 *
 * @module
 */

/** A connection. */
export interface ByteConn {
  /** The other end as `addr!port`. */
  readonly remote: string;
  /** Some bytes, valid until the next read; null at the end. */
  read(): Promise<Uint8Array | null>;
  /** Everything is taken when it settles. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends our half. */
  closeWrite(): Promise<void>;
  close(): void;
}

/** Who told of a packet that did not get where it was sent. */
export interface IcmpReport {
  readonly from: string;
  /** Type and code of the ICMP message. */
  readonly type: number;
  readonly code: number;
}

/** How a datagram is sent. */
export interface SendOptions {
  readonly ttl?: number;
  readonly tos?: number;
  /** Local port. */
  readonly local?: number;
}

/** A place where services run. */
export interface Service {
  close(): void;
}

/** Somebody. */
export interface Endpoint {
  readonly name: string;
  readonly address: string;
  /** What went wrong in its services. */
  readonly errors: readonly string[];
  /** Answers every datagram to `port` with what `answer` makes of it (null: nothing). */
  serveUdp(port: number, answer: (bytes: Uint8Array) => Uint8Array | null, options?: SendOptions): Promise<Service>;
  /** Runs `talk` for each call to `port`. */
  serveTcp(port: number, talk: (conn: ByteConn) => Promise<void>): Promise<Service>;
  /** Sends a datagram and answers what comes back; throws {@link Refused} or TimedOut. */
  exchange(addr: string, port: number, payload: Uint8Array, options?: SendOptions): Promise<Uint8Array>;
  /** One echo request; what its answer carries. */
  ping(addr: string, id: number, payload: Uint8Array): Promise<Uint8Array>;
  /** Connects; throws {@link Refused}. */
  dial(addr: string, port: number): Promise<ByteConn>;
  /** Sends a datagram that dies on its way, and answers who told. */
  probe(addr: string, port: number, ttl: number): Promise<IcmpReport>;
}

/** Nobody is at that port: a reset, or port unreachable. */
export class Refused extends Error {
  override readonly name = "Refused";
}
