/**
 * NatPacket: where things are in an IPv4 packet, read once and kept in numbers; and rewriting its ends in place.
 *
 * Path: errors, inbound, outbound → nat/packet → nat/counters, map, segment, block.
 *
 * Checksums are updated, never computed anew (RFC 1624): damage done before stays visible to whoever it is meant for. A
 * UDP checksum of 0 stays 0, and one that comes out as 0 is 0xffff (RFC 768). A checksum that is still owed is a sum of
 * the pseudo-header, in which ports have no part. One that is owed to another packet inside this one is finished before
 * anything is rewritten: Linux has put an outer UDP checksum right for the finished bytes already.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../../kernel/block.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { get16, put16 } from "../../kernel/wire/bytes.ts";
import { fold } from "../../kernel/wire/checksum.ts";
import {
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMP_HEADER_LEN,
  ICMP_TIMESTAMP_REPLY,
  ICMP_TIMESTAMP_REQUEST,
  icmpEchoId,
  icmpIsError,
  setIcmpEchoId,
} from "../../kernel/wire/icmp.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP, IP_PROTO_TCP, IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import {
  IPV4_HEADER_LEN,
  IPV4_HEADER_MAX,
  ipv4ChecksumOk,
  ipv4DstWord,
  ipv4HeaderLen,
  ipv4IsFragment,
  ipv4Protocol,
  ipv4SrcWord,
  ipv4TotalLen,
  setIpv4Dst,
  setIpv4Src,
} from "../../kernel/wire/ipv4.ts";
import {
  adjustTcpChecksum,
  TCP_HEADER_LEN,
  TCP_HEADER_MAX,
  TCP_SYN,
  tcpFlags,
  tcpHeaderLen,
} from "../../kernel/wire/tcp.ts";
import { adjustUdpChecksum, UDP_HEADER_LEN, udpChecksumOk, udpLength } from "../../kernel/wire/udp.ts";
import { Reason } from "./counters.ts";
import { MapProto } from "./map.ts";

/** IP options (RFC 791 3.1); LSRR and SSRR are the loose and the strict source route. */
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_LSRR = 131;
const OPTION_SSRR = 137;
const SRC_PORT = 0;
const DST_PORT = 2;
const UDP_CHECKSUM = 6;
const TCP_CHECKSUM = 16;

/** Headers that must lie in the block's own bytes, and not in extents, before anything looks at them. */
const HEADERS_MAX = IPV4_HEADER_MAX + TCP_HEADER_MAX;

/** What a packet is about: ports, an identifier, an error, or a fragment of something. */
export const Kind = { Ports: 0, Query: 1, Error: 2, Fragment: 3 } as const;
export type Kind = typeof Kind[keyof typeof Kind];

/** The protocol of a map by IP protocol number; -1: none. */
export function mapProtoOf(protocol: number): MapProto | -1 {
  if (protocol === IP_PROTO_TCP) return MapProto.Tcp;
  if (protocol === IP_PROTO_UDP) return MapProto.Udp;
  return protocol === IP_PROTO_ICMP ? MapProto.Icmp : -1;
}

/** One packet at a time: made once and read into again and again. */
export class NatPacket {
  block!: Block;
  buf!: Uint8Array;
  /** Where the IP header starts, the transport header starts, and the packet ends. */
  at = 0;
  transport = 0;
  end = 0;
  kind: Kind = Kind.Ports;
  proto: MapProto = MapProto.Udp;
  /** IP protocol number. */
  protocol = 0;
  /** Addresses as signed 32-bit numbers. */
  src = 0;
  dst = 0;
  /** Ports; of an ICMP query both are its identifier. */
  srcPort = 0;
  dstPort = 0;

  get headerLen(): number {
    return this.transport - this.at;
  }

  /** Whether it is an echo request. */
  get isEchoRequest(): boolean {
    return this.kind === Kind.Query && this.buf[this.transport] === ICMP_ECHO_REQUEST;
  }

  /**
   * Reads the packet that starts at the block's `rp` and cuts link padding off. Answers why it cannot be used, or
   * Reason.None. After it all headers are in the block's own bytes; of a fragment only IP's is looked at.
   */
  read(block: Block): Reason {
    if (block.extents !== null && block.wp - block.rp < HEADERS_MAX) block.own();
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
    this.block = block;
    this.#place(headerLen);
    this.src = ipv4SrcWord(block.buf, this.at);
    this.dst = ipv4DstWord(block.buf, this.at);
    this.protocol = ipv4Protocol(block.buf, this.at);
    if (ipv4IsFragment(block.buf, this.at)) {
      this.kind = Kind.Fragment;
      return this.#finishOther(this.transport) ? Reason.None : Reason.Offload;
    }
    return this.#readTransport();
  }

  #place(headerLen: number): void {
    const { block } = this;
    this.buf = block.buf;
    this.at = block.rp;
    this.transport = block.rp + headerLen;
    this.end = block.wp;
  }

  #readTransport(): Reason {
    const { block, protocol } = this;
    const proto = mapProtoOf(protocol);
    if (proto < 0) return Reason.Protocol;
    this.proto = proto as MapProto;
    if (proto === MapProto.Icmp) return this.#readIcmp();
    const { transport, end } = this;
    const isUdp = proto === MapProto.Udp;
    this.kind = Kind.Ports;
    if (end - transport < (isUdp ? UDP_HEADER_LEN : TCP_HEADER_LEN)) return Reason.BadTransport;
    if ((block.checksum === Checksum.Owed || block.segment !== Segment.None) && !this.#settleOffload()) {
      return Reason.Offload;
    }
    const { buf } = this;
    if (isUdp) {
      const claimed = udpLength(buf, transport);
      const length = block.rp + block.length - transport;
      if (claimed < UDP_HEADER_LEN || (claimed > length && block.segment === Segment.None)) return Reason.BadTransport;
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
      block.own();
      this.#place(this.headerLen);
    }
    const { buf, transport, end } = this;
    if (end - transport < ICMP_HEADER_LEN) return Reason.BadTransport;
    if (!this.#finishOther(transport)) return Reason.Offload;
    const type = buf[transport]!;
    if (icmpIsError(type)) {
      this.kind = Kind.Error;
      return Reason.None;
    }
    if (!icmpHasId(type)) return Reason.IcmpType;
    this.kind = Kind.Query;
    this.srcPort = this.dstPort = icmpEchoId(buf, transport);
    return Reason.None;
  }

  /**
   * Whether what is owed can go on: this packet's own checksum and its cut inside it, which later stages know; another
   * checksum is finished here.
   */
  #settleOffload(): boolean {
    const { block, transport, end } = this;
    const isUdp = this.proto === MapProto.Udp;
    const field = transport + (isUdp ? UDP_CHECKSUM : TCP_CHECKSUM);
    if (block.checksum !== Checksum.Owed || block.checksumStart !== transport || block.checksumField !== field) {
      return this.#finishOther(transport + (isUdp ? UDP_HEADER_LEN : TCP_HEADER_LEN));
    }
    if (block.segment === Segment.None) return true;
    // A SYN has no data to be cut.
    if (this.proto === MapProto.Tcp && (tcpFlags(this.buf, transport) & TCP_SYN) !== 0) return false;
    return block.segmentSize > 0 && block.segmentHeaderLen <= end - block.rp;
  }

  /**
   * Finishes a checksum that is owed from `first` on, wherever it starts (virtio 1.3, 5.1.6.2.1): it belongs to a
   * packet inside this one, as a tunnel of the guest's kernel makes them. False: it lies in what was read already, or
   * outside, or a cut is wanted as well.
   */
  #finishOther(first: number): boolean {
    const { block } = this;
    if (block.segment !== Segment.None) return false;
    if (block.checksum !== Checksum.Owed) return true;
    if (block.checksumField < first || !finishChecksum(block)) return false;
    this.#place(this.headerLen);
    return true;
  }

  /** Rewrites where it comes from; the number of an ICMP query is its identifier. */
  setSource(addr: IpAddr, port: number): void {
    const { buf, at, transport } = this;
    this.#adjust(sumOf(this.src, this.srcPort), sumOf(addr.w3, port), wordSum(this.src), wordSum(addr.w3));
    setIpv4Src(buf, at, addr);
    if (this.kind === Kind.Query) setIcmpEchoId(buf, transport, port);
    else put16(buf, transport + SRC_PORT, port);
    this.src = addr.w3;
    this.srcPort = port;
    if (this.kind === Kind.Query) this.dstPort = port;
  }

  /** Rewrites where it goes. */
  setDestination(addr: IpAddr, port: number): void {
    const { buf, at, transport } = this;
    this.#adjust(sumOf(this.dst, this.dstPort), sumOf(addr.w3, port), wordSum(this.dst), wordSum(addr.w3));
    setIpv4Dst(buf, at, addr);
    if (this.kind === Kind.Query) setIcmpEchoId(buf, transport, port);
    else put16(buf, transport + DST_PORT, port);
    this.dst = addr.w3;
    this.dstPort = port;
    if (this.kind === Kind.Query) this.srcPort = port;
  }

  /** Keeps the transport checksum right: sums of address and port, and of the addresses alone. */
  #adjust(oldSum: number, newSum: number, oldAddr: number, newAddr: number): void {
    if (this.kind === Kind.Query) return;
    const { block, buf, transport } = this;
    if (block.checksum === Checksum.Owed) {
      const field = block.checksumField;
      put16(buf, field, fold(get16(buf, field) + (~oldAddr & 0xffff) + newAddr));
    } else if (this.proto === MapProto.Udp) adjustUdpChecksum(buf, transport, oldSum, newSum);
    else adjustTcpChecksum(buf, transport, oldSum, newSum);
  }

  /** Source and destination as addresses. */
  get srcAddr(): IpAddr {
    return IpAddr.v4(this.src);
  }

  get dstAddr(): IpAddr {
    return IpAddr.v4(this.dst);
  }
}

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
export function icmpHasId(type: number): boolean {
  return type === ICMP_ECHO_REQUEST || type === ICMP_ECHO_REPLY || type === ICMP_TIMESTAMP_REQUEST ||
    type === ICMP_TIMESTAMP_REPLY;
}

/** Whether it asks: answers come only to those who asked. */
export function icmpIsQuery(type: number): boolean {
  return type === ICMP_ECHO_REQUEST || type === ICMP_TIMESTAMP_REQUEST;
}

/** Whether the UDP checksum of `packet` is right, as far as it has one: what ends here is checked here. */
export function udpIsSound(packet: NatPacket): boolean {
  const { block, buf, transport } = packet;
  return block.checksum !== Checksum.None || udpChecksumOk(buf, transport, packet.srcAddr, packet.dstAddr);
}

function wordSum(word: number): number {
  return fold((word >>> 16) + (word & 0xffff));
}

function sumOf(word: number, port: number): number {
  return fold((word >>> 16) + (word & 0xffff) + port);
}
