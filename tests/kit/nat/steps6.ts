/**
 * A NAT with IPv6 under test: nat/kit_test's, with packets of IPv6.
 *
 *     const kit = natKit6();
 *     const sent = sentOf(kit.out6(udp6({ dstPort: 9 }))); // from HOST6
 *     got6(kit.back6(swapped6(sent.packet), sent.map)); // what the guest gets
 */

import { assert, assertEquals } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { ETHERTYPE_IPV6 } from "../../../kernel/wire/ethernet.ts";
import { icmp6ChecksumOk } from "../../../kernel/wire/icmp6.ts";
import { ipv6Dst, ipv6PayloadLen, ipv6Src, parseIpv6Fragment, walkIpv6 } from "../../../kernel/wire/ipv6.ts";
import { type MacAddr, multicastMacV6 } from "../../../kernel/wire/mac_addr.ts";
import { emitNd, ndLen, type NdMessage } from "../../../kernel/wire/nd.ts";
import { emitTcp, setTcpChecksum, tcpChecksumOk, tcpEmitLen, type TcpFields } from "../../../kernel/wire/tcp.ts";
import { NO_TCP_OPTIONS, type TcpOptions } from "../../../kernel/wire/tcp_options.ts";
import { udpChecksumOk } from "../../../kernel/wire/udp.ts";
import { ip } from "../ip/ip_fixture.ts";
import { echo6Packet, icmp6Packet, packet6, type Packet6Options, udp6Packet } from "../ip/story6.ts";
import { framed, GUEST_MAC, type NatKit, natKit, type Outcome } from "./steps.ts";
import { type NatOptions, refusedByHost6, translateError6, translateInbound6 } from "../../../tools/nat/nat.ts";
import { REASON_NAMES } from "../../../tools/nat/counters.ts";
import type { NatMap } from "../../../tools/nat/map.ts";
import type { HostRefusal } from "../../../tools/nat/undo.ts";
import type { V6Options } from "../../../tools/nat/v6/config6.ts";
import type { Nat6 } from "../../../tools/nat/v6/nat6.ts";

export const HOST6 = "2001:db8::2";
export const REMOTE6 = "2001:db8:9::9";
export const GUEST6 = "fd00:0:0:2::15";
export const ROUTER6 = "fd00:0:0:2::2";
export const DNS6 = "fd00:0:0:2::3";
/** The address derived from the router's hardware address 00:01:02:03:04:0a. */
export const ROUTER_LL = "fe80::201:2ff:fe03:40a";
export const GUEST_LL = "fe80::15";

/** The kit, with what IPv6 needs. */
export interface NatKit6 extends NatKit {
  readonly six: Nat6;
  out6(packet: Uint8Array | Block, options?: { src?: MacAddr }): Outcome;
  back6(packet: Uint8Array | Block, map: NatMap): Outcome;
  error6(packet: Uint8Array, map: NatMap): Outcome;
  refusal6(packet: Uint8Array, map: NatMap, refusal: HostRefusal): Outcome;
}

/** A NAT on a host at {@link HOST6}, by default. */
export function natKit6(options: Partial<NatOptions> = {}, v6: Partial<V6Options> = {}): NatKit6 {
  const kit = natKit({ ...options, v6: { hostAddr: `${HOST6}/64`, ...v6 } });
  const six = kit.nat.six!;
  const outcome = (): Outcome => {
    const { verdict, reason, map, block } = kit.nat.decision;
    const frames = kit.nat.takeFrames().map((frame) => frame.bytes().slice());
    return { verdict, reason: REASON_NAMES[reason]!, map, block, toGuest: packetsOf(frames), frames };
  };
  const asBlock = (packet: Uint8Array | Block) => packet instanceof Block ? packet : Block.from(packet);
  return Object.assign(kit, {
    six,
    out6(packet: Uint8Array | Block, { src = GUEST_MAC }: { src?: MacAddr } = {}) {
      const block = asBlock(packet);
      const dst = ipv6Dst(block.buf, block.rp);
      const mac = dst.isMulticast ? { dst: multicastMacV6(dst) } : {};
      const { frames, ...rest } = kit.frame(framed(block, { ...mac, src, type: ETHERTYPE_IPV6 }));
      return { ...rest, frames, toGuest: packetsOf(frames) };
    },
    back6(packet: Uint8Array | Block, map: NatMap) {
      translateInbound6(six, asBlock(packet), map, kit.now);
      return outcome();
    },
    error6(packet: Uint8Array, map: NatMap) {
      translateError6(six, Block.from(packet), map, kit.now);
      return outcome();
    },
    refusal6(packet: Uint8Array, map: NatMap, refusal: HostRefusal) {
      refusedByHost6(six, Block.from(packet), map, refusal);
      return outcome();
    },
  });
}

function packetsOf(frames: readonly Uint8Array[]): Uint8Array[] {
  return frames.filter((frame) => frame[12] === 0x86 && frame[13] === 0xdd).map((frame) => frame.subarray(14));
}

/** A datagram of the guest to {@link REMOTE6}, by default. */
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
    srcPort,
    dstPort,
    seq,
    ack,
    flags,
    window,
    options: { ...NO_TCP_OPTIONS, ...options.tcpOptions },
  };
  const headerLen = tcpEmitLen(tcp);
  const payload = new Uint8Array(headerLen + data.length);
  emitTcp(tcp, payload, 0);
  payload.set(data, headerLen);
  setTcpChecksum(payload, 0, payload.length, ip(src), ip(dst));
  const { trafficClass = 0, flowLabel = 0, hopLimit = 64 } = options;
  return packet6({ src, dst, nextHeader: 6, trafficClass, flowLabel, hopLimit, payload });
}

/** `addr` and port of both ends: `[fd00::15]:4000 > [2001:db8::9]:80`; of an echo both are its identifier. */
export function ends6(packet: Uint8Array): string {
  const { at, protocol } = walkIpv6(packet, 0, packet.length)!;
  const port = (offset: number) => (packet[at + offset]! << 8) | packet[at + offset + 1]!;
  const ports = protocol === 58 ? [port(4), port(4)] : [port(0), port(2)];
  return `[${ipv6Src(packet, 0)}]:${ports[0]} > [${ipv6Dst(packet, 0)}]:${ports[1]}`;
}

/** The answer to a packet: its ends exchanged, an echo request become a reply. Checksums are those of the words. */
export function swapped6(packet: Uint8Array): Uint8Array {
  const copy = packet.slice();
  copy.set(packet.subarray(24, 40), 8);
  copy.set(packet.subarray(8, 24), 24);
  const { at, protocol } = walkIpv6(packet, 0, packet.length)!;
  if (protocol === 58) {
    copy[at] = 129;
    const sum = ((copy[at + 2]! << 8) | copy[at + 3]!) - 0x100;
    const check = sum < 0 ? sum + 0xffff : sum;
    copy[at + 2] = check >> 8;
    copy[at + 3] = check & 255;
    return copy;
  }
  copy.set(packet.subarray(at + 2, at + 4), at);
  copy.set(packet.subarray(at, at + 2), at + 2);
  return copy;
}

/** The only packet that the guest got. */
export function got6(outcome: Outcome): Uint8Array {
  assertEquals(outcome.toGuest.length, 1, outcome.reason);
  return outcome.toGuest[0]!;
}

/** Fails unless the length and the transport checksum of the packet are right. */
export function assertSound6(packet: Uint8Array): void {
  assertEquals(40 + ipv6PayloadLen(packet, 0), packet.length);
  const { at, protocol, fragmentAt } = walkIpv6(packet, 0, packet.length)!;
  if (fragmentAt >= 0) {
    const { fragOffset, moreFragments } = parseIpv6Fragment(packet, fragmentAt, packet.length)!;
    if (moreFragments || fragOffset > 0) return;
  }
  const [src, dst] = [ipv6Src(packet, 0), ipv6Dst(packet, 0)];
  if (protocol === 17) assert(udpChecksumOk(packet, at, src, dst), "The UDP checksum is wrong");
  if (protocol === 6) assert(tcpChecksumOk(packet, at, packet.length, src, dst), "The TCP checksum is wrong");
  if (protocol === 58) assert(icmp6ChecksumOk(packet, at, packet.length, src, dst), "The ICMPv6 checksum is wrong");
}
