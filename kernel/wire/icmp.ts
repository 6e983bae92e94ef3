/**
 * ICMP for IPv4 (RFC 792; codes of RFC 1122 3.2.2.1 and RFC 1812 5.2.7.1; next-hop MTU of RFC 1191 4).
 *
 * Path: icmp/icmp, icmp_errors, bypass → wire/icmp → checksum, ipv4, wire/bytes.
 *
 *     | type | code | checksum 2 | rest 4 | data …
 *       echo:                       id 2, sequence 2     the bytes to send back
 *       unreachable, too big:       0 2, next-hop MTU 2  the packet in error: its IP header and at least 8 bytes more
 *       parameter problem:          pointer 1, 0 3       the same
 *       redirect:                   gateway 4            the same
 *
 * Limits: RFC 4884 extensions are passed through as quoted bytes; timestamp and address mask messages have no record.
 *
 * @module
 */

import { get16, get32, put16, put32 } from "./bytes.ts";
import { checksum, sum, updateChecksum16 } from "./checksum.ts";
import { type Ipv4Header, parseQuotedIpv4 } from "./ipv4.ts";

const CODE = 1;
const CHECKSUM = 2;
const REST = 4;
const ECHO_ID = 4;
const ECHO_SEQ = 6;

/** Length of the header that every message starts with. */
export const ICMP_HEADER_LEN = 8;
/** How much of a packet an error should quote, in bytes: the whole error must fit 576 (RFC 1812 4.3.2.3). */
export const ICMP_QUOTE_MAX = 576 - 20 - ICMP_HEADER_LEN;
/** How many bytes behind the quoted IP header an error must have to identify its addressee (RFC 792). */
export const ICMP_QUOTE_TRANSPORT_MIN = 8;

/** Type: the answer to an echo request. */
export const ICMP_ECHO_REPLY = 0;
/** Type: destination unreachable. */
export const ICMP_UNREACHABLE = 3;
/** Type: source quench, deprecated (RFC 6633). */
export const ICMP_SOURCE_QUENCH = 4;
/** Type: there is a better next hop. */
export const ICMP_REDIRECT = 5;
/** Type: "ping". */
export const ICMP_ECHO_REQUEST = 8;
/** Type: time exceeded. */
export const ICMP_TIME_EXCEEDED = 11;
/** Type: the IP header makes no sense. */
export const ICMP_PARAMETER_PROBLEM = 12;
/** Type: the time is asked for. */
export const ICMP_TIMESTAMP_REQUEST = 13;
/** Type: the time. */
export const ICMP_TIMESTAMP_REPLY = 14;

// Codes of ICMP_UNREACHABLE.
/** Code: no route to the network. */
export const ICMP_UNREACHABLE_NET = 0;
/** Code: the host does not answer. */
export const ICMP_UNREACHABLE_HOST = 1;
/** Code: the host does not know the protocol. */
export const ICMP_UNREACHABLE_PROTOCOL = 2;
/** Code: no program has the port. */
export const ICMP_UNREACHABLE_PORT = 3;
/** Fragmentation needed but "don't fragment" set; the rest holds the next hop's MTU. */
export const ICMP_UNREACHABLE_TOO_BIG = 4;
/** Code: the source route failed. */
export const ICMP_UNREACHABLE_SOURCE_ROUTE = 5;
/** Code: administratively prohibited (RFC 1812 5.2.7.1). */
export const ICMP_UNREACHABLE_PROHIBITED = 13;

// Codes of ICMP_TIME_EXCEEDED.
/** Code: the TTL ran out on the way. */
export const ICMP_TIME_EXCEEDED_TTL = 0;
/** Code: fragments are missing. */
export const ICMP_TIME_EXCEEDED_REASSEMBLY = 1;

/** The header of any message, of either version. */
export interface IcmpHeader {
  /** ICMP_UNREACHABLE and so on. */
  readonly type: number;
  /** Its meaning depends on the type. */
  readonly code: number;
  /** As in the message; see `setIcmpChecksum` and `icmpChecksumOk`. */
  readonly checksum: number;
  /** The four bytes whose meaning depends on the type, as an unsigned number. */
  readonly rest: number;
}

/** The packet that an error message is about. */
export interface IcmpQuote {
  /** The quoted IP header. */
  readonly ip: Ipv4Header;
  /** Where the quoted IP header starts. */
  readonly ipAt: number;
  /** Where the quoted transport header starts; at least ICMP_QUOTE_TRANSPORT_MIN bytes of it are there. */
  readonly transportAt: number;
  /** Where the quote ends. */
  readonly end: number;
}

/** Fields of an error message of either version to write. */
export interface IcmpError {
  /** ICMP_UNREACHABLE and so on. */
  readonly type: number;
  /** Its meaning depends on the type. */
  readonly code: number;
  /** See `icmpMtuRest` and `icmpPointerRest`; of ICMPv6 the MTU or the pointer; 0 for most. */
  readonly rest?: number;
  /** The packet in error, from its IP header on; no more than ICMP_QUOTE_MAX (ICMP6_QUOTE_MAX) bytes are taken. */
  readonly packet: Uint8Array;
}

/** Fields of an echo request or reply of either version to write. */
export interface IcmpEcho {
  /** A reply, not a request. */
  readonly reply: boolean;
  /** Identifier, which a reply repeats. */
  readonly id: number;
  /** Sequence number, which a reply repeats. */
  readonly seq: number;
  /** Bytes, which a reply repeats. */
  readonly data: Uint8Array;
}

/** Reads a header; null if it does not fit. */
export function parseIcmp(buf: Uint8Array, at: number, end: number): IcmpHeader | null {
  if (end - at < ICMP_HEADER_LEN) return null;
  return { type: buf[at]!, code: buf[at + CODE]!, checksum: get16(buf, at + CHECKSUM), rest: get32(buf, at + REST) };
}

/** Writes a header as it is, checksum included, and returns 8. */
export function emitIcmp(header: IcmpHeader, buf: Uint8Array, at: number): number {
  buf[at] = header.type;
  buf[at + CODE] = header.code;
  put16(buf, at + CHECKSUM, header.checksum);
  put32(buf, at + REST, header.rest);
  return ICMP_HEADER_LEN;
}

/** Writes a whole echo message with its checksum and returns its length. */
export function emitIcmpEcho(echo: IcmpEcho, buf: Uint8Array, at: number): number {
  const type = echo.reply ? ICMP_ECHO_REPLY : ICMP_ECHO_REQUEST;
  emitIcmp({ type, code: 0, checksum: 0, rest: (echo.id << 16) | echo.seq }, buf, at);
  buf.set(echo.data, at + ICMP_HEADER_LEN);
  const end = at + ICMP_HEADER_LEN + echo.data.length;
  setIcmpChecksum(buf, at, end);
  return end - at;
}

/** Writes a whole error message with its checksum and returns its length (`icmpErrorLen`). */
export function emitIcmpError(error: IcmpError, buf: Uint8Array, at: number): number {
  const end = at + icmpErrorLen(error);
  emitIcmp({ type: error.type, code: error.code, checksum: 0, rest: error.rest ?? 0 }, buf, at);
  buf.set(error.packet.subarray(0, ICMP_QUOTE_MAX), at + ICMP_HEADER_LEN);
  setIcmpChecksum(buf, at, end);
  return end - at;
}

/** How many bytes `emitIcmpError` writes. */
export function icmpErrorLen(error: IcmpError): number {
  return ICMP_HEADER_LEN + Math.min(error.packet.length, ICMP_QUOTE_MAX);
}

/** The rest of an ICMP_UNREACHABLE_TOO_BIG: the next hop's MTU in bytes (RFC 1191 4). */
export function icmpMtuRest(mtu: number): number {
  return mtu & 0xffff;
}

/** The rest of an ICMP_PARAMETER_PROBLEM: the offset of the byte at fault. */
export function icmpPointerRest(pointer: number): number {
  return (pointer << 24) >>> 0;
}

/** The next hop's MTU in an ICMP_UNREACHABLE_TOO_BIG, in bytes; 0 from a router older than RFC 1191. */
export function icmpNextHopMtu(buf: Uint8Array, at: number): number {
  return get16(buf, at + REST + 2);
}

/**
 * The packet that the message at `at` quotes; null if it is not an error, or if the quote is malformed, too short, or a
 * fragment without a transport header.
 */
export function parseIcmpQuote(buf: Uint8Array, at: number, end: number): IcmpQuote | null {
  if (end - at < ICMP_HEADER_LEN || !icmpIsError(buf[at]!)) return null;
  const ipAt = at + ICMP_HEADER_LEN;
  const ip = parseQuotedIpv4(buf, ipAt, end);
  if (ip === null || ip.fragOffset !== 0) return null;
  const transportAt = ipAt + ip.headerLen;
  const quoteEnd = Math.min(end, ipAt + ip.totalLen);
  if (quoteEnd - transportAt < ICMP_QUOTE_TRANSPORT_MIN) return null;
  return { ip, ipAt, transportAt, end: quoteEnd };
}

/** Whether messages of this type report an error: none may be sent about one of them (RFC 1122 3.2.2). */
export function icmpIsError(type: number): boolean {
  return type === ICMP_UNREACHABLE || type === ICMP_TIME_EXCEEDED || type === ICMP_PARAMETER_PROBLEM ||
    type === ICMP_REDIRECT || type === ICMP_SOURCE_QUENCH;
}

/** Index of the checksum in the message at `at`, of either version. */
export function icmpChecksumAt(at: number): number {
  return at + CHECKSUM;
}

/** The type: ICMP_ECHO_REQUEST and so on. */
export function icmpType(buf: Uint8Array, at: number): number {
  return buf[at]!;
}

/** The code, of either version. */
export function icmpCode(buf: Uint8Array, at: number): number {
  return buf[at + CODE]!;
}

/** The identifier of an echo message. */
export function icmpEchoId(buf: Uint8Array, at: number): number {
  return get16(buf, at + ECHO_ID);
}

/** The sequence number of an echo message. */
export function icmpEchoSeq(buf: Uint8Array, at: number): number {
  return get16(buf, at + ECHO_SEQ);
}

/** Whether the checksum of the message from `at` to `end` is right. */
export function icmpChecksumOk(buf: Uint8Array, at: number, end: number): boolean {
  return sum(buf, at, end) === 0xffff;
}

/** Computes the checksum of the message from `at` to `end` and writes it. */
export function setIcmpChecksum(buf: Uint8Array, at: number, end: number): void {
  put16(buf, at + CHECKSUM, 0);
  put16(buf, at + CHECKSUM, checksum(buf, at, end));
}

/** Rewrites the type, keeping the checksum right: a request becomes its reply. */
export function setIcmpType(buf: Uint8Array, at: number, type: number): void {
  const code = buf[at + CODE]!;
  const updated = updateChecksum16(get16(buf, at + CHECKSUM), (buf[at]! << 8) | code, (type << 8) | code);
  buf[at] = type;
  putUpdated(buf, at, updated);
}

/** Rewrites the identifier of an echo message, keeping the checksum right. */
export function setIcmpEchoId(buf: Uint8Array, at: number, id: number): void {
  const updated = updateChecksum16(get16(buf, at + CHECKSUM), icmpEchoId(buf, at), id);
  put16(buf, at + ECHO_ID, id);
  putUpdated(buf, at, updated);
}

/**
 * An updated checksum of 0 is right unless all the message is zeros, which sums to 0 and not to 0xffff; an echo reply
 * may be that. Under a header of zeros 0xffff is therefore written, which is right for any data.
 */
function putUpdated(buf: Uint8Array, at: number, updated: number): void {
  const isZero = updated === 0 && get16(buf, at) === 0 && get32(buf, at + REST) === 0;
  put16(buf, at + CHECKSUM, isZero ? 0xffff : updated);
}

const NAMES: Readonly<Record<number, string>> = {
  [ICMP_ECHO_REPLY]: "echo reply",
  [ICMP_UNREACHABLE]: "unreachable",
  [ICMP_SOURCE_QUENCH]: "source quench",
  [ICMP_REDIRECT]: "redirect",
  [ICMP_ECHO_REQUEST]: "echo request",
  [ICMP_TIME_EXCEEDED]: "time exceeded",
  [ICMP_PARAMETER_PROBLEM]: "parameter problem",
  [ICMP_TIMESTAMP_REQUEST]: "timestamp request",
  [ICMP_TIMESTAMP_REPLY]: "timestamp reply",
};

/** One line of text: `icmp echo request id 7 seq 1`, `icmp unreachable code 4 mtu 1400`. */
export function formatIcmp(header: IcmpHeader): string {
  const text = `icmp ${NAMES[header.type] ?? `type ${header.type}`}`;
  if (header.type === ICMP_ECHO_REQUEST || header.type === ICMP_ECHO_REPLY) {
    return `${text} id ${header.rest >>> 16} seq ${header.rest & 0xffff}`;
  }
  const tooBig = header.type === ICMP_UNREACHABLE && header.code === ICMP_UNREACHABLE_TOO_BIG;
  if (tooBig) return `${text} code ${header.code} mtu ${header.rest & 0xffff}`;
  if (header.type === ICMP_PARAMETER_PROBLEM) return `${text} code ${header.code} pointer ${header.rest >>> 24}`;
  return `${text} code ${header.code}`;
}
