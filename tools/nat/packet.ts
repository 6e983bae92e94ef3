/**
 * NatPacket: where things are in an IP packet, read once and kept in numbers; and rewriting its ends in place.
 *
 * Path: errors, inbound, outbound → nat/packet → addr_hash, nat/counters, map_class, segment, block.
 *
 * What differs between the versions of IP is a record, {@link NatFamily}: family4 and family6.
 *
 * Checksums are updated, never computed again (RFC 1624): damage done before stays visible to the receiver. A UDP
 * checksum of 0 stays 0, and one that comes out as 0 is 0xffff (RFC 768). A checksum that is still owed is a sum of the
 * pseudo-header, in which ports have no part. One that is owed to another packet inside this one is finished before
 * anything is rewritten: Linux has put an outer UDP checksum right for the finished bytes already.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../../kernel/block.ts";
import type { FragmentFormat, FragmentPlace } from "../../kernel/inet/fragment_format.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { get16, put16 } from "../../kernel/wire/bytes.ts";
import { addrSum, fold } from "../../kernel/wire/checksum.ts";
import { ICMP_HEADER_LEN, icmpEchoId } from "../../kernel/wire/icmp.ts";
import { adjustIcmp6Checksum } from "../../kernel/wire/icmp6.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_TCP, IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import { adjustTcpChecksum, TCP_HEADER_LEN, TCP_SYN, tcpFlags, tcpHeaderLen } from "../../kernel/wire/tcp.ts";
import { adjustUdpChecksum, UDP_HEADER_LEN, udpChecksumOk, udpLength } from "../../kernel/wire/udp.ts";
import { scratchAddr, setAddr } from "./addr_hash.ts";
import { Reason } from "./counters.ts";
import { MapProto } from "./map_class.ts";

const SRC_PORT = 0;
const DST_PORT = 2;
const UDP_CHECKSUM = 6;
const TCP_CHECKSUM = 16;

/** What a packet is about: ports, an identifier, an error, a fragment of something, or the link's own affairs. */
export const Kind = { Ports: 0, Query: 1, Error: 2, Fragment: 3, Link: 4 } as const;
export type Kind = typeof Kind[keyof typeof Kind];

/** Type and code of an ICMP error. */
export interface IcmpCode {
  readonly type: number;
  readonly code: number;
}

/** What an error says, and between whom. */
export interface ErrorFields extends IcmpCode {
  readonly src: IpAddr;
  readonly dst: IpAddr;
  /** The next hop's MTU of "too big"; the pointer of a parameter problem. */
  readonly rest?: number;
}

/** The packet that an error is about, as far as it is quoted. */
export interface QuotedPacket {
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly protocol: number;
  readonly ipAt: number;
  readonly transportAt: number;
  readonly end: number;
}

/** The ends of a datagram. */
export interface DatagramEnds {
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly srcPort: number;
  readonly dstPort: number;
}

/** A fragment: what is before its payload, and the datagram that it belongs to by more than its addresses. */
export interface NatFragment {
  readonly headerLen: number;
  /** Of IPv6 the same for all: only the first fragment's counts (RFC 8200 4.5). */
  readonly protocol: number;
  readonly place: FragmentPlace;
}

/** What differs between IPv4 and IPv6 in a packet: family4, family6. */
export interface NatFamily {
  readonly version: 4 | 6;
  /** Its ICMP's protocol number, and whether that sums the addresses. */
  readonly icmpProtocol: number;
  readonly icmpSumsAddresses: boolean;
  /** RFC 8200 8.1: over IPv6 a datagram has a checksum. */
  readonly udpNeedsChecksum: boolean;
  /** Headers that must lie in the block's own bytes, and not in extents, before anything looks at them. */
  readonly headersMax: number;
  /** Smallest MTU that "too big" may name. */
  readonly mtuMin: number;
  /** Hops of packets of our own. */
  readonly hopsDefault: number;
  readonly refusals: {
    readonly prohibited: IcmpCode;
    readonly port: IcmpCode;
    readonly protocol: IcmpCode;
    readonly hops: IcmpCode;
    readonly tooBig: IcmpCode;
    readonly noRoute: IcmpCode;
  };
  /** Reads the IP header, its options or extension headers; a fragment is `Kind.Fragment` after it. */
  readHeader(packet: NatPacket, block: Block): Reason;
  /** The kind of the ICMP message, or why it cannot be used. */
  icmpKind(type: number): Kind | -1;
  /** Whether the message asks: answers come only to those that asked. */
  icmpAsks(type: number): boolean;
  icmpIsEchoRequest(type: number): boolean;
  icmpIsSound(packet: NatPacket): boolean;
  setIcmpId(buf: Uint8Array, at: number, id: number): void;
  /** Turns an echo request into its reply. */
  setEchoReply(buf: Uint8Array, at: number): void;
  setIcmpChecksum(packet: NatPacket): void;
  hops(buf: Uint8Array, at: number): number;
  setHops(buf: Uint8Array, at: number, hops: number): void;
  putSource(buf: Uint8Array, at: number, addr: IpAddr): void;
  putDestination(buf: Uint8Array, at: number, addr: IpAddr): void;
  /** Whether a router may cut the packet. */
  mayCut(buf: Uint8Array, at: number): boolean;
  /** Whether no packet of the network can come from `addr`. */
  isMartian(addr: IpAddr): boolean;
  /** The packet that the error at hand quotes; null: malformed, damaged on its way, or not to be passed on. */
  readQuote(packet: NatPacket): QuotedPacket | null;
  /** A whole IP packet with an error about the packet in `block`, of which the start is quoted; the block stays. */
  makeError(block: Block, fields: ErrorFields): Block;
  /** A whole IP packet around a datagram of our own. */
  makeDatagram(ends: DatagramEnds, data: Uint8Array): Block;
  /** How fragments are put together, and where the one at hand belongs. */
  readonly fragments: FragmentFormat;
  fragmentOf(packet: NatPacket): NatFragment;
  /** Cuts a packet (consumed) into pieces of at most `mtu` bytes, each with head room; null: it cannot be cut. */
  cut(block: Block, mtu: number, id: number): Block[] | null;
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
  /** The transport's protocol number, and how far from the start an error points at it (IPv6). */
  protocol = 0;
  namedAt = 0;
  hasExtensions = false;
  /** Where a fragment header of IPv6 starts, or -1. */
  fragmentAt = -1;
  /** The ends; overwritten by the next packet. */
  readonly src: IpAddr;
  readonly dst: IpAddr;
  /** Ports; of an ICMP query both are its identifier. */
  srcPort = 0;
  dstPort = 0;

  constructor(readonly family: NatFamily) {
    this.src = scratchAddr(family.version);
    this.dst = scratchAddr(family.version);
  }

  get headerLen(): number {
    return this.transport - this.at;
  }

  /** Whether it is an echo request. */
  get isEchoRequest(): boolean {
    return this.kind === Kind.Query && this.family.icmpIsEchoRequest(this.buf[this.transport]!);
  }

  /** The map's protocol by IP protocol number; -1: none. */
  protoOf(protocol: number): MapProto | -1 {
    if (protocol === IP_PROTO_TCP) return MapProto.Tcp;
    if (protocol === IP_PROTO_UDP) return MapProto.Udp;
    return protocol === this.family.icmpProtocol ? MapProto.Icmp : -1;
  }

  /**
   * Reads the packet that starts at the block's `rp` and cuts link padding off. Returns why it cannot be used, or
   * Reason.None. After it all headers are in the block's own bytes; of a fragment only IP's are looked at.
   */
  read(block: Block): Reason {
    if (block.extents !== null && block.wp - block.rp < this.family.headersMax) block.own();
    const reason = this.family.readHeader(this, block);
    if (reason !== Reason.None || this.kind === Kind.Fragment) return reason;
    return this.#readTransport();
  }

  /** For the family: where the headers of `block` are. */
  place(block: Block, headerLen: number): void {
    this.block = block;
    this.buf = block.buf;
    this.at = block.rp;
    this.transport = block.rp + headerLen;
    this.end = block.wp;
  }

  #readTransport(): Reason {
    const { block, protocol } = this;
    const proto = this.protoOf(protocol);
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
      if (this.family.udpNeedsChecksum && !this.#hasUdpChecksum) return Reason.BadTransport;
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
      const { headerLen } = this;
      this.place(block.own(), headerLen);
    }
    const { buf, transport, end } = this;
    if (end - transport < ICMP_HEADER_LEN) return Reason.BadTransport;
    if (!this.finishOther(transport)) return Reason.Offload;
    const kind = this.family.icmpKind(buf[transport]!);
    if (kind < 0) return Reason.IcmpType;
    this.kind = kind as Kind;
    if (kind === Kind.Query) this.srcPort = this.dstPort = icmpEchoId(buf, transport);
    return Reason.None;
  }

  get #hasUdpChecksum(): boolean {
    return this.block.checksum === Checksum.Owed || get16(this.buf, this.transport + UDP_CHECKSUM) !== 0;
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
      return this.finishOther(transport + (isUdp ? UDP_HEADER_LEN : TCP_HEADER_LEN));
    }
    if (block.segment === Segment.None) return true;
    // Pieces would lack extension headers; and a SYN has no data to be cut.
    if (this.hasExtensions) return false;
    if (this.proto === MapProto.Tcp && (tcpFlags(this.buf, transport) & TCP_SYN) !== 0) return false;
    return block.segmentSize > 0 && block.segmentHeaderLen <= end - block.rp;
  }

  /**
   * For the family, too: finishes a checksum that is owed from `first` on, wherever it starts (virtio 1.3, 5.1.6.2.1):
   * it belongs to a packet inside this one, as a tunnel of the guest's kernel makes them. False: it lies in what was
   * read already, or outside, or a cut is wanted as well.
   */
  finishOther(first: number): boolean {
    const { block } = this;
    if (block.segment !== Segment.None) return false;
    if (block.checksum !== Checksum.Owed) return true;
    if (block.checksumField < first || !finishChecksum(block)) return false;
    this.place(block, this.headerLen);
    return true;
  }

  /** Rewrites where it comes from; the number of an ICMP query is its identifier. */
  setSource(addr: IpAddr, port: number): void {
    this.#adjust(this.src, addr, this.srcPort, port);
    this.family.putSource(this.buf, this.at, addr);
    setAddr(this.src, addr);
    this.srcPort = port;
    if (this.kind === Kind.Query) this.dstPort = port;
    else put16(this.buf, this.transport + SRC_PORT, port);
  }

  /** Rewrites where it goes. */
  setDestination(addr: IpAddr, port: number): void {
    this.#adjust(this.dst, addr, this.dstPort, port);
    this.family.putDestination(this.buf, this.at, addr);
    setAddr(this.dst, addr);
    this.dstPort = port;
    if (this.kind === Kind.Query) this.srcPort = port;
    else put16(this.buf, this.transport + DST_PORT, port);
  }

  /** Gives an ICMP error other ends, and the checksum that follows from all of it. */
  readdress(src: IpAddr, dst: IpAddr): void {
    const { family, buf, at } = this;
    family.putSource(buf, at, src);
    family.putDestination(buf, at, dst);
    setAddr(this.src, src);
    setAddr(this.dst, dst);
    family.setIcmpChecksum(this);
  }

  /** Keeps the transport checksum right, and gives a query its identifier. */
  #adjust(from: IpAddr, to: IpAddr, oldPort: number, newPort: number): void {
    const { block, buf, transport, family } = this;
    const oldAddr = addrSum(from);
    const newAddr = addrSum(to);
    if (this.kind === Kind.Query) {
      if (family.icmpSumsAddresses) adjustIcmp6Checksum(buf, transport, oldAddr, newAddr);
      family.setIcmpId(buf, transport, newPort);
    } else if (block.checksum === Checksum.Owed) {
      const field = block.checksumField;
      put16(buf, field, fold(get16(buf, field) + (~oldAddr & 0xffff) + newAddr));
    } else {
      const oldSum = fold(oldAddr + oldPort);
      const newSum = fold(newAddr + newPort);
      if (this.proto === MapProto.Udp) adjustUdpChecksum(buf, transport, oldSum, newSum);
      else adjustTcpChecksum(buf, transport, oldSum, newSum);
    }
  }
}

/** Whether the UDP checksum of `packet` is right, as far as it has one: what ends here is checked here. */
export function udpIsSound({ block, buf, transport, src, dst }: NatPacket): boolean {
  return block.checksum !== Checksum.None || udpChecksumOk(buf, transport, src, dst);
}
