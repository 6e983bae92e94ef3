/**
 * PacketLog: remembers what the IP packets of a link looked like, while a step wants to know.
 *
 * Path: guest_network, guest_side, guest_types → packet_log → observe_port, block, wire/bytes, ipv4, ipv6.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { get16 } from "../../kernel/wire/bytes.ts";
import { IP_PROTO_FRAGMENT } from "../../kernel/wire/ip_proto.ts";
import {
  IPV4_HEADER_LEN,
  ipv4FragOffset,
  ipv4HeaderLen,
  ipv4Protocol,
  ipv4Tos,
  ipv4TotalLen,
  ipv4Ttl,
} from "../../kernel/wire/ipv4.ts";
import {
  IPV6_FRAGMENT_LEN,
  IPV6_HEADER_LEN,
  ipv6HopLimit,
  ipv6NextHeader,
  ipv6PayloadLen,
  ipv6TrafficClass,
  parseIpv6Fragment,
} from "../../kernel/wire/ipv6.ts";
import type { Direction, PortObserver } from "../boot/observe_port.ts";

/** Most packets that are remembered: a step looks at a few. */
const SEEN_MAX = 4096;
/** A transport header is looked at this far: both ports, or type and code of ICMP. */
const TRANSPORT_LEN = 4;

/** One packet. */
interface SeenPacket {
  readonly direction: Direction;
  /** Bytes of the whole packet. */
  readonly length: number;
  /** TOS, or traffic class. */
  readonly tos: number;
  /** TTL, or hop limit. */
  readonly ttl: number;
  /** Of the transport header. */
  readonly protocol: number;
  /** The first two 16-bit words of the transport header: of ICMP the first is type and code; 0 in later fragments. */
  readonly srcPort: number;
  readonly dstPort: number;
}

/** See above. */
export class PacketLog {
  #seen: SeenPacket[] | null = null;

  /** `linkLen`: bytes before the IP header. */
  constructor(readonly linkLen: number) {}

  /** Takes note of a unit of the link. */
  see(direction: Direction, block: Block): void {
    if (this.#seen === null || this.#seen.length >= SEEN_MAX) return;
    const at = block.rp + this.linkLen;
    const version = at < block.wp ? block.buf[at]! >> 4 : 0;
    if (version === 4) this.#see4(direction, block, at);
    else if (version === 6) this.#see6(direction, block, at);
  }

  /** An observer that takes note of each unit before `next` sees it. */
  before(next: PortObserver | undefined): PortObserver {
    return (direction, block, wallMs) => {
      this.see(direction, block);
      next?.(direction, block, wallMs);
    };
  }

  #see4(direction: Direction, { buf, wp }: Block, at: number): void {
    if (wp - at < IPV4_HEADER_LEN + TRANSPORT_LEN) return;
    const transport = at + ipv4HeaderLen(buf, at);
    const hasPorts = ipv4FragOffset(buf, at) === 0 && wp - transport >= TRANSPORT_LEN;
    this.#seen!.push({
      direction,
      length: ipv4TotalLen(buf, at),
      tos: ipv4Tos(buf, at),
      ttl: ipv4Ttl(buf, at),
      protocol: ipv4Protocol(buf, at),
      srcPort: hasPorts ? get16(buf, transport) : 0,
      dstPort: hasPorts ? get16(buf, transport + 2) : 0,
    });
  }

  #see6(direction: Direction, { buf, wp }: Block, at: number): void {
    if (wp - at < IPV6_HEADER_LEN + TRANSPORT_LEN) return;
    const next = ipv6NextHeader(buf, at);
    const fragment = next === IP_PROTO_FRAGMENT ? parseIpv6Fragment(buf, at + IPV6_HEADER_LEN, wp) : null;
    const transport = at + IPV6_HEADER_LEN + (fragment === null ? 0 : IPV6_FRAGMENT_LEN);
    const isFirst = fragment === null || fragment.fragOffset === 0;
    const hasPorts = isFirst && wp - transport >= TRANSPORT_LEN;
    this.#seen!.push({
      direction,
      length: IPV6_HEADER_LEN + ipv6PayloadLen(buf, at),
      tos: ipv6TrafficClass(buf, at),
      ttl: ipv6HopLimit(buf, at),
      protocol: fragment === null ? next : fragment.nextHeader,
      srcPort: hasPorts ? get16(buf, transport) : 0,
      dstPort: hasPorts ? get16(buf, transport + 2) : 0,
    });
  }

  /** The packets that were seen while `act` ran, with its result. */
  async during<T>(act: () => Promise<T>): Promise<{ result: T; seen: readonly SeenPacket[] }> {
    const seen: SeenPacket[] = this.#seen = [];
    try {
      return { result: await act(), seen };
    } finally {
      this.#seen = null;
    }
  }
}
