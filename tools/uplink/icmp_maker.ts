/**
 * IcmpMaker: the ICMP and ICMPv6 errors that near gets from the uplink, as if a router or the destination had sent
 * them.
 *
 * Path: datagram_relay, echo_relay → icmp_maker → link_version, failure_table, icmp_error, token_bucket, context.
 *
 * An error that Linux took from the network goes on with its type, its code, its MTU and its sender. One that the
 * machine itself found comes from the link's peer, which stands for the machine. So does one whose sender has an
 * address of the machine, unless the packet was for that very address: near knows the peer, and need not know the
 * machine's other addresses.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { SocketFailure, SocketReport } from "../../kernel/host_sockets.ts";
import { icmpErrorMessage, mayReportError } from "../../kernel/inet/icmp_error.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { TokenBucket } from "../../kernel/inet/token_bucket.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IPV4_HEADER_LEN, IPV4_TTL_DEFAULT } from "../../kernel/wire/ipv4.ts";
import { IPV6_HEADER_LEN } from "../../kernel/wire/ipv6.ts";
import type { UplinkContext } from "./context.ts";
import { type Outcome, outcomeOf } from "./failure_table.ts";
import { type LinkVersion, versionOfPacket } from "./link_version.ts";

/** Errors that near may get each second (RFC 1812 4.3.2.8, RFC 4443 2.4 f): as many as a router sends. */
export const ICMP_ERRORS_PER_S = 1000;

/** What an error says. */
interface ErrorFields {
  readonly type: number;
  readonly code: number;
  /** MTU of the next hop where the packet was too big, otherwise 0. */
  readonly mtu: number;
  /** Who found it; null: the machine. */
  readonly source: IpAddr | null;
}

/** Makes errors for near, as many as may be. */
export class IcmpMaker {
  readonly #context: UplinkContext;
  readonly #bucket: TokenBucket = new TokenBucket(ICMP_ERRORS_PER_S, ICMP_ERRORS_PER_S);

  constructor(context: UplinkContext) {
    this.#context = context;
  }

  /**
   * Sends an error about the packet `quoted`, which stays the caller's. False: none may be sent about it, there were
   * too many, or the MTU is not to be believed.
   */
  makeError(quoted: Block, { type, code, mtu, source }: ErrorFields): boolean {
    const version = versionOfPacket(quoted.buf[quoted.rp]!);
    const { counters, clock } = this.#context;
    if (version === null || !mayReportError(quoted.buf, quoted.rp, quoted.wp)) return false;
    const isTooBig = type === version.tooBig.type && code === version.tooBig.code;
    if (isTooBig && mtu < version.mtuMin) {
      counters.implausibleMtus++;
      return false;
    }
    if (!this.#bucket.take(clock.now())) {
      counters.icmpErrorsLimited++;
      return false;
    }
    const src = source === null ? version.ends(this.#context).peer : this.#shown(source, version, quoted);
    this.#send(version, quoted, { src, type, code, rest: isTooBig ? version.mtuRest(mtu) : 0 });
    return true;
  }

  /** Sends what an entry of an error queue says about the packet `quoted`, which stays the caller's. */
  makeReported(quoted: Block, report: SocketReport): void {
    const version = versionOfPacket(quoted.buf[quoted.rp]!);
    if (version === null) return;
    const isOther = report.to.address.isV4 !== (version.version === 4);
    if (report.origin === "local" || isOther) {
      // An answer to a caller of the other version of IP: the error is what the failure means in near's.
      const growth = isOther ? version.headerLen - (version.version === 4 ? IPV6_HEADER_LEN : IPV4_HEADER_LEN) : 0;
      this.makeFailed(quoted, report.failure, report.mtu === 0 ? 0 : report.mtu + growth);
    } else if (version.header.icmpQuotes(report.type)) {
      const { type, code, mtu, offender } = report;
      this.makeError(quoted, { type, code, mtu, source: offender });
    }
  }

  /**
   * Sends what the table has for the packet `quoted`, which stays the caller's and which the machine did not take;
   * `mtu` is that of its next hop, if the packet is larger. The answer is the outcome: `drop` is for the caller to
   * count.
   */
  makeFailed(quoted: Block, failure: SocketFailure, mtu = 0): Outcome {
    const version = versionOfPacket(quoted.buf[quoted.rp]!);
    const outcome = outcomeOf(failure, version?.version ?? 4);
    if (outcome.kind === "icmp" || outcome.kind === "reset") {
      this.makeError(quoted, { type: outcome.type, code: outcome.code, mtu, source: null });
    }
    return outcome;
  }

  /** Sends "administratively prohibited" about the packet `quoted`, which stays the caller's. */
  makeProhibited(quoted: Block): void {
    const version = versionOfPacket(quoted.buf[quoted.rp]!);
    if (version !== null) this.makeError(quoted, { ...version.prohibited, mtu: 0, source: null });
  }

  /** The address under which near sees who found an error. */
  #shown(source: IpAddr, { header }: LinkVersion, quoted: Block): IpAddr {
    const { v4, v6, sockets } = this.#context;
    if (source.equals(header.dst(quoted.buf, quoted.rp))) return source;
    // A router's link-local address means nothing on another link (RFC 4291 2.5.6).
    const isHidden = source.isLoopback || (source.isLinkLocal && !source.isV4) || sockets.isLocal(source);
    return isHidden ? (source.isV4 ? v4 : v6).peer : source;
  }

  #send(
    version: LinkVersion,
    quoted: Block,
    { src, type, code, rest }: { src: IpAddr; type: number; code: number; rest: number },
  ): void {
    // What is quoted should be what would have been on the wire.
    finishChecksum(quoted);
    const dst = version.header.src(quoted.buf, quoted.rp);
    const message = icmpErrorMessage(quoted, { src, dst, type, code, rest });
    const payloadLen = message.length;
    message.push(version.headerLen);
    const start = { src, dst, protocol: version.header.icmp, ttl: IPV4_TTL_DEFAULT, tos: 0 };
    version.putHeader(start, payloadLen, 0, message);
    this.#context.counters.icmpErrors++;
    this.#context.toNear(message);
  }
}
