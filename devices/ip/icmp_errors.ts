/**
 * IcmpErrors: the ICMP errors that this host sends about packets it received.
 *
 * Path: ip_input, forwarding, udp, raw → icmp_errors → ip_output.
 *
 * Never about a packet that was not for one host, a fragment but the first, an ICMP error, or a source that is no
 * single host (RFC 1122 3.2.2); quotes as much as fits 576 bytes (RFC 1812 4.3.2.3); and no more than a bucket of
 * tokens allows (RFC 1812 4.3.2.8): {@link ERRORS_PER_S} a second after a burst of {@link ERRORS_BURST}.
 *
 * @module
 */

import { Block } from "../../kernel/block.ts";
import {
  emitIcmpError,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  type IcmpError,
  icmpErrorLen,
  icmpIsError,
  icmpMtuRest,
} from "../../kernel/wire/icmp.ts";
import { IP_HEADERS } from "./ip_header.ts";
import { sendPacket, sourceFor } from "./ip_output.ts";
import type { IpStack } from "./ip_stack.ts";
import { LogFlag } from "./netlog.ts";
import type { InputPacket } from "./packet.ts";

/** Errors per second in the long run (Linux' icmp_msgs_per_sec). */
export const ERRORS_PER_S = 1000;
/** Errors at once (Linux' icmp_msgs_burst). */
export const ERRORS_BURST = 50;
/** Type of service of errors: internetwork control (RFC 1812 4.3.2.5). */
const ERROR_TOS = 0xc0;
const ERROR_TTL = 255;

/** Sends ICMP errors for one stack. */
export class IcmpErrors {
  /** Errors sent. */
  sent = 0;
  /** The same, by ICMP type. */
  readonly sentByType: number[] = [];
  /** Errors not sent: too many. */
  suppressed = 0;
  #tokens = ERRORS_BURST;
  #refilledMs = 0;

  constructor(readonly stack: IpStack) {}

  /**
   * Destination unreachable (RFC 792); `mtu` of the next hop with "fragmentation needed" (RFC 1191 4). The packet stays
   * the caller's.
   */
  unreachable(packet: InputPacket, code: number, mtu = 0): void {
    this.#send(packet, ICMP_UNREACHABLE, code, icmpMtuRest(mtu));
  }

  /** Time exceeded (RFC 792). The packet stays the caller's. */
  timeExceeded(packet: InputPacket, code: number): void {
    this.#send(packet, ICMP_TIME_EXCEEDED, code, 0);
  }

  #send(packet: InputPacket, type: number, code: number, rest: number): void {
    // IPv6 has errors of another form, which icmp6 sends.
    if (packet.version !== 4 || !mayBeAnswered(packet)) return;
    const { stack } = this;
    const src = stack.self.isLocal(packet.dst) ? packet.dst : sourceFor(stack, packet.src);
    if (src === null) return;
    if (!this.#takeToken()) {
      this.suppressed++;
      return;
    }
    const { block } = packet;
    const error: IcmpError = { type, code, rest, packet: block.buf.subarray(block.rp, block.wp) };
    const answer = Block.alloc(icmpErrorLen(error));
    answer.wp += emitIcmpError(error, answer.buf, answer.rp);
    if (stack.log.wants(LogFlag.Icmp, packet.src)) {
      stack.log.line(LogFlag.Icmp, `icmp out error ${type} code ${code} to ${packet.src}`, packet.src);
    }
    const options = { src, dst: packet.src, protocol: IP_HEADERS[4]!.icmp, ttl: ERROR_TTL, tos: ERROR_TOS };
    const result = sendPacket(stack, answer, options);
    if (result !== "sent") return;
    this.sent++;
    this.sentByType[type] = (this.sentByType[type] ?? 0) + 1;
  }

  #takeToken(): boolean {
    const nowMs = this.stack.env.clock.now();
    const earned = (nowMs - this.#refilledMs) * ERRORS_PER_S / 1000;
    this.#tokens = Math.min(ERRORS_BURST, this.#tokens + earned);
    this.#refilledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

/** RFC 1122 3.2.2: the packets about which nobody is told. */
function mayBeAnswered(packet: InputPacket): boolean {
  const { block, src, cast, headerLen } = packet;
  const { buf, rp, wp } = block;
  if (cast !== "unicast") return false;
  if (src.isUnspecified || src.isMulticast || src.isLimitedBroadcast || src.isLoopback !== packet.dst.isLoopback) {
    return false;
  }
  const header = IP_HEADERS[packet.version]!;
  if (header.fragOffset(buf, rp, wp) !== 0) return false;
  // An ICMP packet too short to show its type might be an error.
  return packet.protocol !== header.icmp || (headerLen < wp - rp && !icmpIsError(buf[rp + headerLen]!));
}
