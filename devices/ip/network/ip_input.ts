/**
 * IP input: checks a packet, whether it is for us and whole, and finds its protocol (RFC 791, RFC 1122 3.2, RFC 1812
 * 5.2).
 *
 * Path: loopback_queue, ether_medium, packet_medium → ip_input → deliver, ip6_input, input_checks, arrival.
 *
 * A protocol gets a validated packet: trimmed to its total length, whole, with its options in place and a right
 * header checksum. A fault raises one counter of IpStats and drops the packet. The header is read by offset:
 * a record of it for each packet would cost more than all the checks.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import {
  IPV4_HEADER_LEN,
  ipv4ChecksumOk,
  ipv4DstWord,
  ipv4HeaderLen,
  ipv4IsFragment,
  ipv4SrcWord,
  ipv4TotalLen,
} from "../../../kernel/wire/ipv4.ts";
import { Arrival } from "../packet/arrival.ts";
import { deliver } from "./deliver.ts";
import { castOf, drop, notForUs } from "./input_checks.ts";
import { input6 } from "./ip6_input.ts";
import type { Ifc } from "../link/ifc.ts";
import type { NetContext } from "./context.ts";
import type { Cast } from "../env/cast.ts";
import type { InputPacket } from "../packet/packet.ts";
import { fragmentPlace4 } from "../../../kernel/inet/fragment_format.ts";
import { packet4 } from "../packet/packet4.ts";

/** Takes a packet that arrived on `ifc` (consumed); `rp` is at its first byte, and link padding may follow it. */
export function ipInput(stack: NetContext, block: Block, ifc: Ifc, arrival: Arrival = Arrival.Link): void {
  stack.stats.inReceives++;
  ifc.packetsIn++;
  if (block.extents !== null) block.own();
  if (ifc.isSnooped) ifc.record(block);
  if (block.wp === block.rp) drop(stack, block, "inShort");
  else if (block.buf[block.rp]! >>> 4 === 4) input4(stack, block, ifc, arrival);
  else if (block.buf[block.rp]! >>> 4 === 6 && ifc.speaksIpv6) input6(stack, block, ifc, arrival);
  else drop(stack, block, "inBadVersion");
}

function input4(stack: NetContext, block: Block, ifc: Ifc, arrival: Arrival): void {
  const { buf, rp } = block;
  const length = block.wp - rp;
  if (length < IPV4_HEADER_LEN) return drop(stack, block, "inShort");
  const headerLen = ipv4HeaderLen(buf, rp);
  if (headerLen < IPV4_HEADER_LEN || headerLen > length) return drop(stack, block, "inBadHeaderLen");
  const totalLen = ipv4TotalLen(buf, rp);
  if (totalLen < headerLen || totalLen > length) return drop(stack, block, "inBadTotalLen");
  if (!ipv4ChecksumOk(buf, rp)) return drop(stack, block, "inBadChecksum");
  block.wp = rp + totalLen;
  const dst = ipv4DstWord(buf, rp);
  const cast = castOf4(stack, dst, ifc, arrival);
  // Multicast, reserved, limited broadcast: no host's address.
  const isGroup = ipv4SrcWord(buf, rp) >>> 28 >= 0xe;
  if (isGroup || (arrival !== Arrival.Local && isMartian(stack, ifc, block, cast))) {
    return drop(stack, block, "inMartian");
  }
  if (cast === null) return notForUs(stack, packet4(block, ifc, "unicast"), arrival);
  // RFC 1122 3.3.6.
  if (cast === "unicast" && arrival === Arrival.LinkBroadcast) return drop(stack, block, "inLinkBroadcast");
  if (ipv4IsFragment(buf, rp)) reassemble(stack, packet4(block, ifc, cast));
  else deliver(stack, packet4(block, ifc, cast));
}

/** How an IPv4 destination is ours; null: it is not. */
function castOf4(stack: NetContext, dst: number, ifc: Ifc, arrival: Arrival): Cast | null {
  const entry = stack.self.find4(dst);
  const cast = entry === null ? null : castOf(entry, ifc, arrival, false);
  if (cast !== null) return cast;
  if (arrival === Arrival.Local && dst >>> 24 === 127) return "unicast";
  return ifc.acceptsAny(4) && entry === null && dst >>> 28 < 0xe ? "unicast" : null;
}

/** Whether addresses like these never come in from a link (RFC 1122 3.2.1.3, RFC 1812 5.3.7). */
function isMartian(stack: NetContext, ifc: Ifc, { buf, rp }: Block, cast: Cast | null): boolean {
  const src = ipv4SrcWord(buf, rp);
  const dst = ipv4DstWord(buf, rp);
  const net = src >>> 24;
  const isForOne = cast === "unicast" || cast === null;
  // 0.0.0.0 is a host that asks for its address, by broadcast.
  if (dst >>> 24 === 127 || (net === 0 && (src !== 0 || isForOne))) return true;
  // To an address of ours only: it is not relayed to others.
  if (net === 127) return !ifc.localnet || cast !== "unicast";
  const entry = stack.self.find4(src);
  if (entry === null) return false;
  // Our own broadcasts come back from #ether; nothing else of ours comes in from outside.
  return entry.cast !== "unicast" || isForOne;
}

function reassemble(stack: NetContext, packet: InputPacket): void {
  const { block, ifc, cast } = packet;
  const whole = stack.reassembly.add(packet, fragmentPlace4(block));
  if (whole !== null) deliver(stack, packet4(whole, ifc, cast));
}
