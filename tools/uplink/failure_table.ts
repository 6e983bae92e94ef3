/**
 * What near gets to see when the machine's own sockets fail: one table for both versions of IP and for TCP, UDP and
 * echo.
 *
 * Path: icmp_maker, datagram_relay, echo_relay → failure_table → host_sockets, wire/icmp, wire/icmp6.
 *
 * An error's name says less than an entry of the error queue: EHOSTUNREACH is "host unreachable", "prohibited" and
 * "time exceeded" alike. So the table is for failures without such an entry.
 *
 * @module
 */

import type { SocketFailure } from "../../kernel/host_sockets.ts";
import {
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE_HOST,
  ICMP_UNREACHABLE_NET,
  ICMP_UNREACHABLE_PORT,
  ICMP_UNREACHABLE_PROHIBITED,
  ICMP_UNREACHABLE_PROTOCOL,
  ICMP_UNREACHABLE_TOO_BIG,
} from "../../kernel/wire/icmp.ts";
import {
  ICMP6_PACKET_TOO_BIG,
  ICMP6_PARAMETER_NEXT_HEADER,
  ICMP6_PARAMETER_PROBLEM,
  ICMP6_UNREACHABLE,
  ICMP6_UNREACHABLE_ADDRESS,
  ICMP6_UNREACHABLE_NO_ROUTE,
  ICMP6_UNREACHABLE_PORT,
  ICMP6_UNREACHABLE_PROHIBITED,
} from "../../kernel/wire/icmp6.ts";

/** What becomes of a packet that the machine did not take. */
export type Outcome =
  /** TCP answers with a RST; UDP and echo, which have none, with the error of `type` and `code`. */
  | { readonly kind: "reset"; readonly type: number; readonly code: number }
  /** An ICMP or ICMPv6 error. */
  | { readonly kind: "icmp"; readonly type: number; readonly code: number }
  /** No answer at all, as of a network that loses the packet: the machine's route is a black hole, or time ran out. */
  | { readonly kind: "nothing" }
  /** The uplink or the machine is short of something: the packet is lost and counted, and the guest sends it again. */
  | { readonly kind: "drop" };

/** A failure's outcome in both versions. */
interface Row {
  readonly v4: Outcome;
  readonly v6: Outcome;
}

const NOTHING: Outcome = { kind: "nothing" };
const DROP: Outcome = { kind: "drop" };

const unreachable = (v4: number, v6: number): Row => ({
  v4: { kind: "icmp", type: ICMP_UNREACHABLE, code: v4 },
  v6: { kind: "icmp", type: ICMP6_UNREACHABLE, code: v6 },
});

const REFUSED: Row = {
  v4: { kind: "reset", type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_PORT },
  v6: { kind: "reset", type: ICMP6_UNREACHABLE, code: ICMP6_UNREACHABLE_PORT },
};
const NO_PROTOCOL: Row = {
  v4: { kind: "icmp", type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_PROTOCOL },
  v6: { kind: "icmp", type: ICMP6_PARAMETER_PROBLEM, code: ICMP6_PARAMETER_NEXT_HEADER },
};
const TOO_BIG: Row = {
  v4: { kind: "icmp", type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_TOO_BIG },
  v6: { kind: "icmp", type: ICMP6_PACKET_TOO_BIG, code: 0 },
};
const NO_HOST = unreachable(ICMP_UNREACHABLE_HOST, ICMP6_UNREACHABLE_ADDRESS);
const NO_NET = unreachable(ICMP_UNREACHABLE_NET, ICMP6_UNREACHABLE_NO_ROUTE);
const PROHIBITED = unreachable(ICMP_UNREACHABLE_PROHIBITED, ICMP6_UNREACHABLE_PROHIBITED);
const LOST: Row = { v4: NOTHING, v6: NOTHING };
const SHORT: Row = { v4: DROP, v6: DROP };
/** Of IPv4: no port is left for the destination. Of IPv6: the machine has no address, thus no route. */
const NO_ADDRESS: Row = { v4: DROP, v6: NO_NET.v6 };

/** By Linux' names (errno(3)). */
const ROWS: ReadonlyMap<string, Row> = new Map<string, Row>([
  ["ECONNREFUSED", REFUSED],
  ["EHOSTUNREACH", NO_HOST],
  ["EHOSTDOWN", NO_HOST],
  // "Source host isolated", ICMP 3/8.
  ["ENONET", NO_HOST],
  // At once, as everything that follows: a client with addresses of both versions then tries the other (RFC 8305 5).
  ["ENETUNREACH", NO_NET],
  ["ENETDOWN", NO_NET],
  // The machine does not have this version of IP.
  ["EAFNOSUPPORT", NO_NET],
  ["EADDRNOTAVAIL", NO_ADDRESS],
  // "Protocol unreachable".
  ["ENOPROTOOPT", NO_PROTOCOL],
  ["EACCES", PROHIBITED],
  ["EPERM", PROHIBITED],
  ["EPROTO", PROHIBITED],
  ["EOPNOTSUPP", PROHIBITED],
  ["EMSGSIZE", TOO_BIG],
  // A route of type `blackhole` says EINVAL (ip-route(8)), and so does a link-local destination without an interface.
  ["EINVAL", LOST],
  ["ETIMEDOUT", LOST],
  ["EMFILE", SHORT],
  ["ENFILE", SHORT],
  ["ENOBUFS", SHORT],
  ["ENOMEM", SHORT],
  ["EADDRINUSE", SHORT],
]);

/** What near gets to see of `failure`; a failure that the table does not have is ours, and drops the packet. */
export function outcomeOf(failure: SocketFailure, version: 4 | 6): Outcome {
  const row = ROWS.get(failure);
  return row === undefined ? DROP : version === 4 ? row.v4 : row.v6;
}

/** Whether `failure` is a lack of descriptors or memory: something idle may be closed for it. */
export function isShortage(failure: SocketFailure): boolean {
  return failure === "EMFILE" || failure === "ENFILE" || failure === "ENOBUFS" || failure === "ENOMEM";
}
