/**
 * Challenge acknowledgments (RFC 5961): whoever sent a segment that a blind attacker could have sent is told where we
 * are; the real peer answers with what we believe.
 *
 * Path: input, half_open → challenge → segment_out.
 *
 * Limits: {@link CHALLENGE_ACKS_PER_S} a second and connection (RFC 5961 7). A limit shared by connections would tell
 * an attacker of one what happens on another.
 *
 * @module
 */

import { sendAck } from "./segment_out.ts";
import { CHALLENGE_ACKS_PER_S, type Tcb, type TcpEnv } from "./tcb.ts";

/** What counts challenges: a connection, or a half-open call. */
export interface Challenged {
  /** Challenges that may still be sent, and when that was counted. */
  challengeTokens: number;
  challengeMs: number;
}

/** Sends an acknowledgment, unless too many were sent. */
export function challenge(tcb: Tcb): void {
  if (mayChallenge(tcb.env, tcb)) sendAck(tcb);
}

/** Whether a challenge may be sent now; it is counted. */
export function mayChallenge(env: TcpEnv, challenged: Challenged): boolean {
  const nowMs = env.clock.now();
  const earned = (nowMs - challenged.challengeMs) * CHALLENGE_ACKS_PER_S / 1000;
  challenged.challengeTokens = Math.min(CHALLENGE_ACKS_PER_S, challenged.challengeTokens + earned);
  challenged.challengeMs = nowMs;
  if (challenged.challengeTokens < 1) {
    env.stats.challengeSuppressed++;
    return false;
  }
  challenged.challengeTokens--;
  env.stats.challengeAcks++;
  return true;
}
