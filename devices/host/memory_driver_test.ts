import { assert, assertEquals, assertRejects } from "@std/assert";
import { Job } from "../../kernel/job.ts";
import { VirtualClock } from "../../kernel/time.ts";
import { MemoryDriver } from "./memory_driver.ts";
import { pause } from "./pause.ts";

/** Sleeps in the clock's own time. */
function sleep(clock: VirtualClock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.timer(resolve).arm(ms));
}

Deno.test("MemoryDriver.run() lets an hour of timers pass at once", async () => {
  const clock = new VirtualClock();
  const driver = new MemoryDriver(clock);
  const realMs = performance.now();
  await driver.run((async () => {
    for (let i = 0; i < 60; i++) await sleep(clock, 60_000);
  })());
  assertEquals(clock.now(), 3_600_000);
  assert(performance.now() - realMs < 2000);
});

Deno.test("MemoryDriver.run() stops time when its promise settles, though a periodic timer goes on", async () => {
  const clock = new VirtualClock();
  const driver = new MemoryDriver(clock);
  let beats = 0;
  const timer = clock.timer(() => {
    beats++;
    timer.arm(10);
  });
  timer.arm(10);
  assertEquals(await driver.run(sleep(clock, 95).then(() => "done")), "done");
  assertEquals([clock.now(), beats], [95, 9]);
  for (let i = 0; i < 10; i++) await pause();
  assertEquals(clock.now(), 95);
  timer.disarm();
});

Deno.test("MemoryDriver lets a program finish what it can do now before time passes", async () => {
  const clock = new VirtualClock();
  const driver = new MemoryDriver(clock);
  const seen: [string, number][] = [];
  clock.timer(() => seen.push(["timer", clock.now()])).arm(1);
  await driver.run((async () => {
    for (let i = 0; i < 100; i++) await Promise.resolve();
    seen.push(["program", clock.now()]);
    await sleep(clock, 5);
  })());
  assertEquals(seen, [["program", 0], ["timer", 1]]);
});

Deno.test("MemoryDriver.start() runs jobs and timers made at any time, and rests when there are none", async () => {
  const clock = new VirtualClock();
  const driver = new MemoryDriver(clock);
  driver.start();
  let ran = 0;
  const job = new Job(clock.jobs, () => ran++);
  for (let i = 1; i <= 3; i++) {
    job.wake();
    await pause();
    await pause();
    assertEquals(ran, i);
  }
  clock.timer(() => job.wake()).arm(1000);
  for (let i = 0; i < 5; i++) await pause();
  assertEquals([ran, clock.now()], [4, 1000]);
  driver.stop();
  job.wake();
  for (let i = 0; i < 5; i++) await pause();
  assertEquals(ran, 4, "nothing runs after stop");
});

Deno.test("MemoryDriver.run() rejects with what a job throws", async () => {
  const clock = new VirtualClock();
  const driver = new MemoryDriver(clock);
  const never = new Promise<void>(() => {});
  clock.timer(() => {
    throw new Error("Timer broke");
  }).arm(5);
  await assertRejects(() => driver.run(never), Error, "Timer broke");
});

Deno.test("MemoryDriver.run() gives up after limitMs of virtual time", async () => {
  const clock = new VirtualClock();
  const driver = new MemoryDriver(clock);
  const never = new Promise<void>(() => {});
  await assertRejects(() => driver.run(never, { limitMs: 500 }), Error, "Did not settle within 500 ms of virtual time");
  assertEquals([clock.now(), clock.timerCount], [500, 0]);
});

Deno.test("MemoryDriver.run() waits for the real world when nothing is armed, without running in circles", async () => {
  const clock = new VirtualClock();
  const driver = new MemoryDriver(clock);
  let steps = 0;
  const step = clock.step.bind(clock);
  clock.step = () => {
    steps++;
    return step();
  };
  await driver.run((async () => {
    await new Promise((resolve) => setTimeout(resolve, 30));
    await sleep(clock, 10);
  })());
  assertEquals(clock.now(), 10);
  assert(steps < 10, `${steps} steps`);
});

Deno.test("MemoryDriver drives several runs at once", async () => {
  const clock = new VirtualClock();
  const driver = new MemoryDriver(clock);
  const ends = await Promise.all([30, 10, 20].map((ms) => driver.run(sleep(clock, ms).then(() => clock.now()))));
  assertEquals(ends, [30, 10, 20]);
  assertEquals(clock.jobs.onWork, null);
  assertEquals(clock.onEarlier, null);
});
