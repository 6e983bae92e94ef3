/**
 * ICMP errors: making one about a packet, and rewriting the packet that one quotes (RFC 792, RFC 5508 4).
 *
 * Path: inbound, errors, link → icmp_error → wire/icmp, nat/packet, block, checksum.
 *
 * An error is of use only if whoever gets it knows the packet in it: addresses, ports or identifier of the quote are
 * translated back, with its checksums as far as they are quoted. Its time to live stays as the router saw it.
 *
 * @module
 */

import { Block } from "../../kernel/block.ts";
import { get16, put16 } from "../../kernel/wire/bytes.ts";
import { fold } from "../../kernel/wire/checksum.ts";
import {
  emitIcmpError,
  ICMP_QUOTE_MAX,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE_TOO_BIG,
  icmpErrorLen,
  icmpIsError,
  type IcmpQuote,
  setIcmpEchoId,
} from "../../kernel/wire/icmp.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP, IP_PROTO_TCP, IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import {
  emitIpv4,
  IPV4_HEADER_LEN,
  ipv4DstWord,
  ipv4FragOffset,
  ipv4HeaderLen,
  ipv4Protocol,
  ipv4SrcWord,
  setIpv4Dst,
  setIpv4Src,
} from "../../kernel/wire/ipv4.ts";
import { adjustTcpChecksum } from "../../kernel/wire/tcp.ts";
import { adjustUdpChecksum } from "../../kernel/wire/udp.ts";
import { icmpHasId } from "./packet.ts";

/** TTL and TOS (RFC 1812 4.3.2.5: precedence 6, internetwork control) of an error. */
const ERROR_TTL = 64;
const ERROR_TOS = 0xc0;
/** Bytes of a TCP header up to and with its checksum: quotes are often shorter. */
const TCP_CHECKSUM_END = 18;

/** What an error says, and between whom. */
export interface ErrorFields {
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly type: number;
  readonly code: number;
  /** Next hop's MTU of "too big". */
  readonly mtu?: number;
}

/** A whole IP packet with an error about the packet in `block`, of which the start is quoted; the block stays. */
export function makeError(block: Block, fields: ErrorFields): Block {
  const { src, dst, type, code } = fields;
  const own = block.buf.subarray(block.rp, Math.min(block.wp, block.rp + ICMP_QUOTE_MAX));
  const isTooBig = type === ICMP_UNREACHABLE && code === ICMP_UNREACHABLE_TOO_BIG;
  const error = { type, code, rest: isTooBig ? fields.mtu ?? 0 : 0, packet: own };
  const payloadLen = icmpErrorLen(error);
  const packet = Block.alloc(IPV4_HEADER_LEN + payloadLen);
  const header = { src, dst, protocol: IP_PROTO_ICMP, payloadLen, ttl: ERROR_TTL, tos: ERROR_TOS };
  emitIpv4(header, packet.buf, packet.rp);
  emitIcmpError(error, packet.buf, packet.rp + IPV4_HEADER_LEN);
  packet.wp = packet.rp + IPV4_HEADER_LEN + payloadLen;
  return packet;
}

/** Whether an error may be sent about the packet: not about an error, a later fragment, a group (RFC 1122 3.2.2). */
export function mayAnswer(block: Block): boolean {
  const { buf, rp, wp } = block;
  if (ipv4FragOffset(buf, rp) !== 0) return false;
  const dst = ipv4DstWord(buf, rp);
  const src = ipv4SrcWord(buf, rp);
  if (dst >>> 28 >= 0xe || src >>> 28 >= 0xe || src === 0) return false;
  const transport = rp + ipv4HeaderLen(buf, rp);
  return ipv4Protocol(buf, rp) !== IP_PROTO_ICMP || (transport < wp && !icmpIsError(buf[transport]!));
}

/** Which end of the quoted packet. */
export type QuoteEnd = "source" | "destination";

/** The port, or identifier, of an end of the quoted packet; -1: its protocol has none that we know. */
export function quotedPort(buf: Uint8Array, quote: IcmpQuote, end: QuoteEnd): number {
  const { protocol } = quote.ip;
  if (protocol === IP_PROTO_ICMP) return icmpHasId(buf[quote.transportAt]!) ? get16(buf, quote.transportAt + 4) : -1;
  if (protocol !== IP_PROTO_UDP && protocol !== IP_PROTO_TCP) return -1;
  return get16(buf, quote.transportAt + (end === "source" ? 0 : 2));
}

/** Rewrites an end of the quoted packet, its checksums included as far as they are there. */
export function setQuotedEnd(
  buf: Uint8Array,
  quote: IcmpQuote,
  end: { which: QuoteEnd; addr: IpAddr; port: number },
): void {
  const { ipAt, transportAt } = quote;
  const { which, addr, port } = end;
  const old = which === "source" ? ipv4SrcWord(buf, ipAt) : ipv4DstWord(buf, ipAt);
  const oldPort = quotedPort(buf, quote, which);
  if (which === "source") setIpv4Src(buf, ipAt, addr);
  else setIpv4Dst(buf, ipAt, addr);
  if (quote.ip.protocol === IP_PROTO_ICMP) {
    setIcmpEchoId(buf, transportAt, port);
    return;
  }
  const oldSum = sumOf(old, oldPort);
  const newSum = sumOf(addr.w3, port);
  if (quote.ip.protocol === IP_PROTO_UDP) adjustUdpChecksum(buf, transportAt, oldSum, newSum);
  else if (quote.end - transportAt >= TCP_CHECKSUM_END) adjustTcpChecksum(buf, transportAt, oldSum, newSum);
  put16(buf, transportAt + (which === "source" ? 0 : 2), port);
}

function sumOf(word: number, port: number): number {
  return fold((word >>> 16) + (word & 0xffff) + port);
}
