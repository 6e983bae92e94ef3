/**
 * CUBIC, RFC 9438: after a loss the window climbs back along a cubic of time, fast, then slow near where the loss was,
 * then fast again to look for more; and never below what NewReno would have.
 *
 * Path: tcp/ctl → cubic → congestion.
 *
 * ```
 *  cwnd                       .·
 *  wMax ─────────────...─···'
 *          .·'
 *        ·'           K = time from the loss to wMax again
 * ```
 *
 * @module
 */

import { type AckFacts, type Congestion, type CongestionState, CWND_MAX, slowStart } from "./congestion.ts";

/** How steep the cubic is, in segments per s³ (RFC 9438 5.1). */
const C = 0.4;
/** What is left of the window after a loss (RFC 9438 4.6). */
const BETA = 0.7;
/** Additive increase that, with BETA, shares a link fairly with NewReno (RFC 9438 4.3). */
const ALPHA = 3 * (1 - BETA) / (1 + BETA);

/** The cubic at `seconds` of this stage, in segments (RFC 9438 equation 1). */
function cubicWindow(state: CongestionState, seconds: number): number {
  return C * (seconds - state.k) ** 3 + state.wMax;
}

function beginStage(state: CongestionState, nowMs: number): void {
  const cwnd = state.cwnd / state.mss;
  state.epochMs = nowMs;
  state.wEst = cwnd;
  // RFC 9438 4.8, 4.2: after a timeout, or above the last maximum, there is nothing to climb back to.
  if (state.afterTimeout || state.wMax <= cwnd) state.wMax = cwnd;
  state.k = Math.cbrt((state.wMax - cwnd) / C);
  state.afterTimeout = false;
}

function onAck(state: CongestionState, facts: AckFacts): void {
  let acked = facts.ackedBytes;
  if (state.inSlowStart) acked = slowStart(state, acked);
  if (acked <= 0) return;
  if (state.epochMs < 0) beginStage(state, facts.nowMs);
  const cwnd = state.cwnd / state.mss;
  const ackedSegments = acked / state.mss;
  const alpha = state.wEst >= state.cwndPrior ? 1 : ALPHA;
  state.wEst += alpha * ackedSegments / cwnd;
  const seconds = (facts.nowMs - state.epochMs) / 1000;
  let next: number;
  if (cubicWindow(state, seconds) < state.wEst) {
    next = Math.max(cwnd, state.wEst);
  } else {
    const target = Math.min(1.5 * cwnd, Math.max(cwnd, cubicWindow(state, seconds + facts.srttMs / 1000)));
    next = cwnd + (target - cwnd) * Math.min(1, ackedSegments / cwnd);
  }
  state.cwnd = Math.min(CWND_MAX, next * state.mss);
}

function lower(state: CongestionState, flightBytes: number): void {
  const cwnd = state.cwnd / state.mss;
  state.cwndPrior = cwnd;
  // Fast convergence, RFC 9438 4.7: a flow that lost before it was back leaves room for a new one.
  state.wMax = cwnd < state.wMax ? cwnd * (1 + BETA) / 2 : cwnd;
  state.ssthresh = Math.max(Math.floor(flightBytes * BETA), 2 * state.mss);
  state.epochMs = -1;
}

function onTimeout(state: CongestionState, flightBytes: number): void {
  lower(state, flightBytes);
  state.afterTimeout = true;
}

export const cubic: Congestion = {
  name: "cubic",
  onAck,
  onLoss: lower,
  onTimeout,
  onIdle(state) {
    state.epochMs = -1;
  },
};
