/**
 * ICMP for IPv6 (RFC 4443). The messages of neighbour discovery are in nd.
 *
 * Path: icmp/icmp6, icmp_errors, neighbor/mld → wire/icmp6 → wire/icmp, checksum, ipv6, wire/bytes.
 *
 *     | type | code | checksum 2 | rest 4 | data …
 *       echo:               id 2, sequence 2   the bytes to send back
 *       packet too big:     MTU 4              the packet in error, as much of it as fits 1280 bytes
 *       parameter problem:  pointer 4          the same
 *       other errors:       0 4                the same
 *
 * Every checksum covers a pseudo-header: computing and checking it needs the addresses.
 *
 * The header is that of ICMP for IPv4.
 *
 * @module
 */

import { get16, put16 } from "./bytes.ts";
import { checksum, type IpEnds, pseudoSum, sum, updateChecksum16 } from "./checksum.ts";
import { emitIcmp, type IcmpEcho, icmpEchoId, type IcmpError, type IcmpHeader } from "./icmp.ts";
import { IP_PROTO_ICMP6 } from "./ip_proto.ts";
import { IPV6_HEADER_LEN, IPV6_MTU_MIN, type Ipv6Header, parseQuotedIpv6, walkIpv6 } from "./ipv6.ts";

export {
  emitIcmp as emitIcmp6,
  type IcmpEcho as Icmp6Echo,
  icmpEchoId as icmp6EchoId,
  icmpEchoSeq as icmp6EchoSeq,
  type IcmpError as Icmp6Error,
  type IcmpHeader as Icmp6Header,
  icmpType as icmp6Type,
  parseIcmp as parseIcmp6,
} from "./icmp.ts";

const CODE = 1;
const CHECKSUM = 2;
const ECHO_ID = 4;

/** Length of the header that every message starts with. */
export const ICMP6_HEADER_LEN = 8;
/** How much of a packet an error quotes, in bytes: the whole error must fit the minimum MTU (RFC 4443 2.4 c). */
export const ICMP6_QUOTE_MAX = IPV6_MTU_MIN - IPV6_HEADER_LEN - ICMP6_HEADER_LEN;
/** How many bytes of the quoted transport header must be there to identify its addressee. */
export const ICMP6_QUOTE_TRANSPORT_MIN = 8;

/** Type: destination unreachable. */
export const ICMP6_UNREACHABLE = 1;
/** Type: packet too big; the rest holds the MTU. */
export const ICMP6_PACKET_TOO_BIG = 2;
/** Type: time exceeded. */
export const ICMP6_TIME_EXCEEDED = 3;
/** Type: a header makes no sense; the rest points to it. */
export const ICMP6_PARAMETER_PROBLEM = 4;
/** Type: "ping". */
export const ICMP6_ECHO_REQUEST = 128;
/** Type: the answer to an echo request. */
export const ICMP6_ECHO_REPLY = 129;
/** Type: routers are asked to advertise. */
export const ICMP6_ROUTER_SOLICIT = 133;
/** Type: a router advertises itself and its networks. */
export const ICMP6_ROUTER_ADVERT = 134;
/** Type: who has this address? */
export const ICMP6_NEIGHBOR_SOLICIT = 135;
/** Type: the sender has it. */
export const ICMP6_NEIGHBOR_ADVERT = 136;
/** Type: there is a better next hop. */
export const ICMP6_REDIRECT = 137;

// Codes of ICMP6_UNREACHABLE.
/** Code: no route to the destination. */
export const ICMP6_UNREACHABLE_NO_ROUTE = 0;
/** Code: administratively prohibited. */
export const ICMP6_UNREACHABLE_PROHIBITED = 1;
/** Code: the address does not answer. */
export const ICMP6_UNREACHABLE_ADDRESS = 3;
/** Code: no program has the port. */
export const ICMP6_UNREACHABLE_PORT = 4;

// Codes of ICMP6_TIME_EXCEEDED.
/** Code: the hop limit ran out on the way. */
export const ICMP6_TIME_EXCEEDED_HOPS = 0;
/** Code: fragments are missing. */
export const ICMP6_TIME_EXCEEDED_REASSEMBLY = 1;

// Codes of ICMP6_PARAMETER_PROBLEM.
/** Code: a field has a wrong value. */
export const ICMP6_PARAMETER_HEADER = 0;
/** Code: the next header is unknown. */
export const ICMP6_PARAMETER_NEXT_HEADER = 1;
/** Code: an option is unknown. */
export const ICMP6_PARAMETER_OPTION = 2;

/** The packet that an error message is about. */
export interface Icmp6Quote {
  /** The quoted IP header. */
  readonly ip: Ipv6Header;
  /** Where the quoted IP header starts. */
  readonly ipAt: number;
  /** The protocol behind the quoted extension headers. */
  readonly protocol: number;
  /** Where the quoted transport header starts; at least ICMP6_QUOTE_TRANSPORT_MIN bytes of it are there. */
  readonly transportAt: number;
  /** Where the quote ends. */
  readonly end: number;
}

/** Writes a whole echo message without its checksum and returns its length; call `setIcmp6Checksum` next. */
export function emitIcmp6Echo(echo: IcmpEcho, buf: Uint8Array, at: number): number {
  const type = echo.reply ? ICMP6_ECHO_REPLY : ICMP6_ECHO_REQUEST;
  emitIcmp({ type, code: 0, checksum: 0, rest: (echo.id << 16) | echo.seq }, buf, at);
  buf.set(echo.data, at + ICMP6_HEADER_LEN);
  return ICMP6_HEADER_LEN + echo.data.length;
}

/** Writes a whole error message without its checksum and returns its length; call `setIcmp6Checksum` next. */
export function emitIcmp6Error(error: IcmpError, buf: Uint8Array, at: number): number {
  emitIcmp({ type: error.type, code: error.code, checksum: 0, rest: error.rest ?? 0 }, buf, at);
  buf.set(error.packet.subarray(0, ICMP6_QUOTE_MAX), at + ICMP6_HEADER_LEN);
  return icmp6ErrorLen(error);
}

/** How many bytes `emitIcmp6Error` writes. */
export function icmp6ErrorLen(error: IcmpError): number {
  return ICMP6_HEADER_LEN + Math.min(error.packet.length, ICMP6_QUOTE_MAX);
}

/**
 * The packet that the message at `at` quotes; null if it is not an error, or if the quote is malformed, too short, or a
 * fragment without a transport header.
 */
export function parseIcmp6Quote(buf: Uint8Array, at: number, end: number): Icmp6Quote | null {
  if (end - at < ICMP6_HEADER_LEN || !icmp6IsError(buf[at]!)) return null;
  const ipAt = at + ICMP6_HEADER_LEN;
  const ip = parseQuotedIpv6(buf, ipAt, end);
  if (ip === null) return null;
  const quoteEnd = Math.min(end, ipAt + IPV6_HEADER_LEN + ip.payloadLen);
  const walk = walkIpv6(buf, ipAt, quoteEnd);
  if (walk === null || walk.isLaterFragment || quoteEnd - walk.at < ICMP6_QUOTE_TRANSPORT_MIN) return null;
  return { ip, ipAt, protocol: walk.protocol, transportAt: walk.at, end: quoteEnd };
}

/** Whether messages of this type report an error (RFC 4443 2.1): none may be sent about one of them. */
export function icmp6IsError(type: number): boolean {
  return type < 128;
}

/** Whether the checksum of the message from `at` to `end` is right. */
export function icmp6ChecksumOk(buf: Uint8Array, at: number, end: number, { src, dst }: IpEnds): boolean {
  return sum(buf, at, end, pseudoSum(src, dst, IP_PROTO_ICMP6, end - at)) === 0xffff;
}

/** Computes the checksum of the message from `at` to `end` and writes it. */
export function setIcmp6Checksum(buf: Uint8Array, at: number, end: number, { src, dst }: IpEnds): void {
  put16(buf, at + CHECKSUM, 0);
  put16(buf, at + CHECKSUM, checksum(buf, at, end, pseudoSum(src, dst, IP_PROTO_ICMP6, end - at)));
}

/** Rewrites the type, keeping the checksum right: a request becomes its reply. */
export function setIcmp6Type(buf: Uint8Array, at: number, type: number): void {
  const code = buf[at + CODE]!;
  adjustIcmp6Checksum(buf, at, (buf[at]! << 8) | code, (type << 8) | code);
  buf[at] = type;
}

/** Rewrites the identifier of an echo message, keeping the checksum right. */
export function setIcmp6EchoId(buf: Uint8Array, at: number, id: number): void {
  adjustIcmp6Checksum(buf, at, icmpEchoId(buf, at), id);
  put16(buf, at + ECHO_ID, id);
}

/**
 * Keeps the checksum right after bytes under it with the sum `oldSum` were replaced by others: for an address,
 * `addrSum`.
 */
export function adjustIcmp6Checksum(buf: Uint8Array, at: number, oldSum: number, newSum: number): void {
  put16(buf, at + CHECKSUM, updateChecksum16(get16(buf, at + CHECKSUM), oldSum, newSum));
}

const NAMES: Readonly<Record<number, string>> = {
  [ICMP6_UNREACHABLE]: "unreachable",
  [ICMP6_PACKET_TOO_BIG]: "packet too big",
  [ICMP6_TIME_EXCEEDED]: "time exceeded",
  [ICMP6_PARAMETER_PROBLEM]: "parameter problem",
  [ICMP6_ECHO_REQUEST]: "echo request",
  [ICMP6_ECHO_REPLY]: "echo reply",
  [ICMP6_ROUTER_SOLICIT]: "router solicitation",
  [ICMP6_ROUTER_ADVERT]: "router advertisement",
  [ICMP6_NEIGHBOR_SOLICIT]: "neighbor solicitation",
  [ICMP6_NEIGHBOR_ADVERT]: "neighbor advertisement",
  [ICMP6_REDIRECT]: "redirect",
};

/** One line of text: `icmp6 echo request id 7 seq 1`, `icmp6 packet too big mtu 1280`. */
export function formatIcmp6(header: IcmpHeader): string {
  const { type, code, rest } = header;
  const text = `icmp6 ${NAMES[type] ?? `type ${type}`}`;
  if (type === ICMP6_ECHO_REQUEST || type === ICMP6_ECHO_REPLY) return `${text} id ${rest >>> 16} seq ${rest & 0xffff}`;
  if (type === ICMP6_PACKET_TOO_BIG) return `${text} mtu ${rest}`;
  if (type === ICMP6_PARAMETER_PROBLEM) return `${text} code ${code} pointer ${rest}`;
  return icmp6IsError(type) ? `${text} code ${code}` : text;
}
