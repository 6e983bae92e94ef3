import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { HostRandom, RealClock } from "./clock.ts";

Deno.test("RealClock.now() starts near zero and never goes back", () => {
  const clock = new RealClock();
  let last = clock.now();
  assert(last >= 0 && last < 1000);
  for (let i = 0; i < 1000; i++) {
    const now = clock.now();
    assert(now >= last);
    last = now;
  }
});

Deno.test("RealClock.wall() is the time of day", () => {
  assert(Math.abs(new RealClock().wall() - Date.now()) < 1000);
});

Deno.test("RealClock.expire() runs a timer only after its delay", async () => {
  const clock = new RealClock();
  let ran = 0;
  clock.timer(() => ran++).arm(20);
  assertEquals(clock.expire(), 0);
  await new Promise((resolve) => setTimeout(resolve, 40));
  assertEquals(clock.expire(), 1);
  assertEquals(ran, 1);
  assertEquals(clock.timerCount, 0);
});

Deno.test("HostRandom gives 32-bit numbers that use every bit and do not repeat from batch to batch", () => {
  const random = new HostRandom();
  let ones = 0;
  let zeros = 0;
  const first = Array.from({ length: 1024 }, () => random.u32());
  const second = Array.from({ length: 1024 }, () => random.u32());
  for (const word of first) {
    assert(Number.isInteger(word) && word >= 0 && word <= 0xffff_ffff);
    ones |= word;
    zeros |= ~word;
  }
  assertEquals([ones, zeros], [-1, -1]);
  assertNotEquals(first, second);
});

Deno.test("HostRandom.fill() fills more than getRandomValues takes at once, and none at all", () => {
  const random = new HostRandom();
  const large = random.fill(new Uint8Array(200_000));
  // 64 zero bytes in a row, with probability 2^-512 each.
  for (let at = 0; at + 64 <= large.length; at += 64) assert(large.subarray(at, at + 64).some((byte) => byte !== 0));
  assertEquals(random.fill(new Uint8Array(0)).length, 0);
});
