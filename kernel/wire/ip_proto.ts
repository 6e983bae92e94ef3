/**
 * The protocol numbers that IPv4's protocol field and IPv6's next header field share (IANA, RFC 5237).
 *
 * Path: ipv4, ipv6, devices/ip → ip_proto.
 *
 * @module
 */

export const IP_PROTO_HOP_BY_HOP = 0;
/** ICMP (RFC 792). */
export const IP_PROTO_ICMP = 1;
/** IGMP (RFC 3376). */
export const IP_PROTO_IGMP = 2;
/** TCP (RFC 9293). */
export const IP_PROTO_TCP = 6;
/** UDP (RFC 768). */
export const IP_PROTO_UDP = 17;
/** IPv6 routing header (RFC 8200 4.4). */
export const IP_PROTO_ROUTING = 43;
/** IPv6 fragment header (RFC 8200 4.5). */
export const IP_PROTO_FRAGMENT = 44;
/** IPsec encapsulation (RFC 4303). */
export const IP_PROTO_ESP = 50;
/** IPsec authentication header (RFC 4302). */
export const IP_PROTO_AH = 51;
/** ICMPv6 (RFC 4443). */
export const IP_PROTO_ICMP6 = 58;
/** Nothing follows. */
export const IP_PROTO_NONE = 59;
/** IPv6 destination options (RFC 8200 4.6). */
export const IP_PROTO_DEST_OPTIONS = 60;

const NAMES: Readonly<Record<number, string>> = {
  [IP_PROTO_HOP_BY_HOP]: "hop-by-hop",
  [IP_PROTO_ICMP]: "icmp",
  [IP_PROTO_IGMP]: "igmp",
  [IP_PROTO_TCP]: "tcp",
  [IP_PROTO_UDP]: "udp",
  [IP_PROTO_ROUTING]: "routing",
  [IP_PROTO_FRAGMENT]: "fragment",
  [IP_PROTO_ESP]: "esp",
  [IP_PROTO_AH]: "ah",
  [IP_PROTO_ICMP6]: "icmp6",
  [IP_PROTO_NONE]: "none",
  [IP_PROTO_DEST_OPTIONS]: "dest-options",
};

/** The protocol's name, or its number where it has none here. */
export function formatIpProto(protocol: number): string {
  return NAMES[protocol] ?? `proto ${protocol}`;
}
