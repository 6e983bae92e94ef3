/**
 * The peers of {@link FakeDatagrams} and {@link FakeStreams}: what they answer, and what the way to them does.
 *
 * @module
 */

import type { ErrnoName } from "../../../kernel/error.ts";
import type { SocketEnd, SocketFailure, SocketReport } from "../../../kernel/host_sockets.ts";
import { setIcmpChecksum } from "../../../kernel/wire/icmp.ts";
import { setIcmp6Checksum } from "../../../kernel/wire/icmp6.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { ip } from "../ip/ip_fixture.ts";

/** How much of a datagram's payload an error brings back. */
export const QUOTE_MAX = 520;

/** What a socket sent, as the network sees it: a burst is as many of them. */
export interface Sent {
  readonly kind: "udp" | "echo";
  /** `address!port` of both ends; of echo the port is the identifier, and 0. */
  readonly from: string;
  readonly to: string;
  readonly payload: Uint8Array;
  readonly ttl: number;
  readonly tos: number;
  readonly dontFragment: boolean;
}

/** An error that something on the way sends back. */
export interface FakeError {
  readonly type: number;
  readonly code: number;
  readonly mtu?: number;
  /** Address of the sender; left out: the machine itself found it. */
  readonly offender?: string;
}

/** A host, or all of a port of a host, or the way to it. What is left out is silence. */
export interface FakePeer {
  /** What it answers, each with the same delay. */
  readonly answer?: (sent: Sent) => readonly FakeAnswer[];
  readonly error?: FakeError;
  /** The machine does not take datagrams to it. */
  readonly refusal?: SocketFailure;
  /** Routers on the way to it, by address. */
  readonly hops?: readonly string[];
  /** Largest packet on the way, and who says so; null: the machine itself. */
  readonly mtu?: { readonly size: number; readonly by: string | null };
  /** Time to it and back. */
  readonly delayMs?: number;
}

/** A datagram that comes to a socket. */
export interface FakeAnswer {
  readonly payload: Uint8Array;
  /** `address!port`; left out: who was asked. */
  readonly from?: string;
  readonly ttl?: number;
  readonly tos?: number;
  readonly segmentSize?: number;
}

/** A peer that sends back what it gets, with the TOS it came with. */
export const ECHOES: FakePeer = { answer: ({ payload, tos }) => [{ payload, tos }] };

/** `address!port`. */
export function shownEnd({ address, port }: SocketEnd): string {
  return `${address}!${port}`;
}

/** The end that `address!port` spells. */
export function endOf(text: string): SocketEnd {
  const [address, port] = text.split("!");
  return { address: ip(address!), port: Number(port ?? 0) };
}

/** Bytes of IP and UDP header. */
export function headersLen(isV4: boolean): number {
  return isV4 ? 28 : 48;
}

/** The entry of an error queue that an error becomes. */
export function errorReport(
  { type, code, mtu = 0, offender }: FakeError,
  to: SocketEnd,
  payload: Uint8Array,
): SocketReport {
  const isLocal = offender === undefined;
  const isRefused = type === (to.address.isV4 ? 3 : 1) && code === (to.address.isV4 ? 3 : 4);
  const failure: ErrnoName = mtu > 0 ? "EMSGSIZE" : isRefused ? "ECONNREFUSED" : "EHOSTUNREACH";
  return {
    ...{ failure, origin: isLocal ? "local" : "icmp", mtu, to },
    ...{ type: isLocal ? 0 : type, code: isLocal ? 0 : code, offender: isLocal ? null : ip(offender) },
    payload: payload.slice(0, QUOTE_MAX),
  };
}

/** What hop or peer says no to what was sent, if one does. */
export function errorOf(
  { hops, mtu, error }: FakePeer,
  { ttl, payload, dontFragment }: Sent,
  isV4: boolean,
): FakeError | null {
  const hop = hops?.[ttl - 1];
  if (hop !== undefined) return { type: isV4 ? 11 : 3, code: 0, offender: hop };
  const tooBig = isV4 ? { type: 3, code: 4 } : { type: 2, code: 0 };
  const isLarger = mtu !== undefined && dontFragment && payload.length + headersLen(isV4) > mtu.size;
  if (isLarger && mtu.by !== null) return { ...tooBig, mtu: mtu.size, offender: mtu.by };
  return error ?? null;
}

/** What waits in a socket. */
export interface Waiting {
  readonly from: SocketEnd;
  readonly to: IpAddr;
  readonly answer: FakeAnswer;
}

/** How connecting fails; without a failure it never ends. */
export interface FakeFailure {
  readonly failure?: SocketFailure;
  readonly report?: SocketReport;
  readonly delayMs?: number;
  /** The call itself says so, and not later. */
  readonly atOnce?: boolean;
}

/** Sums a message of a ping socket, of either version. */
export function setPingChecksum(message: Uint8Array, src: IpAddr, dst: IpAddr): void {
  if (dst.isV4) setIcmpChecksum(message, 0, message.length);
  else setIcmp6Checksum(message, 0, message.length, { src, dst });
}
