/**
 * IcmpFault: what can be wrong with a packet that arrived, and how its sender is notified.
 *
 * Path: deliver, network/forward, icmp_errors → icmp_fault → packet/packet.
 *
 * @module
 */

import type { InputPacket } from "./packet.ts";

/** What went wrong with a packet. */
export const IcmpFault = {
  NoRoute: 0,
  Host: 1,
  Protocol: 2,
  Port: 3,
  /** `rest` is the MTU of the next hop (RFC 1191 4, RFC 4443 3.2). */
  TooBig: 4,
  /** TTL or hop limit used up. */
  Hops: 5,
  Reassembly: 6,
  /** IPv6 only: a field makes no sense; `rest` says where, in bytes from the header. */
  Header: 7,
  /** IPv6 only: an option is not known; `rest` says where. */
  Option: 8,
} as const;
export type IcmpFault = typeof IcmpFault[keyof typeof IcmpFault];

/** ICMP errors of one version. */
export interface IcmpErrorCounts {
  readonly sent: number;
  /** The same, by ICMP type. */
  readonly byType: readonly number[];
  /** Not sent: too many. */
  readonly suppressed: number;
}

/** Sends ICMP errors about packets that arrived. */
export interface IcmpReporter {
  /** Notifies the sender of `packet`, where an error may be sent; the packet stays the caller's. */
  report(packet: InputPacket, fault: IcmpFault, rest?: number): void;
  /** What became of them, by version. */
  readonly v4: IcmpErrorCounts;
  readonly v6: IcmpErrorCounts;
}
