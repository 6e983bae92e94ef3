/**
 * A NAT under test, with a host that is a table of ports and a guest that is the test; for both versions of IP.
 *
 *     const { out, back } = natKit();
 *     const sent = sentOf(out(udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 9 })));
 *     sent.packet; // what the host would send, from HOST
 *     back(swapped(sent.packet), sent.map).toGuest; // what the guest gets
 *
 * A test that holds for both versions runs for each of `FAMILIES` (families.ts).
 *
 * @module
 */

import { assert, assertEquals, fail } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { emitEthernet, ETHER_HEADER_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from "../../../kernel/wire/ethernet.ts";
import { ipv6Dst } from "../../../kernel/wire/ipv6.ts";
import { type MacAddr, multicastMacV6 } from "../../../kernel/wire/mac_addr.ts";
import { HOST_MAC } from "../../../tools/nat/config.ts";
import type { V6Options } from "../../../tools/nat/config6.ts";
import { REASON_NAMES } from "../../../tools/nat/counters.ts";
import type { HostRefusal } from "../../../tools/nat/host_refusal.ts";
import type { NatMap } from "../../../tools/nat/map.ts";
import {
  Nat,
  type NatOptions,
  type PortBroker,
  refusedByHost,
  translateError,
  translateInbound,
  translateOutbound,
} from "../../../tools/nat/nat.ts";
import { GUEST_MAC, HOST, HOST6 } from "./packets.ts";

export * from "./packets.ts";

/** The host's ports as a table: each map gets the guest's port if it is free, else the next free one. */
export class TablePorts implements PortBroker {
  readonly maps = new Map<string, NatMap>();
  readonly #forwarded = new Set<string>();
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
      // Behind doors two forwards of one port may ask for the same.
      if (map.hostPort > 0 && this.#forwarded.has(`${map.proto} ${map.bound} ${map.hostPort}`)) return "bypassed";
      if (map.hostPort > 0) {
        this.#forwarded.add(`${map.proto} ${map.bound} ${map.hostPort}`);
        map.fd = 1;
        return "";
      }
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
    const key = `${map.proto} ${map.bound} ${map.hostPort}`;
    this.maps.delete(key);
    this.#forwarded.delete(key);
  }
}

/** The result for a packet. */
export interface Outcome {
  /** One of `Decision.Drop` and so on. */
  readonly kind: number;
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
  readonly ports: TablePorts;
  /** Time of what follows, in milliseconds. */
  now: number;
  /** An IP packet of the guest, in a frame to the router or to its group. */
  out(packet: Uint8Array | Block, options?: { src?: MacAddr }): Outcome;
  frame(frame: Uint8Array | Block): Outcome;
  /** An IP packet of the network for a map. */
  back(packet: Uint8Array | Block, map: NatMap): Outcome;
  /** An ICMP error about a packet of a map. */
  error(packet: Uint8Array, map: NatMap): Outcome;
  /** The host did not take what a map sent. */
  refusal(packet: Uint8Array, map: NatMap, refusal: HostRefusal): Outcome;
  /** Number behind a refusal's name. */
  refused(name: string): number;
}

/** A NAT in qemu style on a host at {@link HOST}, by default. */
export function natKit(options: Partial<NatOptions> = {}): NatKit {
  const ports = new TablePorts();
  const nat = new Nat({ hostAddr: `${HOST}/24`, nameServers: ["9.9.9.9"], ...options }, ports);
  const outcome = (): Outcome => {
    const { kind, reason, map, block } = nat.decision;
    const frames = nat.takeFrames().map((frame) => frame.bytes().slice());
    return { kind, reason: REASON_NAMES[reason]!, map, block, toGuest: packetsOf(frames), frames };
  };
  const kit: NatKit = {
    nat,
    ports,
    now: 0,
    out: (packet, { src = GUEST_MAC } = {}) => kit.frame(framedFor(asBlock(packet), src)),
    frame(frame) {
      translateOutbound(nat, asBlock(frame), kit.now);
      return outcome();
    },
    back(packet, map) {
      translateInbound(nat, asBlock(packet), map, kit.now);
      return outcome();
    },
    error(packet, map) {
      translateError(nat, Block.from(packet), map, kit.now);
      return outcome();
    },
    refusal(packet, map, refusal) {
      refusedByHost(nat, Block.from(packet), map, refusal);
      return outcome();
    },
    refused: (name) => nat.counters.refused[REASON_NAMES.indexOf(name)] ?? fail(`No reason "${name}"`),
  };
  return kit;
}

/** The same with IPv6, on a host at {@link HOST6}. */
export function natKit6(options: Partial<NatOptions> = {}, v6: Partial<V6Options> = {}): NatKit {
  return natKit({ ...options, v6: { hostAddr: `${HOST6}/64`, ...v6 } });
}

function asBlock(packet: Uint8Array | Block): Block {
  return packet instanceof Block ? packet : Block.from(packet);
}

function packetsOf(frames: readonly Uint8Array[]): Uint8Array[] {
  const isIp = (frame: Uint8Array) =>
    (frame[12] === 8 && frame[13] === 0) || (frame[12] === 0x86 && frame[13] === 0xdd);
  return frames.filter(isIp).map((frame) => frame.subarray(14));
}

function framedFor(block: Block, src: MacAddr): Block {
  if (block.length === 0 || block.buf[block.rp]! >>> 4 !== 6) return framed(block, { src });
  const dst = block.wp - block.rp < 40 ? null : ipv6Dst(block.buf, block.rp);
  return framed(block, { src, type: ETHERTYPE_IPV6, dst: dst?.isMulticast === true ? multicastMacV6(dst) : HOST_MAC });
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
