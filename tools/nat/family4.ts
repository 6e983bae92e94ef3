/**
 * Family4: what is IPv4's own in the NAT: header and options, TTL, ICMP (RFC 791, RFC 792).
 *
 * Path: nat → family4 → nat/packet, fragments, nat/counters, addr_hash.
 *
 * @module
 */

import { Block } from "../../kernel/block.ts";
import { FRAGMENT_FORMATS } from "../../kernel/inet/fragment_format.ts";
import {
  emitIcmpError,
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMP_QUOTE_MAX,
  ICMP_REDIRECT,
  ICMP_SOURCE_QUENCH,
  ICMP_TIME_EXCEEDED,
  ICMP_TIME_EXCEEDED_TTL,
  ICMP_TIMESTAMP_REPLY,
  ICMP_TIMESTAMP_REQUEST,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE_NET,
  ICMP_UNREACHABLE_PORT,
  ICMP_UNREACHABLE_PROHIBITED,
  ICMP_UNREACHABLE_PROTOCOL,
  ICMP_UNREACHABLE_TOO_BIG,
  icmpChecksumOk,
  icmpErrorLen,
  icmpIsError,
  parseIcmpQuote,
  setIcmpChecksum,
  setIcmpEchoId,
  setIcmpType,
} from "../../kernel/wire/icmp.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP, IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import {
  emitIpv4,
  IPV4_HEADER_LEN,
  IPV4_HEADER_MAX,
  IPV4_TTL_DEFAULT,
  ipv4ChecksumOk,
  ipv4DontFragment,
  ipv4DstWord,
  ipv4HeaderLen,
  ipv4IsFragment,
  ipv4Protocol,
  ipv4SrcWord,
  ipv4TotalLen,
  ipv4Ttl,
  setIpv4Dst,
  setIpv4Src,
  setIpv4Ttl,
} from "../../kernel/wire/ipv4.ts";
import { TCP_HEADER_MAX } from "../../kernel/wire/tcp.ts";
import { emitUdp, setUdpChecksum, UDP_HEADER_LEN } from "../../kernel/wire/udp.ts";
import { setAddr4 } from "./addr_hash.ts";
import { Reason } from "./counters.ts";
import { cutPacket4, fragmentOf4 } from "./fragments.ts";
import {
  type DatagramEnds,
  type ErrorFields,
  Kind,
  type NatFamily,
  type NatFragment,
  type NatPacket,
  type QuotedPacket,
} from "./packet.ts";

/** IP options (RFC 791 3.1); LSRR and SSRR are the loose and the strict source route. */
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_LSRR = 131;
const OPTION_SSRR = 137;
/** TOS of an error (RFC 1812 4.3.2.5: precedence 6, internetwork control). */
const ERROR_TOS = 0xc0;
/** Of every datagram that a service of the router sends. */
const SERVICE_TTL = IPV4_TTL_DEFAULT;

/** See above. Its methods are on a prototype, not in fields: so the compiler knows them at a call for both versions. */
class Family4 implements NatFamily {
  readonly version = 4;
  readonly icmpProtocol = IP_PROTO_ICMP;
  readonly icmpSumsAddresses = false;
  readonly udpNeedsChecksum = false;
  readonly headersMax = IPV4_HEADER_MAX + TCP_HEADER_MAX;
  readonly mtuMin = 0;
  readonly hopsDefault = IPV4_TTL_DEFAULT;
  readonly fragments = FRAGMENT_FORMATS[4];
  readonly refusals = {
    prohibited: { type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_PROHIBITED },
    port: { type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_PORT },
    protocol: { type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_PROTOCOL },
    hops: { type: ICMP_TIME_EXCEEDED, code: ICMP_TIME_EXCEEDED_TTL },
    tooBig: { type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_TOO_BIG },
    noRoute: { type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_NET },
  };

  readHeader(packet: NatPacket, block: Block): Reason {
    const { buf, rp, wp } = block;
    if (wp - rp < IPV4_HEADER_LEN) return Reason.Short;
    const version = buf[rp]! >>> 4;
    if (version !== 4) return version === 6 ? Reason.Ipv6 : Reason.BadIp;
    const headerLen = ipv4HeaderLen(buf, rp);
    const totalLen = ipv4TotalLen(buf, rp);
    const { length } = block;
    if (headerLen < IPV4_HEADER_LEN || headerLen > wp - rp || totalLen < headerLen || totalLen > length) {
      return Reason.BadIp;
    }
    if (!ipv4ChecksumOk(buf, rp)) return Reason.IpChecksum;
    if (headerLen > IPV4_HEADER_LEN) {
      const reason = optionsReason(buf, rp + IPV4_HEADER_LEN, rp + headerLen);
      if (reason !== Reason.None) return reason;
    }
    if (totalLen < length) block.trim(totalLen);
    packet.place(block, headerLen);
    packet.namedAt = rp;
    setAddr4(packet.src, ipv4SrcWord(block.buf, packet.at));
    setAddr4(packet.dst, ipv4DstWord(block.buf, packet.at));
    packet.protocol = ipv4Protocol(block.buf, packet.at);
    packet.kind = Kind.Ports;
    if (!ipv4IsFragment(block.buf, packet.at)) return Reason.None;
    packet.kind = Kind.Fragment;
    return packet.finishOther(packet.transport) ? Reason.None : Reason.Offload;
  }

  icmpKind(type: number): Kind | -1 {
    return icmpIsError(type) ? Kind.Error : icmpHasId(type) ? Kind.Query : -1;
  }

  icmpAsks(type: number): boolean {
    return type === ICMP_ECHO_REQUEST || type === ICMP_TIMESTAMP_REQUEST;
  }

  icmpIsEchoRequest(type: number): boolean {
    return type === ICMP_ECHO_REQUEST;
  }

  icmpIsSound({ buf, transport, end }: NatPacket): boolean {
    return icmpChecksumOk(buf, transport, end);
  }

  setIcmpId(buf: Uint8Array, at: number, id: number): void {
    setIcmpEchoId(buf, at, id);
  }

  setEchoReply(buf: Uint8Array, at: number): void {
    setIcmpType(buf, at, ICMP_ECHO_REPLY);
  }

  setIcmpChecksum({ buf, transport, end }: NatPacket): void {
    setIcmpChecksum(buf, transport, end);
  }

  hops(buf: Uint8Array, at: number): number {
    return ipv4Ttl(buf, at);
  }

  setHops(buf: Uint8Array, at: number, hops: number): void {
    setIpv4Ttl(buf, at, hops);
  }

  putSource(buf: Uint8Array, at: number, addr: IpAddr): void {
    setIpv4Src(buf, at, addr);
  }

  putDestination(buf: Uint8Array, at: number, addr: IpAddr): void {
    setIpv4Dst(buf, at, addr);
  }

  mayCut(buf: Uint8Array, at: number): boolean {
    return !ipv4DontFragment(buf, at);
  }

  /** Groups, all that is reserved, and 0/8 (RFC 1122 3.2.2). */
  isMartian({ w3 }: IpAddr): boolean {
    return w3 >>> 28 >= 0xe || w3 >>> 24 === 0;
  }

  /** A redirect is for a router's own neighbours (RFC 1812 5.2.7.2); source quench is deprecated (RFC 6633 5). */
  readQuote({ buf, transport, end }: NatPacket): QuotedPacket | null {
    const type = buf[transport]!;
    if (type === ICMP_REDIRECT || type === ICMP_SOURCE_QUENCH || !icmpChecksumOk(buf, transport, end)) return null;
    const quote = parseIcmpQuote(buf, transport, end);
    if (quote === null) return null;
    const { src, dst, protocol } = quote.ip;
    return { src, dst, protocol, ipAt: quote.ipAt, transportAt: quote.transportAt, end: quote.end };
  }

  makeError(block: Block, { src, dst, type, code, rest = 0 }: ErrorFields): Block {
    const quoted = block.buf.subarray(block.rp, Math.min(block.wp, block.rp + ICMP_QUOTE_MAX));
    const error = { type, code, rest, packet: quoted };
    const payloadLen = icmpErrorLen(error);
    const packet = Block.alloc(IPV4_HEADER_LEN + payloadLen);
    const header = { src, dst, protocol: IP_PROTO_ICMP, payloadLen, ttl: IPV4_TTL_DEFAULT, tos: ERROR_TOS };
    emitIpv4(header, packet.buf, packet.rp);
    emitIcmpError(error, packet.buf, packet.rp + IPV4_HEADER_LEN);
    packet.wp = packet.rp + IPV4_HEADER_LEN + payloadLen;
    return packet;
  }

  makeDatagram({ src, dst, srcPort, dstPort }: DatagramEnds, data: Uint8Array): Block {
    const payloadLen = UDP_HEADER_LEN + data.length;
    const block = Block.alloc(IPV4_HEADER_LEN + payloadLen);
    const { buf, rp } = block;
    const udpAt = rp + emitIpv4({ src, dst, protocol: IP_PROTO_UDP, payloadLen, ttl: SERVICE_TTL }, buf, rp);
    emitUdp({ srcPort, dstPort, payloadLen: data.length }, buf, udpAt);
    buf.set(data, udpAt + UDP_HEADER_LEN);
    block.wp = udpAt + payloadLen;
    setUdpChecksum(buf, udpAt, src, dst);
    return block;
  }

  fragmentOf(packet: NatPacket): NatFragment {
    return fragmentOf4(packet);
  }

  cut(block: Block, mtu: number): Block[] | null {
    return cutPacket4(block, mtu);
  }
}

/** IPv4's part of every NAT. */
export const FAMILY4: NatFamily = new Family4();

/** What is wrong with IP options: a source route, or an option that runs out of the header. */
function optionsReason(buf: Uint8Array, from: number, end: number): Reason {
  for (let at = from; at < end && buf[at] !== OPTION_END;) {
    const kind = buf[at]!;
    if (kind === OPTION_LSRR || kind === OPTION_SSRR) return Reason.SourceRoute;
    const size = kind === OPTION_NOP ? 1 : at + 1 < end ? buf[at + 1]! : 0;
    if (size < (kind === OPTION_NOP ? 1 : 2) || at + size > end) return Reason.BadIp;
    at += size;
  }
  return Reason.None;
}

/** Whether ICMP messages of `type` carry an identifier that can be mapped: echo and timestamp (RFC 5508 3). */
function icmpHasId(type: number): boolean {
  return type === ICMP_ECHO_REQUEST || type === ICMP_ECHO_REPLY || type === ICMP_TIMESTAMP_REQUEST ||
    type === ICMP_TIMESTAMP_REPLY;
}
