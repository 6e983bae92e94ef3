/**
 * IpHeader: what a transport and a bypass need to know of an IP header, whatever its version, without a record per
 * packet.
 *
 * Path: bypass, icmp, icmp_errors → ip_header → wire/ipv4 (wire/ipv6).
 *
 * One record a version, found by the first nibble of the packet: `IP_HEADERS[buf[at] >>> 4]`. A version is added by
 * adding its record; nobody else asks which version it is.
 *
 * @module
 */

import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP } from "../../kernel/wire/ip_proto.ts";
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
} from "../../kernel/wire/ipv4.ts";

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
  /** Bytes to the transport header; -1 if malformed or beyond `end`. */
  headerLen(buf: Uint8Array, at: number, end: number): number;
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
  makeWhole(buf: Uint8Array, at: number): void;
}

const V4: IpHeader = {
  version: 4,
  minLen: IPV4_HEADER_LEN,
  icmp: IP_PROTO_ICMP,
  headerLen(buf, at, end) {
    const length = ipv4HeaderLen(buf, at);
    return length < IPV4_HEADER_LEN || at + length > end ? -1 : length;
  },
  totalLen: ipv4TotalLen,
  protocol: ipv4Protocol,
  src: ipv4Src,
  dst: ipv4Dst,
  isFragment: ipv4IsFragment,
  fragOffset: ipv4FragOffset,
  ttl: ipv4Ttl,
  makeWhole: (buf, at) => setIpv4Fragment(buf, at, 0, false),
};

/** By the first nibble of a packet. */
export const IP_HEADERS: readonly (IpHeader | undefined)[] = Array.from(
  { length: 16 },
  (_, nibble) => nibble === 4 ? V4 : undefined,
);
