/**
 * The protocol numbers that IPv4's protocol field and IPv6's next header field share (IANA, RFC 5237).
 *
 * Path: ipv4, ipv6, devices/ip → ip_proto.
 *
 * @module
 */

export const IP_PROTO_HOP_BY_HOP = 0;
export const IP_PROTO_ICMP = 1;
export const IP_PROTO_IGMP = 2;
export const IP_PROTO_TCP = 6;
export const IP_PROTO_UDP = 17;
export const IP_PROTO_ROUTING = 43;
export const IP_PROTO_FRAGMENT = 44;
export const IP_PROTO_ESP = 50;
export const IP_PROTO_AH = 51;
export const IP_PROTO_ICMP6 = 58;
/** Nothing follows. */
export const IP_PROTO_NONE = 59;
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
