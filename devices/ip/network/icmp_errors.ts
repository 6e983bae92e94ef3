/**
 * IcmpErrors: the ICMP errors that this host sends about packets it received, of both versions.
 *
 * Path: ip_stack → icmp_errors → ip_output, icmp_error, token_bucket, icmp_fault, ip_header.
 *
 * A caller names what went wrong, and the packet's version has a type and a code for it. About which packets an error
 * may be sent, and how much it quotes, is in icmp_error. It is sent no more often than a bucket of tokens allows (RFC
 * 1812 4.3.2.8): {@link ERRORS_PER_S} a second after a burst of {@link ERRORS_BURST}.
 *
 * @module
 */

import { icmpErrorMessage, mayReportError } from "../../../kernel/inet/icmp_error.ts";
import { TokenBucket } from "../../../kernel/inet/token_bucket.ts";
import {
  ICMP_TIME_EXCEEDED,
  ICMP_TIME_EXCEEDED_REASSEMBLY,
  ICMP_TIME_EXCEEDED_TTL,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE_HOST,
  ICMP_UNREACHABLE_NET,
  ICMP_UNREACHABLE_PORT,
  ICMP_UNREACHABLE_PROTOCOL,
  ICMP_UNREACHABLE_TOO_BIG,
  icmpMtuRest,
} from "../../../kernel/wire/icmp.ts";
import {
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
} from "../../../kernel/wire/icmp6.ts";
import { walkIpv6 } from "../../../kernel/wire/ipv6.ts";
import { IcmpFault, type IcmpReporter } from "../packet/icmp_fault.ts";
import { IP_HEADERS } from "../../../kernel/inet/ip_header.ts";
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

  /** Notifies the sender of `packet`, if an error about it may be sent; the packet stays the caller's. */
  report(packet: InputPacket, fault: IcmpFault, rest = 0): void {
    if (!mayReport(packet)) return;
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
    const fields = { src, dst: packet.src, type, code, rest: isV4 ? rest4(fault, rest) : rest6(packet, fault, rest) };
    const message = icmpErrorMessage(packet.block, fields);
    const { protocol, name } = isV4 ? { protocol: IP_HEADERS[4]!.icmp, name: "icmp" } : ICMPV6;
    if (stack.log.wants(LogFlag.Icmp, packet.src)) {
      stack.log.line(LogFlag.Icmp, `${name} out error ${type} code ${code} to ${packet.src}`, packet.src);
    }
    const options = { src, dst: packet.src, protocol, ttl: ERROR_TTL, tos: isV4 ? ERROR_TOS : 0 };
    const result = sendPacket(stack, message, options);
    if (result !== "sent") return;
    counts.sent++;
    counts.byType[type] = (counts.byType[type] ?? 0) + 1;
  }
}

const ICMPV6 = { protocol: IP_HEADERS[6]!.icmp, name: "icmpv6" } as const;

/** Of IPv4's errors only "too big" says more than its code. */
function rest4(fault: IcmpFault, rest: number): number {
  return fault === IcmpFault.TooBig ? icmpMtuRest(rest) : 0;
}

/** RFC 4443 3.4: the pointer about an unknown protocol is at the field that names it. */
function rest6({ block }: InputPacket, fault: IcmpFault, rest: number): number {
  if (fault !== IcmpFault.Protocol) return rest;
  const { buf, rp, wp } = block;
  return (walkIpv6(buf, rp, wp)?.namedAt ?? rp) - rp;
}

/** Whether an error may be sent: by the packet itself, by how it came, and not from a loopback address to a link. */
function mayReport({ block, src, dst, cast }: InputPacket): boolean {
  return cast === "unicast" && src.isLoopback === dst.isLoopback && mayReportError(block.buf, block.rp, block.wp);
}
