import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { BURST_MAX, sendableBytes } from "./sendable.ts";

const FACTS = { unsent: 0, usable: 100_000, room: 100_000, mss: 1000, maxWnd: 65_535, smallOk: false };

Deno.test("sendableBytes() sends full segments, as many as both windows take", () => {
  assertEquals(sendableBytes({ ...FACTS, unsent: 3500 }), 3000);
  assertEquals(sendableBytes({ ...FACTS, unsent: 3500, smallOk: true }), 3500);
  assertEquals(sendableBytes({ ...FACTS, unsent: 9999, room: 2999 }), 2000);
  assertEquals(sendableBytes({ ...FACTS, unsent: 9999, usable: 1999 }), 1000);
  assertEquals(sendableBytes({ ...FACTS, unsent: 1e6, usable: 1e6, room: 1e6 }), BURST_MAX - BURST_MAX % 1000);
});

Deno.test("sendableBytes() holds a small segment back for Nagle, and sends it when it may (RFC 9293 3.7.4)", () => {
  assertEquals(sendableBytes({ ...FACTS, unsent: 10 }), 0);
  assertEquals(sendableBytes({ ...FACTS, unsent: 10, smallOk: true }), 10);
  assertEquals(sendableBytes({ ...FACTS, unsent: 1000 }), 1000);
});

Deno.test("sendableBytes() makes no silly segments, unless the peer's windows are always small", () => {
  assertEquals(sendableBytes({ ...FACTS, unsent: 5000, usable: 999, smallOk: true }), 0);
  assertEquals(sendableBytes({ ...FACTS, unsent: 5000, usable: 400, maxWnd: 800, smallOk: true }), 400);
  assertEquals(sendableBytes({ ...FACTS, unsent: 5000, usable: 399, maxWnd: 800, smallOk: true }), 0);
  assertEquals(sendableBytes({ ...FACTS, unsent: 5000, usable: 5000, room: 400, maxWnd: 800, smallOk: true }), 0);
});

Deno.test("sendableBytes() never exceeds what is queued, either window, or a burst", () => {
  const facts = fc.record({
    unsent: fc.integer({ min: -1, max: 200_000 }),
    usable: fc.integer({ min: -5000, max: 200_000 }),
    room: fc.integer({ min: -5000, max: 200_000 }),
    mss: fc.integer({ min: 48, max: 9000 }),
    maxWnd: fc.nat(200_000),
    smallOk: fc.boolean(),
  });
  fc.assert(
    fc.property(facts, (one) => {
      const length = sendableBytes(one);
      const most = Math.max(0, Math.min(one.unsent, one.usable, one.room, BURST_MAX));
      assertEquals(length >= 0 && length <= most, true, `${length} of ${most}`);
    }),
    fuzz(300),
  );
});
