/**
 * The two versions of IP as the uplink's link has them: one record each for what differs.
 *
 * Path: icmp_maker, datagram_relay, echo_relay → link_version → context, ip_header, wire/ipv4, wire/ipv6, wire/icmp,
 * wire/icmp6, block.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { IP_HEADERS, type IpHeader } from "../../kernel/inet/ip_header.ts";
import {
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE_PROHIBITED,
  ICMP_UNREACHABLE_TOO_BIG,
  icmpChecksumOk,
  icmpMtuRest,
  setIcmpChecksum,
  setIcmpEchoId,
} from "../../kernel/wire/icmp.ts";
import {
  ICMP6_ECHO_REPLY,
  ICMP6_ECHO_REQUEST,
  ICMP6_PACKET_TOO_BIG,
  ICMP6_UNREACHABLE,
  ICMP6_UNREACHABLE_PROHIBITED,
  icmp6ChecksumOk,
  setIcmp6Checksum,
  setIcmp6EchoId,
} from "../../kernel/wire/icmp6.ts";
import { type IpAddr, IPV4_LOOPBACK, IPV6_LOOPBACK } from "../../kernel/wire/ip_addr.ts";
import {
  IPV4_HEADER_LEN,
  IPV4_TOTAL_MAX,
  ipv4DontFragment,
  ipv4Tos,
  putIpv4,
  putIpv4Id,
  setIpv4Checksum,
} from "../../kernel/wire/ipv4.ts";
import {
  IPV6_HEADER_LEN,
  IPV6_MTU_MIN,
  ipv6NextHeader,
  ipv6TrafficClass,
  isIpv6Extension,
  putIpv6,
  walkIpv6,
} from "../../kernel/wire/ipv6.ts";
import type { LinkEnds, UplinkContext } from "./context.ts";

/** Fields of the header of a packet to near, in both versions. */
interface PacketStart {
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly protocol: number;
  readonly ttl: number;
  /** TOS, or the traffic class. */
  readonly tos: number;
}

/** One version of IP. `at` is the index of a packet's first byte, or of a message's. */
export interface LinkVersion {
  readonly version: 4 | 6;
  /** Reads headers of this version. */
  readonly header: IpHeader;
  /** Bytes of a header without options. */
  readonly headerLen: number;
  /** The address at which the machine reaches itself. */
  readonly loopback: IpAddr;
  readonly echoRequest: number;
  readonly echoReply: number;
  /** What says that the administrator closed a destination. */
  readonly prohibited: { readonly type: number; readonly code: number };
  /** What says that a packet is larger than the next link carries. */
  readonly tooBig: { readonly type: number; readonly code: number };
  /** An MTU below this is no hop's (RFC 791 3.2, RFC 8200 5): believed, it would only stop the sender. */
  readonly mtuMin: number;
  /** Most bytes behind a header without options. */
  readonly payloadMax: number;
  /** The ends of the link. */
  ends(context: UplinkContext): LinkEnds;
  /** TOS or traffic class, all eight bits. */
  tos(buf: Uint8Array, at: number): number;
  /** Whether the packet must reach its destination in one piece, or its sender must hear why it does not. */
  dontFragment(block: Block): boolean;
  /**
   * Writes the header of a packet with `payloadLen` bytes behind it, which may be fragmented, with identification `id`.
   */
  putHeader(start: PacketStart, payloadLen: number, id: number, block: Block): void;
  /** The rest of {@link tooBig}. */
  mtuRest(mtu: number): number;
  icmpChecksumOk(block: Block, at: number, src: IpAddr, dst: IpAddr): boolean;
  /** Completes the checksum of the ICMP message from `at` to the block's end. */
  setIcmpChecksum(block: Block, at: number, src: IpAddr, dst: IpAddr): void;
  /** Rewrites the identifier of an echo message, keeping the checksum as right as it was. */
  setEchoId(buf: Uint8Array, at: number, id: number): void;
}

const V4: LinkVersion = {
  version: 4,
  header: IP_HEADERS[4]!,
  headerLen: IPV4_HEADER_LEN,
  loopback: IPV4_LOOPBACK,
  echoRequest: ICMP_ECHO_REQUEST,
  echoReply: ICMP_ECHO_REPLY,
  prohibited: { type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_PROHIBITED },
  tooBig: { type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_TOO_BIG },
  mtuMin: 68,
  payloadMax: IPV4_TOTAL_MAX - IPV4_HEADER_LEN,
  ends: (context) => context.v4,
  tos: ipv4Tos,
  dontFragment: ({ buf, rp }) => ipv4DontFragment(buf, rp),
  putHeader(start, payloadLen, id, { buf, rp }) {
    putIpv4(start, IPV4_HEADER_LEN + payloadLen, buf, rp);
    putIpv4Id(buf, rp, id);
    setIpv4Checksum(buf, rp, IPV4_HEADER_LEN);
  },
  mtuRest: (mtu) => icmpMtuRest(Math.min(mtu, IPV4_TOTAL_MAX)),
  icmpChecksumOk: ({ buf, wp }, at) => icmpChecksumOk(buf, at, wp),
  setIcmpChecksum: ({ buf, wp }, at) => setIcmpChecksum(buf, at, wp),
  setEchoId: setIcmpEchoId,
};

const V6: LinkVersion = {
  version: 6,
  header: IP_HEADERS[6]!,
  headerLen: IPV6_HEADER_LEN,
  loopback: IPV6_LOOPBACK,
  echoRequest: ICMP6_ECHO_REQUEST,
  echoReply: ICMP6_ECHO_REPLY,
  prohibited: { type: ICMP6_UNREACHABLE, code: ICMP6_UNREACHABLE_PROHIBITED },
  tooBig: { type: ICMP6_PACKET_TOO_BIG, code: 0 },
  mtuMin: IPV6_MTU_MIN,
  payloadMax: 65535,
  ends: (context) => context.v6,
  tos: ipv6TrafficClass,
  // A whole packet is never cut on its way. One whose fragments near has put together may be cut again: it has the
  // fragment header of a whole packet (RFC 6946), or came as fragments over the link.
  dontFragment: ({ buf, rp, wp, fragmentMax }) =>
    fragmentMax === 0 &&
    (!isIpv6Extension(ipv6NextHeader(buf, rp)) || (walkIpv6(buf, rp, wp)?.fragmentAt ?? -1) < 0),
  putHeader: (start, payloadLen, _id, { buf, rp }) => putIpv6(start, payloadLen, buf, rp),
  mtuRest: (mtu) => mtu,
  icmpChecksumOk: ({ buf, wp }, at, src, dst) => icmp6ChecksumOk(buf, at, wp, { src, dst }),
  setIcmpChecksum: ({ buf, wp }, at, src, dst) => setIcmp6Checksum(buf, at, wp, { src, dst }),
  setEchoId: setIcmp6EchoId,
};

/** The version of the packet whose first byte is `first`; null: neither. */
export function versionOfPacket(first: number): LinkVersion | null {
  return first >>> 4 === 4 ? V4 : first >>> 4 === 6 ? V6 : null;
}

/** The record of a version by its number. */
export function linkVersion(version: 4 | 6): LinkVersion {
  return version === 4 ? V4 : V6;
}

/** The version of an address. */
export function versionOf(address: IpAddr): LinkVersion {
  return address.isV4 ? V4 : V6;
}
