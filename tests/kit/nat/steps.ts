/**
 * A NAT under test, with a host that is a table of ports and a guest that is the test.
 *
 *     const { out, back } = natKit();
 *     const sent = out(udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 9 }));
 *     sent.packet; // what the host would send, from HOST
 *     back(swapped(sent.packet), sent.map).frames; // what the guest gets
 */

import { assert, assertEquals, fail } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { emitEthernet, ETHER_HEADER_LEN, ETHERTYPE_IPV4 } from "../../../kernel/wire/ethernet.ts";
import { icmpChecksumOk } from "../../../kernel/wire/icmp.ts";
import {
  ipv4ChecksumOk,
  ipv4Dst,
  ipv4HeaderLen,
  ipv4IsFragment,
  ipv4Protocol,
  ipv4Src,
  ipv4TotalLen,
} from "../../../kernel/wire/ipv4.ts";
import type { MacAddr } from "../../../kernel/wire/mac_addr.ts";
import { emitTcp, setTcpChecksum, tcpChecksumOk, tcpEmitLen, type TcpFields } from "../../../kernel/wire/tcp.ts";
import { NO_TCP_OPTIONS, type TcpOptions } from "../../../kernel/wire/tcp_options.ts";
import { udpChecksumOk } from "../../../kernel/wire/udp.ts";
import { ip, ipPacket, type PacketOptions } from "../ip/ip_fixture.ts";
import { GUEST_MACS, HOST_MAC } from "../../../tools/nat/config.ts";
import {
  Nat,
  type NatDoor,
  type NatOptions,
  translateError,
  translateInbound,
  translateOutbound,
} from "../../../tools/nat/nat.ts";
import type { NatMap } from "../../../tools/nat/map.ts";
import { REASON_NAMES } from "../../../tools/nat/counters.ts";

export const HOST = "10.0.0.1";
export const REMOTE = "192.0.2.9";
export const GUEST = "10.0.2.15";
export const ROUTER = "10.0.2.2";
export const DNS = "10.0.2.3";
export const GUEST_MAC = GUEST_MACS.qemu;

/** The host's ports as a table: each map gets the guest's port if it is free, else the next free one. */
export class TableDoor implements NatDoor {
  readonly maps = new Map<string, NatMap>();
  /** Ports in use by others. */
  readonly taken = new Set<number>();
  isFull = false;
  /** Most ports at a time. */
  max = Infinity;

  open(map: NatMap): string {
    if (this.isFull || this.maps.size >= this.max) return "no port is free";
    if (map.isStatic) {
      for (let port = map.hostPort; port < map.hostPort + map.count; port++) {
        if (this.taken.has(port)) return `udp/7 of eve has announced ${port}`;
        if (this.maps.has(`${map.proto} ${map.bound} ${port}`)) return `udp/9 of eve has bypassed ${port}`;
      }
      map.fd = 1;
      return "";
    }
    const first = map.hostPort === 0 ? map.guestPort : map.hostPort;
    for (let i = 0; i < (map.hostPort === 0 ? 0x10000 : 1); i++) {
      const port = (first + i) & 0xffff;
      const key = `${map.proto} ${map.bound} ${port}`;
      if (port === 0 || this.taken.has(port) || this.maps.has(key)) continue;
      map.hostPort = port;
      map.fd = 1;
      this.maps.set(key, map);
      return "";
    }
    return "no port is free";
  }

  close(map: NatMap): void {
    map.fd = -1;
    this.maps.delete(`${map.proto} ${map.bound} ${map.hostPort}`);
  }
}

/** The result for a packet. */
export interface Outcome {
  readonly verdict: number;
  /** Name of the reason; `none`. */
  readonly reason: string;
  readonly map: NatMap | null;
  /** The packet that the host is to send; null: none. */
  readonly block: Block | null;
  /** IP packets in frames for guests. */
  readonly toGuest: readonly Uint8Array[];
  readonly frames: readonly Uint8Array[];
}

/** A NAT under test. */
export interface NatKit {
  readonly nat: Nat;
  readonly door: TableDoor;
  /** Time of what follows, in milliseconds. */
  now: number;
  /** An IP packet of the guest, in a frame to the router. */
  out(packet: Uint8Array | Block): Outcome;
  frame(frame: Uint8Array | Block): Outcome;
  /** An IP packet of the network for a map. */
  back(packet: Uint8Array | Block, map: NatMap): Outcome;
  /** An ICMP error about a packet of a map. */
  error(packet: Uint8Array, map: NatMap): Outcome;
  /** Number behind a refusal's name. */
  refused(name: string): number;
}

/** A NAT in qemu style on a host at {@link HOST}, by default. */
export function natKit(options: Partial<NatOptions> = {}): NatKit {
  const door = new TableDoor();
  const nat = new Nat({ hostAddr: `${HOST}/24`, nameServers: ["9.9.9.9"], ...options }, door);
  const outcome = (): Outcome => {
    const { verdict, reason, map, block } = nat.decision;
    const frames = nat.takeFrames().map((frame) => frame.bytes().slice());
    const toGuest = frames.filter((frame) => frame[12] === 8 && frame[13] === 0).map((frame) => frame.subarray(14));
    return { verdict, reason: REASON_NAMES[reason]!, map, block, toGuest, frames };
  };
  const kit: NatKit = {
    nat,
    door,
    now: 0,
    out: (packet) => kit.frame(framed(packet)),
    frame(frame) {
      translateOutbound(nat, frame instanceof Block ? frame : Block.from(frame), kit.now);
      return outcome();
    },
    back(packet, map) {
      translateInbound(nat, packet instanceof Block ? packet : Block.from(packet), map, kit.now);
      return outcome();
    },
    error(packet, map) {
      translateError(nat, Block.from(packet), map, kit.now);
      return outcome();
    },
    refused: (name) => nat.counters.refused[REASON_NAMES.indexOf(name)] ?? fail(`No reason "${name}"`),
  };
  return kit;
}

/** The packet in a frame from the guest to the router. */
export function framed(
  packet: Uint8Array | Block,
  options: { dst?: MacAddr; src?: MacAddr; type?: number } = {},
): Block {
  const block = packet instanceof Block ? packet : Block.from(packet);
  const { dst = HOST_MAC, src = GUEST_MAC, type = ETHERTYPE_IPV4 } = options;
  const at = block.push(ETHER_HEADER_LEN);
  emitEthernet({ dst, src, etherType: type }, block.buf, at);
  return block;
}

/** The packet that the host is to send; an error if there is none. */
export function sentOf(outcome: Outcome): { packet: Uint8Array; map: NatMap } {
  assert(outcome.block !== null && outcome.map !== null, `Nothing was sent: ${outcome.reason}`);
  return { packet: outcome.block.bytes().slice(), map: outcome.map };
}

/** The only packet that the guest got. */
export function gotOf(outcome: Outcome): Uint8Array {
  assertEquals(outcome.toGuest.length, 1, outcome.reason);
  return outcome.toGuest[0]!;
}

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
  const { src = GUEST, dst = REMOTE } = options;
  setTcpChecksum(payload, 0, payload.length, ip(src), ip(dst));
  const { tos = 0, id = 0, ttl = 64, dontFragment = true } = options;
  return ipPacket({ src, dst, protocol: 6, tos, id, ttl, dontFragment, payload });
}

/** `addr` and port of both ends: `10.0.2.15:4000 > 192.0.2.9:80`. */
export function endsOf(packet: Uint8Array): string {
  const at = ipv4HeaderLen(packet, 0);
  const port = (offset: number) => (packet[at + offset]! << 8) | packet[at + offset + 1]!;
  const ports = ipv4Protocol(packet, 0) === 1 ? [port(4), port(4)] : [port(0), port(2)];
  return `${ipv4Src(packet, 0)}:${ports[0]} > ${ipv4Dst(packet, 0)}:${ports[1]}`;
}

/** Fails unless the lengths and every checksum of the packet are right. */
export function assertSound(packet: Uint8Array): void {
  assertEquals(ipv4TotalLen(packet, 0), packet.length);
  assert(ipv4ChecksumOk(packet, 0), "The IP checksum is wrong");
  if (ipv4IsFragment(packet, 0)) return;
  const at = ipv4HeaderLen(packet, 0);
  const [src, dst] = [ipv4Src(packet, 0), ipv4Dst(packet, 0)];
  const protocol = ipv4Protocol(packet, 0);
  if (protocol === 17) assert(udpChecksumOk(packet, at, src, dst), "The UDP checksum is wrong");
  if (protocol === 6) assert(tcpChecksumOk(packet, at, packet.length, src, dst), "The TCP checksum is wrong");
  if (protocol === 1) assert(icmpChecksumOk(packet, at, packet.length), "The ICMP checksum is wrong");
}
