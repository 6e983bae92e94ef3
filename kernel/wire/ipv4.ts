/**
 * IPv4 headers (RFC 791; TOS as DSCP and ECN: RFC 2474, RFC 3168; the id of fragments only: RFC 6864).
 *
 * Path: ip_input, packet4, icmp/icmp → ipv4 → wire/bytes, checksum, ip_addr, ip_proto.
 *
 *     | version 4, IHL | TOS | total length 2 | id 2 | flags, fragment offset 2 | TTL | protocol | checksum 2 |
 *     | source 4 | destination 4 | options 0 to 40 |
 *
 * Parsing does not check the header checksum: use `ipv4ChecksumOk`. `emitIpv4` writes a right one and the setters keep
 * it right (by RFC 1624, so that earlier damage stays visible).
 *
 * Limits: the reserved flag is neither kept nor refused.
 *
 * @module
 */

import { get16, getWord, put16 } from "./bytes.ts";
import { checksum, fold, sum, updateChecksum16, updateChecksum32 } from "./checksum.ts";
import { IpAddr } from "./ip_addr.ts";
import { formatIpProto } from "./ip_proto.ts";

const TOS = 1;
const TOTAL_LEN = 2;
const ID = 4;
const FRAG = 6;
const TTL = 8;
const PROTOCOL = 9;
const CHECKSUM = 10;
const SRC = 12;
const DST = 16;

const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;
const FRAG_OFFSET = 0x1fff;

/** Length of a header without options, in bytes. */
export const IPV4_HEADER_LEN = 20;
/** Longest header: IHL 15. */
export const IPV4_HEADER_MAX = 60;
/** Longest packet, header included. */
export const IPV4_TOTAL_MAX = 65535;
/** The TTL that a host starts with (RFC 1700). */
export const IPV4_TTL_DEFAULT = 64;

const NO_OPTIONS = new Uint8Array(0);

/** Fields of a header to write; omitted fields are zero, false or empty, and the TTL 64. */
export interface Ipv4Fields {
  /** Source address. */
  readonly src: IpAddr;
  /** Destination address. */
  readonly dst: IpAddr;
  /** IP_PROTO_UDP and so on. */
  readonly protocol: number;
  /** Bytes behind the header. */
  readonly payloadLen: number;
  /** DSCP in the upper six bits, ECN in the lower two. */
  readonly tos?: number;
  /** Identification: fragments of one packet share it. */
  readonly id?: number;
  /** Routers may not cut it. */
  readonly dontFragment?: boolean;
  /** Others follow this fragment. */
  readonly moreFragments?: boolean;
  /** Where the payload belongs in the whole datagram, in bytes: a multiple of 8. */
  readonly fragOffset?: number;
  /** How many routers it may cross; default 64. */
  readonly ttl?: number;
  /** The options as they are, at most 40 bytes, padded when emitted; a view of the buffer when parsed. */
  readonly options?: Uint8Array;
}

/** A header that was read. */
export interface Ipv4Header extends Required<Ipv4Fields> {
  /** Header with options, in bytes. */
  readonly headerLen: number;
  /** Header and payload, in bytes, without a link's padding. */
  readonly totalLen: number;
}

/** Reads the header of a packet that is whole: null if malformed or if its total length exceeds what is there. */
export function parseIpv4(buf: Uint8Array, at: number, end: number): Ipv4Header | null {
  const header = parseQuotedIpv4(buf, at, end);
  return header !== null && header.totalLen <= end - at ? header : null;
}

/** Reads the header of a packet that may be truncated, as ICMP errors quote it; null if malformed. */
export function parseQuotedIpv4(buf: Uint8Array, at: number, end: number): Ipv4Header | null {
  if (end - at < IPV4_HEADER_LEN || buf[at]! >>> 4 !== 4) return null;
  const headerLen = ipv4HeaderLen(buf, at);
  const totalLen = ipv4TotalLen(buf, at);
  if (headerLen < IPV4_HEADER_LEN || headerLen > end - at || totalLen < headerLen) return null;
  const frag = get16(buf, at + FRAG);
  return {
    src: IpAddr.v4At(buf, at + SRC),
    dst: IpAddr.v4At(buf, at + DST),
    protocol: buf[at + PROTOCOL]!,
    payloadLen: totalLen - headerLen,
    tos: buf[at + TOS]!,
    id: get16(buf, at + ID),
    dontFragment: (frag & DONT_FRAGMENT) !== 0,
    moreFragments: (frag & MORE_FRAGMENTS) !== 0,
    fragOffset: (frag & FRAG_OFFSET) << 3,
    ttl: buf[at + TTL]!,
    options: headerLen === IPV4_HEADER_LEN ? NO_OPTIONS : buf.subarray(at + IPV4_HEADER_LEN, at + headerLen),
    headerLen,
    totalLen,
  };
}

/** Writes a header with its checksum and returns its length (20 and the padded options). */
export function emitIpv4(fields: Ipv4Fields, buf: Uint8Array, at: number): number {
  const options = fields.options ?? NO_OPTIONS;
  const headerLen = IPV4_HEADER_LEN + ((options.length + 3) & ~3);
  const flags = (fields.dontFragment ? DONT_FRAGMENT : 0) | (fields.moreFragments ? MORE_FRAGMENTS : 0);
  buf[at] = 0x40 | (headerLen >>> 2);
  buf[at + TOS] = fields.tos ?? 0;
  put16(buf, at + TOTAL_LEN, headerLen + fields.payloadLen);
  put16(buf, at + ID, fields.id ?? 0);
  put16(buf, at + FRAG, flags | ((fields.fragOffset ?? 0) >>> 3));
  buf[at + TTL] = fields.ttl ?? IPV4_TTL_DEFAULT;
  buf[at + PROTOCOL] = fields.protocol;
  fields.src.putV4(buf, at + SRC);
  fields.dst.putV4(buf, at + DST);
  if (headerLen > IPV4_HEADER_LEN) {
    // In this order: the options may be a view of the same place.
    buf.set(options, at + IPV4_HEADER_LEN);
    buf.fill(0, at + IPV4_HEADER_LEN + options.length, at + headerLen);
  }
  setIpv4Checksum(buf, at, headerLen);
  return headerLen;
}

/** The fields of a new header that a sender chooses; all are there. */
export interface Ipv4Start {
  /** The source address. */
  readonly src: IpAddr;
  /** The destination address. */
  readonly dst: IpAddr;
  /** The protocol of the payload, such as 17. */
  readonly protocol: number;
  /** The time to live, 0 to 255. */
  readonly ttl: number;
  /** Type of service: DSCP and ECN, 0 to 255. */
  readonly tos: number;
}

/**
 * Writes a header without options for a whole packet of `totalLen` bytes: no identification, "don't fragment" set.
 * Its checksum is not there yet: `putIpv4Id` or `setIpv4Checksum` is next.
 */
export function putIpv4(fields: Ipv4Start, totalLen: number, buf: Uint8Array, at: number): void {
  buf[at] = 0x40 | (IPV4_HEADER_LEN >>> 2);
  buf[at + TOS] = fields.tos;
  put16(buf, at + TOTAL_LEN, totalLen);
  put16(buf, at + ID, 0);
  put16(buf, at + FRAG, DONT_FRAGMENT);
  buf[at + TTL] = fields.ttl;
  buf[at + PROTOCOL] = fields.protocol;
  fields.src.putV4(buf, at + SRC);
  fields.dst.putV4(buf, at + DST);
}

/** Gives a whole packet an identification and lets it be fragmented; `setIpv4Checksum` is next. */
export function putIpv4Id(buf: Uint8Array, at: number, id: number): void {
  put16(buf, at + ID, id);
  put16(buf, at + FRAG, 0);
}

/** Length of the header at `at`, in bytes, as it claims: 0 to 60. */
export function ipv4HeaderLen(buf: Uint8Array, at: number): number {
  return (buf[at]! & 0x0f) << 2;
}

/** Length of the packet at `at`, in bytes, as it claims. */
export function ipv4TotalLen(buf: Uint8Array, at: number): number {
  return get16(buf, at + TOTAL_LEN);
}

/** DSCP in the upper six bits, ECN in the lower two. */
export function ipv4Tos(buf: Uint8Array, at: number): number {
  return buf[at + TOS]!;
}

/** The identification, which only fragments need. */
export function ipv4Id(buf: Uint8Array, at: number): number {
  return get16(buf, at + ID);
}

/** Whether the packet is a piece of a datagram: more fragments follow, or its offset is not 0. */
export function ipv4IsFragment(buf: Uint8Array, at: number): boolean {
  return (get16(buf, at + FRAG) & (MORE_FRAGMENTS | FRAG_OFFSET)) !== 0;
}

/** Where the payload belongs in the whole datagram, in bytes. */
export function ipv4FragOffset(buf: Uint8Array, at: number): number {
  return (get16(buf, at + FRAG) & FRAG_OFFSET) << 3;
}

/** Whether more fragments of the datagram follow. */
export function ipv4MoreFragments(buf: Uint8Array, at: number): boolean {
  return (get16(buf, at + FRAG) & MORE_FRAGMENTS) !== 0;
}

/** Whether "don't fragment" is set. */
export function ipv4DontFragment(buf: Uint8Array, at: number): boolean {
  return (get16(buf, at + FRAG) & DONT_FRAGMENT) !== 0;
}

/** The time to live, in hops. */
export function ipv4Ttl(buf: Uint8Array, at: number): number {
  return buf[at + TTL]!;
}

/** What the payload is: IP_PROTO_UDP and so on. */
export function ipv4Protocol(buf: Uint8Array, at: number): number {
  return buf[at + PROTOCOL]!;
}

/** The source as a signed 32-bit number: the `w3` of its `IpAddr`. */
export function ipv4SrcWord(buf: Uint8Array, at: number): number {
  return getWord(buf, at + SRC);
}

/** The destination as a signed 32-bit number: the `w3` of its `IpAddr`. */
export function ipv4DstWord(buf: Uint8Array, at: number): number {
  return getWord(buf, at + DST);
}

/** The source address. */
export function ipv4Src(buf: Uint8Array, at: number): IpAddr {
  return IpAddr.v4At(buf, at + SRC);
}

/** The destination address. */
export function ipv4Dst(buf: Uint8Array, at: number): IpAddr {
  return IpAddr.v4At(buf, at + DST);
}

/** Whether the checksum of the header at `at`, which must be complete, is right. */
export function ipv4ChecksumOk(buf: Uint8Array, at: number): boolean {
  const headerLen = ipv4HeaderLen(buf, at);
  return (headerLen === IPV4_HEADER_LEN ? plainSum(buf, at) : sum(buf, at, at + headerLen)) === 0xffff;
}

/** The sum of a header without options, as most are: without a loop it takes half the time. */
function plainSum(buf: Uint8Array, at: number): number {
  return fold(
    halves(buf, at) + halves(buf, at + 4) + halves(buf, at + 8) + halves(buf, at + SRC) + halves(buf, at + DST),
  );
}

function halves(buf: Uint8Array, at: number): number {
  return ((buf[at]! << 8) | buf[at + 1]!) + ((buf[at + 2]! << 8) | buf[at + 3]!);
}

/** Computes the header checksum and writes it. */
export function setIpv4Checksum(buf: Uint8Array, at: number, headerLen: number): void {
  put16(buf, at + CHECKSUM, 0);
  put16(buf, at + CHECKSUM, checksum(buf, at, at + headerLen));
}

/** Rewrites DSCP and ECN. */
export function setIpv4Tos(buf: Uint8Array, at: number, tos: number): void {
  setWord(buf, at, 0, (buf[at]! << 8) | (tos & 0xff));
}

/** Rewrites the total length, in bytes. */
export function setIpv4TotalLen(buf: Uint8Array, at: number, totalLen: number): void {
  setWord(buf, at, TOTAL_LEN, totalLen);
}

/** Rewrites the identification. */
export function setIpv4Id(buf: Uint8Array, at: number, id: number): void {
  setWord(buf, at, ID, id);
}

/** Sets or clears "don't fragment". */
export function setIpv4DontFragment(buf: Uint8Array, at: number, dontFragment: boolean): void {
  setWord(buf, at, FRAG, (get16(buf, at + FRAG) & ~DONT_FRAGMENT) | (dontFragment ? DONT_FRAGMENT : 0));
}

/** Makes the packet a fragment (or, with 0 and false, a whole one); `fragOffset` in bytes. "Don't fragment" stays. */
export function setIpv4Fragment(buf: Uint8Array, at: number, fragOffset: number, moreFragments: boolean): void {
  const kept = get16(buf, at + FRAG) & DONT_FRAGMENT;
  setWord(buf, at, FRAG, kept | (moreFragments ? MORE_FRAGMENTS : 0) | (fragOffset >>> 3));
}

/** Rewrites the time to live, in hops. */
export function setIpv4Ttl(buf: Uint8Array, at: number, ttl: number): void {
  setWord(buf, at, TTL, ((ttl & 0xff) << 8) | buf[at + PROTOCOL]!);
}

/** Rewrites the source in this header; the transport checksum is the caller's task, see `updateChecksum32`. */
export function setIpv4Src(buf: Uint8Array, at: number, src: IpAddr): void {
  setAddr(buf, at, SRC, src);
}

/** Rewrites the destination in this header; the transport checksum is the caller's task, see `updateChecksum32`. */
export function setIpv4Dst(buf: Uint8Array, at: number, dst: IpAddr): void {
  setAddr(buf, at, DST, dst);
}

/**
 * Those of `options` that every fragment must carry (RFC 791 3.1: the copied flag), padded. Options after a malformed
 * one are left out.
 */
export function copiedIpv4Options(options: Uint8Array): Uint8Array {
  const copied = new Uint8Array(options.length);
  let length = 0;
  for (let at = 0; at < options.length;) {
    const kind = options[at]!;
    if (kind === OPTION_END) break;
    const size = kind === OPTION_NOP ? 1 : options[at + 1] ?? 0;
    if (size < (kind === OPTION_NOP ? 1 : 2) || at + size > options.length) break;
    if ((kind & OPTION_COPIED) !== 0) {
      copied.set(options.subarray(at, at + size), length);
      length += size;
    }
    at += size;
  }
  return copied.subarray(0, (length + 3) & ~3);
}

/** One line of text: `10.0.0.1 > 10.0.0.2 udp len 60 ttl 64`, and unusual fields. */
export function formatIpv4(header: Ipv4Header): string {
  let text = `${header.src} > ${header.dst} ${formatIpProto(header.protocol)} len ${header.totalLen} ttl ${header.ttl}`;
  if (header.tos !== 0) text += ` tos 0x${header.tos.toString(16)}`;
  if (header.dontFragment) text += " df";
  if (header.moreFragments || header.fragOffset !== 0) {
    text += ` frag ${header.id}@${header.fragOffset}${header.moreFragments ? "+" : ""}`;
  }
  if (header.options.length !== 0) text += ` options ${header.options.length}`;
  return text;
}

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_COPIED = 0x80;

function setWord(buf: Uint8Array, at: number, field: number, word: number): void {
  put16(buf, at + CHECKSUM, updateChecksum16(get16(buf, at + CHECKSUM), get16(buf, at + field), word & 0xffff));
  put16(buf, at + field, word);
}

function setAddr(buf: Uint8Array, at: number, field: number, addr: IpAddr): void {
  put16(buf, at + CHECKSUM, updateChecksum32(get16(buf, at + CHECKSUM), getWord(buf, at + field), addr.w3));
  addr.putV4(buf, at + field);
}
