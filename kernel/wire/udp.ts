/**
 * UDP headers (RFC 768; over IPv6: RFC 8200 8.1).
 *
 * Path: udp/udp, icmp_error, family4 → wire/udp → checksum, wire/bytes, ip_addr, ip_proto.
 *
 *     | source port 2 | destination port 2 | length 2 | checksum 2 |
 *
 * A checksum field of 0 means that the sender computed none (IPv4 only): the setters leave it at 0, and a checksum that
 * is 0 is written as 0xffff.
 *
 * Limits: no jumbograms (a length of 0 is malformed), no UDP-Lite.
 *
 * @module
 */

import { get16, put16 } from "./bytes.ts";
import { checksum, pseudoSum, sum, updateChecksum16 } from "./checksum.ts";
import type { IpAddr } from "./ip_addr.ts";
import { IP_PROTO_UDP } from "./ip_proto.ts";

const SRC_PORT = 0;
const DST_PORT = 2;
const LENGTH = 4;
const CHECKSUM = 6;

/** Length of a header. */
export const UDP_HEADER_LEN = 8;

/** Fields of a header to write. */
export interface UdpFields {
  /** Source port. */
  readonly srcPort: number;
  /** Destination port. */
  readonly dstPort: number;
  /** Bytes behind the header. */
  readonly payloadLen: number;
  /** As in the header, 0 if left out; see `setUdpChecksum` and `udpChecksumOk`. */
  readonly checksum?: number;
}

/** A header that was read. */
export type UdpHeader = Required<UdpFields>;

/** Reads a header; null if it does not fit or if its length is below 8 or more than there is. */
export function parseUdp(buf: Uint8Array, at: number, end: number): UdpHeader | null {
  if (end - at < UDP_HEADER_LEN) return null;
  const length = get16(buf, at + LENGTH);
  if (length < UDP_HEADER_LEN || length > end - at) return null;
  return {
    srcPort: get16(buf, at + SRC_PORT),
    dstPort: get16(buf, at + DST_PORT),
    payloadLen: length - UDP_HEADER_LEN,
    checksum: get16(buf, at + CHECKSUM),
  };
}

/** Writes a header as it is, checksum included, and returns 8. */
export function emitUdp(fields: UdpFields, buf: Uint8Array, at: number): number {
  put16(buf, at + SRC_PORT, fields.srcPort);
  put16(buf, at + DST_PORT, fields.dstPort);
  put16(buf, at + LENGTH, UDP_HEADER_LEN + fields.payloadLen);
  put16(buf, at + CHECKSUM, fields.checksum ?? 0);
  return UDP_HEADER_LEN;
}

/** The source port. */
export function udpSrcPort(buf: Uint8Array, at: number): number {
  return get16(buf, at + SRC_PORT);
}

/** The destination port. */
export function udpDstPort(buf: Uint8Array, at: number): number {
  return get16(buf, at + DST_PORT);
}

/** Index of the checksum in the datagram at `at`. */
export function udpChecksumAt(at: number): number {
  return at + CHECKSUM;
}

/** Writes the length of header and payload; the checksum is the caller's. */
export function putUdpLength(buf: Uint8Array, at: number, length: number): void {
  put16(buf, at + LENGTH, length);
}

/** Header and payload, in bytes, as the header claims. */
export function udpLength(buf: Uint8Array, at: number): number {
  return get16(buf, at + LENGTH);
}

/**
 * Whether the checksum of the datagram at `at`, which must be complete, is right. A missing checksum is right over IPv4
 * and wrong over IPv6.
 */
export function udpChecksumOk(buf: Uint8Array, at: number, src: IpAddr, dst: IpAddr): boolean {
  if (get16(buf, at + CHECKSUM) === 0) return src.isV4;
  const length = udpLength(buf, at);
  return sum(buf, at, at + length, pseudoSum(src, dst, IP_PROTO_UDP, length)) === 0xffff;
}

/** Computes the checksum of the datagram at `at`, whose length field is right, and writes it. */
export function setUdpChecksum(buf: Uint8Array, at: number, src: IpAddr, dst: IpAddr): void {
  put16(buf, at + CHECKSUM, 0);
  const length = udpLength(buf, at);
  const check = checksum(buf, at, at + length, pseudoSum(src, dst, IP_PROTO_UDP, length));
  put16(buf, at + CHECKSUM, check === 0 ? 0xffff : check);
}

/** Rewrites the source port, keeping the checksum right. */
export function setUdpSrcPort(buf: Uint8Array, at: number, port: number): void {
  adjustUdpChecksum(buf, at, udpSrcPort(buf, at), port);
  put16(buf, at + SRC_PORT, port);
}

/** Rewrites the destination port, keeping the checksum right. */
export function setUdpDstPort(buf: Uint8Array, at: number, port: number): void {
  adjustUdpChecksum(buf, at, udpDstPort(buf, at), port);
  put16(buf, at + DST_PORT, port);
}

/**
 * Keeps the checksum right after bytes under it with the sum `oldSum` were replaced by others: for an address,
 * `addrSum`.
 */
export function adjustUdpChecksum(buf: Uint8Array, at: number, oldSum: number, newSum: number): void {
  const check = get16(buf, at + CHECKSUM);
  if (check === 0) return;
  const updated = updateChecksum16(check, oldSum, newSum);
  put16(buf, at + CHECKSUM, updated === 0 ? 0xffff : updated);
}

/** One line of text: `udp 53 > 40000 len 120`. */
export function formatUdp(header: UdpHeader): string {
  return `udp ${header.srcPort} > ${header.dstPort} len ${header.payloadLen}`;
}
