/**
 * Challenge acknowledgments (RFC 5961): whoever sent a segment that a blind attacker could have sent is told where we
 * are; the real peer answers with what we believe.
 *
 * Path: input, ack → challenge → segment_out.
 *
 * Limits: {@link CHALLENGE_ACKS_PER_S} a second and connection (RFC 5961 7). A limit shared by connections would tell
 * an attacker of one what happens on another.
 *
 * @module
 */

import { sendAck } from "./segment_out.ts";
import { CHALLENGE_ACKS_PER_S, type Tcb } from "./tcb.ts";

/** Sends an acknowledgment, unless too many were sent. */
export function challenge(tcb: Tcb): void {
  const { env } = tcb;
  const nowMs = env.clock.now();
  const earned = (nowMs - tcb.challengeMs) * CHALLENGE_ACKS_PER_S / 1000;
  tcb.challengeTokens = Math.min(CHALLENGE_ACKS_PER_S, tcb.challengeTokens + earned);
  tcb.challengeMs = nowMs;
  if (tcb.challengeTokens < 1) {
    env.stats.challengeSuppressed++;
    return;
  }
  tcb.challengeTokens--;
  env.stats.challengeAcks++;
  sendAck(tcb);
}
