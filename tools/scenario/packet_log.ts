/**
 * A watcher of a link: remembers what IPv4 packets looked like while a step wants to know.
 *
 * Path: guest_network, guest_side, guest_types → packet_log → observe_port, block, wire/bytes, ip_addr.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { get16 } from "../../kernel/wire/bytes.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { Direction } from "../boot/observe_port.ts";

/** Most packets that are remembered: a step looks at a few. */
const SEEN_MAX = 4096;
const IPV4_HEADER_LEN = 20;

/** One packet; ports are 0 where there are none. */
export interface SeenPacket {
  readonly direction: Direction;
  readonly length: number;
  readonly tos: number;
  readonly ttl: number;
  readonly protocol: number;
  readonly src: string;
  readonly dst: string;
  readonly srcPort: number;
  readonly dstPort: number;
}

/** See above. */
export class PacketLog {
  #seen: SeenPacket[] | null = null;

  /** `linkLen`: bytes before the IP header. */
  constructor(readonly linkLen: number) {}

  /** Sees a unit. */
  see(direction: Direction, block: Block): void {
    if (this.#seen === null || this.#seen.length >= SEEN_MAX) return;
    const { buf, wp } = block;
    const at = block.rp + this.linkLen;
    if (wp - at < IPV4_HEADER_LEN + 4 || buf[at]! >> 4 !== 4) return;
    const transport = at + (buf[at]! & 15) * 4;
    this.#seen.push({
      ...{ direction, length: get16(buf, at + 2), tos: buf[at + 1]!, ttl: buf[at + 8]!, protocol: buf[at + 9]! },
      ...{ src: `${IpAddr.v4At(buf, at + 12)}`, dst: `${IpAddr.v4At(buf, at + 16)}` },
      ...{ srcPort: get16(buf, transport), dstPort: get16(buf, transport + 2) },
    });
  }

  /** What was seen while `act` ran, with its result. */
  async during<T>(act: () => Promise<T>): Promise<{ result: T; seen: readonly SeenPacket[] }> {
    const seen: SeenPacket[] = this.#seen = [];
    try {
      return { result: await act(), seen };
    } finally {
      this.#seen = null;
    }
  }
}
