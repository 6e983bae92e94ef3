/**
 * IPv4 for output and forwarding (RFC 791, RFC 1122 3.3, RFC 1812 5).
 *
 * Path: ip_output, forward → family4 → wire/ipv4.
 *
 * @module
 */

import { type Block, Segment } from "../../../kernel/block.ts";
import { pieceLength } from "../../../kernel/inet/segment.ts";
import {
  IPV4_HEADER_LEN,
  IPV4_HEADER_MAX,
  IPV4_TOTAL_MAX,
  ipv4DontFragment,
  ipv4Dst,
  ipv4HeaderLen,
  ipv4Id,
  ipv4IsFragment,
  ipv4Protocol,
  ipv4Src,
  ipv4Ttl,
  putIpv4,
  putIpv4Id,
  setIpv4Checksum,
  setIpv4DontFragment,
  setIpv4Fragment,
  setIpv4Id,
  setIpv4Tos,
  setIpv4Ttl,
} from "../../../kernel/wire/ipv4.ts";
import type { IpFamily } from "./family.ts";
import { fragmentPlace4 } from "../../../kernel/inet/fragment_format.ts";
import { packet4 } from "../packet/packet4.ts";
import type { NetContext } from "./context.ts";
import type { InputPacket } from "../packet/packet.ts";

/** TTL and TOS that the kernel gives to raw packets when it is to choose (Akaros). */
const KERNEL_TTL = 255;
const KERNEL_TOS = 0;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_LOOSE_SOURCE_ROUTE = 0x83;
const OPTION_STRICT_SOURCE_ROUTE = 0x89;

/** IPv4. */
export const FAMILY_4: IpFamily = {
  headerLen: IPV4_HEADER_LEN,
  totalMax: IPV4_TOTAL_MAX,
  mtu: (_stack, route) => route.mtu,

  pushHeader(stack, block, options) {
    const totalLen = block.length + IPV4_HEADER_LEN;
    const at = block.push(IPV4_HEADER_LEN);
    const { buf } = block;
    putIpv4(options, totalLen, buf, at);
    // RFC 6864 4.1: a packet that is never cut needs no identification, and one would only show how much we send.
    if (options.dontFragment !== true) {
      putIpv4Id(buf, at, stack.ipIds.next(options.src, options.dst, options.protocol));
    }
    setIpv4Checksum(buf, at, IPV4_HEADER_LEN);
  },

  own(block) {
    if (block.wp - block.rp < Math.min(block.length, IPV4_HEADER_MAX)) block.own();
  },
  isSound: (buf, at) => buf[at]! >>> 4 === 4,
  src: ipv4Src,
  dst: ipv4Dst,
  wireLength: (block) => block.segment === Segment.None ? block.length : pieceLength(block),
  fragmentMax: () => Infinity,
  mayFragment: (block) => block.segment === Segment.None && !ipv4DontFragment(block.buf, block.rp),

  finishHeader(stack, { buf, rp }, kernelHeader, fits) {
    if (kernelHeader) {
      setIpv4Ttl(buf, rp, KERNEL_TTL);
      setIpv4Tos(buf, rp, KERNEL_TOS);
      if (!ipv4IsFragment(buf, rp)) {
        setIpv4Id(buf, rp, fits ? 0 : nextId(stack, buf, rp));
        setIpv4Fragment(buf, rp, 0, false);
        setIpv4DontFragment(buf, rp, fits);
      }
    } else if (!fits && ipv4Id(buf, rp) === 0 && !ipv4IsFragment(buf, rp)) {
      // RFC 6864 4.2: a datagram that is fragmented needs an id of its own, and this writer left it to us.
      setIpv4Id(buf, rp, nextId(stack, buf, rp));
    }
    setIpv4Checksum(buf, rp, ipv4HeaderLen(buf, rp));
  },

  isForwardable(addr) {
    if (addr.isLinkLocal || addr.isMulticast || addr.isLoopback) return false;
    return addr.w3 >>> 28 !== 0xf && addr.w3 >>> 24 !== 0;
  },
  optionFault(_stack, packet) {
    return packet.headerLen > IPV4_HEADER_LEN && hasSourceRoute(packet) ? "forwSourceRoute" : null;
  },
  hops: ipv4Ttl,
  setHops: setIpv4Ttl,
  /** A datagram that was put together here may be cut again, if its fragments were no larger than the link takes. */
  routerMayFragment({ buf, rp, fragmentMax }: Block, mtu) {
    return !ipv4DontFragment(buf, rp) || (fragmentMax > 0 && fragmentMax <= mtu);
  },
  linkMtu: (route) => route.ifc!.mtu,
  reassembled(stack, packet, route) {
    const { block, ifc } = packet;
    if (!route.ifc!.reassembles || !ipv4IsFragment(block.buf, block.rp)) return packet;
    const whole = stack.reassembly.add(packet, fragmentPlace4(block));
    return whole === null ? null : packet4(whole, ifc, "unicast");
  },
};

/** An identification for the packet at `at`. */
function nextId(stack: NetContext, buf: Uint8Array, at: number): number {
  return stack.ipIds.next(ipv4Src(buf, at), ipv4Dst(buf, at), ipv4Protocol(buf, at));
}

/** RFC 7126 4.3: a packet that chooses its own route gets around what the net forbids. */
function hasSourceRoute({ block, headerLen }: InputPacket): boolean {
  const { buf, rp } = block;
  const end = rp + headerLen;
  for (let at = rp + IPV4_HEADER_LEN; at < end;) {
    const kind = buf[at]!;
    if (kind === OPTION_LOOSE_SOURCE_ROUTE || kind === OPTION_STRICT_SOURCE_ROUTE) return true;
    if (kind === OPTION_END) return false;
    const length = kind === OPTION_NOP ? 1 : at + 1 < end ? buf[at + 1]! : 0;
    if (length === 0) return false;
    at += length;
  }
  return false;
}
