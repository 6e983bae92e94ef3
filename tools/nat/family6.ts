/**
 * Family6: what is IPv6's own in the NAT: extension headers, hop limit, ICMPv6 (RFC 8200, RFC 4443).
 *
 * Path: nat → family6 → nat/packet, fragments, nat/counters, icmp6_block.
 *
 * Hop-by-hop and destination options, and a fragment header of a whole datagram (RFC 6946), pass as they are; a routing
 * header does not (RFC 5095, RFC 7126 4.3 for its like), nor an authentication header, which no NAT can keep true.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import {
  emitIcmp6Error,
  ICMP6_ECHO_REPLY,
  ICMP6_ECHO_REQUEST,
  ICMP6_PACKET_TOO_BIG,
  ICMP6_PARAMETER_NEXT_HEADER,
  ICMP6_PARAMETER_PROBLEM,
  ICMP6_QUOTE_MAX,
  ICMP6_TIME_EXCEEDED,
  ICMP6_TIME_EXCEEDED_HOPS,
  ICMP6_UNREACHABLE,
  ICMP6_UNREACHABLE_NO_ROUTE,
  ICMP6_UNREACHABLE_PORT,
  ICMP6_UNREACHABLE_PROHIBITED,
  icmp6ChecksumOk,
  icmp6ErrorLen,
  icmp6IsError,
  parseIcmp6Quote,
  setIcmp6Checksum,
  setIcmp6EchoId,
  setIcmp6Type,
} from "../../kernel/wire/icmp6.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_AH, IP_PROTO_ICMP6, IP_PROTO_ROUTING } from "../../kernel/wire/ip_proto.ts";
import {
  IPV6_HEADER_LEN,
  IPV6_HOP_LIMIT_DEFAULT,
  IPV6_MTU_MIN,
  ipv6DstAt,
  ipv6ExtensionLen,
  ipv6HopLimit,
  ipv6NextHeader,
  ipv6PayloadLen,
  ipv6SrcAt,
  parseIpv6Fragment,
  setIpv6Dst,
  setIpv6HopLimit,
  setIpv6Src,
  walkIpv6,
} from "../../kernel/wire/ipv6.ts";
import { TCP_HEADER_MAX } from "../../kernel/wire/tcp.ts";
import { setAddrAt } from "./addr_hash.ts";
import { Reason } from "./counters.ts";
import { cutPacket6, FORMAT_6, fragmentOf6 } from "./fragments.ts";
import { icmp6Block, udp6Block } from "./icmp6_block.ts";
import {
  type DatagramEnds,
  type ErrorFields,
  Kind,
  type NatFamily,
  type NatFragment,
  type NatPacket,
  type QuotedPacket,
} from "./packet.ts";

/** Of the fixed header: where the byte is that names what follows. */
const NEXT_HEADER = 6;

/** See above. */
class Family6 implements NatFamily {
  readonly version = 6;
  readonly icmpProtocol = IP_PROTO_ICMP6;
  readonly icmpSumsAddresses = true;
  readonly udpNeedsChecksum = true;
  readonly headersMax = IPV6_HEADER_LEN + TCP_HEADER_MAX;
  readonly mtuMin = IPV6_MTU_MIN;
  readonly hopsDefault = IPV6_HOP_LIMIT_DEFAULT;
  readonly fragments = FORMAT_6;
  readonly refusals = {
    prohibited: { type: ICMP6_UNREACHABLE, code: ICMP6_UNREACHABLE_PROHIBITED },
    port: { type: ICMP6_UNREACHABLE, code: ICMP6_UNREACHABLE_PORT },
    protocol: { type: ICMP6_PARAMETER_PROBLEM, code: ICMP6_PARAMETER_NEXT_HEADER },
    hops: { type: ICMP6_TIME_EXCEEDED, code: ICMP6_TIME_EXCEEDED_HOPS },
    tooBig: { type: ICMP6_PACKET_TOO_BIG, code: 0 },
    noRoute: { type: ICMP6_UNREACHABLE, code: ICMP6_UNREACHABLE_NO_ROUTE },
  };

  readHeader(packet: NatPacket, block: Block): Reason {
    const { rp } = block;
    if (block.wp - rp < IPV6_HEADER_LEN) return Reason.Short;
    if (block.buf[rp]! >>> 4 !== 6) return Reason.BadIp;
    const { length } = block;
    const totalLen = IPV6_HEADER_LEN + ipv6PayloadLen(block.buf, rp);
    if (totalLen > length) return Reason.BadIp;
    if (totalLen < length) block.trim(totalLen);
    packet.place(block, IPV6_HEADER_LEN);
    packet.namedAt = rp + NEXT_HEADER;
    setAddrAt(packet.src, block.buf, ipv6SrcAt(rp));
    setAddrAt(packet.dst, block.buf, ipv6DstAt(rp));
    // An address that maps one of IPv4 has no place in a header (RFC 4291 2.5.5.2).
    if (packet.src.isV4 || packet.src.isMulticast) return Reason.Source;
    if (packet.dst.isV4) return Reason.Destination;
    packet.protocol = ipv6NextHeader(block.buf, rp);
    packet.fragmentAt = -1;
    packet.kind = Kind.Ports;
    packet.hasExtensions = packet.protoOf(packet.protocol) < 0;
    return packet.hasExtensions ? walk(packet, block) : Reason.None;
  }

  icmpKind(type: number): Kind {
    if (icmp6IsError(type)) return Kind.Error;
    return type === ICMP6_ECHO_REQUEST || type === ICMP6_ECHO_REPLY ? Kind.Query : Kind.Link;
  }

  icmpAsks(type: number): boolean {
    return type === ICMP6_ECHO_REQUEST;
  }

  icmpIsEchoRequest(type: number): boolean {
    return type === ICMP6_ECHO_REQUEST;
  }

  icmpIsSound(packet: NatPacket): boolean {
    return icmp6ChecksumOk(packet.buf, packet.transport, packet.end, packet);
  }

  setIcmpId(buf: Uint8Array, at: number, id: number): void {
    setIcmp6EchoId(buf, at, id);
  }

  setEchoReply(buf: Uint8Array, at: number): void {
    setIcmp6Type(buf, at, ICMP6_ECHO_REPLY);
  }

  setIcmpChecksum(packet: NatPacket): void {
    setIcmp6Checksum(packet.buf, packet.transport, packet.end, packet);
  }

  hops(buf: Uint8Array, at: number): number {
    return ipv6HopLimit(buf, at);
  }

  setHops(buf: Uint8Array, at: number, hops: number): void {
    setIpv6HopLimit(buf, at, hops);
  }

  putSource(buf: Uint8Array, at: number, addr: IpAddr): void {
    setIpv6Src(buf, at, addr);
  }

  putDestination(buf: Uint8Array, at: number, addr: IpAddr): void {
    setIpv6Dst(buf, at, addr);
  }

  mayCut(): boolean {
    return false;
  }

  isMartian(addr: IpAddr): boolean {
    return addr.isUnspecified || addr.isLinkLocal;
  }

  readQuote({ buf, transport, end, src, dst }: NatPacket): QuotedPacket | null {
    if (!icmp6ChecksumOk(buf, transport, end, { src, dst })) return null;
    const quote = parseIcmp6Quote(buf, transport, end);
    if (quote === null) return null;
    const { ip, protocol, ipAt, transportAt } = quote;
    return { src: ip.src, dst: ip.dst, protocol, ipAt, transportAt, end: quote.end };
  }

  makeError(block: Block, { src, dst, type, code, rest = 0 }: ErrorFields): Block {
    const packet = block.buf.subarray(block.rp, Math.min(block.wp, block.rp + ICMP6_QUOTE_MAX));
    const error = { type, code, rest, packet };
    const message = new Uint8Array(icmp6ErrorLen(error));
    emitIcmp6Error(error, message, 0);
    return icmp6Block({ src, dst }, message);
  }

  makeDatagram(ends: DatagramEnds, data: Uint8Array): Block {
    return udp6Block(ends, data);
  }

  fragmentOf(packet: NatPacket): NatFragment {
    return fragmentOf6(packet);
  }

  cut(block: Block, mtu: number, id: number): Block[] | null {
    return cutPacket6(block, mtu, id);
  }
}

/** IPv6's part of every NAT. */
export const FAMILY6: NatFamily = new Family6();

/** Over the extension headers. */
function walk(packet: NatPacket, block: Block): Reason {
  block.own();
  const { buf, rp, wp } = block;
  const found = walkIpv6(buf, rp, wp);
  if (found === null) return Reason.BadIp;
  const { at, protocol, namedAt, fragmentAt } = found;
  packet.place(block, at - rp);
  packet.protocol = protocol;
  packet.namedAt = namedAt;
  packet.fragmentAt = fragmentAt;
  const reason = forbiddenHeader(buf, rp, fragmentAt < 0 ? at : fragmentAt);
  if (reason !== Reason.None || fragmentAt < 0) return reason;
  const { fragOffset, moreFragments } = parseIpv6Fragment(buf, fragmentAt, wp)!;
  if (fragOffset === 0 && !moreFragments) return forbiddenHeader(buf, rp, at);
  packet.kind = Kind.Fragment;
  return packet.finishOther(at) ? Reason.None : Reason.Offload;
}

/** What must not stand among the extension headers of the packet at `at`, of which `end` is the first not looked at. */
function forbiddenHeader(buf: Uint8Array, at: number, end: number): Reason {
  let protocol = ipv6NextHeader(buf, at);
  for (let next = at + IPV6_HEADER_LEN; next < end;) {
    if (protocol === IP_PROTO_ROUTING) return Reason.SourceRoute;
    if (protocol === IP_PROTO_AH) return Reason.Protocol;
    const length = ipv6ExtensionLen(protocol, buf[next + 1]!);
    protocol = buf[next]!;
    next += length;
  }
  return Reason.None;
}
