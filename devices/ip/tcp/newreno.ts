/**
 * The congestion control of RFC 5681, which RFC 6582 calls NewReno: additive increase, multiplicative decrease.
 *
 * Path: tcp/ctl → newreno → congestion.
 *
 * @module
 */

import { type AckFacts, type Congestion, type CongestionState, CWND_MAX, slowStart } from "./congestion.ts";

/** One segment more each time a whole window was acknowledged (RFC 5681 3.1, with byte counting). */
function onAck(state: CongestionState, facts: AckFacts): void {
  let acked = facts.ackedBytes;
  if (state.inSlowStart) acked = slowStart(state, acked);
  if (acked <= 0) return;
  state.acked += acked;
  if (state.acked < state.cwnd) return;
  state.acked -= state.cwnd;
  state.cwnd = Math.min(CWND_MAX, state.cwnd + state.mss);
}

/** RFC 5681 equation (4). */
function halve(state: CongestionState, flightBytes: number): void {
  state.ssthresh = Math.max(Math.floor(flightBytes / 2), 2 * state.mss);
}

export const newreno: Congestion = { name: "newreno", onAck, onLoss: halve, onTimeout: halve, onIdle() {} };
