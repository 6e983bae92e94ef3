import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { collapse, CongestionState, CWND_MAX, initialWindow, reduce, restartAfterIdle } from "./congestion.ts";
import { cubic } from "./cubic.ts";
import { newreno } from "./newreno.ts";

const MSS = 1000;
const both = [newreno, cubic];

function ack(state: CongestionState, ackedBytes: number, nowMs: number, srttMs = 100): void {
  state.algorithm.onAck(state, { ackedBytes, nowMs, srttMs });
}

Deno.test("initialWindow() is ten segments, or what RFC 6928 allows of larger ones", () => {
  assertEquals([initialWindow(536), initialWindow(1460), initialWindow(4000), initialWindow(9000)], [
    5360,
    14600,
    14600,
    18000,
  ]);
});

for (const algorithm of both) {
  Deno.test(`${algorithm.name}: slow start doubles the window each round trip, up to the threshold`, () => {
    const state = new CongestionState(algorithm, MSS);
    const before = state.cwnd;
    ack(state, before, 0);
    assertEquals(state.cwnd, 2 * before);
    state.ssthresh = state.cwnd + MSS;
    ack(state, MSS, 1);
    assertEquals(state.cwnd, state.ssthresh);
  });

  Deno.test(`${algorithm.name}: a loss goes to the threshold, at least two segments; a timeout to one`, () => {
    const state = new CongestionState(algorithm, MSS);
    state.cwnd = 100 * MSS;
    reduce(state, 100 * MSS);
    assertEquals(state.cwnd, algorithm === cubic ? 70 * MSS : 50 * MSS);
    collapse(state, state.cwnd);
    assertEquals(state.cwnd, MSS);
    for (let i = 0; i < 20; i++) reduce(state, MSS);
    assertEquals([state.ssthresh, state.cwnd], [2 * MSS, 2 * MSS]);
  });

  Deno.test(`${algorithm.name}: idle time takes the window back to the initial one and never raises it`, () => {
    const state = new CongestionState(algorithm, MSS);
    state.cwnd = 50 * MSS;
    restartAfterIdle(state);
    assertEquals(state.cwnd, initialWindow(MSS));
    state.cwnd = 3 * MSS;
    restartAfterIdle(state);
    assertEquals(state.cwnd, 3 * MSS);
  });

  Deno.test(`${algorithm.name}: whatever happens, the windows stay between one segment and the largest`, () => {
    const step = fc.record({ kind: fc.nat(9), bytes: fc.integer({ min: 1, max: 1 << 22 }), ms: fc.nat(5000) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 48, max: 65000 }), (steps, mss) => {
        const state = new CongestionState(algorithm, mss);
        let nowMs = 0;
        for (const { kind, bytes, ms } of steps) {
          nowMs += ms;
          if (kind === 0) reduce(state, bytes);
          else if (kind === 1) collapse(state, bytes);
          else if (kind === 2) restartAfterIdle(state);
          else ack(state, bytes, nowMs, ms);
          assert(state.cwnd >= mss && state.cwnd <= CWND_MAX, `cwnd ${state.cwnd} of mss ${mss}`);
          assert(state.ssthresh >= 2 * mss);
        }
      }),
      fuzz(100),
    );
  });
}

Deno.test("newreno: congestion avoidance adds one segment a window (RFC 5681 3.1)", () => {
  const state = new CongestionState(newreno, MSS);
  state.cwnd = state.ssthresh = 20 * MSS;
  for (let i = 0; i < 20; i++) ack(state, MSS, i);
  assertEquals(state.cwnd, 21 * MSS);
});

Deno.test("cubic: the window climbs back to where the loss was, flat there, then beyond (RFC 9438 4.2)", () => {
  const state = new CongestionState(cubic, MSS);
  state.cwnd = 1000 * MSS;
  reduce(state, 1000 * MSS);
  const at: number[] = [];
  for (let nowMs = 0; nowMs <= 20_000; nowMs += 100) {
    ack(state, state.cwnd, nowMs);
    at.push(state.cwnd / MSS);
  }
  const k = Math.cbrt(300 / 0.4);
  assertAlmostEquals(at[Math.round(k * 10)]!, 1000, 10);
  const early = at[20]! - at[10]!;
  const middle = at[Math.round(k * 10) + 5]! - at[Math.round(k * 10) - 5]!;
  const late = at[180]! - at[170]!;
  assert(early > middle && late > middle, `${early} ${middle} ${late}`);
});

Deno.test("cubic: a loss before the window was back lowers the maximum further (RFC 9438 4.7)", () => {
  const state = new CongestionState(cubic, MSS);
  state.cwnd = 100 * MSS;
  reduce(state, 100 * MSS);
  assertEquals(state.wMax, 100);
  reduce(state, 70 * MSS);
  assertAlmostEquals(state.wMax, 70 * 1.7 / 2);
});

Deno.test("cubic: after a timeout the stage begins at its own maximum (RFC 9438 4.8)", () => {
  const state = new CongestionState(cubic, MSS);
  state.cwnd = 100 * MSS;
  collapse(state, 100 * MSS);
  state.cwnd = state.ssthresh;
  ack(state, MSS, 1000);
  assertEquals([state.k, state.wMax], [0, 70]);
  // Equation 1, two seconds later: 0.4 * 2 ** 3 above the maximum.
  ack(state, state.cwnd, 3000, 0);
  assertAlmostEquals(state.cwnd / MSS, 73.2);
});

Deno.test("cubic: over a short path it is no slower than NewReno (RFC 9438 4.3)", () => {
  const windows = both.map((algorithm) => {
    const state = new CongestionState(algorithm, MSS);
    state.cwnd = 20 * MSS;
    reduce(state, 20 * MSS);
    for (let nowMs = 0; nowMs < 1000; nowMs += 5) ack(state, state.cwnd, nowMs, 5);
    return state.cwnd;
  });
  assert(windows[1]! >= 0.9 * windows[0]!, `${windows}`);
});
