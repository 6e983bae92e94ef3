/**
 * Packet6: where things are in an IPv6 packet, read once; and rewriting its ends in place. As nat/packet for IPv4.
 *
 * Path: errors6, inbound6, outbound6 → v6/packet6 → segment, nat/counters, map, block.
 *
 * Checksums are updated, never computed anew (RFC 1624), with the 128-bit addresses of the pseudo-header. One that is
 * still owed is a sum of the pseudo-header, in which ports have no part. Hop-by-hop and destination options, and a
 * fragment header of a whole datagram (RFC 6946), pass as they are; a routing header does not (RFC 5095, RFC 7126 4.3
 * for its like), nor an authentication header, which no NAT can keep true.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../../../kernel/block.ts";
import { finishChecksum } from "../../../kernel/inet/segment.ts";
import { get16, put16 } from "../../../kernel/wire/bytes.ts";
import { addrSum, fold } from "../../../kernel/wire/checksum.ts";
import {
  adjustIcmp6Checksum,
  ICMP6_ECHO_REPLY,
  ICMP6_ECHO_REQUEST,
  ICMP6_HEADER_LEN,
  icmp6EchoId,
  icmp6IsError,
} from "../../../kernel/wire/icmp6.ts";
import { IP_UNSPECIFIED, type IpAddr } from "../../../kernel/wire/ip_addr.ts";
import {
  IP_PROTO_AH,
  IP_PROTO_ICMP6,
  IP_PROTO_ROUTING,
  IP_PROTO_TCP,
  IP_PROTO_UDP,
} from "../../../kernel/wire/ip_proto.ts";
import {
  IPV6_HEADER_LEN,
  ipv6Dst,
  ipv6ExtensionLen,
  ipv6NextHeader,
  ipv6PayloadLen,
  ipv6Src,
  parseIpv6Fragment,
  setIpv6Dst,
  setIpv6Src,
  walkIpv6,
} from "../../../kernel/wire/ipv6.ts";
import {
  adjustTcpChecksum,
  TCP_HEADER_LEN,
  TCP_HEADER_MAX,
  TCP_SYN,
  tcpFlags,
  tcpHeaderLen,
} from "../../../kernel/wire/tcp.ts";
import { adjustUdpChecksum, UDP_HEADER_LEN, udpChecksumOk, udpLength } from "../../../kernel/wire/udp.ts";
import { Reason } from "../counters.ts";
import { MapProto } from "../map.ts";

const SRC_PORT = 0;
const DST_PORT = 2;
const UDP_CHECKSUM = 6;
const TCP_CHECKSUM = 16;
const ECHO_ID = 4;

/** Headers that must lie in the block's own bytes, and not in extents, before anything looks at them. */
const HEADERS_MAX = IPV6_HEADER_LEN + TCP_HEADER_MAX;

/** What a packet is about: ports, an identifier, an error, a fragment of something, or the link's own affairs. */
export const Kind6 = { Ports: 0, Query: 1, Error: 2, Fragment: 3, Link: 4 } as const;
export type Kind6 = typeof Kind6[keyof typeof Kind6];

/** The protocol of a map by IPv6 protocol number; -1: none. */
export function mapProtoOf6(protocol: number): MapProto | -1 {
  if (protocol === IP_PROTO_TCP) return MapProto.Tcp;
  if (protocol === IP_PROTO_UDP) return MapProto.Udp;
  return protocol === IP_PROTO_ICMP6 ? MapProto.Icmp : -1;
}

/** One packet at a time: made once and read into again and again. */
export class Packet6 {
  block!: Block;
  buf!: Uint8Array;
  /** Where the IPv6 header starts, the transport header starts, and the packet ends. */
  at = 0;
  transport = 0;
  end = 0;
  kind: Kind6 = Kind6.Ports;
  proto: MapProto = MapProto.Udp;
  /** The protocol behind the extension headers, and where the byte is that names it. */
  protocol = 0;
  namedAt = 0;
  /** Where a fragment header starts, or -1; and where the byte is that names it. */
  fragmentAt = -1;
  fragmentNamedAt = -1;
  src: IpAddr = IP_UNSPECIFIED;
  dst: IpAddr = IP_UNSPECIFIED;
  /** Ports; of an echo both are its identifier. */
  srcPort = 0;
  dstPort = 0;

  /** Whether it is an echo request. */
  get isEchoRequest(): boolean {
    return this.kind === Kind6.Query && this.buf[this.transport] === ICMP6_ECHO_REQUEST;
  }

  /**
   * Reads the packet that starts at the block's `rp` and cuts link padding off. Answers why it cannot be used, or
   * Reason.None. After it all headers are in the block's own bytes; of a fragment only IP's are looked at.
   */
  read(block: Block): Reason {
    if (block.extents !== null && block.wp - block.rp < HEADERS_MAX) block.own();
    const { rp } = block;
    if (block.wp - rp < IPV6_HEADER_LEN) return Reason.Short;
    if (block.buf[rp]! >>> 4 !== 6) return Reason.BadIp;
    const { length } = block;
    const totalLen = IPV6_HEADER_LEN + ipv6PayloadLen(block.buf, rp);
    if (totalLen > length) return Reason.BadIp;
    if (totalLen < length) block.trim(totalLen);
    this.block = block;
    this.src = ipv6Src(block.buf, rp);
    this.dst = ipv6Dst(block.buf, rp);
    // An address that maps one of IPv4 has no place in a header (RFC 4291 2.5.5.2).
    if (this.src.isV4 || this.src.isMulticast) return Reason.Source;
    if (this.dst.isV4) return Reason.Destination;
    this.protocol = ipv6NextHeader(block.buf, rp);
    this.fragmentAt = -1;
    this.kind = Kind6.Ports;
    if (mapProtoOf6(this.protocol) < 0) {
      const reason = this.#walk();
      if (reason !== Reason.None || this.#isFragment) return reason;
    } else {
      this.#place(IPV6_HEADER_LEN);
      this.namedAt = rp + 6;
    }
    return this.#readTransport();
  }

  get #isFragment(): boolean {
    return this.kind === Kind6.Fragment;
  }

  #place(headerLen: number): void {
    const { block } = this;
    this.buf = block.buf;
    this.at = block.rp;
    this.transport = block.rp + headerLen;
    this.end = block.wp;
  }

  /** Over the extension headers. */
  #walk(): Reason {
    const { block } = this;
    block.own();
    const { buf, rp, wp } = block;
    const walk = walkIpv6(buf, rp, wp);
    if (walk === null) return Reason.BadIp;
    this.#place(walk.at - rp);
    this.protocol = walk.protocol;
    this.namedAt = walk.namedAt;
    this.fragmentAt = walk.fragmentAt;
    this.fragmentNamedAt = walk.fragmentNamedAt;
    const reason = forbiddenHeader(buf, rp, walk.fragmentAt < 0 ? walk.at : walk.fragmentAt);
    if (reason !== Reason.None || walk.fragmentAt < 0) return reason;
    const { fragOffset, moreFragments } = parseIpv6Fragment(buf, walk.fragmentAt, wp)!;
    if (fragOffset === 0 && !moreFragments) return forbiddenHeader(buf, rp, walk.at);
    this.kind = Kind6.Fragment;
    return this.#finishOther(walk.at) ? Reason.None : Reason.Offload;
  }

  #readTransport(): Reason {
    const { block, transport, end } = this;
    const proto = mapProtoOf6(this.protocol);
    if (proto < 0) return Reason.Protocol;
    this.proto = proto as MapProto;
    if (proto === MapProto.Icmp) return this.#readIcmp();
    const isUdp = proto === MapProto.Udp;
    if (end - transport < (isUdp ? UDP_HEADER_LEN : TCP_HEADER_LEN)) return Reason.BadTransport;
    if ((block.checksum === Checksum.Owed || block.segment !== Segment.None) && !this.#settleOffload()) {
      return Reason.Offload;
    }
    const { buf } = this;
    if (isUdp) {
      const claimed = udpLength(buf, transport);
      const length = block.rp + block.length - transport;
      if (claimed < UDP_HEADER_LEN || (claimed > length && block.segment === Segment.None)) return Reason.BadTransport;
      // RFC 8200 8.1: over IPv6 a datagram has a checksum.
      if (block.checksum !== Checksum.Owed && get16(buf, transport + UDP_CHECKSUM) === 0) return Reason.BadTransport;
    } else {
      const headerLen = tcpHeaderLen(buf, transport);
      if (headerLen < TCP_HEADER_LEN || headerLen > this.end - transport) return Reason.BadTransport;
    }
    this.srcPort = get16(buf, transport + SRC_PORT);
    this.dstPort = get16(buf, transport + DST_PORT);
    return Reason.None;
  }

  #readIcmp(): Reason {
    const { block } = this;
    if (block.extents !== null) {
      const headerLen = this.transport - this.at;
      block.own();
      this.#place(headerLen);
    }
    const { buf, transport, end } = this;
    if (end - transport < ICMP6_HEADER_LEN) return Reason.BadTransport;
    if (!this.#finishOther(transport)) return Reason.Offload;
    const type = buf[transport]!;
    if (icmp6IsError(type)) this.kind = Kind6.Error;
    else if (type === ICMP6_ECHO_REQUEST || type === ICMP6_ECHO_REPLY) {
      this.kind = Kind6.Query;
      this.srcPort = this.dstPort = icmp6EchoId(buf, transport);
    } else this.kind = Kind6.Link;
    return Reason.None;
  }

  /** As nat/packet: this packet's own checksum and its cut go on; another checksum is finished here. */
  #settleOffload(): boolean {
    const { block, transport, end } = this;
    const isUdp = this.proto === MapProto.Udp;
    const field = transport + (isUdp ? UDP_CHECKSUM : TCP_CHECKSUM);
    if (block.checksum !== Checksum.Owed || block.checksumStart !== transport || block.checksumField !== field) {
      return this.#finishOther(transport + (isUdp ? UDP_HEADER_LEN : TCP_HEADER_LEN));
    }
    if (block.segment === Segment.None) return true;
    // What is cut has no extension headers; and a SYN no data to be cut.
    if (transport - this.at !== IPV6_HEADER_LEN) return false;
    if (this.proto === MapProto.Tcp && (tcpFlags(this.buf, transport) & TCP_SYN) !== 0) return false;
    return block.segmentSize > 0 && block.segmentHeaderLen <= end - block.rp;
  }

  /** As nat/packet: finishes a checksum that is owed from `first` on, of a packet inside this one. */
  #finishOther(first: number): boolean {
    const { block } = this;
    if (block.segment !== Segment.None) return false;
    if (block.checksum !== Checksum.Owed) return true;
    if (block.checksumField < first || !finishChecksum(block)) return false;
    this.#place(this.transport - this.at);
    return true;
  }

  /** Rewrites where it comes from; the number of an echo is its identifier. */
  setSource(addr: IpAddr, port: number): void {
    const { buf, at, transport } = this;
    this.adjust(addrSum(this.src), addrSum(addr), this.srcPort, port);
    setIpv6Src(buf, at, addr);
    put16(buf, transport + (this.kind === Kind6.Query ? ECHO_ID : SRC_PORT), port);
    this.src = addr;
    this.srcPort = port;
    if (this.kind === Kind6.Query) this.dstPort = port;
  }

  /** Rewrites where it goes. */
  setDestination(addr: IpAddr, port: number): void {
    const { buf, at, transport } = this;
    this.adjust(addrSum(this.dst), addrSum(addr), this.dstPort, port);
    setIpv6Dst(buf, at, addr);
    put16(buf, transport + (this.kind === Kind6.Query ? ECHO_ID : DST_PORT), port);
    this.dst = addr;
    this.dstPort = port;
    if (this.kind === Kind6.Query) this.srcPort = port;
  }

  /** Keeps the transport checksum right: sums of the addresses, and the ports. */
  adjust(oldAddr: number, newAddr: number, oldPort: number, newPort: number): void {
    const { block, buf, transport } = this;
    if (block.checksum === Checksum.Owed) {
      const field = block.checksumField;
      put16(buf, field, fold(get16(buf, field) + (~oldAddr & 0xffff) + newAddr));
      return;
    }
    const oldSum = fold(oldAddr + oldPort);
    const newSum = fold(newAddr + newPort);
    if (this.proto === MapProto.Udp) adjustUdpChecksum(buf, transport, oldSum, newSum);
    else if (this.proto === MapProto.Tcp) adjustTcpChecksum(buf, transport, oldSum, newSum);
    else adjustIcmp6Checksum(buf, transport, oldSum, newSum);
  }
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

/** Whether the UDP checksum of `packet` is right: what ends here is checked here. */
export function udp6IsSound({ block, buf, transport, src, dst }: Packet6): boolean {
  return block.checksum !== Checksum.None || udpChecksumOk(buf, transport, src, dst);
}
