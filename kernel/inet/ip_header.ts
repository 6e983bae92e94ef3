/**
 * IpHeader: what a transport and a bypass need of an IP header of either version, without a record per
 * packet.
 *
 * Path: bypass, icmp_error → ip_header → wire/ipv4, wire/ipv6.
 *
 * One record a version, found by the first nibble of the packet: `IP_HEADERS[buf[at] >>> 4]`. What the
 * versions really have apart (extension headers, neighbours) is not here: who needs it asks for the version.
 *
 * @module
 */

import type { IpAddr } from "../wire/ip_addr.ts";
import { ICMP_PARAMETER_PROBLEM, ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, icmpIsError } from "../wire/icmp.ts";
import { icmp6IsError } from "../wire/icmp6.ts";
import { IP_PROTO_AH, IP_PROTO_ICMP, IP_PROTO_ICMP6, IP_PROTO_ROUTING } from "../wire/ip_proto.ts";
import {
  IPV4_HEADER_LEN,
  ipv4Dst,
  ipv4FragOffset,
  ipv4HeaderLen,
  ipv4IsFragment,
  ipv4Protocol,
  ipv4Src,
  ipv4TotalLen,
  ipv4Ttl,
  setIpv4Fragment,
} from "../wire/ipv4.ts";
import {
  clearIpv6MoreFragments,
  IPV6_HEADER_LEN,
  ipv6Dst,
  ipv6ExtensionLen,
  ipv6FragOffset,
  ipv6HopLimit,
  ipv6IsPiece,
  ipv6NextHeader,
  ipv6PayloadLen,
  ipv6Src,
  type Ipv6Walk,
  isIpv6Extension,
  walkIpv6,
} from "../wire/ipv6.ts";

/**
 * One version of IP. `at` is the index of the first byte of a packet of that version; nothing is checked but
 * `headerLen`.
 */
export interface IpHeader {
  readonly version: 4 | 6;
  /** Bytes without which there is no header. */
  readonly minLen: number;
  /** The number of the ICMP of this version. */
  readonly icmp: number;
  /** Whether an ICMP message of this type reports an error: none is sent about it. */
  icmpIsError(type: number): boolean;
  /** Whether an ICMP message of this type is an error about a packet of its receiver. */
  icmpQuotes(type: number): boolean;
  /** Bytes to the transport header; -1 if malformed or beyond `end`. */
  headerLen(buf: Uint8Array, at: number, end: number): number;
  /** Whether a user may send a header of `headerLen` bytes: nothing in it leads the packet elsewhere. */
  maySend(buf: Uint8Array, at: number, headerLen: number): boolean;
  /** Bytes of the whole packet, as it claims. */
  totalLen(buf: Uint8Array, at: number): number;
  protocol(buf: Uint8Array, at: number, end: number): number;
  src(buf: Uint8Array, at: number): IpAddr;
  dst(buf: Uint8Array, at: number): IpAddr;
  /** Whether the packet is a piece of a datagram. */
  isFragment(buf: Uint8Array, at: number, end: number): boolean;
  /** Where its payload belongs in the whole datagram, in bytes. */
  fragOffset(buf: Uint8Array, at: number, end: number): number;
  ttl(buf: Uint8Array, at: number): number;
  /** Takes it for the whole of a datagram: no more fragments, offset 0. */
  makeWhole(buf: Uint8Array, at: number, end: number): void;
}

const V4: IpHeader = {
  version: 4,
  minLen: IPV4_HEADER_LEN,
  icmp: IP_PROTO_ICMP,
  icmpIsError,
  icmpQuotes: (type) => type === ICMP_UNREACHABLE || type === ICMP_TIME_EXCEEDED || type === ICMP_PARAMETER_PROBLEM,
  headerLen(buf, at, end) {
    const length = ipv4HeaderLen(buf, at);
    return length < IPV4_HEADER_LEN || at + length > end ? -1 : length;
  },
  maySend: () => true,
  totalLen: ipv4TotalLen,
  protocol: ipv4Protocol,
  src: ipv4Src,
  dst: ipv4Dst,
  isFragment: ipv4IsFragment,
  fragOffset: ipv4FragOffset,
  ttl: ipv4Ttl,
  makeWhole: (buf, at) => setIpv4Fragment(buf, at, 0, false),
};

/** Null: nothing between the header and the transport's, or a chain that does not fit. */
function walked(buf: Uint8Array, at: number, end: number): Ipv6Walk | null {
  return isIpv6Extension(ipv6NextHeader(buf, at)) ? walkIpv6(buf, at, end) : null;
}

/** Where the fragment header of the packet at `at` is; -1: it has none. */
function fragmentAt(buf: Uint8Array, at: number, end: number): number {
  return walked(buf, at, end)?.fragmentAt ?? -1;
}

/**
 * Its fields stand in another order than those of V4: so the two are of different shapes to V8, and where only one
 * version comes along its functions are found, and inlined, as if there were no other.
 */
const V6: IpHeader = {
  icmp: IP_PROTO_ICMP6,
  minLen: IPV6_HEADER_LEN,
  version: 6,
  icmpIsError: icmp6IsError,
  // RFC 4443 2.1: types below 128 are errors; four of them are there.
  icmpQuotes: (type) => type >= 1 && type <= 4,
  headerLen(buf, at, end) {
    if (!isIpv6Extension(ipv6NextHeader(buf, at))) return at + IPV6_HEADER_LEN > end ? -1 : IPV6_HEADER_LEN;
    const walk = walkIpv6(buf, at, end);
    return walk === null ? -1 : walk.at - at;
  },
  maySend(buf, at, headerLen) {
    let protocol = ipv6NextHeader(buf, at);
    for (let from = at + IPV6_HEADER_LEN; from < at + headerLen;) {
      if (protocol === IP_PROTO_ROUTING || protocol === IP_PROTO_AH) return false;
      const length = ipv6ExtensionLen(protocol, buf[from + 1]!);
      protocol = buf[from]!;
      from += length;
    }
    return true;
  },
  totalLen: (buf, at) => IPV6_HEADER_LEN + ipv6PayloadLen(buf, at),
  protocol(buf, at, end) {
    const next = ipv6NextHeader(buf, at);
    return isIpv6Extension(next) ? walkIpv6(buf, at, end)?.protocol ?? next : next;
  },
  src: ipv6Src,
  dst: ipv6Dst,
  isFragment(buf, at, end) {
    const from = fragmentAt(buf, at, end);
    // RFC 6946: a fragment with offset 0 and nothing behind it is whole.
    return from >= 0 && ipv6IsPiece(buf, from);
  },
  fragOffset(buf, at, end) {
    const from = fragmentAt(buf, at, end);
    return from < 0 ? 0 : ipv6FragOffset(buf, from);
  },
  ttl: ipv6HopLimit,
  makeWhole(buf, at, end) {
    const from = fragmentAt(buf, at, end);
    if (from >= 0) clearIpv6MoreFragments(buf, from);
  },
};

/** By the first nibble of a packet. */
export const IP_HEADERS: readonly (IpHeader | undefined)[] = Array.from(
  { length: 16 },
  (_, nibble) => nibble === 4 ? V4 : nibble === 6 ? V6 : undefined,
);
