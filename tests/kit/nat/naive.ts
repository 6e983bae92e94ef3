/**
 * A naive translation, for both versions of IP: the new ends written into a copy, and all of it summed again. What the
 * NAT does must be the same, byte for byte. With it the packets of every shape that properties of the NAT draw.
 *
 * @module
 */

import { assert } from "@std/assert";
import fc from "fast-check";
import { Block, Checksum } from "../../../kernel/block.ts";
import { finishChecksum } from "../../../kernel/inet/segment.ts";
import { put16 } from "../../../kernel/wire/bytes.ts";
import { pseudoSum } from "../../../kernel/wire/checksum.ts";
import { setIcmpChecksum } from "../../../kernel/wire/icmp.ts";
import { setIcmp6Checksum } from "../../../kernel/wire/icmp6.ts";
import { setIpv4Checksum } from "../../../kernel/wire/ipv4.ts";
import { setTcpChecksum, TCP_ACK, TCP_SYN } from "../../../kernel/wire/tcp.ts";
import { setUdpChecksum } from "../../../kernel/wire/udp.ts";
import { echoPacket, ip, ipPacket, pattern, udpPacket } from "../ip/ip_fixture.ts";
import { echo6Packet, packet6, udp6Packet } from "../ip/story6.ts";
import { u16 } from "../ip/wire.ts";
import { FAMILIES, type Family } from "./families.ts";
import { layoutOf } from "./packets.ts";
import { framed, type NatKit, type Outcome } from "./steps.ts";

/** What is to be different in a packet. */
export interface Changes {
  readonly src?: string;
  readonly dst?: string;
  readonly srcPort?: number;
  readonly dstPort?: number;
  /** Hops that it made. */
  readonly hops?: number;
  readonly mss?: number;
}

/** The version of a packet. */
export function familyOf(packet: Uint8Array): Family {
  return FAMILIES[packet[0]! >>> 4 === 4 ? 0 : 1]!;
}

/** Whether the packet is ICMP of its version. */
export function isIcmp(packet: Uint8Array): boolean {
  const { protocol, isV4 } = layoutOf(packet);
  return protocol === (isV4 ? 1 : 58);
}

/** A copy with `changes`, every checksum computed again; a UDP checksum of 0 stays 0. */
export function rewritten(packet: Uint8Array, changes: Changes): Uint8Array {
  const copy = packet.slice();
  const { at, isV4 } = layoutOf(packet);
  const { src, dst, srcPort, dstPort, hops = 0, mss } = changes;
  if (src !== undefined) putAddr(copy, isV4 ? 12 : 8, src);
  if (dst !== undefined) putAddr(copy, isV4 ? 16 : 24, dst);
  copy[familyOf(packet).hopsAt]! -= hops;
  if (srcPort !== undefined) put16(copy, isIcmp(packet) ? at + 4 : at, srcPort);
  if (dstPort !== undefined && !isIcmp(packet)) put16(copy, at + 2, dstPort);
  if (mss !== undefined) lowerMss(copy, at, mss);
  return summed(copy);
}

function putAddr(packet: Uint8Array, at: number, addr: string): void {
  const value = ip(addr);
  if (value.isV4) value.putV4(packet, at);
  else value.put(packet, at);
}

/** Sums everything in place. */
export function summed(packet: Uint8Array): Uint8Array {
  const { at, protocol, src, dst, isV4 } = layoutOf(packet);
  const end = packet.length;
  if (isV4) setIpv4Checksum(packet, 0, at);
  if (protocol === 6) setTcpChecksum(packet, at, end, { src, dst });
  else if (protocol === 1) setIcmpChecksum(packet, at, end);
  else if (protocol === 58) setIcmp6Checksum(packet, at, end, { src, dst });
  else if (packet[at + 6] !== 0 || packet[at + 7] !== 0) setUdpChecksum(packet, at, src, dst);
  return packet;
}

/** Lowers every MSS option of a TCP header, by the book: kind by kind. */
function lowerMss(packet: Uint8Array, tcp: number, mss: number): void {
  const end = tcp + (packet[tcp + 12]! >>> 4) * 4;
  for (let i = tcp + 20; i < end && packet[i] !== 0; i += packet[i] === 1 ? 1 : packet[i + 1]!) {
    if (packet[i] === 2 && ((packet[i + 2]! << 8) | packet[i + 3]!) > mss) put16(packet, i + 2, mss);
  }
}

/**
 * Options that may pass. Of IPv4: none, NOPs, record route, a router alert, an unknown one of odd length. Of IPv6 the
 * types of headers with options: hop-by-hop (0), destination (60).
 */
const OPTIONS4: readonly number[][] = [[], [1, 1, 1, 1], [7, 7, 4, 0, 0, 0, 0, 0], [148, 4, 0, 0], [94, 3, 9, 1]];
const OPTIONS6: readonly number[][] = [[], [], [0], [60], [0, 60]];
/** TCP options with an MSS at an even or odd place, twice, or not at all. */
const TCP_OPTIONS = fc.constantFrom(
  ...[[], [2, 4, 5, 180], [1, 2, 4, 5, 180, 1, 1, 1], [1, 1, 1, 2, 4, 35, 40, 1], [4, 2, 1, 2, 4, 255, 255, 0]],
  ...[[3, 3, 7, 2, 4, 5, 180, 1], [2, 4, 2, 24], [2, 4, 5, 180, 1, 2, 4, 5, 181, 1, 1, 1]],
);

const word = fc.integer({ min: 0x100, max: 0xffff }).map((n) => n.toString(16));
const byte = fc.integer({ min: 1, max: 254 });

/** Any host of the world. */
export function remotesOf({ is6 }: Family): fc.Arbitrary<string> {
  if (is6) return fc.tuple(word, word, word).map(([a, b, c]) => `2001:db8:${a}:${b}::${c}`);
  return fc.tuple(byte, byte).map(([a, b]) => `203.0.${a}.${b}`);
}

/** A packet to be made. */
export interface Shape {
  /** `udp0` has no checksum, which IPv6 does not let pass. */
  readonly kind: "udp" | "udp0" | "tcp" | "syn" | "echo";
  readonly remote: string;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly size: number;
  readonly seed: number;
  readonly hops: number;
  readonly tos: number;
  /** Identification, or the flow label. */
  readonly id: number;
  readonly dontFragment: boolean;
  readonly options: readonly number[];
  readonly tcp: readonly number[];
  /** How the packet comes: as it is, its checksum owed, in borrowed pieces, or in fragments. */
  readonly how: "whole" | "owed" | "borrowed" | "fragments";
  readonly chop: number;
}

/** Packets of every shape of the version. */
export function shapesOf(family: Family): fc.Arbitrary<Shape> {
  const { is6, remote, other, router, dns } = family;
  const kinds = ["udp", "tcp", "syn", "echo", ...(is6 ? [] : ["udp0" as const])] as const;
  return fc.record({
    kind: fc.constantFrom(...kinds),
    remote: fc.oneof(fc.constantFrom(remote, other, router, dns), remotesOf(family)),
    srcPort: fc.integer({ min: 1, max: 65535 }),
    dstPort: fc.integer({ min: 1, max: 65535 }),
    size: fc.oneof(fc.nat(70), fc.nat(1400)),
    seed: fc.nat(255),
    hops: fc.integer({ min: 3, max: 255 }),
    tos: fc.nat(255),
    id: u16,
    dontFragment: fc.boolean(),
    options: fc.constantFrom(...(is6 ? OPTIONS6 : OPTIONS4)),
    tcp: TCP_OPTIONS,
    how: fc.constantFrom("whole", "owed", "borrowed", "fragments"),
    chop: fc.integer({ min: 1, max: 40 }),
  });
}

/** Whether `addr` is the host's, under a name that guests have for it. */
export function isHere({ router, dns }: Family, addr: string): boolean {
  return addr === router || addr === dns;
}

/** The guest's packet of a shape, to whom it is really for. */
export function packetOf(family: Family, shape: Shape): Uint8Array {
  const { kind, srcPort, size, seed, remote } = shape;
  // The NAT itself answers pings of the router and the name server, and questions over UDP.
  const isAnsweredHere = kind === "echo" ? isHere(family, remote) : kind.startsWith("udp") && remote === family.dns;
  const dst = isAnsweredHere ? family.remote : remote;
  const dstPort = dst === family.dns ? 53 : shape.dstPort;
  const data = pattern(size, seed);
  const ends = { src: family.guest, dst, srcPort, dstPort };
  return family.is6 ? packetOf6(shape, ends, data) : packetOf4(shape, ends, data);
}

interface Ends {
  readonly src: string;
  readonly dst: string;
  readonly srcPort: number;
  readonly dstPort: number;
}

function packetOf4(shape: Shape, { srcPort, dstPort, ...addrs }: Ends, data: Uint8Array): Uint8Array {
  const { kind, tos, id, hops: ttl } = shape;
  const dontFragment = shape.dontFragment && shape.how !== "fragments";
  const header = { ...addrs, ttl, tos, id, dontFragment, options: new Uint8Array(shape.options) };
  if (kind === "echo") return echoPacket({ ...header, id: srcPort, seq: dstPort, data });
  if (kind === "udp0") return udpPacket({ ...header, srcPort, dstPort, payload: data, checksum: 0 });
  if (kind === "udp") return udpPacket({ ...header, srcPort, dstPort, payload: data });
  return summed(ipPacket({ ...header, protocol: 6, payload: segmentOf(shape, srcPort, dstPort, data) }));
}

function packetOf6(shape: Shape, { srcPort, dstPort, ...addrs }: Ends, data: Uint8Array): Uint8Array {
  const { kind, tos: trafficClass, id: flowLabel, hops: hopLimit } = shape;
  const header = { ...addrs, trafficClass, flowLabel, hopLimit };
  const plain = kind === "echo"
    ? echo6Packet({ ...header, id: srcPort, seq: dstPort, data })
    : kind === "udp"
    ? udp6Packet({ ...header, srcPort, dstPort, payload: data })
    : summed(packet6({ ...header, nextHeader: 6, payload: segmentOf(shape, srcPort, dstPort, data) }));
  return withHeaders(plain, shape.options);
}

/** Puts headers of eight bytes with an option each between the fixed header and the transport. */
function withHeaders(packet: Uint8Array, types: readonly number[]): Uint8Array {
  if (types.length === 0) return packet;
  const nexts = [...types.slice(1), packet[6]!];
  const headers = nexts.flatMap((next) => [next, 0, 1, 4, 0, 0, 0, 0]);
  const whole = new Uint8Array([...packet.subarray(0, 40), ...headers, ...packet.subarray(40)]);
  whole[6] = types[0]!;
  put16(whole, 4, whole.length - 40);
  return whole;
}

function segmentOf({ kind, tcp }: Shape, srcPort: number, dstPort: number, data: Uint8Array): Uint8Array {
  const isSyn = kind === "syn";
  const segment = new Uint8Array(20 + tcp.length + (isSyn ? 0 : data.length));
  segment.set([srcPort >> 8, srcPort & 255, dstPort >> 8, dstPort & 255, 1, 2, 3, 4, 5, 6, 7, 8]);
  segment.set([(5 + tcp.length / 4) << 4, isSyn ? TCP_SYN : TCP_ACK, 9, 9], 12);
  segment.set(tcp, 20);
  if (!isSyn) segment.set(data, 20 + tcp.length);
  return segment;
}

/** The same packet with its checksum owed: its field holds the sum of the pseudo-header. */
export function owed(packet: Uint8Array): Block {
  const block = Block.from(packet.slice(), 64);
  const { at, protocol, src, dst } = layoutOf(packet);
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + at;
  block.checksumField = block.checksumStart + (protocol === 6 ? 16 : 6);
  put16(block.buf, block.checksumField, pseudoSum(src, dst, protocol, packet.length - at));
  return block;
}

/** Bytes of a block that is on its way to the wire: what it owes is paid by a full sum. */
export function paid(block: Block): Uint8Array {
  assert(finishChecksum(block));
  return block.bytes().slice();
}

/** Cut as the guest would: pieces of `8 * chop` bytes, options that are to be copied in all of them. */
export function pieces(packet: Uint8Array, chop: number): Uint8Array[] {
  const { isV4, at: transportAt } = layoutOf(packet);
  // Hop-by-hop options are in every fragment, other headers are cut as data are (RFC 8200 4.5).
  const at = isV4 ? transportAt : packet[6] === 0 ? 48 : 40;
  const all: Uint8Array[] = [];
  const step = 8 * Math.max(chop, Math.ceil((packet.length - at) / 8 / 60));
  for (let offset = 0; offset < packet.length - at; offset += step) {
    const isLast = offset + step >= packet.length - at;
    const header = isV4 ? packet.subarray(0, at) : fragmentHeader(packet, at, offset | (isLast ? 0 : 1));
    const piece = new Uint8Array([...header, ...packet.subarray(at + offset, at + offset + step)]);
    put16(piece, isV4 ? 2 : 4, piece.length - (isV4 ? 0 : 40));
    if (isV4) {
      put16(piece, 6, (isLast ? 0 : 0x2000) | (offset / 8));
      setIpv4Checksum(piece, 0, at);
    }
    all.push(piece);
  }
  return all;
}

/** What stands in every fragment of `packet`, and a fragment header with `place`. */
function fragmentHeader(packet: Uint8Array, at: number, place: number): Uint8Array {
  const nextAt = at === 48 ? 40 : 6;
  const header = new Uint8Array([...packet.subarray(0, at), packet[nextAt]!, 0, place >> 8, place & 255, 0, 0, 0, 9]);
  header[nextAt] = 44;
  return header;
}

/** The same without the fragment header that a datagram of IPv6 keeps which came in fragments. */
export function unfragmented(packet: Uint8Array): Uint8Array {
  if (packet[0]! >>> 4 === 4) {
    const copy = packet.slice();
    copy[6] = copy[7] = 0;
    return summed(copy);
  }
  const nextAt = packet[6] === 0 ? 40 : 6;
  const at = packet[6] === 0 ? 48 : 40;
  assert(packet[nextAt] === 44 && packet[at + 2] === 0 && packet[at + 3] === 0, "A fragment header of the whole");
  const copy = new Uint8Array([...packet.subarray(0, at), ...packet.subarray(at + 8)]);
  copy[nextAt] = packet[at]!;
  put16(copy, 4, copy.length - 40);
  return copy;
}

/** What leaves when the packet comes in the way that the shape says. */
export function send(kit: NatKit, { kind, how, chop }: Shape, packet: Uint8Array): Outcome {
  if (how === "owed" && kind !== "echo" && kind !== "udp0") return kit.out(owed(packet));
  if (how === "borrowed") {
    const own = Math.min(packet.length, 5 * chop);
    const block = framed(packet.slice(0, own), { type: packet[0]! >>> 4 === 4 ? 0x800 : 0x86dd });
    block.extents = [packet.slice(own)];
    return kit.frame(block);
  }
  if (how !== "fragments") return kit.out(packet.slice());
  const all = pieces(packet, chop);
  let last = kit.out(all.at(-1)!);
  for (const piece of all.slice(0, -1)) last = kit.out(piece);
  return last;
}

/** The port of the host where connections to the name server end. */
const DOOR = 5353;

/** Whom the guest's name stands for on the host's side, and the host's address for it. */
export function realOf(packet: Uint8Array): { real: string; local: string; hops: number; dstPort?: number } {
  const { host, router, dns, loopback } = familyOf(packet);
  const dst = `${layoutOf(packet).dst}`;
  if (dst === `${ip(router)}`) return { real: loopback, local: loopback, hops: 0 };
  return dst === `${ip(dns)}`
    ? { real: host, local: host, hops: 0, dstPort: DOOR }
    : { real: dst, local: host, hops: 1 };
}

const CAPS = { udp: 65536, tcp: 65536, icmp: 65536 };

/** A NAT that lets in all remotes, with maps for all ports, a loopback and a name server; some ports are in use. */
export function openKit(family: Family, mtu = 1500): NatKit {
  const kit = family.kit({
    ...{ filtering: "endpoint", guestCaps: CAPS, totalCaps: CAPS, mtu, policy: { loopback: true } },
  });
  for (let port = 5000; port < 6000; port++) kit.ports.taken.add(port);
  family.context(kit).nameServer = { addr: ip(family.host), port: DOOR };
  return kit;
}

/** A packet of the other side with the ends of `packet` exchanged and other contents. */
export function answerTo(packet: Uint8Array, hops: number): Uint8Array {
  const { at, isV4, src, dst } = layoutOf(packet);
  const copy = packet.slice();
  putAddr(copy, isV4 ? 12 : 8, `${dst}`);
  putAddr(copy, isV4 ? 16 : 24, `${src}`);
  copy[familyOf(packet).hopsAt] = hops;
  if (isIcmp(packet)) copy[at] = isV4 ? 0 : 129;
  else {
    copy.set(packet.subarray(at + 2, at + 4), at);
    copy.set(packet.subarray(at, at + 2), at + 2);
  }
  return summed(copy);
}
