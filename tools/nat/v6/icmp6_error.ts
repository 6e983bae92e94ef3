/**
 * ICMPv6 errors: making one about a packet, and rewriting the packet that one quotes (RFC 4443, RFC 5508 4).
 *
 * Path: link6, inbound6, errors6 → icmp6_error → icmp6.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { get16, put16 } from "../../../kernel/wire/bytes.ts";
import { addrSum, fold } from "../../../kernel/wire/checksum.ts";
import {
  adjustIcmp6Checksum,
  emitIcmp6Error,
  ICMP6_ECHO_REPLY,
  ICMP6_ECHO_REQUEST,
  ICMP6_QUOTE_MAX,
  icmp6ErrorLen,
  type Icmp6Quote,
} from "../../../kernel/wire/icmp6.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP6, IP_PROTO_TCP, IP_PROTO_UDP } from "../../../kernel/wire/ip_proto.ts";
import { ipv6Dst, ipv6Src, setIpv6Dst, setIpv6Src } from "../../../kernel/wire/ipv6.ts";
import { adjustTcpChecksum } from "../../../kernel/wire/tcp.ts";
import { adjustUdpChecksum } from "../../../kernel/wire/udp.ts";
import { icmp6Block } from "./icmp6_block.ts";
import { Kind6, type Packet6 } from "./packet6.ts";

/** Bytes of a TCP header up to and with its checksum: quotes may be shorter. */
const TCP_CHECKSUM_END = 18;

/** What an error says, and between whom. */
export interface Error6Fields {
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly type: number;
  readonly code: number;
  /** The MTU of "packet too big", the pointer of "parameter problem". */
  readonly rest?: number;
}

/** A whole packet with an error about the packet in `block`, of which the start is quoted; the block stays. */
export function makeError6(block: Block, { src, dst, type, code, rest = 0 }: Error6Fields): Block {
  const packet = block.buf.subarray(block.rp, Math.min(block.wp, block.rp + ICMP6_QUOTE_MAX));
  const error = { type, code, rest, packet };
  const message = new Uint8Array(icmp6ErrorLen(error));
  emitIcmp6Error(error, message, 0);
  return icmp6Block({ src, dst }, message);
}

/** Whether an error may be sent about the packet that was read: not about an error, to a group, from nobody. */
export function mayAnswer6({ kind, src, dst }: Packet6): boolean {
  return kind !== Kind6.Error && kind !== Kind6.Link && !dst.isMulticast && !src.isMulticast && !src.isUnspecified;
}

/** Which end of the quoted packet. */
export type QuoteEnd6 = "source" | "destination";

/** The port, or identifier, of an end of the quoted packet; -1: its protocol has none that we know. */
export function quotedPort6(buf: Uint8Array, { protocol, transportAt }: Icmp6Quote, end: QuoteEnd6): number {
  if (protocol === IP_PROTO_ICMP6) {
    const type = buf[transportAt]!;
    return type === ICMP6_ECHO_REQUEST || type === ICMP6_ECHO_REPLY ? get16(buf, transportAt + 4) : -1;
  }
  if (protocol !== IP_PROTO_UDP && protocol !== IP_PROTO_TCP) return -1;
  return get16(buf, transportAt + (end === "source" ? 0 : 2));
}

/** Rewrites an end of the quoted packet, its transport checksum included as far as it is there. */
export function setQuotedEnd6(
  buf: Uint8Array,
  quote: Icmp6Quote,
  end: { which: QuoteEnd6; addr: IpAddr; port: number },
): void {
  const { ipAt, transportAt, protocol } = quote;
  const { which, addr, port } = end;
  const isSource = which === "source";
  const oldSum = fold(addrSum(isSource ? ipv6Src(buf, ipAt) : ipv6Dst(buf, ipAt)) + quotedPort6(buf, quote, which));
  const newSum = fold(addrSum(addr) + port);
  if (isSource) setIpv6Src(buf, ipAt, addr);
  else setIpv6Dst(buf, ipAt, addr);
  if (protocol === IP_PROTO_ICMP6) adjustIcmp6Checksum(buf, transportAt, oldSum, newSum);
  else if (protocol === IP_PROTO_UDP) adjustUdpChecksum(buf, transportAt, oldSum, newSum);
  else if (quote.end - transportAt >= TCP_CHECKSUM_END) adjustTcpChecksum(buf, transportAt, oldSum, newSum);
  put16(buf, transportAt + (protocol === IP_PROTO_ICMP6 ? 4 : isSource ? 0 : 2), port);
}
