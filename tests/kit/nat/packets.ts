/**
 * Packets of guests and of the network, of both versions of IP, and what a test asks of them.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { icmpChecksumOk } from "../../../kernel/wire/icmp.ts";
import { icmp6ChecksumOk } from "../../../kernel/wire/icmp6.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import {
  ipv4ChecksumOk,
  ipv4Dst,
  ipv4HeaderLen,
  ipv4IsFragment,
  ipv4Protocol,
  ipv4Src,
  ipv4TotalLen,
  parseIpv4,
} from "../../../kernel/wire/ipv4.ts";
import { ipv6Dst, ipv6PayloadLen, ipv6Src, parseIpv6Fragment, walkIpv6 } from "../../../kernel/wire/ipv6.ts";
import { emitNd, ndLen, type NdMessage } from "../../../kernel/wire/nd.ts";
import { emitTcp, setTcpChecksum, tcpChecksumOk, tcpEmitLen, type TcpFields } from "../../../kernel/wire/tcp.ts";
import { NO_TCP_OPTIONS, type TcpOptions } from "../../../kernel/wire/tcp_options.ts";
import { udpChecksumOk } from "../../../kernel/wire/udp.ts";
import { GUEST_MACS } from "../../../tools/nat/config.ts";
import { ip, ipPacket, type PacketOptions } from "../ip/ip_fixture.ts";
import { echo6Packet, icmp6Packet, packet6, type Packet6Options, udp6Packet } from "../ip/story6.ts";

export const HOST = "10.0.0.1";
export const REMOTE = "192.0.2.9";
export const GUEST = "10.0.2.15";
export const ROUTER = "10.0.2.2";
export const DNS = "10.0.2.3";
export const GUEST_MAC = GUEST_MACS.qemu;

export const HOST6 = "2001:db8::2";
export const REMOTE6 = "2001:db8:9::9";
export const GUEST6 = "fd00:0:0:2::15";
export const ROUTER6 = "fd00:0:0:2::2";
export const DNS6 = "fd00:0:0:2::3";
/** What the router's hardware address 00:01:02:03:04:0a makes. */
export const ROUTER_LL = "fe80::201:2ff:fe03:40a";
export const GUEST_LL = "fe80::15";

/** A whole TCP packet with a right checksum. */
export function tcpPacket(
  options: Omit<PacketOptions, "options"> & Partial<Omit<TcpFields, "options">> & {
    tcpOptions?: Partial<TcpOptions>;
    data?: Uint8Array;
  } = {},
): Uint8Array {
  const { srcPort = 4000, dstPort = 80, seq = 1, ack = 0, flags = 2, window = 1000, data = new Uint8Array(0) } =
    options;
  const tcp: TcpFields = {
    ...{ srcPort, dstPort, seq, ack, flags, window },
    options: { ...NO_TCP_OPTIONS, ...options.tcpOptions },
  };
  const headerLen = tcpEmitLen(tcp);
  const payload = new Uint8Array(headerLen + data.length);
  emitTcp(tcp, payload, 0);
  payload.set(data, headerLen);
  const { src = GUEST, dst = REMOTE } = options;
  setTcpChecksum(payload, 0, payload.length, { src: ip(src), dst: ip(dst) });
  const { tos = 0, id = 0, ttl = 64, dontFragment = true } = options;
  return ipPacket({ src, dst, protocol: 6, tos, id, ttl, dontFragment, payload });
}

/** A datagram of the guest to {@link REMOTE6}, unless told otherwise. */
export function udp6(options: Parameters<typeof udp6Packet>[0] = {}): Uint8Array {
  return udp6Packet({ src: GUEST6, dst: REMOTE6, srcPort: 4000, dstPort: 9, ...options });
}

/** An echo request of the guest. */
export function echo6(options: Parameters<typeof echo6Packet>[0] = {}): Uint8Array {
  return echo6Packet({ src: GUEST6, dst: REMOTE6, id: 77, ...options });
}

/** A neighbour discovery message with hop limit 255. */
export function nd6(message: NdMessage, options: Packet6Options): Uint8Array {
  const bytes = new Uint8Array(ndLen(message));
  emitNd(message, bytes, 0);
  return icmp6Packet(bytes, { hopLimit: 255, ...options });
}

/** A whole TCP segment with a right checksum. */
export function tcp6(
  options: Packet6Options & Partial<Omit<TcpFields, "options">> & {
    tcpOptions?: Partial<TcpOptions>;
    data?: Uint8Array;
  } = {},
): Uint8Array {
  const { srcPort = 4000, dstPort = 80, seq = 1, ack = 0, flags = 2, window = 1000 } = options;
  const { data = new Uint8Array(0), src = GUEST6, dst = REMOTE6 } = options;
  const tcp: TcpFields = {
    ...{ srcPort, dstPort, seq, ack, flags, window },
    options: { ...NO_TCP_OPTIONS, ...options.tcpOptions },
  };
  const headerLen = tcpEmitLen(tcp);
  const payload = new Uint8Array(headerLen + data.length);
  emitTcp(tcp, payload, 0);
  payload.set(data, headerLen);
  setTcpChecksum(payload, 0, payload.length, { src: ip(src), dst: ip(dst) });
  const { trafficClass = 0, flowLabel = 0, hopLimit = 64 } = options;
  return packet6({ src, dst, nextHeader: 6, trafficClass, flowLabel, hopLimit, payload });
}

/** Where the transport of a packet of either version starts, its protocol and its ends. */
export interface Layout {
  readonly at: number;
  readonly protocol: number;
  readonly src: IpAddr;
  readonly dst: IpAddr;
  readonly isV4: boolean;
  /** A fragment, whose transport cannot be checked. */
  readonly isPart: boolean;
}

export function layoutOf(packet: Uint8Array): Layout {
  if (packet[0]! >>> 4 === 4) {
    const ends = { src: ipv4Src(packet, 0), dst: ipv4Dst(packet, 0), protocol: ipv4Protocol(packet, 0) };
    return { ...ends, at: ipv4HeaderLen(packet, 0), isV4: true, isPart: ipv4IsFragment(packet, 0) };
  }
  const { at, protocol, fragmentAt } = walkIpv6(packet, 0, packet.length)!;
  const fragment = fragmentAt < 0 ? null : parseIpv6Fragment(packet, fragmentAt, packet.length);
  const isPart = fragment !== null && (fragment.moreFragments || fragment.fragOffset > 0);
  return { at, protocol, src: ipv6Src(packet, 0), dst: ipv6Dst(packet, 0), isV4: false, isPart };
}

/** `addr` and port of both ends: `10.0.2.15:4000 > 192.0.2.9:80`, `[fd00::15]:4000 > …`; of an echo its identifier. */
export function endsOf(packet: Uint8Array): string {
  const { at, protocol, src, dst, isV4 } = layoutOf(packet);
  const port = (offset: number) => (packet[at + offset]! << 8) | packet[at + offset + 1]!;
  const ports = protocol === (isV4 ? 1 : 58) ? [port(4), port(4)] : [port(0), port(2)];
  const shown = (addr: IpAddr) => isV4 ? `${addr}` : `[${addr}]`;
  return `${shown(src)}:${ports[0]} > ${shown(dst)}:${ports[1]}`;
}

/** The answer to a packet: its ends exchanged, an echo request become a reply. Checksums are those of the words. */
export function swapped(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  const { at, protocol, isV4 } = layoutOf(packet);
  const [src, dst, end] = isV4 ? [12, 16, 20] : [8, 24, 40];
  copy.set(packet.subarray(dst, end), src);
  copy.set(packet.subarray(src, dst), dst);
  if (protocol === (isV4 ? 1 : 58)) {
    const [request, reply] = isV4 ? [8, 0] : [128, 129];
    copy[at] = reply!;
    const sum = ((copy[at + 2]! << 8) | copy[at + 3]!) + (request! - reply!) * 0x100;
    const check = sum < 0 ? sum + 0xffff : sum > 0xffff ? sum - 0xffff : sum;
    copy[at + 2] = check >> 8;
    copy[at + 3] = check & 255;
    return copy;
  }
  copy.set(packet.subarray(at + 2, at + 4), at);
  copy.set(packet.subarray(at, at + 2), at + 2);
  return copy;
}

/** Fails unless the lengths and every checksum of the packet are right. */
export function assertSound(packet: Uint8Array): void {
  const { at, protocol, src, dst, isV4, isPart } = layoutOf(packet);
  assertEquals(isV4 ? ipv4TotalLen(packet, 0) : 40 + ipv6PayloadLen(packet, 0), packet.length);
  if (isV4) assert(ipv4ChecksumOk(packet, 0), "The IP checksum is wrong");
  if (isPart) return;
  const end = packet.length;
  if (protocol === 17) assert(udpChecksumOk(packet, at, src, dst), "The UDP checksum is wrong");
  if (protocol === 6) assert(tcpChecksumOk(packet, at, end, { src, dst }), "The TCP checksum is wrong");
  if (protocol === 1) assert(icmpChecksumOk(packet, at, end), "The ICMP checksum is wrong");
  if (protocol === 58) assert(icmp6ChecksumOk(packet, at, end, { src, dst }), "The ICMPv6 checksum is wrong");
}

/** A piece of a datagram, or a whole one. */
export interface Part {
  /** Bytes of its headers. */
  readonly at: number;
  readonly offset: number;
  readonly isLast: boolean;
  /** Of all pieces of one datagram the same; with the protocol in it. */
  readonly id: string;
}

/** Where a piece of either version belongs. */
export function partOf(piece: Uint8Array): Part {
  if (piece[0]! >>> 4 === 4) {
    const { id, protocol, fragOffset, moreFragments, headerLen } = parseIpv4(piece, 0, piece.length)!;
    return { at: headerLen, offset: fragOffset, isLast: !moreFragments, id: `${id} ${protocol}` };
  }
  const { at, protocol, fragmentAt } = walkIpv6(piece, 0, piece.length)!;
  if (fragmentAt < 0) return { at, offset: 0, isLast: true, id: `${protocol}` };
  const { id, nextHeader, fragOffset, moreFragments } = parseIpv6Fragment(piece, fragmentAt, piece.length)!;
  return { at: fragmentAt + 8, offset: fragOffset, isLast: !moreFragments, id: `${id} ${nextHeader}` };
}
