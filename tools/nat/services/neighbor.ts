/**
 * Neighbour discovery on the guests' link (RFC 4861 7.2, RFC 4862 5.4): who answers for which address. As arp for IPv4.
 *
 * Path: link6 → neighbor → addr6, wire/icmp6, wire/nd, mac_addr.
 *
 * A guest that probes an address that no other guest has gets no answer, or it would find a conflict with itself. A
 * probe for the router's addresses is answered.
 *
 * @module
 */

import { ICMP6_NEIGHBOR_ADVERT, ICMP6_NEIGHBOR_SOLICIT } from "../../../kernel/wire/icmp6.ts";
import { ALL_NODES } from "../../../kernel/inet/addr6.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../../kernel/wire/mac_addr.ts";
import type { NeighborAdvert, NeighborSolicit } from "../../../kernel/wire/nd.ts";

/** Who has an address, and whether that is the router. */
interface Owner {
  readonly mac: MacAddr;
  readonly isRouter: boolean;
}

/** What `owner` answers to a question from `from`, and to whom: who has no address yet hears it with everybody. */
export function answerNeighbor(
  solicit: NeighborSolicit,
  from: IpAddr,
  { mac, isRouter }: Owner,
): { dst: IpAddr; advert: NeighborAdvert } {
  const isProbe = from.isUnspecified;
  const advert: NeighborAdvert = {
    type: ICMP6_NEIGHBOR_ADVERT,
    ...{ target: solicit.target, isRouter, solicited: !isProbe, override: true, targetMac: mac },
  };
  return { dst: isProbe ? ALL_NODES : from, advert };
}

/** The question who has `target`, from the router. */
export function neighborQuestion(mac: MacAddr, target: IpAddr): NeighborSolicit {
  return { type: ICMP6_NEIGHBOR_SOLICIT, target, sourceMac: mac };
}
