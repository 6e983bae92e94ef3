/**
 * The two versions of IP as a test of the NAT sees them: names, packets, codes. A test that holds for both is one, in a
 * loop over {@link FAMILIES}.
 *
 * @module
 */

import type { FamilyContext } from "../../../tools/nat/context.ts";
import type { NatOptions } from "../../../tools/nat/nat.ts";
import { echoPacket, icmpErrorPacket, type PacketOptions, udpPacket } from "../ip/ip_fixture.ts";
import { error6Packet } from "../ip/story6.ts";
import * as packets from "./packets.ts";
import { type NatKit, natKit, natKit6 } from "./steps.ts";

/** What a packet is made from, in both versions; what is left out is the guest's, to the remote. */
export interface FamilyPacket {
  readonly src?: string;
  readonly dst?: string;
  readonly srcPort?: number;
  readonly dstPort?: number;
  readonly hops?: number;
  /** TOS, or the traffic class. */
  readonly tos?: number;
  readonly payload?: Uint8Array;
  /** Of IPv4: DF. IPv6 is never cut on its way. */
  readonly isWhole?: boolean;
}

/** Of a segment, besides. */
export interface FamilySegment extends FamilyPacket {
  readonly flags?: number;
  readonly seq?: number;
  readonly ack?: number;
  readonly mss?: number;
}

/** Who sends an ICMP error to whom, with what in its second word. */
interface ErrorEnds {
  readonly src: string;
  readonly dst: string;
  readonly rest?: number;
  readonly hops?: number;
}

/** One version of IP, as a test sees it. */
export interface Family {
  readonly name: "IPv4" | "IPv6";
  readonly is6: boolean;
  readonly host: string;
  readonly remote: string;
  /** Another station of the world. */
  readonly other: string;
  readonly guest: string;
  readonly router: string;
  readonly dns: string;
  readonly loopback: string;
  /** Bytes of the header without options. */
  readonly headerLen: number;
  /** Where the hops stand, and the type of ICMP. */
  readonly hopsAt: number;
  /** Type and code of ICMP errors. */
  readonly codes: Readonly<Record<"prohibited" | "port" | "protocol" | "hops" | "tooBig" | "noRoute", number[]>>;
  kit(options?: Partial<NatOptions>): NatKit;
  context(kit: NatKit): FamilyContext;
  udp(options?: FamilyPacket): Uint8Array;
  tcp(options?: FamilySegment): Uint8Array;
  /** An echo request; `srcPort` is its identifier. */
  echo(options?: FamilyPacket): Uint8Array;
  /** An ICMP error that quotes `packet`. */
  error(code: readonly number[], packet: Uint8Array, ends: ErrorEnds): Uint8Array;
  /** A forward to the guest. */
  forward(proto: string, hostPort: number, guestPort: number, bound?: string): string;
  /** `ends("a", 1, "b", 2)` as {@link packets.endsOf} writes it. */
  ends(src: string, srcPort: number, dst: string, dstPort: number): string;
}

const IPV4: Family = {
  name: "IPv4",
  is6: false,
  host: packets.HOST,
  remote: packets.REMOTE,
  other: "198.51.100.7",
  guest: packets.GUEST,
  router: packets.ROUTER,
  dns: packets.DNS,
  loopback: "127.0.0.1",
  headerLen: 20,
  hopsAt: 8,
  codes: { prohibited: [3, 13], port: [3, 3], protocol: [3, 2], hops: [11, 0], tooBig: [3, 4], noRoute: [3, 0] },
  kit: natKit,
  context: ({ nat }) => nat.v4,
  udp: (options = {}) => udpPacket({ ...fields4(options), srcPort: 4000, dstPort: 9, ...ports(options) }),
  tcp: (options = {}) => packets.tcpPacket({ ...fields4(options), ...segment(options), dontFragment: true }),
  echo: ({ srcPort = 77, payload = new Uint8Array(8), ...options } = {}) =>
    echoPacket({ ...fields4(options), id: srcPort, data: payload }),
  error: ([type, code], packet, { src, dst, rest = 0, hops = 64 }) =>
    icmpErrorPacket({ type: type!, code: code!, packet, rest }, { src, dst, ttl: hops }),
  forward: (proto, hostPort, guestPort, bound = "") => `${proto}:${bound}:${hostPort}-${packets.GUEST}:${guestPort}`,
  ends: (src, srcPort, dst, dstPort) => `${src}:${srcPort} > ${dst}:${dstPort}`,
};

const IPV6: Family = {
  name: "IPv6",
  is6: true,
  host: packets.HOST6,
  remote: packets.REMOTE6,
  other: "2001:db8:7::7",
  guest: packets.GUEST6,
  router: packets.ROUTER6,
  dns: packets.DNS6,
  loopback: "::1",
  headerLen: 40,
  hopsAt: 7,
  codes: { prohibited: [1, 1], port: [1, 4], protocol: [4, 1], hops: [3, 0], tooBig: [2, 0], noRoute: [1, 0] },
  kit: natKit6,
  context: ({ nat }) => nat.v6!,
  udp: (options = {}) => packets.udp6({ ...fields6(options), ...ports(options) }),
  tcp: (options = {}) => packets.tcp6({ ...fields6(options), ...segment(options) }),
  echo: ({ srcPort = 77, payload = new Uint8Array(8), ...options } = {}) =>
    packets.echo6({ ...fields6(options), id: srcPort, data: payload }),
  error: ([type, code], packet, { src, dst, rest = 0, hops: hopLimit = 64 }) =>
    error6Packet({ type: type!, code: code!, packet, rest }, { src, dst, hopLimit }),
  forward: (proto, hostPort, guestPort, bound) =>
    `${proto}:${bound === undefined ? "" : `[${bound}]`}:${hostPort}-[${packets.GUEST6}]:${guestPort}`,
  ends: (src, srcPort, dst, dstPort) => `[${src}]:${srcPort} > [${dst}]:${dstPort}`,
};

/** Both versions of IP: a test of the NAT runs for each. */
export const FAMILIES: readonly Family[] = [IPV4, IPV6];

function fields4(
  { src = packets.GUEST, dst = packets.REMOTE, hops = 64, tos = 0, payload, isWhole }: FamilyPacket,
): PacketOptions {
  const whole = isWhole === undefined ? {} : { dontFragment: isWhole };
  return { src, dst, ttl: hops, tos, ...whole, ...(payload === undefined ? {} : { payload }) };
}

function fields6({ src = packets.GUEST6, dst = packets.REMOTE6, hops = 64, tos = 0, payload }: FamilyPacket) {
  return { src, dst, hopLimit: hops, trafficClass: tos, ...(payload === undefined ? {} : { payload }) };
}

function ports({ srcPort, dstPort }: FamilyPacket): { srcPort?: number; dstPort?: number } {
  return { ...(srcPort === undefined ? {} : { srcPort }), ...(dstPort === undefined ? {} : { dstPort }) };
}

function segment(options: FamilySegment) {
  const { flags = 2, seq = 1, ack = 0, mss, payload } = options;
  const tcpOptions = mss === undefined ? {} : { tcpOptions: { mss } };
  return { ...ports(options), flags, seq, ack, ...tcpOptions, ...(payload === undefined ? {} : { data: payload }) };
}
