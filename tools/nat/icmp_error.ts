/**
 * ICMP errors: rewriting the packet that one quotes (RFC 792, RFC 4443, RFC 5508 4).
 *
 * Path: inbound, errors, link → icmp_error → nat/packet, checksum, tcp, udp.
 *
 * An error is of use only if its receiver knows the packet in it: addresses, ports or identifier of the quote are
 * translated back, with its checksums as far as they are quoted. Its hops stay as the router saw them.
 *
 * @module
 */

import { get16, put16 } from "../../kernel/wire/bytes.ts";
import { addrSum, fold } from "../../kernel/wire/checksum.ts";
import { adjustIcmp6Checksum } from "../../kernel/wire/icmp6.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_TCP, IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import { adjustTcpChecksum } from "../../kernel/wire/tcp.ts";
import { adjustUdpChecksum } from "../../kernel/wire/udp.ts";
import { Kind, type NatFamily, type NatPacket, type QuotedPacket } from "./packet.ts";

/** Bytes of a TCP header up to and with its checksum: quotes are often shorter. */
const TCP_CHECKSUM_END = 18;

/** Which end of the quoted packet. */
type QuoteEnd = "source" | "destination";

/** The port, or identifier, of an end of the quoted packet; -1: its protocol has none that we know. */
export function quotedPort(packet: NatPacket, { protocol, transportAt }: QuotedPacket, end: QuoteEnd): number {
  const { buf, family } = packet;
  if (protocol === family.icmpProtocol) {
    return family.icmpKind(buf[transportAt]!) === Kind.Query ? get16(buf, transportAt + 4) : -1;
  }
  if (protocol !== IP_PROTO_UDP && protocol !== IP_PROTO_TCP) return -1;
  return get16(buf, transportAt + (end === "source" ? 0 : 2));
}

/** A new end of a quoted packet; of ICMP the port is the identifier. */
interface NewEnd {
  readonly which: QuoteEnd;
  readonly addr: IpAddr;
  readonly port: number;
}

/** Rewrites an end of the quoted packet, its checksums included as far as they are there. */
export function setQuotedEnd(packet: NatPacket, quote: QuotedPacket, end: NewEnd): void {
  const { buf, family } = packet;
  const { ipAt, transportAt, protocol } = quote;
  const { which, addr, port } = end;
  const isSource = which === "source";
  const oldAddr = addrSum(isSource ? quote.src : quote.dst);
  const newAddr = addrSum(addr);
  const oldPort = quotedPort(packet, quote, which);
  if (isSource) family.putSource(buf, ipAt, addr);
  else family.putDestination(buf, ipAt, addr);
  if (protocol === family.icmpProtocol) {
    setQuotedId(family, buf, transportAt, { oldAddr, newAddr, id: port });
    return;
  }
  const oldSum = fold(oldAddr + oldPort);
  const newSum = fold(newAddr + port);
  if (protocol === IP_PROTO_UDP) adjustUdpChecksum(buf, transportAt, oldSum, newSum);
  else if (quote.end - transportAt >= TCP_CHECKSUM_END) adjustTcpChecksum(buf, transportAt, oldSum, newSum);
  put16(buf, transportAt + (isSource ? 0 : 2), port);
}

function setQuotedId(
  family: NatFamily,
  buf: Uint8Array,
  at: number,
  { oldAddr, newAddr, id }: { oldAddr: number; newAddr: number; id: number },
): void {
  if (family.icmpSumsAddresses) adjustIcmp6Checksum(buf, at, oldAddr, newAddr);
  family.setIcmpId(buf, at, id);
}
