import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../tests/kit/check/fuzz.ts";
import { Job } from "./job.ts";
import { type Timer, VIRTUAL_EPOCH_MS, VirtualClock } from "./time.ts";

Deno.test("VirtualClock begins at 0 and its wall time at the epoch it was given", () => {
  const clock = new VirtualClock();
  assertEquals([clock.now(), clock.wall()], [0, VIRTUAL_EPOCH_MS]);
  assertEquals(new Date(VIRTUAL_EPOCH_MS).toISOString(), "2026-01-01T00:00:00.000Z");
  const other = new VirtualClock({ epochMs: 5 });
  other.advance(2.5);
  assertEquals([other.now(), other.wall()], [2.5, 7.5]);
});

Deno.test("VirtualClock.advance() runs each timer at its own time and ends at the time asked for", () => {
  const clock = new VirtualClock();
  const ran: number[] = [];
  for (const ms of [30, 10, 20]) clock.timer(() => ran.push(clock.now())).arm(ms);
  clock.advance(25);
  assertEquals([ran, clock.now()], [[10, 20], 25]);
  clock.advance(5);
  assertEquals([ran, clock.now()], [[10, 20, 30], 30]);
});

Deno.test("timers of one deadline run in the order in which they were armed", () => {
  const clock = new VirtualClock();
  const ran: string[] = [];
  const timers = ["a", "b", "c", "d"].map((name) => clock.timer(() => ran.push(name)));
  for (const timer of timers) timer.arm(5);
  timers[0]!.arm(5);
  clock.advance(5);
  assertEquals(ran, ["b", "c", "d", "a"]);
});

Deno.test("Timer.arm() replaces the earlier deadline and disarm() forgets it", () => {
  const clock = new VirtualClock();
  let ran = 0;
  const timer = clock.timer(() => ran++);
  timer.arm(5);
  timer.arm(50);
  clock.advance(10);
  assertEquals([ran, timer.armed, clock.timerCount], [0, true, 1]);
  timer.disarm();
  timer.disarm();
  clock.advance(100);
  assertEquals([ran, timer.armed, clock.timerCount], [0, false, 0]);
});

Deno.test("Timer.arm() with a negative delay runs it as soon as time passes", () => {
  const clock = new VirtualClock();
  let at = -1;
  clock.advance(10);
  clock.timer(() => at = clock.now()).arm(-5);
  clock.advance(0);
  assertEquals(at, 10);
});

Deno.test("a timer that arms itself runs once per period", () => {
  const clock = new VirtualClock();
  const ran: number[] = [];
  const timer: Timer = clock.timer(() => {
    ran.push(clock.now());
    timer.arm(10);
  });
  timer.arm(10);
  clock.advance(35);
  assertEquals(ran, [10, 20, 30]);
  timer.disarm();
});

Deno.test("Clock.expire() runs only what was armed before it: a timer that is always due cannot hold it", () => {
  const clock = new VirtualClock();
  let ran = 0;
  const timer: Timer = clock.timer(() => {
    ran++;
    timer.arm(0);
  });
  timer.arm(0);
  assertEquals([clock.expire(), ran], [1, 1]);
  assertEquals([clock.expire(), ran], [1, 2]);
  timer.disarm();
});

Deno.test("a timer may disarm another that is due at the same time", () => {
  const clock = new VirtualClock();
  const ran: string[] = [];
  const second = clock.timer(() => ran.push("second"));
  clock.timer(() => {
    ran.push("first");
    second.disarm();
  }).arm(5);
  second.arm(5);
  clock.advance(5);
  assertEquals(ran, ["first"]);
});

Deno.test("jobs run before time passes, and after each timer", () => {
  const clock = new VirtualClock();
  const ran: string[] = [];
  const job = new Job(clock.jobs, () => ran.push(`job at ${clock.now()}`));
  job.wake();
  clock.timer(() => job.wake()).arm(5);
  clock.timer(() => ran.push("timer at 6")).arm(6);
  clock.advance(10);
  assertEquals(ran, ["job at 0", "job at 5", "timer at 6"]);
});

Deno.test("VirtualClock.step() jumps to the next deadline, and reports when nothing waits", () => {
  const clock = new VirtualClock();
  clock.timer(() => {}).arm(1000);
  assertEquals([clock.nextDeadline(), clock.step(), clock.now()], [1000, true, 1000]);
  assertEquals([clock.nextDeadline(), clock.step(), clock.now()], [Infinity, false, 1000]);
});

Deno.test("Clock.onEarlier is called when the next deadline becomes earlier", () => {
  const clock = new VirtualClock();
  const told: number[] = [];
  clock.onEarlier = () => told.push(clock.nextDeadline());
  const timers = [20, 30, 10].map((ms) => {
    const timer = clock.timer(() => {});
    timer.arm(ms);
    return timer;
  });
  assertEquals(told, [20, 10]);
  for (const timer of timers) timer.disarm();
});

Deno.test("a time that never comes is a mistake of ours", () => {
  const clock = new VirtualClock();
  const timer = clock.timer(() => {});
  for (const delay of [NaN, Infinity]) assertThrows(() => timer.arm(delay), Error, "a deadline is a finite time");
  for (const ms of [-1, NaN, Infinity]) assertThrows(() => clock.advance(ms), Error, "time passes forwards");
  assertEquals(clock.timerCount, 0);
});

Deno.test("property: exactly the armed timers run, by deadline, then in the order of arming", () => {
  const step = fc.record({ timer: fc.nat(39), delay: fc.option(fc.nat(99)), pass: fc.constantFrom(0, 0, 0, 0, 7) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150, size: "max" }), (steps) => {
      const clock = new VirtualClock();
      const ran: number[] = [];
      const timers = Array.from({ length: 40 }, (_, i) => clock.timer(() => ran.push(i)));
      let armed: { timer: number; deadline: number; order: number }[] = [];
      const expected: number[] = [];
      const pass = (ms: number) => {
        const end = clock.now() + ms;
        const due = armed.filter(({ deadline }) => deadline <= end);
        armed = armed.filter(({ deadline }) => deadline > end);
        due.sort((a, b) => a.deadline - b.deadline || a.order - b.order);
        expected.push(...due.map(({ timer }) => timer));
        clock.advance(ms);
      };
      for (const [order, { timer, delay, pass: ms }] of steps.entries()) {
        armed = armed.filter((one) => one.timer !== timer);
        if (delay === null) timers[timer]!.disarm();
        else {
          timers[timer]!.arm(delay);
          armed.push({ timer, deadline: clock.now() + delay, order });
        }
        pass(ms);
        assertEquals(clock.timerCount, armed.length);
      }
      pass(100);
      assertEquals(ran, expected);
      assert(timers.every((timer) => !timer.armed));
    }),
    fuzz(200),
  );
});
