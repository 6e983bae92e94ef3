/**
 * What the NAT's services are set up with: the range of DHCP, and the names and servers that guests get.
 *
 * Path: nat → service_config → config, services/dhcp, dns_servers, ip_addr.
 *
 * @module
 */

import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { DhcpConfig } from "./services/dhcp.ts";
import type { DnsPatience } from "./services/dns_servers.ts";
import type { NatConfig } from "./config.ts";

/** What a resolv.conf says; without `search` that stays as it is. */
export interface HostNames {
  readonly nameServers: readonly IpAddr[];
  readonly patience: DnsPatience;
  readonly search?: readonly string[];
}

/** The options of the DHCP server. */
export function dhcpConfig(config: NatConfig): Omit<DhcpConfig, "isInUse"> {
  const { style, router, guest, dns, mask, subnet, mtu, leaseSeconds, hostName, reservations } = config;
  const broadcast = subnet.or(IpAddr.v4(~mask.w3));
  return {
    ...{ router, mask, mtu, leaseSeconds, hostName, reservations },
    first: config.firstLease,
    last: style === "real" ? guest : IpAddr.v4(broadcast.w3 - 1),
    taken: dns === null ? [router] : [router, dns],
    ...namesFor(config, config.nameServers, config.search),
  };
}

/** The name servers and domains that DHCP gives: our name server, or the host's of IPv4. */
export function namesFor(
  { dns }: NatConfig,
  nameServers: readonly IpAddr[],
  search: readonly string[],
): Pick<DhcpConfig, "nameServers" | "search" | "domain"> {
  return {
    nameServers: dns === null ? nameServers.filter((addr) => addr.isV4) : [dns],
    search,
    domain: search[0] ?? "",
  };
}

/** The names that are always there, and those of the options, below the zone's name. */
export function zoneOf(config: NatConfig): Map<string, IpAddr> {
  const { zoneName, router, guest, dns, hostName } = config;
  const names = new Map<string, IpAddr>();
  if (dns === null) return names;
  const put = (name: string, addr: IpAddr) => names.set(name.endsWith(zoneName) ? name : `${name}.${zoneName}`, addr);
  put("gateway", router);
  put("dns", dns);
  if (hostName !== "") put(hostName.toLowerCase(), guest);
  for (const [name, addr] of config.zone) put(name, addr);
  return names;
}

/** As {@link zoneOf}, the IPv6 addresses of the names that are always there. */
export function zone6Of({ v6, zoneName }: NatConfig): Map<string, IpAddr> {
  if (v6 === null || v6.dns === null) return new Map();
  return new Map([[`gateway.${zoneName}`, v6.router], [`dns.${zoneName}`, v6.dns]]);
}
