/**
 * The options by which a DHCP server describes its network (RFC 2132, RFC 3397).
 *
 * Path: dhcp → dhcp_options → wire/dhcp, dns_name.
 *
 * @module
 */

import {
  DHCP_OPTION_BROADCAST,
  DHCP_OPTION_DNS_SERVERS,
  DHCP_OPTION_DOMAIN,
  DHCP_OPTION_DOMAIN_SEARCH,
  DHCP_OPTION_HOST_NAME,
  DHCP_OPTION_MTU,
  DHCP_OPTION_ROUTERS,
  DHCP_OPTION_SUBNET_MASK,
  encodeDhcpAddrs,
  encodeDhcpNumber,
  encodeDhcpText,
} from "../../../kernel/wire/dhcp.ts";
import { encodeDnsName, encodeDnsNames } from "../../../kernel/wire/dns_name.ts";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";

/** A network as its clients get to know it. */
export interface DhcpNetwork {
  readonly router: IpAddr;
  readonly mask: IpAddr;
  readonly nameServers: readonly IpAddr[];
  readonly mtu: number;
  readonly hostName: string;
  readonly domain: string;
  readonly search: readonly string[];
}

/** Every option that the server has for a client. */
export function optionsOf(network: DhcpNetwork): Map<number, Uint8Array> {
  const { mask, router, nameServers, mtu, hostName, domain, search } = network;
  const options = new Map<number, Uint8Array>([
    [DHCP_OPTION_SUBNET_MASK, encodeDhcpAddrs([mask])],
    [DHCP_OPTION_ROUTERS, encodeDhcpAddrs([router])],
    [DHCP_OPTION_MTU, encodeDhcpNumber(mtu, 2)],
    [DHCP_OPTION_BROADCAST, encodeDhcpAddrs([router.or(IpAddr.v4(~mask.w3))])],
  ]);
  if (nameServers.length > 0) options.set(DHCP_OPTION_DNS_SERVERS, encodeDhcpAddrs(nameServers));
  if (hostName !== "") options.set(DHCP_OPTION_HOST_NAME, encodeDhcpText(hostName));
  if (domain !== "") options.set(DHCP_OPTION_DOMAIN, encodeDhcpText(domain));
  const names = namesOf(search);
  if (names.length > 0) options.set(DHCP_OPTION_DOMAIN_SEARCH, encodeDnsNames(names)!);
  return options;
}

/** Names that can be written: config refuses others, but this is no place to throw. */
export function namesOf(search: readonly string[]): string[] {
  return search.filter((name) => encodeDnsName(name) !== null);
}
