/**
 * ICMP errors about our segments (RFC 1122 4.2.3.9, RFC 5927).
 *
 * Path: icmp → tcp (advise) → advice → pmtu, transitions, conv.eq (err file).
 *
 * An error counts only if it quotes a sequence number that is in flight: a blind attacker has to guess it. A
 * connection that stands is never ended by one; the error is remembered, and is the reason if the connection then times
 * out. Only "too big" is acted upon at once.
 *
 * @module
 */

import { TapEvent } from "../../../kernel/fd_tap.ts";
import { ICMP_UNREACHABLE, ICMP_UNREACHABLE_TOO_BIG } from "../../../kernel/wire/icmp.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import { tcpSeq } from "../../../kernel/wire/tcp.ts";
import type { Advice } from "../conv/proto.ts";
import { finish } from "./transitions.ts";
import { output } from "./output.ts";
import { lowerMss } from "./pmtu.ts";
import { maySend, TcpState } from "./state.ts";
import type { Tcb } from "./tcb.ts";

/** Takes the error for the connection it quotes; whether it quotes what is in flight. */
export function takeAdvice(tcb: Tcb, advice: Advice): boolean {
  const { conv, env, snd } = tcb;
  const quoted = tcpSeq(advice.block.buf, advice.transportAt);
  const inFlight = tcb.state >= TcpState.SynSent && seq.geq(quoted, snd.una) && seq.lt(quoted, snd.max);
  if (!inFlight) {
    env.stats.adviceIgnored++;
    return false;
  }
  if (conv.eq.pass(advice.block.clone()) === "ok") conv.dataTaps.fire(TapEvent.Error);
  if (isTooBig(advice)) {
    shrink(tcb, advice.mtu);
    return true;
  }
  tcb.softError = advice.text;
  // RFC 5927 4: only a connection that does not stand yet is given up.
  if (!conv.ignoreAdvice && advice.hard && tcb.state === TcpState.SynSent) {
    finish(tcb, advice.refused ? "ECONNREFUSED" : "EHOSTUNREACH", advice.text);
  }
  return true;
}

/** An old router of IPv4 may not say how much it takes. */
function isTooBig({ mtu, version, type, code }: Advice): boolean {
  return mtu > 0 || (version === 4 && type === ICMP_UNREACHABLE && code === ICMP_UNREACHABLE_TOO_BIG);
}

/** The path takes less than we sent: smaller segments, and what is in flight is sent again (RFC 1191 6.4). */
function shrink(tcb: Tcb, mtu: number): void {
  if (mtu === 0 || !lowerMss(tcb, mtu) || !maySend(tcb.state)) return;
  tcb.board.markAllLost();
  tcb.forceResend = true;
  output(tcb);
}
