import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Job } from "../../kernel/job.ts";
import { aloneTest, machineTest } from "../../tests/kit/check/skip.ts";
import { RealClock } from "./clock.ts";
import { call, holdLibc, HostError, libc, releaseLibc } from "./libc.ts";
import { pause } from "./pause.ts";
import { type Pollable, REST, REST_MS } from "./pollable.ts";
import { Reactor } from "./reactor.ts";

/** A descriptor that becomes readable at will: an eventfd that counts units. */
class Units implements Pollable {
  fd: number = call("Cannot make an eventfd", holdLibc().eventfd(0, 0x8_0801));
  onClose: (() => void) | null = null;
  onUnit: () => void = () => {};

  add(count: number): void {
    const value = new Uint8Array(new BigUint64Array([BigInt(count)]).buffer);
    call("Cannot write", libc().write(this.fd, value, 8n));
  }

  /** EFD_SEMAPHORE: each read takes one. */
  drain(max: number): number {
    let count = 0;
    while (count < max && libc().read(this.fd, new Uint8Array(8), 8n) === 8) {
      count++;
      this.onUnit();
    }
    return count;
  }

  close(): void {
    libc().close(this.fd);
    this.fd = -1;
    releaseLibc();
    this.onClose?.();
  }
}

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Open descriptors of this process that are of a reactor's kinds; others come and go with Deno's own work. */
async function descriptors(): Promise<number> {
  const args = ["-c", `readlink /proc/${Deno.pid}/fd/* | grep -c "event"`];
  const { stdout } = await new Deno.Command("sh", { args, stdout: "piped", stderr: "null" }).output();
  return Number(new TextDecoder().decode(stdout));
}

machineTest("Reactor runs drains, then jobs, then timers, then programs, in one turn", ["ffi"], async () => {
  const clock = new RealClock();
  const reactor = new Reactor({ clock });
  const units = new Units();
  const order: string[] = [];
  const done = Promise.withResolvers<void>();
  const job = new Job(clock.jobs, () => order.push("job"));
  units.onUnit = () => {
    order.push("drain");
    job.wake();
    clock.timer(() => {
      order.push("timer");
      done.resolve();
    }).arm(0);
  };
  reactor.add(units);
  reactor.start();
  await later(5);
  units.add(1);
  await done.promise;
  order.push("program");
  await reactor.stop();
  units.close();
  assertEquals(order, ["drain", "job", "timer", "program"]);
});

machineTest("Reactor sleeps when idle, and wakes for a descriptor, a job, and an earlier timer", ["ffi"], async () => {
  const clock = new RealClock();
  const reactor = new Reactor({ clock, spinMs: 0 });
  const units = new Units();
  reactor.add(units);
  reactor.start();
  clock.timer(() => {}).arm(50_000);
  await later(20);
  const turns = reactor.counters.turns;
  await later(100);
  assertEquals(reactor.counters.turns, turns, "no turn while nothing happens");
  const wait = async (what: string, start: (done: () => void) => void) => {
    const from = performance.now();
    await new Promise<void>((resolve) => start(resolve));
    assert(performance.now() - from < 1000, what);
    await later(10);
  };
  await wait("descriptor", (done) => {
    units.onUnit = done;
    units.add(1);
  });
  await wait("job", (done) => new Job(clock.jobs, done).wake());
  await wait("timer", (done) => clock.timer(done).arm(5));
  await reactor.stop();
  units.close();
});

machineTest(
  "Reactor with napMs waits in its looks, ends them for packets and timers, and sleeps afterwards",
  ["ffi"],
  async () => {
    const clock = new RealClock();
    const reactor = new Reactor({ clock, spinMs: 0, napMs: 60 });
    const units = new Units();
    reactor.add(units);
    reactor.start();
    const arrival = Promise.withResolvers<void>();
    units.onUnit = arrival.resolve;
    units.add(1);
    await arrival.promise;
    const before = { ...reactor.counters };
    for (const ms of [2, 0.2, 5]) {
      const from = clock.now();
      await new Promise<void>((resolve) => clock.timer(resolve).arm(ms));
      assert(clock.now() - from >= ms && clock.now() - from < ms + 500);
    }
    const again = Promise.withResolvers<void>();
    units.onUnit = again.resolve;
    units.add(1);
    await again.promise;
    assertEquals(reactor.counters.sleeps, before.sleeps, "it did not sleep in between");
    const turns = reactor.counters.turns;
    await later(20);
    assert(reactor.counters.turns - turns <= 40, "a look that waits does not spin");
    await later(100);
    assert(reactor.counters.sleeps > before.sleeps, "without traffic it sleeps");
    await reactor.stop();
    units.close();
  },
);

machineTest("Reactor lets a timer run neither early nor much too late", ["ffi"], async () => {
  const clock = new RealClock();
  const reactor = new Reactor({ clock });
  reactor.start();
  for (const ms of [0, 0.3, 3, 30]) {
    const from = clock.now();
    await new Promise<void>((resolve) => clock.timer(resolve).arm(ms));
    assert(clock.now() - from >= ms);
    assert(clock.now() - from < ms + 500);
  }
  await reactor.stop();
});

aloneTest("Reactor leaves nothing behind, and can be started again", ["ffi", "tool:readlink"], async () => {
  const before = await descriptors();
  assert(before > 0);
  const clock = new RealClock();
  const reactor = new Reactor({ clock });
  const units = new Units();
  let seen = 0;
  units.onUnit = () => seen++;
  reactor.add(units);
  for (let i = 1; i <= 3; i++) {
    reactor.start();
    units.add(5);
    while (seen < 5 * i) await pause();
    if (i === 2) await later(10); // So that one stop comes while it sleeps.
    await reactor.stop();
    await reactor.done;
  }
  units.close();
  assertEquals(await descriptors(), before);
  assertEquals([clock.jobs.onWork, clock.onEarlier], [null, null]);
});

machineTest("Reactor.start() is refused while the last stop has not ended", ["ffi"], async () => {
  const reactor = new Reactor({ clock: new RealClock(), spinMs: 0 });
  reactor.start();
  await later(10);
  const stopped = reactor.stop();
  assertThrows(() => reactor.start(), HostError, "still stopping");
  await stopped;
  reactor.start();
  await reactor.stop();
});

machineTest("Reactor stops at what a callback throws, and stop() and done reject with it", ["ffi"], async () => {
  for (const where of ["drain", "job", "timer"]) {
    const clock = new RealClock();
    const reactor = new Reactor({ clock });
    const units = new Units();
    const broken = () => {
      throw new Error(`Broken ${where}`);
    };
    reactor.add(units);
    reactor.start();
    units.onUnit = broken;
    if (where === "drain") units.add(1);
    if (where === "job") new Job(clock.jobs, broken).wake();
    if (where === "timer") clock.timer(broken).arm(1);
    await assertRejects(() => reactor.done, Error, `Broken ${where}`);
    await assertRejects(() => reactor.stop(), Error, `Broken ${where}`);
    units.close();
  }
});

machineTest("Reactor gives programs and Deno's own timers their turn under a flood", ["ffi"], async () => {
  const reactor = new Reactor({ clock: new RealClock() });
  const units = new Units();
  let seen = 0;
  units.onUnit = () => seen++;
  reactor.add(units);
  reactor.start();
  units.add(10_000_000);
  const from = performance.now();
  for (let i = 0; i < 5; i++) await later(1);
  assert(performance.now() - from < 500);
  assert(seen > 1000 && seen < 10_000_000, `${seen}`);
  await reactor.stop();
  const stopped = seen;
  await later(5);
  assertEquals(seen, stopped);
  units.close();
});

machineTest("Reactor forgets what is closed, removed, or says that it is gone", ["ffi"], async () => {
  const reactor = new Reactor({ clock: new RealClock() });
  const [closed, removed, gone] = [new Units(), new Units(), new Units()];
  let seen = 0;
  for (const units of [closed, removed, gone]) {
    units.onUnit = () => seen++;
    reactor.add(units);
  }
  assertThrows(() => reactor.add(closed), HostError, "Cannot add");
  gone.drain = () => -1;
  reactor.start();
  closed.close();
  reactor.remove(removed);
  removed.add(1);
  gone.add(1);
  await later(20);
  const turns = reactor.counters.turns;
  await later(30);
  assertEquals([seen, reactor.counters.turns], [0, turns]);
  await reactor.stop();
  removed.close();
  gone.close();
});

machineTest("Reactor.stop() may be called from inside a drain", ["ffi"], async () => {
  const reactor = new Reactor({ clock: new RealClock() });
  const units = new Units();
  let stopped: Promise<void> | null = null;
  units.onUnit = () => stopped ??= reactor.stop();
  reactor.add(units);
  reactor.start();
  units.add(3);
  await reactor.done;
  await stopped;
  units.close();
});

machineTest("Reactor lets a descriptor rest that cannot be served, and asks it again", ["ffi"], async () => {
  const reactor = new Reactor({ clock: new RealClock(), spinMs: 0 });
  const units = new Units();
  const closed = new Units();
  const drain = units.drain.bind(units);
  let asked = 0;
  units.drain = (max) => ++asked < 4 ? REST : drain(max);
  closed.drain = () => REST;
  const served = Promise.withResolvers<void>();
  units.onUnit = () => served.resolve();
  reactor.add(units);
  reactor.add(closed);
  reactor.start();
  const from = performance.now();
  units.add(1);
  closed.add(1);
  await later(REST_MS / 2);
  closed.close();
  await served.promise;
  assert(performance.now() - from >= 2 * REST_MS, "it has rested");
  assert(reactor.counters.turns < 40, `${reactor.counters.turns} turns`);
  await reactor.stop();
  units.close();
});
