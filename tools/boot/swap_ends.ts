/**
 * swapEnds: a packet on its way back, for echoes and first scripts.
 *
 * Path: mod, benches, programs → swap_ends → block.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";

const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;
/** Bits of the fragment offset: only a first fragment has ports. */
const FRAGMENT_OFFSET = 0x1fff;

/**
 * Exchanges source and destination of a whole IP packet, addresses and ports, in place; returns the same block. No
 * checksum needs to change: each is a sum in which both ends are terms (RFC 1071). The packet must be a valid one, as
 * a bypassed conversation delivers it.
 */
export function swapEnds(packet: Block): Block {
  const { buf, rp } = packet;
  const isV4 = (buf[rp]! >> 4) === 4;
  const protocol = buf[rp + (isV4 ? 9 : 6)]!;
  const headerLen = isV4 ? (buf[rp]! & 15) * 4 : 40;
  if (isV4) swapBytes(buf, rp + 12, rp + 16, 4);
  else swapBytes(buf, rp + 8, rp + 24, 16);
  const isFirst = !isV4 || (((buf[rp + 6]! << 8) | buf[rp + 7]!) & FRAGMENT_OFFSET) === 0;
  if (isFirst && (protocol === IPPROTO_TCP || protocol === IPPROTO_UDP)) {
    swapBytes(buf, rp + headerLen, rp + headerLen + 2, 2);
  }
  return packet;
}

function swapBytes(buf: Uint8Array, a: number, b: number, count: number): void {
  for (let i = 0; i < count; i++) {
    const kept = buf[a + i]!;
    buf[a + i] = buf[b + i]!;
    buf[b + i] = kept;
  }
}
