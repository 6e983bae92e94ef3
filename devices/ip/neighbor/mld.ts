/**
 * Mld: reports to switches and routers which IPv6 groups our interfaces are in (RFC 3810). Without it a switch that
 * asks keeps neighbour discovery from us, which lives on groups (RFC 4861 7.2.1).
 *
 * Path: icmp/icmp6, medium, ip_stack → neighbor/mld → wire/icmp6, wire/mld, addr6, self_table.
 *
 * A change is reported at once, and all groups of the interface once more within a second, since the first may be lost.
 * A query is answered with all groups after a random part of the time that it allows.
 *
 * Limits: {@link RECORDS_MAX} groups in one report; one timer for all interfaces. Queriers of version 1 are answered in
 * version 2.
 *
 * @module
 */

import type { Timer } from "../../../kernel/time.ts";
import { setIcmp6Checksum } from "../../../kernel/wire/icmp6.ts";
import { IP_UNSPECIFIED, type IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IP_PROTO_HOP_BY_HOP } from "../../../kernel/wire/ip_proto.ts";
import { emitIpv6, IPV6_HEADER_LEN } from "../../../kernel/wire/ipv6.ts";
import {
  emitMldReport,
  ICMP6_MLD_REPORT,
  MLD_HOP_BY_HOP,
  MLD_HOP_LIMIT,
  MldRecord,
  mldReportLen,
} from "../../../kernel/wire/mld.ts";
import { ALL_MLD_ROUTERS, ALL_NODES, LINK_LOCAL_PREFIX } from "../../../kernel/inet/addr6.ts";
import type { Ifc } from "../link/ifc.ts";
import type { IpEnv } from "../env/env.ts";
import type { SelfTable } from "../route/self_table.ts";

/** Groups in one report: it fits 1280 bytes. */
const RECORDS_MAX = 60;
/** Milliseconds after which a change is reported again (RFC 3810 9.11). */
export const MLD_AGAIN_MS = 1000;
/** No answer is put off longer, even if a query allows more. */
const DELAY_MAX_MS = 10_000;

/** Multicast listener discovery of one stack. */
export class Mld {
  /** When each interface is to report all its groups. */
  readonly #due: Map<Ifc, number> = new Map();
  readonly #timer: Timer;

  constructor(readonly stack: IpEnv & { readonly self: SelfTable }) {
    this.#timer = stack.env.clock.timer(() => this.#expire());
  }

  /** `ifc` is in `group` from now on. */
  joined(ifc: Ifc, group: IpAddr): void {
    if (group.equals(ALL_NODES)) return;
    this.#send(ifc, MldRecord.ToExclude, [group]);
    this.#schedule(ifc, MLD_AGAIN_MS);
  }

  /** `ifc` is no more in `group`. */
  left(ifc: Ifc, group: IpAddr): void {
    if (!group.equals(ALL_NODES)) this.#send(ifc, MldRecord.ToInclude, [group]);
  }

  /** A router on the link of `ifc` asks; an answer may take `delayMs`. */
  queried(ifc: Ifc, delayMs: number): void {
    this.#schedule(ifc, this.stack.env.random.below(Math.min(delayMs, DELAY_MAX_MS) + 1));
  }

  /** `ifc` lets go of its link. */
  forget(ifc: Ifc): void {
    if (this.#due.delete(ifc) && this.#due.size === 0) this.#timer.disarm();
  }

  #schedule(ifc: Ifc, delayMs: number): void {
    const atMs = this.stack.env.clock.now() + delayMs;
    this.#due.set(ifc, Math.min(atMs, this.#due.get(ifc) ?? Infinity));
    if (!this.#timer.armed || this.#timer.deadlineMs > atMs) this.#timer.arm(delayMs);
  }

  #expire(): void {
    const now = this.stack.env.clock.now();
    let next = Infinity;
    for (const [ifc, atMs] of [...this.#due]) {
      if (atMs > now) next = Math.min(next, atMs);
      else if (this.#due.delete(ifc)) this.#tellAll(ifc);
    }
    if (next < Infinity) this.#timer.arm(next - now);
  }

  #tellAll(ifc: Ifc): void {
    const groups = this.stack.self.groupsOn(ifc).filter((group) => !group.isV4 && !group.equals(ALL_NODES));
    for (let i = 0; i < groups.length; i += RECORDS_MAX) {
      this.#send(ifc, MldRecord.IsExclude, groups.slice(i, i + RECORDS_MAX));
    }
  }

  /** RFC 3590: while there is no link-local address yet, from none. */
  #send(ifc: Ifc, kind: MldRecord, groups: readonly IpAddr[]): void {
    const near = ifc.sourceFor(LINK_LOCAL_PREFIX);
    const src = near !== null && near.isLinkLocal ? near : IP_UNSPECIFIED;
    const dst = ALL_MLD_ROUTERS;
    const payloadLen = MLD_HOP_BY_HOP.length + mldReportLen(groups.length);
    const block = this.stack.env.blocks.alloc(IPV6_HEADER_LEN + payloadLen);
    const { buf, rp } = block;
    emitIpv6({ src, dst, nextHeader: IP_PROTO_HOP_BY_HOP, payloadLen, hopLimit: MLD_HOP_LIMIT }, buf, rp);
    buf.set(MLD_HOP_BY_HOP, rp + IPV6_HEADER_LEN);
    const at = rp + IPV6_HEADER_LEN + MLD_HOP_BY_HOP.length;
    block.wp = at + emitMldReport(kind, groups, buf, at);
    setIcmp6Checksum(buf, at, block.wp, { src, dst });
    this.stack.icmp6.countOut(ICMP6_MLD_REPORT);
    ifc.send(block, dst);
  }
}
