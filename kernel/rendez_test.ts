import { assertEquals, assertRejects } from "@std/assert";
import { KernelError } from "./error.ts";
import { Rendez } from "./rendez.ts";

Deno.test("Rendez.wakeup() wakes all sleepers, in order, and has no effect without one", async () => {
  const rendez = new Rendez();
  rendez.wakeup();
  const woken: string[] = [];
  const sleepers = ["a", "b"].map((name) => rendez.sleep().done.then(() => woken.push(name)));
  assertEquals([rendez.busy, woken], [true, []]);
  rendez.wakeup();
  assertEquals(rendez.busy, false);
  await Promise.all(sleepers);
  assertEquals(woken, ["a", "b"]);
});

Deno.test("a sleeper that sleeps again after a wakeup is woken by the next one only", async () => {
  const rendez = new Rendez();
  let wakeups = 0;
  const loop = (async () => {
    for (; wakeups < 2; wakeups++) await rendez.sleep().done;
  })();
  rendez.wakeup();
  await new Promise<void>((resolve) => queueMicrotask(resolve));
  assertEquals(wakeups, 1);
  rendez.wakeup();
  await loop;
  assertEquals(wakeups, 2);
});

Deno.test("Sleeper.abort() ends one sleep with EINTR and leaves the others asleep", async () => {
  const rendez = new Rendez();
  const aborted = rendez.sleep();
  const other = rendez.sleep();
  const rejection = assertRejects(() => aborted.done, KernelError, "aborted");
  aborted.abort();
  assertEquals((await rejection).code, "EINTR");
  assertEquals(rendez.busy, true);
  rendez.wakeup();
  await other.done;
  const alone = rendez.sleep();
  const second = assertRejects(() => alone.done, KernelError);
  alone.abort();
  assertEquals(rendez.busy, false);
  await second;
});

Deno.test("Sleeper.abort() takes another reason, and after the wakeup it is too late", async () => {
  const rendez = new Rendez();
  const first = rendez.sleep();
  const rejection = assertRejects(() => first.done, KernelError);
  first.abort(new KernelError("EBADF", "Descriptor 3 was closed"));
  assertEquals((await rejection).code, "EBADF");
  const second = rendez.sleep();
  rendez.wakeup();
  second.abort();
  await second.done;
});
