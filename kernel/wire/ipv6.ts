/**
 * IPv6 headers (RFC 8200), the walk over extension headers, and the fragment header.
 *
 * Path: ip6_input, packet/packet6, family6 → ipv6 → wire/bytes, ip_addr, ip_proto.
 *
 *     | version 4 bits, traffic class 8, flow label 20 | payload length 2 | next header | hop limit |
 *     | source 16 | destination 16 | extension headers and payload … |
 *
 * Limits: `EXTENSION_HEADERS_MAX` extension headers; no jumbograms (RFC 2675): a payload length of 0 is a payload of 0.
 * Options inside extension headers are not looked at.
 *
 * @module
 */

import { get16, get32, put16, put32 } from "./bytes.ts";
import { IpAddr } from "./ip_addr.ts";
import {
  formatIpProto,
  IP_PROTO_AH,
  IP_PROTO_DEST_OPTIONS,
  IP_PROTO_FRAGMENT,
  IP_PROTO_HOP_BY_HOP,
  IP_PROTO_ROUTING,
} from "./ip_proto.ts";

const PAYLOAD_LEN = 4;
const NEXT_HEADER = 6;
const HOP_LIMIT = 7;
const SRC = 8;
const DST = 24;

/** In a fragment header: where offset and flag are, and what they are. */
const FRAG = 2;
const FRAG_OFFSET = 0xfff8;
const MORE_FRAGMENTS = 1;

/** Length of the fixed header, in bytes. */
export const IPV6_HEADER_LEN = 40;
/** Length of a fragment header, in bytes. */
export const IPV6_FRAGMENT_LEN = 8;
/** Most bytes of a packet: a payload of 16 bits' length behind the header. */
export const IPV6_TOTAL_MAX: number = IPV6_HEADER_LEN + 65535;
/** The hop limit that a host starts with (RFC 1700). */
export const IPV6_HOP_LIMIT_DEFAULT = 64;
/** Every link carries packets of this many bytes (RFC 8200 5). */
export const IPV6_MTU_MIN = 1280;
/** RFC 8200 4.1 has a packet use each of five kinds once, one of them twice; real ones carry one or two. */
export const EXTENSION_HEADERS_MAX = 8;

/** Fields of a header to write; omitted fields are zero, and the hop limit 64. */
export interface Ipv6Fields {
  /** Source address. */
  readonly src: IpAddr;
  /** Destination address. */
  readonly dst: IpAddr;
  /** The protocol of what follows: an upper layer's or an extension header's. */
  readonly nextHeader: number;
  /** Bytes behind the fixed header, extension headers included. */
  readonly payloadLen: number;
  /** DSCP in the upper six bits, ECN in the lower two. */
  readonly trafficClass?: number;
  /** 20 bits. */
  readonly flowLabel?: number;
  /** How many routers it may cross. */
  readonly hopLimit?: number;
}

/** A header that was read. */
export type Ipv6Header = Required<Ipv6Fields>;

/** What lies behind the fixed header and its extension headers. */
export interface Ipv6Walk {
  /** The first protocol that is no extension header: an upper layer's, ESP, or `IP_PROTO_NONE`. */
  readonly protocol: number;
  /** Where that protocol's header starts; in a fragment but the first, where the fragment's bytes start. */
  readonly at: number;
  /** Where the byte is that names `protocol`: a parameter problem points there. */
  readonly namedAt: number;
  /** Where the fragment header starts, or -1. */
  readonly fragmentAt: number;
  /** Where the byte is that names the fragment header (RFC 8200 4.5: reassembly rewrites it), or -1. */
  readonly fragmentNamedAt: number;
  /** Whether this is a fragment but the first: the walk stopped behind the fragment header. */
  readonly isLaterFragment: boolean;
}

/** A fragment header (RFC 8200 4.5). */
export interface Ipv6Fragment {
  /** The protocol of what the fragments carry. */
  readonly nextHeader: number;
  /** Where the bytes behind it belong in the fragmentable part, in bytes: a multiple of 8. */
  readonly fragOffset: number;
  /** Others follow this fragment. */
  readonly moreFragments: boolean;
  /** 32 bits. */
  readonly id: number;
}

/** Reads the header of a packet that is whole: null if malformed or if its payload length exceeds what is there. */
export function parseIpv6(buf: Uint8Array, at: number, end: number): Ipv6Header | null {
  const header = parseQuotedIpv6(buf, at, end);
  return header !== null && header.payloadLen <= end - at - IPV6_HEADER_LEN ? header : null;
}

/** Reads the header of a packet that may be truncated, as ICMP errors quote it; null if malformed. */
export function parseQuotedIpv6(buf: Uint8Array, at: number, end: number): Ipv6Header | null {
  if (end - at < IPV6_HEADER_LEN || buf[at]! >>> 4 !== 6) return null;
  const first = get32(buf, at);
  return {
    src: IpAddr.at(buf, at + SRC),
    dst: IpAddr.at(buf, at + DST),
    nextHeader: buf[at + NEXT_HEADER]!,
    payloadLen: get16(buf, at + PAYLOAD_LEN),
    trafficClass: (first >>> 20) & 0xff,
    flowLabel: first & 0xfffff,
    hopLimit: buf[at + HOP_LIMIT]!,
  };
}

/** Writes a header and returns 40. */
export function emitIpv6(fields: Ipv6Fields, buf: Uint8Array, at: number): number {
  put32(buf, at, 0x60000000 | ((fields.trafficClass ?? 0) << 20) | (fields.flowLabel ?? 0));
  put16(buf, at + PAYLOAD_LEN, fields.payloadLen);
  buf[at + NEXT_HEADER] = fields.nextHeader;
  buf[at + HOP_LIMIT] = fields.hopLimit ?? IPV6_HOP_LIMIT_DEFAULT;
  fields.src.put(buf, at + SRC);
  fields.dst.put(buf, at + DST);
  return IPV6_HEADER_LEN;
}

/** The fields of a new header that a sender chooses; all are there. */
export interface Ipv6Start {
  /** The source address. */
  readonly src: IpAddr;
  /** The destination address. */
  readonly dst: IpAddr;
  /** The next header, such as 17. */
  readonly protocol: number;
  /** The hop limit, 0 to 255. */
  readonly ttl: number;
  /** Traffic class: DSCP and ECN, 0 to 255. */
  readonly tos: number;
}

/** Writes a header without a flow label for `payloadLen` bytes, from fields named as IPv4 names them. */
export function putIpv6(fields: Ipv6Start, payloadLen: number, buf: Uint8Array, at: number): void {
  put32(buf, at, 0x60000000 | (fields.tos << 20));
  put16(buf, at + PAYLOAD_LEN, payloadLen);
  buf[at + NEXT_HEADER] = fields.protocol;
  buf[at + HOP_LIMIT] = fields.ttl;
  fields.src.put(buf, at + SRC);
  fields.dst.put(buf, at + DST);
}

/**
 * Walks from the fixed header at `at` over all extension headers up to the packet's end at `end`. Null if one of them
 * does not fit, if there are more than EXTENSION_HEADERS_MAX, or if hop-by-hop options are not first (RFC 8200 4.1).
 */
export function walkIpv6(buf: Uint8Array, at: number, end: number): Ipv6Walk | null {
  let namedAt = at + NEXT_HEADER;
  let next = at + IPV6_HEADER_LEN;
  let fragmentAt = -1;
  let fragmentNamedAt = -1;
  if (next > end) return null;
  for (let headers = 0; headers <= EXTENSION_HEADERS_MAX; headers++) {
    const protocol = buf[namedAt]!;
    const isLaterFragment = fragmentAt >= 0 && ipv6FragOffset(buf, fragmentAt) !== 0;
    if (isLaterFragment || !isIpv6Extension(protocol)) {
      return { protocol, at: next, namedAt, fragmentAt, fragmentNamedAt, isLaterFragment };
    }
    if (protocol === IP_PROTO_HOP_BY_HOP && headers > 0) return null;
    if (end - next < 8) return null;
    const length = ipv6ExtensionLen(protocol, buf[next + 1]!);
    if (length > end - next) return null;
    if (protocol === IP_PROTO_FRAGMENT) {
      // RFC 8200 4.5 allows one per packet; with two the fragment is ambiguous.
      if (fragmentAt >= 0) return null;
      fragmentAt = next;
      fragmentNamedAt = namedAt;
    }
    namedAt = next;
    next += length;
  }
  return null;
}

/** Reads the fragment header at `at`; null if it does not fit. */
export function parseIpv6Fragment(buf: Uint8Array, at: number, end: number): Ipv6Fragment | null {
  if (end - at < IPV6_FRAGMENT_LEN) return null;
  return {
    nextHeader: buf[at]!,
    fragOffset: ipv6FragOffset(buf, at),
    moreFragments: (get16(buf, at + FRAG) & MORE_FRAGMENTS) !== 0,
    id: get32(buf, at + 4),
  };
}

/** Writes a fragment header and returns 8. */
export function emitIpv6Fragment(fragment: Ipv6Fragment, buf: Uint8Array, at: number): number {
  buf[at] = fragment.nextHeader;
  buf[at + 1] = 0;
  put16(buf, at + FRAG, (fragment.fragOffset & FRAG_OFFSET) | (fragment.moreFragments ? MORE_FRAGMENTS : 0));
  put32(buf, at + 4, fragment.id);
  return IPV6_FRAGMENT_LEN;
}

/** Index of the payload length in the packet at `at`: a parameter problem about a length points there. */
export function ipv6PayloadLenAt(at: number): number {
  return at + PAYLOAD_LEN;
}

/** Index of the byte in the packet at `at` that names what follows the fixed header. */
export function ipv6NextHeaderAt(at: number): number {
  return at + NEXT_HEADER;
}

/** Bytes behind the fixed header of the packet at `at`, as it claims. */
export function ipv6PayloadLen(buf: Uint8Array, at: number): number {
  return get16(buf, at + PAYLOAD_LEN);
}

/** What follows the fixed header: an upper layer's protocol or an extension header's. */
export function ipv6NextHeader(buf: Uint8Array, at: number): number {
  return buf[at + NEXT_HEADER]!;
}

/** The hop limit. */
export function ipv6HopLimit(buf: Uint8Array, at: number): number {
  return buf[at + HOP_LIMIT]!;
}

/** DSCP in the upper six bits, ECN in the lower two. */
export function ipv6TrafficClass(buf: Uint8Array, at: number): number {
  return (get16(buf, at) >>> 4) & 0xff;
}

/** The source address. */
export function ipv6Src(buf: Uint8Array, at: number): IpAddr {
  return IpAddr.at(buf, at + SRC);
}

/** The destination address. */
export function ipv6Dst(buf: Uint8Array, at: number): IpAddr {
  return IpAddr.at(buf, at + DST);
}

/** Where the source of the header at `at` stands, for a reader that builds no address. */
export function ipv6SrcAt(at: number): number {
  return at + SRC;
}

/** Where the destination stands. */
export function ipv6DstAt(at: number): number {
  return at + DST;
}

/** Rewrites the payload length, in bytes. */
export function setIpv6PayloadLen(buf: Uint8Array, at: number, payloadLen: number): void {
  put16(buf, at + PAYLOAD_LEN, payloadLen);
}

/** Rewrites what follows the fixed header. */
export function setIpv6NextHeader(buf: Uint8Array, at: number, protocol: number): void {
  buf[at + NEXT_HEADER] = protocol;
}

/** Rewrites the hop limit. */
export function setIpv6HopLimit(buf: Uint8Array, at: number, hopLimit: number): void {
  buf[at + HOP_LIMIT] = hopLimit;
}

/** Rewrites DSCP and ECN. */
export function setIpv6TrafficClass(buf: Uint8Array, at: number, trafficClass: number): void {
  put16(buf, at, (get16(buf, at) & 0xf00f) | ((trafficClass & 0xff) << 4));
}

/** Rewrites the source; the transport checksum is the caller's task, see `updateChecksum16` with `addrSum`. */
export function setIpv6Src(buf: Uint8Array, at: number, src: IpAddr): void {
  src.put(buf, at + SRC);
}

/** Rewrites the destination; the transport checksum is the caller's task, see `updateChecksum16` with `addrSum`. */
export function setIpv6Dst(buf: Uint8Array, at: number, dst: IpAddr): void {
  dst.put(buf, at + DST);
}

/** One line of text: `fe80::1 > ff02::1 icmp6 len 64 hops 255`. */
export function formatIpv6(header: Ipv6Header): string {
  const { src, dst, nextHeader, payloadLen, hopLimit, trafficClass, flowLabel } = header;
  let text = `${src} > ${dst} ${formatIpProto(nextHeader)} len ${IPV6_HEADER_LEN + payloadLen} hops ${hopLimit}`;
  if (trafficClass !== 0) text += ` class 0x${trafficClass.toString(16)}`;
  if (flowLabel !== 0) text += ` flow 0x${flowLabel.toString(16)}`;
  return text;
}

/**
 * Whether a header of this kind stands between the fixed header and the transport's, and is walked over; all of them
 * begin with the byte that names the next. Most packets have none.
 */
export function isIpv6Extension(protocol: number): boolean {
  return protocol === IP_PROTO_HOP_BY_HOP || protocol === IP_PROTO_ROUTING || protocol === IP_PROTO_FRAGMENT ||
    protocol === IP_PROTO_DEST_OPTIONS || protocol === IP_PROTO_AH;
}

/** Bytes of the extension header `protocol` whose second byte is `units`. */
export function ipv6ExtensionLen(protocol: number, units: number): number {
  if (protocol === IP_PROTO_FRAGMENT) return IPV6_FRAGMENT_LEN;
  // RFC 4302 2.2: an AH counts words of 4 bytes, less 2. All others (RFC 8200 4.3): 8 bytes, less 1.
  return protocol === IP_PROTO_AH ? (units + 2) * 4 : (units + 1) * 8;
}

/** Where the bytes behind the fragment header at `at` belong, in bytes. */
export function ipv6FragOffset(buf: Uint8Array, at: number): number {
  return get16(buf, at + FRAG) & FRAG_OFFSET;
}

/** Whether the fragment header at `at` makes its packet a piece of a datagram; if not, it is whole (RFC 6946). */
export function ipv6IsPiece(buf: Uint8Array, at: number): boolean {
  return (get16(buf, at + FRAG) & (FRAG_OFFSET | MORE_FRAGMENTS)) !== 0;
}

/** Makes the fragment header at `at` say that nothing follows. */
export function clearIpv6MoreFragments(buf: Uint8Array, at: number): void {
  put16(buf, at + FRAG, get16(buf, at + FRAG) & ~MORE_FRAGMENTS);
}
