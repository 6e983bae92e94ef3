import { assertEquals, assertThrows } from "@std/assert";
import { Job, JobQueue, JOBS_PER_RUN_MAX } from "./job.ts";

Deno.test("JobQueue.run() does jobs in the order in which they were woken", () => {
  const queue = new JobQueue();
  const done: string[] = [];
  const a = new Job(queue, () => done.push("a"));
  const b = new Job(queue, () => done.push("b"));
  b.wake();
  a.wake();
  assertEquals(queue.run(), 2);
  assertEquals(done, ["b", "a"]);
  assertEquals([queue.pending, queue.run()], [false, 0]);
});

Deno.test("Job.wake() of a job that waits already does nothing", () => {
  const queue = new JobQueue();
  let count = 0;
  const job = new Job(queue, () => count++);
  job.wake();
  job.wake();
  queue.run();
  assertEquals(count, 1);
  job.wake();
  queue.run();
  assertEquals(count, 2);
});

Deno.test("a job that wakes itself and others runs again after those that waited before", () => {
  const queue = new JobQueue();
  const done: string[] = [];
  let again = true;
  const a: Job = new Job(queue, () => {
    done.push("a");
    if (!again) return;
    again = false;
    a.wake();
    c.wake();
  });
  const b = new Job(queue, () => done.push("b"));
  const c = new Job(queue, () => done.push("c"));
  a.wake();
  b.wake();
  assertEquals(queue.run(), 4);
  assertEquals(done, ["a", "b", "a", "c"]);
});

Deno.test("JobQueue.run() inside a job does nothing, so no job runs inside another", () => {
  const queue = new JobQueue();
  let inside = -1;
  const later = new Job(queue, () => {});
  new Job(queue, () => {
    later.wake();
    inside = queue.run();
  }).wake();
  assertEquals(queue.run(), 2);
  assertEquals(inside, 0);
});

Deno.test("JobQueue.run() comes back from jobs that wake each other for ever, and can go on", () => {
  const queue = new JobQueue();
  let count = 0;
  const ping: Job = new Job(queue, () => {
    count++;
    pong.wake();
  });
  const pong: Job = new Job(queue, () => ping.wake());
  ping.wake();
  assertEquals(queue.run(), JOBS_PER_RUN_MAX);
  assertEquals([queue.pending, count], [true, JOBS_PER_RUN_MAX / 2]);
  assertEquals(queue.run(), JOBS_PER_RUN_MAX);
});

Deno.test("JobQueue.onWork is called for work from outside of run() only", () => {
  const queue = new JobQueue();
  let calls = 0;
  queue.onWork = () => calls++;
  const second = new Job(queue, () => {});
  const first = new Job(queue, () => second.wake());
  first.wake();
  assertEquals(calls, 1);
  queue.run();
  assertEquals(calls, 1);
});

Deno.test("a job that throws stops the run, and those behind it are not lost", () => {
  const queue = new JobQueue();
  const done: string[] = [];
  const bad = new Job(queue, () => {
    later.wake();
    throw new Error("broken");
  });
  const good = new Job(queue, () => done.push("good"));
  const later = new Job(queue, () => done.push("later"));
  bad.wake();
  good.wake();
  assertThrows(() => queue.run(), Error, "broken");
  assertEquals(queue.run(), 2);
  assertEquals(done, ["good", "later"]);
});
