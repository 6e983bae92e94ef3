/**
 * ICMP errors about our segments (RFC 1122 4.2.3.9, RFC 5927).
 *
 * Path: icmp → tcp (advise) → advice → pmtu, life, conv.eq (err file).
 *
 * An error counts only if it quotes a sequence number that is on its way: a blind attacker has to guess it. A
 * connection that stands is never ended by one; what was said is remembered, and told if the connection then times out.
 * Only "too big" is acted upon at once.
 *
 * @module
 */

import { TapEvent } from "../../../kernel/fd_tap.ts";
import { ICMP_UNREACHABLE, ICMP_UNREACHABLE_PORT, ICMP_UNREACHABLE_TOO_BIG } from "../../../kernel/wire/icmp.ts";
import * as seq from "../../../kernel/wire/seq.ts";
import { tcpSeq } from "../../../kernel/wire/tcp.ts";
import type { Advice } from "../proto.ts";
import { finish } from "./life.ts";
import { output } from "./output.ts";
import { lowerMss } from "./pmtu.ts";
import { maySend, TcpState } from "./state.ts";
import type { Tcb } from "./tcb.ts";

/** Takes the error for the connection it quotes. */
export function takeAdvice(tcb: Tcb, advice: Advice): void {
  const { conv, env, snd } = tcb;
  const quoted = tcpSeq(advice.block.buf, advice.transportAt);
  const inFlight = tcb.state >= TcpState.SynSent && seq.geq(quoted, snd.una) && seq.lt(quoted, snd.max);
  if (!inFlight) {
    env.stats.adviceIgnored++;
    return;
  }
  if (conv.eq.pass(advice.block.clone()) === "ok") conv.dataTaps.fire(TapEvent.Error);
  const isTooBig = advice.mtu > 0 || (advice.type === ICMP_UNREACHABLE && advice.code === ICMP_UNREACHABLE_TOO_BIG);
  if (isTooBig) return shrink(tcb, advice.mtu);
  tcb.softError = advice.text;
  // RFC 5927 4: only a connection that does not stand yet is given up.
  if (conv.ignoreAdvice || advice.type !== ICMP_UNREACHABLE || !advice.hard) return;
  if (tcb.state !== TcpState.SynSent) return;
  finish(tcb, advice.code === ICMP_UNREACHABLE_PORT ? "ECONNREFUSED" : "EHOSTUNREACH", advice.text);
}

/** The path takes less than we sent: smaller segments, and what is on its way again (RFC 1191 6.4). */
function shrink(tcb: Tcb, mtu: number): void {
  if (mtu === 0 || !lowerMss(tcb, mtu) || !maySend(tcb.state)) return;
  tcb.board.markAllLost();
  tcb.forceResend = true;
  output(tcb);
}
