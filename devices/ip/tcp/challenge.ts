/**
 * Challenge acknowledgments (RFC 5961): the sender of a segment that a blind attacker could have sent gets an
 * acknowledgment with our numbers, which only the real peer can answer.
 *
 * Path: input, half_open → challenge → segment_out, token_bucket.
 *
 * Limits: {@link CHALLENGE_ACKS_PER_S} a second and connection (RFC 5961 7). A limit shared by connections would show
 * an attacker of one connection what happens on another.
 *
 * @module
 */

import { type TokenRate, tokensAfter } from "../../../kernel/inet/token_bucket.ts";
import { sendAck } from "./segment_out.ts";
import { CHALLENGE_ACKS_PER_S, type Tcb, type TcpEnv } from "./tcb.ts";

const RATE: TokenRate = { perSecond: CHALLENGE_ACKS_PER_S, burst: CHALLENGE_ACKS_PER_S };

/** What counts challenges, without an object for it: a connection, or a half-open call. */
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
  challenged.challengeTokens = tokensAfter(challenged.challengeTokens, nowMs - challenged.challengeMs, RATE);
  challenged.challengeMs = nowMs;
  if (challenged.challengeTokens < 1) {
    env.stats.challengeSuppressed++;
    return false;
  }
  challenged.challengeTokens--;
  env.stats.challengeAcks++;
  return true;
}
