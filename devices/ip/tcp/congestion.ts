/**
 * Congestion control: what the algorithms share (RFC 5681, RFC 6928), and the choice between them.
 *
 * Path: cubic, newreno, recovery → congestion.
 *
 * The algorithm says how the window grows and what a loss does to it. When a loss is a loss, and what is sent again,
 * is recovery's business and the same for all.
 *
 * @module
 */

/** Segments in the initial window (RFC 6928), if they are no larger than 1460 bytes each. */
const INITIAL_WINDOW_SEGMENTS = 10;
const INITIAL_WINDOW_BYTES = 14600;
/** A threshold that no window reaches: slow start until the first loss. */
const SSTHRESH_INFINITE = 0x7fff_ffff;
/** Largest congestion window: beyond every receive window there is (RFC 7323 2.3). */
export const CWND_MAX = 0x4000_0000;

/** What an algorithm gets with an acknowledgment. */
export interface AckFacts {
  /** Bytes newly acknowledged, first to last. */
  readonly ackedBytes: number;
  readonly nowMs: number;
  /** Smoothed round-trip time; 0: not known. */
  readonly srttMs: number;
}

/** Windows of one connection, and the algorithm's own numbers. */
export class CongestionState {
  cwnd: number;
  ssthresh: number = SSTHRESH_INFINITE;
  mss: number;
  /** Bytes acknowledged that have not yet counted in congestion avoidance. */
  acked = 0;
  /** CUBIC, RFC 9438 4.1.2: segments and milliseconds. */
  wMax = 0;
  wEst = 0;
  k = 0;
  cwndPrior = 0;
  /** When this stage of congestion avoidance began; below 0: not yet. */
  epochMs = -1;
  /** The loss that ended the last stage was a timeout. */
  afterTimeout = false;

  constructor(readonly algorithm: Congestion, mss: number) {
    this.mss = mss;
    this.cwnd = initialWindow(mss);
  }

  get inSlowStart(): boolean {
    return this.cwnd < this.ssthresh;
  }
}

/** One algorithm. */
export interface Congestion {
  /** The word after `congestion` on ctl. */
  readonly name: string;
  /** New data was acknowledged, and the window was what limited sending. */
  onAck(state: CongestionState, facts: AckFacts): void;
  /** A loss, or a mark of ECN, of this round trip: sets `ssthresh`. */
  onLoss(state: CongestionState, flightBytes: number): void;
  /** The retransmission timer ran out: sets `ssthresh`. */
  onTimeout(state: CongestionState, flightBytes: number): void;
  /** Sending stopped for a while: time that must not count. */
  onIdle(state: CongestionState): void;
}

/** RFC 6928 2. */
export function initialWindow(mss: number): number {
  return Math.min(INITIAL_WINDOW_SEGMENTS * mss, Math.max(2 * mss, INITIAL_WINDOW_BYTES));
}

/**
 * Slow start (RFC 5681 3.1), by all the bytes that were acknowledged: with segments merged on the path one
 * acknowledgment stands for many. Returns the bytes that are left when the threshold is reached.
 */
export function slowStart(state: CongestionState, ackedBytes: number): number {
  const room = state.ssthresh - state.cwnd;
  const grown = Math.min(ackedBytes, room, CWND_MAX - state.cwnd);
  state.cwnd += grown;
  return ackedBytes - grown;
}

/** RFC 5681 4.1: after an idle timeout the window is at most the initial one. */
export function restartAfterIdle(state: CongestionState): void {
  state.cwnd = Math.min(state.cwnd, initialWindow(state.mss));
  state.algorithm.onIdle(state);
}

/** After a timeout: one segment (RFC 5681 3.1, loss window). */
export function collapse(state: CongestionState, flightBytes: number): void {
  state.algorithm.onTimeout(state, flightBytes);
  state.cwnd = state.mss;
  state.acked = 0;
}

/** After a loss or a mark: down to the threshold. */
export function reduce(state: CongestionState, flightBytes: number): void {
  state.algorithm.onLoss(state, flightBytes);
  state.cwnd = state.ssthresh;
  state.acked = 0;
}
