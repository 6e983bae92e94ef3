/**
 * What differs between the two versions of IP for a step: every step is written once and takes one of these.
 *
 * Path: scenario, steps, guest_steps, kernel_endpoint, socket_endpoint → ip_family → icmp, icmp6, ipv6.
 *
 * @module
 */

import {
  emitIcmpEcho,
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  type IcmpEcho,
} from "../../kernel/wire/icmp.ts";
import {
  emitIcmp6Echo,
  ICMP6_ECHO_REPLY,
  ICMP6_ECHO_REQUEST,
  ICMP6_TIME_EXCEEDED,
  ICMP6_UNREACHABLE,
} from "../../kernel/wire/icmp6.ts";
import { IP_PROTO_ICMP, IP_PROTO_ICMP6 } from "../../kernel/wire/ip_proto.ts";
import { IPV6_HEADER_LEN } from "../../kernel/wire/ipv6.ts";

/** A version of IP. */
export type IpVersion = 4 | 6;

/** One value for each version of IP. */
export type PerVersion<T> = Readonly<Record<IpVersion, T>>;

/** A version of IP, with what steps need to know about it. */
export interface IpFamily {
  readonly version: IpVersion;
  /** Ends the name of a step. */
  readonly suffix: string;
  /** The protocol's directory below `/net`, its number, and its messages. */
  readonly icmp: {
    readonly name: "icmp" | "icmpv6";
    readonly protocol: number;
    readonly echoRequest: number;
    readonly echoReply: number;
    readonly unreachable: number;
    readonly timeExceeded: number;
    /** Writes an echo message. Its checksum is left out in IPv6: a kernel that knows the addresses writes it. */
    readonly emitEcho: (echo: IcmpEcho, buf: Uint8Array, at: number) => number;
  };
  /** How a neighbour is found, and how a guest gets its address. */
  readonly resolution: "ARP" | "ND";
  readonly configuration: "DHCP" | "router advertisement";
  /** Names of the header fields that IPv4 calls TOS and TTL. */
  readonly tos: "TOS" | "traffic class";
  readonly ttl: "TTL" | "hop limit";
  readonly loopback: string;
  /** Payload of a fragment on a link of 1500 bytes. */
  readonly fragmentBytes: number;
  /** Sizes of UDP payloads: none, one byte, the most that fits a frame, one more, a jumbo frame's, the largest. */
  readonly udpSizes: readonly number[];
  /** Bytes of a large TCP transfer. Over IPv6 fewer are enough: TCP itself is the same. */
  readonly transferBytes: number;
  /** DNS type of an address (RFC 1035, RFC 3596). */
  readonly dnsType: number;
}

/** Both versions. */
export const FAMILIES: PerVersion<IpFamily> = {
  4: {
    version: 4,
    suffix: "",
    icmp: {
      name: "icmp",
      protocol: IP_PROTO_ICMP,
      echoRequest: ICMP_ECHO_REQUEST,
      echoReply: ICMP_ECHO_REPLY,
      unreachable: ICMP_UNREACHABLE,
      timeExceeded: ICMP_TIME_EXCEEDED,
      emitEcho: emitIcmpEcho,
    },
    resolution: "ARP",
    configuration: "DHCP",
    tos: "TOS",
    ttl: "TTL",
    loopback: "127.0.0.1",
    fragmentBytes: 1480,
    udpSizes: [0, 1, 1472, 1473, 9000, 65507],
    transferBytes: 16 << 20,
    dnsType: 1,
  },
  6: {
    version: 6,
    suffix: ", IPv6",
    icmp: {
      name: "icmpv6",
      protocol: IP_PROTO_ICMP6,
      echoRequest: ICMP6_ECHO_REQUEST,
      echoReply: ICMP6_ECHO_REPLY,
      unreachable: ICMP6_UNREACHABLE,
      timeExceeded: ICMP6_TIME_EXCEEDED,
      emitEcho: emitIcmp6Echo,
    },
    resolution: "ND",
    configuration: "router advertisement",
    tos: "traffic class",
    ttl: "hop limit",
    loopback: "::1",
    fragmentBytes: 1448,
    udpSizes: [0, 1, 1452, 1453, 9000, 65519],
    transferBytes: 4 << 20,
    dnsType: 28,
  },
};

/** The family of an address in text. */
export function familyOf(addr: string): IpFamily {
  return FAMILIES[addr.includes(":") ? 6 : 4];
}

/** Bytes of the IP header at the start of `packet`; one of IPv6 has no extension headers here. */
export function ipHeaderLen(packet: Uint8Array): number {
  return packet[0]! >> 4 === 6 ? IPV6_HEADER_LEN : (packet[0]! & 15) * 4;
}
