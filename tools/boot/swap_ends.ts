/**
 * swapEnds: a packet on its way back, for echoes and first scripts.
 *
 * Path: mod, benches, programs → swap_ends → block, ipv6.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { IP_PROTO_TCP, IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import { walkIpv6 } from "../../kernel/wire/ipv6.ts";

/** Bits of the fragment offset: only a first fragment has ports. */
const FRAGMENT_OFFSET = 0x1fff;
/** Bytes of the two ports, at the start of the UDP and the TCP header. */
const PORTS_LEN = 4;

/**
 * Exchanges source and destination of a whole IP packet, addresses and ports, in place; returns the same block. No
 * checksum needs to change: each is a sum in which both ends are terms (RFC 1071). The packet must be a valid one, as
 * a bypassed conversation delivers it. Ports are those behind all IPv6 extension headers; a fragment but the first,
 * and a protocol without ports, has none to exchange.
 */
export function swapEnds(packet: Block): Block {
  const { buf, rp } = packet;
  const isV4 = (buf[rp]! >> 4) === 4;
  if (isV4) swapBytes(buf, rp + 12, rp + 16, 4);
  else swapBytes(buf, rp + 8, rp + 24, 16);
  const ports = isV4 ? ports4At(buf, rp) : ports6At(packet);
  if (ports >= 0 && ports + PORTS_LEN <= packet.wp) swapBytes(buf, ports, ports + 2, 2);
  return packet;
}

/** Where the ports of an IPv4 packet start; -1: it has none. */
function ports4At(buf: Uint8Array, at: number): number {
  const isFirst = (((buf[at + 6]! << 8) | buf[at + 7]!) & FRAGMENT_OFFSET) === 0;
  return isFirst && hasPorts(buf[at + 9]!) ? at + (buf[at]! & 15) * 4 : -1;
}

/** Where the ports of an IPv6 packet start, behind its extension headers (RFC 8200 4.1); -1: it has none. */
function ports6At({ buf, rp, wp }: Block): number {
  // Most packets have no extension header, and the walk would make a record.
  if (hasPorts(buf[rp + 6]!)) return rp + 40;
  const walk = walkIpv6(buf, rp, wp);
  return walk !== null && !walk.isLaterFragment && hasPorts(walk.protocol) ? walk.at : -1;
}

function hasPorts(protocol: number): boolean {
  return protocol === IP_PROTO_TCP || protocol === IP_PROTO_UDP;
}

function swapBytes(buf: Uint8Array, a: number, b: number, count: number): void {
  for (let i = 0; i < count; i++) {
    const kept = buf[a + i]!;
    buf[a + i] = buf[b + i]!;
    buf[b + i] = kept;
  }
}
