/**
 * TCP headers (RFC 9293 3.1). The options are in tcp_options.
 *
 * Path: tcp/tcp, ack, tcp/advice → wire/tcp → tcp_options, checksum, wire/bytes.
 *
 *     | source port 2 | destination port 2 | sequence 4 | acknowledgment 4 |
 *     | data offset 4 bits, reserved 4 | flags | window 2 | checksum 2 | urgent 2 | options 0 to 40 |
 *
 * Limits: the reserved bits (AccECN's AE among them) are neither kept nor refused.
 *
 * @module
 */

import { get16, get32, put16, put32, swap16 } from "./bytes.ts";
import { checksum, type IpEnds, pseudoSum, sum, updateChecksum16, updateChecksum32 } from "./checksum.ts";
import { IP_PROTO_TCP } from "./ip_proto.ts";
import {
  emitTcpOptions,
  findTcpOption,
  formatTcpOptions,
  NO_TCP_OPTIONS,
  parseTcpOptions,
  TCP_OPTION_MSS,
  type TcpOptions,
  tcpOptionsLen,
} from "./tcp_options.ts";

const SRC_PORT = 0;
const DST_PORT = 2;
const SEQ = 4;
const ACK = 8;
const DATA_OFFSET = 12;
const FLAGS = 13;
const WINDOW = 14;
const CHECKSUM = 16;
const URGENT = 18;

/** Length of a header without options, in bytes. */
export const TCP_HEADER_LEN = 20;
/** Longest header: data offset 15. */
export const TCP_HEADER_MAX = 60;

/** The sender sends no more. */
export const TCP_FIN = 0x01;
/** Sequence numbers begin here. */
export const TCP_SYN = 0x02;
/** The connection is over. */
export const TCP_RST = 0x04;
/** The receiver is to hand the data on. */
export const TCP_PSH = 0x08;
/** The acknowledgment number counts. */
export const TCP_ACK = 0x10;
/** The urgent pointer counts. */
export const TCP_URG = 0x20;
/** Congestion was seen (RFC 3168). */
export const TCP_ECE = 0x40;
/** The window was reduced (RFC 3168). */
export const TCP_CWR = 0x80;

/** Fields of a header to write; omitted fields are zero, and there are no options. */
export interface TcpFields {
  /** Source port. */
  readonly srcPort: number;
  /** Destination port. */
  readonly dstPort: number;
  /** Sequence number, unsigned. */
  readonly seq: number;
  /** Acknowledgment number, unsigned. */
  readonly ack: number;
  /** TCP_SYN, TCP_ACK and so on, or-ed. */
  readonly flags: number;
  /** The 16 bits of the header, not scaled. */
  readonly window: number;
  /** Urgent pointer. */
  readonly urgent?: number;
  /** As in the header; see `setTcpChecksum` and `tcpChecksumOk`. */
  readonly checksum?: number;
  /** The options behind the fixed header. */
  readonly options?: TcpOptions;
}

/** A header that was read. */
export interface TcpHeader extends Required<TcpFields> {
  /** Header with options, in bytes: the payload starts there. */
  readonly headerLen: number;
}

/** Reads a header and its options; null if it does not fit. Options that are malformed do not make it malformed. */
export function parseTcp(buf: Uint8Array, at: number, end: number): TcpHeader | null {
  if (end - at < TCP_HEADER_LEN) return null;
  const headerLen = tcpHeaderLen(buf, at);
  if (headerLen < TCP_HEADER_LEN || headerLen > end - at) return null;
  return {
    srcPort: get16(buf, at + SRC_PORT),
    dstPort: get16(buf, at + DST_PORT),
    seq: get32(buf, at + SEQ),
    ack: get32(buf, at + ACK),
    flags: buf[at + FLAGS]!,
    window: get16(buf, at + WINDOW),
    urgent: get16(buf, at + URGENT),
    checksum: get16(buf, at + CHECKSUM),
    options: headerLen === TCP_HEADER_LEN ? NO_TCP_OPTIONS : parseTcpOptions(buf, at + TCP_HEADER_LEN, at + headerLen),
    headerLen,
  };
}

/** Writes a header with its options, checksum as it is, and returns its length. */
export function emitTcp(fields: TcpFields, buf: Uint8Array, at: number): number {
  const options = fields.options;
  const headerLen = TCP_HEADER_LEN + (options === undefined ? 0 : emitTcpOptions(options, buf, at + TCP_HEADER_LEN));
  put16(buf, at + SRC_PORT, fields.srcPort);
  put16(buf, at + DST_PORT, fields.dstPort);
  put32(buf, at + SEQ, fields.seq);
  put32(buf, at + ACK, fields.ack);
  buf[at + DATA_OFFSET] = headerLen << 2;
  buf[at + FLAGS] = fields.flags;
  put16(buf, at + WINDOW, fields.window);
  put16(buf, at + CHECKSUM, fields.checksum ?? 0);
  put16(buf, at + URGENT, fields.urgent ?? 0);
  return headerLen;
}

/** Index of the checksum in the segment at `at`. */
export function tcpChecksumAt(at: number): number {
  return at + CHECKSUM;
}

/** Writes the ports of a header that is made field by field. */
export function putTcpPorts(buf: Uint8Array, at: number, srcPort: number, dstPort: number): void {
  put16(buf, at + SRC_PORT, srcPort);
  put16(buf, at + DST_PORT, dstPort);
}

/** Writes sequence and acknowledgment number of a header that is made field by field. */
export function putTcpNumbers(buf: Uint8Array, at: number, seq: number, ack: number): void {
  put32(buf, at + SEQ, seq);
  put32(buf, at + ACK, ack);
}

/** Writes the length in bytes and the flags of a header that is made field by field. */
export function putTcpFlags(buf: Uint8Array, at: number, headerLen: number, flags: number): void {
  buf[at + DATA_OFFSET] = headerLen << 2;
  buf[at + FLAGS] = flags;
}

/** Writes the window of a header that is made field by field, and no urgent pointer. The checksum is next. */
export function putTcpWindow(buf: Uint8Array, at: number, window: number): void {
  put16(buf, at + WINDOW, window);
  put16(buf, at + URGENT, 0);
}

/** How many bytes `emitTcp` writes. */
export function tcpEmitLen(fields: TcpFields): number {
  return TCP_HEADER_LEN + (fields.options === undefined ? 0 : tcpOptionsLen(fields.options));
}

/** Length of the header at `at`, in bytes, as it claims: 0 to 60. */
export function tcpHeaderLen(buf: Uint8Array, at: number): number {
  return (buf[at + DATA_OFFSET]! >>> 4) << 2;
}

/** The source port. */
export function tcpSrcPort(buf: Uint8Array, at: number): number {
  return get16(buf, at + SRC_PORT);
}

/** The destination port. */
export function tcpDstPort(buf: Uint8Array, at: number): number {
  return get16(buf, at + DST_PORT);
}

/** The sequence number, unsigned. */
export function tcpSeq(buf: Uint8Array, at: number): number {
  return get32(buf, at + SEQ);
}

/** The acknowledgment number, unsigned. */
export function tcpAck(buf: Uint8Array, at: number): number {
  return get32(buf, at + ACK);
}

/** The flags: TCP_SYN and so on, or-ed. */
export function tcpFlags(buf: Uint8Array, at: number): number {
  return buf[at + FLAGS]!;
}

/** Whether the checksum of the segment from `at` to `end` is right. */
export function tcpChecksumOk(buf: Uint8Array, at: number, end: number, { src, dst }: IpEnds): boolean {
  return sum(buf, at, end, pseudoSum(src, dst, IP_PROTO_TCP, end - at)) === 0xffff;
}

/** Computes the checksum of the segment from `at` to `end` and writes it. */
export function setTcpChecksum(buf: Uint8Array, at: number, end: number, { src, dst }: IpEnds): void {
  put16(buf, at + CHECKSUM, 0);
  put16(buf, at + CHECKSUM, checksum(buf, at, end, pseudoSum(src, dst, IP_PROTO_TCP, end - at)));
}

/** Rewrites the source port, keeping the checksum right. */
export function setTcpSrcPort(buf: Uint8Array, at: number, port: number): void {
  setWord(buf, at, SRC_PORT, port);
}

/** Rewrites the destination port, keeping the checksum right. */
export function setTcpDstPort(buf: Uint8Array, at: number, port: number): void {
  setWord(buf, at, DST_PORT, port);
}

/** Rewrites the sequence number, keeping the checksum right. */
export function setTcpSeq(buf: Uint8Array, at: number, seq: number): void {
  put16(buf, at + CHECKSUM, updateChecksum32(get16(buf, at + CHECKSUM), tcpSeq(buf, at), seq));
  put32(buf, at + SEQ, seq);
}

/** Rewrites the flags, keeping the checksum right. */
export function setTcpFlags(buf: Uint8Array, at: number, flags: number): void {
  setWord(buf, at, DATA_OFFSET, (buf[at + DATA_OFFSET]! << 8) | (flags & 0xff));
}

/**
 * Keeps the checksum right after bytes under it with the sum `oldSum` were replaced by others: for an address,
 * `addrSum`.
 */
export function adjustTcpChecksum(buf: Uint8Array, at: number, oldSum: number, newSum: number): void {
  put16(buf, at + CHECKSUM, updateChecksum16(get16(buf, at + CHECKSUM), oldSum, newSum));
}

/**
 * Lowers the maximum segment size that the segment at `at` offers to `mss` bytes, keeping the checksum right; returns
 * whether it had to. Does nothing to a header that `parseTcp` refuses or that offers none.
 */
export function clampTcpMss(buf: Uint8Array, at: number, end: number, mss: number): boolean {
  if (end - at < TCP_HEADER_LEN) return false;
  const headerEnd = at + tcpHeaderLen(buf, at);
  if (headerEnd > end) return false;
  let isClamped = false;
  let option = findTcpOption(buf, at + TCP_HEADER_LEN, headerEnd, TCP_OPTION_MSS);
  for (; option >= 0; option = findTcpOption(buf, option + 4, headerEnd, TCP_OPTION_MSS)) {
    const value = option + 2;
    const old = get16(buf, value);
    if (old <= mss) continue;
    // At an odd offset the two bytes belong to two words, so the update is computed with swapped bytes.
    const isOdd = (value - at) % 2 !== 0;
    adjustTcpChecksum(buf, at, isOdd ? swap16(old) : old, isOdd ? swap16(mss) : mss);
    put16(buf, value, mss);
    isClamped = true;
  }
  return isClamped;
}

const FLAG_LETTERS = "CEUAPRSF";

/** The flags as eight letters, a dot for each that is not set: `...A..S.`. */
export function formatTcpFlags(flags: number): string {
  let text = "";
  for (let i = 0; i < 8; i++) text += (flags & (0x80 >>> i)) !== 0 ? FLAG_LETTERS[i] : ".";
  return text;
}

/** One line of text: `tcp 80 > 40000 ...A..S. seq 1 ack 2 win 65535 mss 1460`. */
export function formatTcp(header: TcpHeader): string {
  const { srcPort, dstPort, flags, seq, ack, window } = header;
  const text = `tcp ${srcPort} > ${dstPort} ${formatTcpFlags(flags)} seq ${seq} ack ${ack} win ${window}`;
  const urgent = (flags & TCP_URG) !== 0 ? ` urg ${header.urgent}` : "";
  const options = formatTcpOptions(header.options);
  return text + urgent + (options === "" ? "" : ` ${options}`);
}

function setWord(buf: Uint8Array, at: number, field: number, word: number): void {
  adjustTcpChecksum(buf, at, get16(buf, at + field), word & 0xffff);
  put16(buf, at + field, word);
}
