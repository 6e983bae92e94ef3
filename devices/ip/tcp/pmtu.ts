/**
 * The largest segment that the path takes: the peer's MSS, the route's MTU, and what ICMP reports of the path (RFC
 * 1191, RFC 9293 3.7.1), which counts only if it quotes what we sent (RFC 5927 7).
 *
 * Path: handshake, output, advice → pmtu → sendable, tcb.
 *
 * @module
 */

import { IPV6_MTU_MIN } from "../../../kernel/wire/ipv6.ts";
import { mssOf, TIMESTAMPS_LEN } from "./options.ts";
import { BURST_MAX } from "./sendable.ts";
import type { Tcb } from "./tcb.ts";

/**
 * Segments do not become smaller than this for a path: small ones only make us work. If the path takes less, its
 * routers may cut them (Linux' min_pmtu). What our own link takes is another matter.
 */
const PATH_MTU_MIN = 552;
/** Every link of IPv6 takes this much. */
const PATH_MTU_MIN_V6 = IPV6_MTU_MIN;
/** How long a lower path MTU is used (RFC 1191 6.3). */
const PATH_MTU_LIFE_MS = 600_000;

/** Sets snd.mss from what is known now (RFC 6691: options that every segment has are taken off). */
export function updateMss(tcb: Tcb): void {
  const { env, conv, snd } = tcb;
  const nowMs = env.clock.now();
  if (tcb.pathMtu > 0 && nowMs >= tcb.pathMtuUntilMs) tcb.pathMtu = 0;
  const routeMtu = env.ip.mtu(conv.raddr);
  const mtu = tcb.pathMtu > 0 ? Math.min(tcb.pathMtu, routeMtu) : routeMtu;
  const most = Math.min(snd.peerMss, mssOf(mtu, tcb.isV4)) - (tcb.timestampsOk ? TIMESTAMPS_LEN : 0);
  // A larger one could never be filled, and Nagle's rule would hold back every segment.
  const mss = Math.min(most, BURST_MAX);
  snd.mss = mss;
  tcb.congestion.mss = mss;
}

/** The path takes no more than `mtu` bytes; whether segments that were too big may pass now. */
export function lowerMss(tcb: Tcb, mtu: number): boolean {
  const before = tcb.snd.mss;
  const { sendOptions } = tcb;
  const mayCut = tcb.isV4 && mtu < PATH_MTU_MIN && mtu < tcb.env.ip.mtu(tcb.conv.raddr) && sendOptions.dontFragment;
  if (mayCut) sendOptions.dontFragment = false;
  tcb.pathMtu = Math.max(tcb.isV4 ? PATH_MTU_MIN : PATH_MTU_MIN_V6, mtu);
  tcb.pathMtuUntilMs = tcb.env.clock.now() + PATH_MTU_LIFE_MS;
  updateMss(tcb);
  if (tcb.snd.mss >= before) {
    tcb.snd.mss = tcb.congestion.mss = before;
    return mayCut;
  }
  tcb.env.stats.mtuReductions++;
  return true;
}
