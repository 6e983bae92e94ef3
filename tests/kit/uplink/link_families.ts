/**
 * The two versions of IP as a test of the uplink sees them, and packets of the link read back. A test that holds for
 * both is one, in a loop over {@link LINKS}.
 *
 * @module
 */

import { fail } from "@std/assert";
import { type Block, Segment } from "../../../kernel/block.ts";
import { BlockPool } from "../../../kernel/block.ts";
import { IP_HEADERS } from "../../../kernel/inet/ip_header.ts";
import { cutSegments, finishChecksum } from "../../../kernel/inet/segment.ts";
import { get16, get32 } from "../../../kernel/wire/bytes.ts";
import { ipv4DontFragment, ipv4Tos } from "../../../kernel/wire/ipv4.ts";
import { ipv6TrafficClass } from "../../../kernel/wire/ipv6.ts";
import { echoPacket, udpPacket } from "../ip/ip_fixture.ts";
import { echo6Packet, udp6Packet } from "../ip/story6.ts";
import { assertSound } from "../nat/packets.ts";

/** What a packet from near is made from; what is left out is near's, to {@link Link.remote}. */
export interface LinkPacket {
  readonly src?: string;
  readonly dst?: string;
  readonly srcPort?: number;
  readonly dstPort?: number;
  readonly ttl?: number;
  readonly tos?: number;
  readonly payload?: Uint8Array;
  /** Of IPv4: DF. IPv6 has no such bit. */
  readonly isWhole?: boolean;
  /** Of an echo request. */
  readonly id?: number;
  readonly seq?: number;
}

/** One version of IP, as a test of the uplink sees it. */
export interface Link {
  readonly name: "IPv4" | "IPv6";
  readonly version: 4 | 6;
  /** The ends of the link. */
  readonly near: string;
  readonly peer: string;
  /** Hosts of the world, and routers on the way. */
  readonly remote: string;
  readonly other: string;
  readonly hops: readonly string[];
  /** The machine's. */
  readonly own: string;
  readonly loopback: string;
  readonly headerLen: number;
  readonly minMtu: number;
  /** `type/code` of ICMP errors. */
  readonly codes: Readonly<Record<"prohibited" | "port" | "host" | "net" | "hops" | "tooBig", string>>;
  udp(packet?: LinkPacket): Uint8Array;
  echo(packet?: LinkPacket): Uint8Array;
}

const IPV4: Link = {
  name: "IPv4",
  version: 4,
  near: "10.9.0.1",
  peer: "10.9.0.2",
  remote: "192.0.2.9",
  other: "192.0.2.77",
  hops: ["203.0.113.1", "203.0.113.2"],
  own: "198.51.100.1",
  loopback: "127.0.0.1",
  headerLen: 20,
  minMtu: 68,
  codes: { prohibited: "3/13", port: "3/3", host: "3/1", net: "3/0", hops: "11/0", tooBig: "3/4" },
  udp: ({ src = IPV4.near, dst = IPV4.remote, isWhole = false, ...packet } = {}) =>
    udpPacket({ srcPort: 4000, dstPort: 9, ...packet, src, dst, dontFragment: isWhole }),
  echo: ({ src = IPV4.near, dst = IPV4.remote, isWhole = false, payload, ...packet } = {}) =>
    echoPacket({ id: 77, ...packet, src, dst, dontFragment: isWhole, data: payload ?? new Uint8Array(8) }),
};

const IPV6: Link = {
  name: "IPv6",
  version: 6,
  near: "fd00:9::1",
  peer: "fd00:9::2",
  remote: "2001:db8:9::9",
  other: "2001:db8:9::77",
  hops: ["2001:db8:aa::1", "2001:db8:aa::2"],
  own: "2001:db8:5::1",
  loopback: "::1",
  headerLen: 40,
  minMtu: 1280,
  codes: { prohibited: "1/1", port: "1/4", host: "1/3", net: "1/0", hops: "3/0", tooBig: "2/0" },
  udp: ({ src = IPV6.near, dst = IPV6.remote, ttl = 64, tos = 0, ...packet } = {}) =>
    udp6Packet({ srcPort: 4000, dstPort: 9, ...packet, src, dst, hopLimit: ttl, trafficClass: tos }),
  echo: ({ src = IPV6.near, dst = IPV6.remote, ttl = 64, tos = 0, payload, ...packet } = {}) =>
    echo6Packet({ id: 77, ...packet, src, dst, hopLimit: ttl, trafficClass: tos, data: payload ?? new Uint8Array(8) }),
};

/** Both versions of IP. */
export const LINKS: readonly Link[] = [IPV4, IPV6];

/** A packet as near reads it. */
export interface Seen {
  readonly kind: "udp" | "reply" | "request" | "error";
  readonly src: string;
  readonly dst: string;
  readonly ttl: number;
  readonly tos: number;
  /** `source > destination` of UDP, `id seq` of an echo, `type/code` of an error. */
  readonly what: string;
  /** Of an error the MTU, otherwise 0. */
  readonly mtu: number;
  readonly isWhole: boolean;
  readonly payload: Uint8Array;
  /** Of an error: the packet that it quotes, as far as it is there. */
  readonly quoted: Seen | null;
}

/** The packets in a block: one, or those of a burst; each must be sound. */
export function packetsOf(block: Block): Uint8Array[] {
  const pieces = block.segment === Segment.None ? [block] : cutSegments(block, new BlockPool()) ?? fail("No burst");
  return pieces.map((piece) => {
    finishChecksum(piece);
    const packet = piece.bytes().slice();
    assertSound(packet);
    return packet;
  });
}

/** A packet, read. */
export function see(packet: Uint8Array): Seen {
  const isV4 = packet[0]! >>> 4 === 4;
  const header = IP_HEADERS[isV4 ? 4 : 6]!;
  const end = packet.length;
  const at = header.headerLen(packet, 0, end);
  const common = {
    src: `${header.src(packet, 0)}`,
    dst: `${header.dst(packet, 0)}`,
    ttl: header.ttl(packet, 0),
    tos: isV4 ? ipv4Tos(packet, 0) : ipv6TrafficClass(packet, 0),
    isWhole: isV4 && ipv4DontFragment(packet, 0),
    payload: packet.slice(at + 8),
  };
  if (header.protocol(packet, 0, end) === 17) {
    const what = `${get16(packet, at)} > ${get16(packet, at + 2)}`;
    return { ...common, kind: "udp", what, mtu: 0, quoted: null };
  }
  const type = packet[at]!;
  if (!header.icmpIsError(type)) {
    const kind = type === (isV4 ? 8 : 128) ? "request" : "reply";
    return { ...common, kind, what: `${get16(packet, at + 4)} ${get16(packet, at + 6)}`, mtu: 0, quoted: null };
  }
  const what = `${type}/${packet[at + 1]}`;
  const mtu = isV4 ? get16(packet, at + 6) : get32(packet, at + 4);
  return { ...common, kind: "error", what, mtu, quoted: see(packet.slice(at + 8)) };
}
