/**
 * What the uplink asks about each destination before a socket sees it.
 *
 * Path: datagram_relay, echo_relay → destination → ip_addr.
 *
 * @module
 */

import type { IpAddr } from "../../kernel/wire/ip_addr.ts";

/**
 * `ok`: reach it as it is. `loopback`: it stands for the machine itself, reach the machine's loopback. `closed`: near
 * hears that it is prohibited.
 */
export type Verdict = "ok" | "loopback" | "closed";

/** The machine's own address for a destination that stands for it: the loopback, unless it is one of that itself. */
export function ownAddress({ loopback }: { readonly loopback: IpAddr }, address: IpAddr): IpAddr {
  return address.isLoopback ? address : loopback;
}

/** The verdict about a destination, asked for each packet: no time lies between the answer and its use. */
export type DestinationPolicy = (address: IpAddr) => Verdict;
