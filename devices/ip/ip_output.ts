/**
 * IP output: which way, which header, in how many pieces (RFC 791, RFC 1122 3.3). What is to be IPv6 goes on to
 * ip6_output: this is the one place where that is decided.
 *
 * Path: protocols, bypass → ip_output (IPv6: → ip6_output) → way → ipifc.send | ipifc.sendLocal.
 *
 * Packets to an address of ours never see a link: they come in again by the interface's own loopback queue. Akaros asks
 * ARP for itself and has #ether turn them around.
 *
 * Everything is decided before a byte is changed: on `noRoute` and `tooBig` the block is the caller's as it was.
 *
 * @module
 */

import { type Block, Segment } from "../../kernel/block.ts";
import { pieceLength } from "../../kernel/segment.ts";
import { put16 } from "../../kernel/wire/bytes.ts";
import {
  IPV4_HEADER_LEN,
  IPV4_TOTAL_MAX,
  ipv4DontFragment,
  ipv4Dst,
  ipv4HeaderLen,
  ipv4Id,
  ipv4IsFragment,
  ipv4Src,
  setIpv4Checksum,
} from "../../kernel/wire/ipv4.ts";
import { fragmentsFor } from "./fragment.ts";
import { sendPacket6, sendRaw6 } from "./ip6_output.ts";
import type { IpStack } from "./ip_stack.ts";
import type { SendOptions, SendResult } from "./packet.ts";
import { dispatch, wayTo } from "./way.ts";

const VERSION_4_IHL_5 = 0x45;
const TOS = 1;
const TOTAL_LEN = 2;
const ID = 4;
const FRAG = 6;
const TTL = 8;
const PROTOCOL = 9;
const SRC = 12;
const DST = 16;
const DONT_FRAGMENT = 0x4000;

/** TTL and TOS that the kernel gives to raw packets when it is to choose (Akaros). */
const KERNEL_TTL = 255;
const KERNEL_TOS = 0;

/**
 * Sends transport header and payload under a new IP header. What does not fit the link is fragmented, and what does may
 * be further on; `dontFragment` forbids both. (Akaros sets DF on all that fits, and never hears of a smaller link.)
 */
export function sendPacket(stack: IpStack, block: Block, options: SendOptions): SendResult {
  const { stats } = stack;
  const { src, dst } = options;
  if (!dst.isV4) return sendPacket6(stack, block, options);
  stats.outRequests++;
  const route = wayTo(stack, src, dst);
  if (route === null) {
    stats.outNoRoutes++;
    return "noRoute";
  }
  const totalLen = block.length + IPV4_HEADER_LEN;
  const { mtu } = route;
  const fits = (block.segment === Segment.None ? totalLen : pieceLength(block)) <= mtu;
  if (totalLen > IPV4_TOTAL_MAX) {
    stats.outTooLong++;
    return "tooBig";
  }
  if (!fits && (options.dontFragment === true || block.segment !== Segment.None)) {
    stats.fragFails++;
    return "tooBig";
  }
  const at = block.push(IPV4_HEADER_LEN);
  const { buf } = block;
  buf[at] = VERSION_4_IHL_5;
  buf[at + TOS] = options.tos;
  put16(buf, at + TOTAL_LEN, totalLen);
  // RFC 6864 4.1: what is never cut needs no identification, and one would only tell how much we send.
  const whole = options.dontFragment === true;
  put16(buf, at + ID, whole ? 0 : stack.ipIds.next(src, dst, options.protocol));
  put16(buf, at + FRAG, whole ? DONT_FRAGMENT : 0);
  buf[at + TTL] = options.ttl;
  buf[at + PROTOCOL] = options.protocol;
  src.putV4(buf, at + SRC);
  dst.putV4(buf, at + DST);
  setIpv4Checksum(buf, at, IPV4_HEADER_LEN);
  if (fits) dispatch(block, route, dst);
  else for (const piece of fragmentsFor(stack, block, mtu)) dispatch(piece, route, dst);
  return "sent";
}

/**
 * Sends a packet that begins with an IP header, which the caller has found right in version, lengths and addresses. Its
 * own fields are kept, options and fragment fields included; `kernelHeader` gives it TTL 255, TOS 0 and DF instead
 * (as Akaros does), or an id if it is cut; but a fragment keeps its place. The header checksum is always ours.
 */
export function sendRaw(stack: IpStack, block: Block, options: { kernelHeader: boolean }): SendResult {
  if (block.buf[block.rp]! >>> 4 === 6) return sendRaw6(stack, block, options);
  const { stats } = stack;
  stats.outRequests++;
  if (block.wp - block.rp < Math.min(block.length, 60)) block.own();
  const { buf, rp } = block;
  const dst = ipv4Dst(buf, rp);
  const route = buf[rp]! >>> 4 === 4 ? wayTo(stack, ipv4Src(buf, rp), dst) : null;
  if (route === null) {
    stats.outNoRoutes++;
    return "noRoute";
  }
  const { mtu } = route;
  const fits = (block.segment === Segment.None ? block.length : pieceLength(block)) <= mtu;
  if (!fits && (ipv4DontFragment(buf, rp) || block.segment !== Segment.None)) {
    stats.fragFails++;
    return "tooBig";
  }
  if (options.kernelHeader) {
    buf[rp + TTL] = KERNEL_TTL;
    buf[rp + TOS] = KERNEL_TOS;
    if (!ipv4IsFragment(buf, rp)) {
      put16(buf, rp + ID, fits ? 0 : stack.ipIds.next(ipv4Src(buf, rp), dst, buf[rp + PROTOCOL]!));
      put16(buf, rp + FRAG, fits ? DONT_FRAGMENT : 0);
    }
  } else if (!fits && ipv4Id(buf, rp) === 0 && !ipv4IsFragment(buf, rp)) {
    // RFC 6864 4.2: what becomes fragments needs an id of its own, and this writer left it to us.
    put16(buf, rp + ID, stack.ipIds.next(ipv4Src(buf, rp), dst, buf[rp + PROTOCOL]!));
  }
  setIpv4Checksum(buf, rp, ipv4HeaderLen(buf, rp));
  if (fits) dispatch(block, route, dst);
  else for (const piece of fragmentsFor(stack, block, mtu)) dispatch(piece, route, dst);
  return "sent";
}
