import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { RTO_INITIAL_MS, RTO_MARGIN_MS, RTO_MAX_MS, Rtt } from "./rtt.ts";

Deno.test("Rtt begins with one second; the first sample is SRTT, half of it the deviation (RFC 6298 2)", () => {
  const rtt = new Rtt();
  assertEquals(rtt.timeoutMs(0), RTO_INITIAL_MS);
  rtt.sample(100, 0);
  assertEquals([rtt.srttMs, rtt.rttvarMs, rtt.rtoMs], [100, 50, 300]);
  rtt.sample(100, 100);
  assertAlmostEquals(rtt.rttvarMs, 37.5);
});

Deno.test("Rtt times out between margin and maximum, and doubles with each timeout", () => {
  const rtt = new Rtt();
  for (let i = 0; i < 50; i++) rtt.sample(1, i);
  assertEquals(rtt.timeoutMs(0), 1 + RTO_MARGIN_MS);
  assertEquals(rtt.timeoutMs(3), 8 + 8 * RTO_MARGIN_MS);
  assertEquals(rtt.timeoutMs(100), RTO_MAX_MS);
  rtt.sample(1e9, 60);
  assertEquals(rtt.timeoutMs(0), RTO_MAX_MS);
});

Deno.test("Rtt gives each of many samples of a round trip less weight (RFC 7323 appendix G)", () => {
  const one = new Rtt();
  const many = new Rtt();
  for (const rtt of [one, many]) rtt.sample(100, 0);
  one.sample(200, 1);
  many.sample(200, 1, 10);
  assert(many.srttMs < one.srttMs && many.srttMs > 100);
});

Deno.test("Rtt remembers the smallest sample, and forgets it after ten seconds", () => {
  const rtt = new Rtt();
  rtt.sample(50, 0);
  rtt.sample(80, 1000);
  assertEquals(rtt.minMs, 50);
  rtt.sample(80, 10_001);
  assertEquals(rtt.minMs, 80);
});
