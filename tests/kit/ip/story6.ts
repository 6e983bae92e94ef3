/**
 * Kit for stories about IPv6: two hosts on a cable with addresses of both versions, and whole IPv6 packets.
 *
 *     await using world = await meet6();
 *     const udp = world.user.conv("udp", `connect ${PEER6}!7`);
 *
 * @module
 */

import { fail } from "@std/assert";
import { ETHER_HEADER_LEN, ETHERTYPE_IPV6, etherTypeAt } from "../../../kernel/wire/ethernet.ts";
import {
  emitIcmp6Echo,
  emitIcmp6Error,
  type Icmp6Error,
  icmp6ErrorLen,
  setIcmp6Checksum,
} from "../../../kernel/wire/icmp6.ts";
import { IP_PROTO_ICMP6, IP_PROTO_UDP } from "../../../kernel/wire/ip_proto.ts";
import { emitIpv6, IPV6_HEADER_LEN, type Ipv6Fields, type Ipv6Header, parseIpv6 } from "../../../kernel/wire/ipv6.ts";
import { emitUdp, setUdpChecksum, UDP_HEADER_LEN } from "../../../kernel/wire/udp.ts";
import type { BootOptions } from "../../../tools/boot/boot.ts";
import { ip } from "./ip_fixture.ts";
import { HOST_MAC, meet, type Meeting, type Story, tell, type User, type Wire, WIRE_MAC } from "./story.ts";

/** IPv6 addresses of the first host and of its neighbour. */
export const US6 = "2001:db8::1";
export const PEER6 = "2001:db8::2";

/** Gives a user's host an IPv6 address beside its IPv4 one, and ::1. */
export function addIpv6(user: User, address: string, ...commands: string[]): void {
  user.command("/net/ipifc/0/ctl", "add ::1 /128");
  for (const command of [`add ${address} /64`, ...commands]) user.command("/net/ipifc/1/ctl", command);
}

/** Two kernels with IPv4 and IPv6 on one cable, and the test that listens to it. */
export async function meet6(options: BootOptions = {}): Promise<Meeting> {
  const world = await meet(options);
  addIpv6(world.user, US6);
  addIpv6(world.peer, PEER6);
  world.wire.frames();
  return world;
}

/** A host with IPv6 whose only neighbour, {@link PEER6}, is the test, and the gateway of everything else. */
export async function tell6(options: BootOptions = {}): Promise<Story> {
  const story = await tell(options);
  addIpv6(story.user, US6);
  story.user.command("/net/arp", `add ${PEER6} ${WIRE_MAC.toHex()}`);
  story.user.command("/net/iproute", `add :: /0 ${PEER6}`);
  story.wire.frames();
  return story;
}

/** Sends an IPv6 packet in a frame to the host. */
export function inject6(wire: Wire, packet: Uint8Array): void {
  wire.inject(packet, { dst: HOST_MAC, type: ETHERTYPE_IPV6 });
}

/** Takes the IPv6 packets that others sent since last asked, without padding. */
export function sent6(wire: Wire): Uint8Array[] {
  const frames = wire.frames().filter((frame) => etherTypeAt(frame, 0) === ETHERTYPE_IPV6);
  return frames.map((frame) => {
    const packet = frame.subarray(ETHER_HEADER_LEN);
    return packet.slice(0, IPV6_HEADER_LEN + header6(packet).payloadLen);
  });
}

/** The header of an IPv6 packet, which must be one. */
export function header6(packet: Uint8Array): Ipv6Header {
  return parseIpv6(packet, 0, packet.length) ?? fail("Not an IPv6 packet");
}

/** Fields of a packet; by default it goes from PEER6 to US6. */
export interface Packet6Options extends Partial<Omit<Ipv6Fields, "src" | "dst" | "payloadLen">> {
  src?: string;
  dst?: string;
  /** Everything behind the fixed header. */
  payload?: Uint8Array;
}

/** A whole IPv6 packet. */
export function packet6(options: Packet6Options = {}): Uint8Array {
  const { src = PEER6, dst = US6, payload = new Uint8Array(0), nextHeader = IP_PROTO_UDP, ...fields } = options;
  const packet = new Uint8Array(IPV6_HEADER_LEN + payload.length);
  emitIpv6({ ...fields, nextHeader, src: ip(src), dst: ip(dst), payloadLen: payload.length }, packet, 0);
  packet.set(payload, IPV6_HEADER_LEN);
  return packet;
}

/** A whole UDP packet over IPv6 with a right checksum (or `checksum`, as it is). */
export function udp6Packet(
  options: Packet6Options & { srcPort?: number; dstPort?: number; checksum?: number } = {},
): Uint8Array {
  const { srcPort = 9, dstPort = 7, checksum, payload = new Uint8Array(0), src = PEER6, dst = US6 } = options;
  const datagram = new Uint8Array(UDP_HEADER_LEN + payload.length);
  emitUdp({ srcPort, dstPort, payloadLen: payload.length, checksum: checksum ?? 0 }, datagram, 0);
  datagram.set(payload, UDP_HEADER_LEN);
  if (checksum === undefined) setUdpChecksum(datagram, 0, ip(src), ip(dst));
  return packet6({ ...options, nextHeader: IP_PROTO_UDP, payload: datagram });
}

/** A whole ICMPv6 packet; `message` gets its checksum. */
export function icmp6Packet(message: Uint8Array, options: Packet6Options = {}): Uint8Array {
  const { src = PEER6, dst = US6 } = options;
  setIcmp6Checksum(message, 0, message.length, { src: ip(src), dst: ip(dst) });
  return packet6({ ...options, nextHeader: IP_PROTO_ICMP6, payload: message });
}

/** A whole ICMPv6 echo packet. */
export function echo6Packet(
  options: Packet6Options & { reply?: boolean; id?: number; seq?: number; data?: Uint8Array } = {},
): Uint8Array {
  const { reply = false, id = 1, seq = 1, data = new Uint8Array(8), ...rest } = options;
  const message = new Uint8Array(8 + data.length);
  emitIcmp6Echo({ reply, id, seq, data }, message, 0);
  return icmp6Packet(message, rest);
}

/** A whole ICMPv6 error packet. */
export function error6Packet(error: Icmp6Error, options: Packet6Options = {}): Uint8Array {
  const message = new Uint8Array(icmp6ErrorLen(error));
  emitIcmp6Error(error, message, 0);
  return icmp6Packet(message, options);
}
