/**
 * IcmpErrors: the ICMP errors that this host sends about packets it received, of both versions.
 *
 * Path: ip_stack → icmp_errors → ip_output, token_bucket, icmp_fault, ip_header.
 *
 * A caller names what went wrong, and the packet's version has a type and a code for it. Never about a packet that was
 * not for one host, a fragment but the first, an ICMP error, or a source that is no single host (RFC 1122 3.2.2, RFC
 * 4443 2.4); quotes as much as fits 576 bytes (RFC 1812 4.3.2.3), of IPv6 1280; and no more than a bucket of tokens
 * allows (RFC 1812 4.3.2.8): {@link ERRORS_PER_S} a second after a burst of {@link ERRORS_BURST}.
 *
 * @module
 */

import { Block } from "../../../kernel/block.ts";
import { TokenBucket } from "../../../kernel/inet/token_bucket.ts";
import {
  emitIcmpError,
  ICMP_TIME_EXCEEDED,
  ICMP_TIME_EXCEEDED_REASSEMBLY,
  ICMP_TIME_EXCEEDED_TTL,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE_HOST,
  ICMP_UNREACHABLE_NET,
  ICMP_UNREACHABLE_PORT,
  ICMP_UNREACHABLE_PROTOCOL,
  ICMP_UNREACHABLE_TOO_BIG,
  icmpErrorLen,
  icmpMtuRest,
} from "../../../kernel/wire/icmp.ts";
import {
  emitIcmp6Error,
  ICMP6_PACKET_TOO_BIG,
  ICMP6_PARAMETER_HEADER,
  ICMP6_PARAMETER_NEXT_HEADER,
  ICMP6_PARAMETER_OPTION,
  ICMP6_PARAMETER_PROBLEM,
  ICMP6_TIME_EXCEEDED,
  ICMP6_TIME_EXCEEDED_HOPS,
  ICMP6_TIME_EXCEEDED_REASSEMBLY,
  ICMP6_UNREACHABLE,
  ICMP6_UNREACHABLE_ADDRESS,
  ICMP6_UNREACHABLE_NO_ROUTE,
  ICMP6_UNREACHABLE_PORT,
  icmp6ErrorLen,
  setIcmp6Checksum,
} from "../../../kernel/wire/icmp6.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { walkIpv6 } from "../../../kernel/wire/ipv6.ts";
import { IcmpFault, type IcmpReporter } from "../packet/icmp_fault.ts";
import { IP_HEADERS } from "../packet/ip_header.ts";
import { sendPacket } from "./ip_output.ts";
import type { NetContext } from "./context.ts";
import { LogFlag } from "../env/netlog.ts";
import type { InputPacket } from "../packet/packet.ts";
import { sourceFor } from "../route/egress.ts";

/** Errors per second in the long run (Linux' icmp_msgs_per_sec). */
export const ERRORS_PER_S = 1000;
/** Errors at once (Linux' icmp_msgs_burst). */
export const ERRORS_BURST = 50;
/** Type of service of errors: internetwork control (RFC 1812 4.3.2.5). */
const ERROR_TOS = 0xc0;
const ERROR_TTL = 255;

/** Type and code by {@link IcmpFault}. */
const TYPES: readonly (readonly [type: number, code: number])[] = [
  [ICMP_UNREACHABLE, ICMP_UNREACHABLE_NET],
  [ICMP_UNREACHABLE, ICMP_UNREACHABLE_HOST],
  [ICMP_UNREACHABLE, ICMP_UNREACHABLE_PROTOCOL],
  [ICMP_UNREACHABLE, ICMP_UNREACHABLE_PORT],
  [ICMP_UNREACHABLE, ICMP_UNREACHABLE_TOO_BIG],
  [ICMP_TIME_EXCEEDED, ICMP_TIME_EXCEEDED_TTL],
  [ICMP_TIME_EXCEEDED, ICMP_TIME_EXCEEDED_REASSEMBLY],
];
const TYPES6: readonly (readonly [type: number, code: number])[] = [
  [ICMP6_UNREACHABLE, ICMP6_UNREACHABLE_NO_ROUTE],
  [ICMP6_UNREACHABLE, ICMP6_UNREACHABLE_ADDRESS],
  [ICMP6_PARAMETER_PROBLEM, ICMP6_PARAMETER_NEXT_HEADER],
  [ICMP6_UNREACHABLE, ICMP6_UNREACHABLE_PORT],
  [ICMP6_PACKET_TOO_BIG, 0],
  [ICMP6_TIME_EXCEEDED, ICMP6_TIME_EXCEEDED_HOPS],
  [ICMP6_TIME_EXCEEDED, ICMP6_TIME_EXCEEDED_REASSEMBLY],
  [ICMP6_PARAMETER_PROBLEM, ICMP6_PARAMETER_HEADER],
  [ICMP6_PARAMETER_PROBLEM, ICMP6_PARAMETER_OPTION],
];

/** Errors sent of one version. */
class ErrorCounts {
  sent = 0;
  /** The same, by ICMP type. */
  readonly byType: number[] = [];
  /** Errors not sent: too many. */
  suppressed = 0;
}

/** Sends ICMP errors for one stack. */
export class IcmpErrors implements IcmpReporter {
  readonly v4: ErrorCounts = new ErrorCounts();
  readonly v6: ErrorCounts = new ErrorCounts();
  readonly #bucket: TokenBucket = new TokenBucket(ERRORS_PER_S, ERRORS_BURST);

  constructor(readonly stack: NetContext) {}

  /** Tells the sender of `packet`, if it may be told; the packet stays the caller's. */
  report(packet: InputPacket, fault: IcmpFault, rest = 0): void {
    if (!mayBeAnswered(packet)) return;
    const { stack } = this;
    const src = stack.self.isLocal(packet.dst) ? packet.dst : sourceFor(stack, packet.src);
    const isV4 = packet.version === 4;
    const kind = (isV4 ? TYPES : TYPES6)[fault];
    if (src === null || kind === undefined) return;
    const counts = isV4 ? this.v4 : this.v6;
    if (!this.#bucket.take(stack.env.clock.now())) {
      counts.suppressed++;
      return;
    }
    const [type, code] = kind;
    const answer = isV4 ? error4(packet, type, code, rest) : error6(packet, src, fault, rest);
    const { protocol, name } = isV4 ? { protocol: IP_HEADERS[4]!.icmp, name: "icmp" } : ICMPV6;
    if (stack.log.wants(LogFlag.Icmp, packet.src)) {
      stack.log.line(LogFlag.Icmp, `${name} out error ${type} code ${code} to ${packet.src}`, packet.src);
    }
    const options = { src, dst: packet.src, protocol, ttl: ERROR_TTL, tos: isV4 ? ERROR_TOS : 0 };
    const result = sendPacket(stack, answer, options);
    if (result !== "sent") return;
    counts.sent++;
    counts.byType[type] = (counts.byType[type] ?? 0) + 1;
  }
}

const ICMPV6 = { protocol: IP_HEADERS[6]!.icmp, name: "icmpv6" } as const;

function error4({ block }: InputPacket, type: number, code: number, rest: number): Block {
  const mtuRest = code === ICMP_UNREACHABLE_TOO_BIG && type === ICMP_UNREACHABLE ? icmpMtuRest(rest) : 0;
  const error = { type, code, rest: mtuRest, packet: block.buf.subarray(block.rp, block.wp) };
  const answer = Block.alloc(icmpErrorLen(error));
  answer.wp += emitIcmpError(error, answer.buf, answer.rp);
  return answer;
}

function error6({ block, src: dst }: InputPacket, src: IpAddr, fault: IcmpFault, rest: number): Block {
  const [type, code] = TYPES6[fault]!;
  const { buf, rp, wp } = block;
  // RFC 4443 3.4: the pointer is at the field that names the protocol that nobody knows.
  const pointer = fault === IcmpFault.Protocol ? (walkIpv6(buf, rp, wp)?.namedAt ?? rp) - rp : rest;
  const error = { type, code, rest: pointer, packet: buf.subarray(rp, wp) };
  const answer = Block.alloc(icmp6ErrorLen(error));
  answer.wp += emitIcmp6Error(error, answer.buf, answer.rp);
  setIcmp6Checksum(answer.buf, answer.rp, answer.wp, src, dst);
  return answer;
}

/** RFC 1122 3.2.2, RFC 4443 2.4: the packets about which nobody is told. */
function mayBeAnswered(packet: InputPacket): boolean {
  const { block, src, cast } = packet;
  const { buf, rp, wp } = block;
  if (cast !== "unicast") return false;
  if (src.isUnspecified || src.isMulticast || src.isLimitedBroadcast || src.isLoopback !== packet.dst.isLoopback) {
    return false;
  }
  const header = IP_HEADERS[packet.version]!;
  if (header.fragOffset(buf, rp, wp) !== 0) return false;
  // What IP looked at last need not be the transport: it may be a fragment header.
  const headerLen = header.headerLen(buf, rp, wp);
  const protocol = packet.version === 4 ? packet.protocol : header.protocol(buf, rp, wp);
  // An ICMP packet too short to show its type might be an error.
  return protocol !== header.icmp ||
    (headerLen >= 0 && headerLen < wp - rp && !header.icmpIsError(buf[rp + headerLen]!));
}
