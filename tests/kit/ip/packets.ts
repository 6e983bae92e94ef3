/**
 * Packets and frames for tests of interfaces, links and IP: addresses from text, and packets whose other fields are
 * right by default.
 *
 * @module
 */

import { assert } from "@std/assert";
import { emitEthernet, ETHER_HEADER_LEN } from "../../../kernel/wire/ethernet.ts";
import { setIcmp6Checksum } from "../../../kernel/wire/icmp6.ts";
import { type IpAddr, parseIpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP6, IP_PROTO_UDP } from "../../../kernel/wire/ip_proto.ts";
import { emitIpv4, IPV4_HEADER_MAX, type Ipv4Fields, type Ipv4Header, parseIpv4 } from "../../../kernel/wire/ipv4.ts";
import { emitIpv6, IPV6_HEADER_LEN, ipv6Dst, type Ipv6Fields, ipv6Src } from "../../../kernel/wire/ipv6.ts";
import { MAC_ZERO, type MacAddr, parseMacAddr } from "../../../kernel/wire/mac_addr.ts";
import { emitNd, ND_HOP_LIMIT, ndLen, type NdMessage } from "../../../kernel/wire/nd.ts";

/** Our hardware address, and a neighbour's. */
export const OUR_MAC: MacAddr = mac("02:00:00:00:00:01");
export const PEER_MAC: MacAddr = mac("02:00:00:00:00:02");

/** The address that `text` spells. */
export function ip(text: string): IpAddr {
  const addr = parseIpAddr(text);
  assert(addr !== null, text);
  return addr;
}

/** The hardware address that `text` spells. */
export function mac(text: string): MacAddr {
  const addr = parseMacAddr(text);
  assert(addr !== null, text);
  return addr;
}

/** What {@link ip6Packet} is made from; by default UDP from fe80::2 to 2001:db8::1. */
export interface Packet6Fields extends Partial<Omit<Ipv6Fields, "payloadLen" | "src" | "dst">> {
  readonly src?: string;
  readonly dst?: string;
  /** Bytes behind the header, or how many. */
  readonly payload?: Uint8Array | number;
}

/** An IPv6 packet. */
export function ip6Packet(fields: Packet6Fields = {}): Uint8Array {
  const { src = "2001:db8::2", dst = "2001:db8::1", payload = 8, nextHeader = IP_PROTO_UDP, ...rest } = fields;
  const bytes = typeof payload === "number" ? pattern(payload) : payload;
  const buf = new Uint8Array(IPV6_HEADER_LEN + bytes.length);
  emitIpv6({ ...rest, nextHeader, src: ip(src), dst: ip(dst), payloadLen: bytes.length }, buf, 0);
  buf.set(bytes, IPV6_HEADER_LEN);
  return buf;
}

/** An ICMPv6 packet with a right checksum. */
export function icmp6Packet(message: Uint8Array, fields: Packet6Fields = {}): Uint8Array {
  const packet = ip6Packet({ ...fields, nextHeader: IP_PROTO_ICMP6, payload: message });
  setIcmp6Checksum(packet, IPV6_HEADER_LEN, packet.length, { src: ipv6Src(packet, 0), dst: ipv6Dst(packet, 0) });
  return packet;
}

/** A message of neighbour discovery as a packet from the link. */
export function ndPacket(message: NdMessage, fields: Packet6Fields = {}): Uint8Array {
  const bytes = new Uint8Array(ndLen(message));
  emitNd(message, bytes, 0);
  return icmp6Packet(bytes, { hopLimit: ND_HOP_LIMIT, ...fields });
}

interface FrameFields {
  readonly dst: MacAddr;
  readonly src: MacAddr;
  readonly etherType: number;
  readonly payload: Uint8Array;
  /** Fill up to the least length of a frame. */
  readonly pad: boolean;
}

/** An Ethernet frame; padding is not of zeros, so that it is seen. */
export function etherFrame({ payload, pad, ...header }: FrameFields): Uint8Array {
  const frame = new Uint8Array(Math.max(pad ? 60 : 0, ETHER_HEADER_LEN + payload.length)).fill(0xee);
  emitEthernet(header, frame, 0);
  frame.set(payload, ETHER_HEADER_LEN);
  return frame;
}

/** What {@link ipPacket} is made from; by default UDP from 10.0.0.2 to 10.0.0.1. */
export interface PacketFields extends Partial<Omit<Ipv4Fields, "payloadLen" | "src" | "dst">> {
  readonly src?: string;
  readonly dst?: string;
  /** Bytes behind the header, or how many. */
  readonly payload?: Uint8Array | number;
}

/** An IPv4 packet. */
export function ipPacket(fields: PacketFields = {}): Uint8Array {
  const { src = "10.0.0.2", dst = "10.0.0.1", payload = 8, protocol = IP_PROTO_UDP, ...rest } = fields;
  const bytes = typeof payload === "number" ? pattern(payload) : payload;
  const buf = new Uint8Array(IPV4_HEADER_MAX + bytes.length);
  const header = { ...rest, protocol, src: ip(src), dst: ip(dst), payloadLen: bytes.length };
  const headerLen = emitIpv4(header, buf, 0);
  buf.set(bytes, headerLen);
  return buf.subarray(0, headerLen + bytes.length);
}

/** `length` bytes of which each shows its place. */
export function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
}

/** The header of `packet`, which must be right, checksum included. */
export function headerOf(packet: Uint8Array): Ipv4Header {
  const header = parseIpv4(packet, 0, packet.length);
  assert(header !== null, "A packet on the wire has a valid header");
  return header;
}

/** Nothing: for ARP questions. */
export const NO_MAC: MacAddr = MAC_ZERO;
