/** The ends that netd watches for: that of a process, by its pidfd. */

import { assert, assertEquals } from "@std/assert";
import { RealClock } from "../../devices/host/clock.ts";
import { Reactor } from "../../devices/host/reactor.ts";
import { machineTest } from "../../tests/kit/check/skip.ts";
import { isThere, ProcessEnd } from "./life.ts";

/** Longer than any process has. */
const NO_PID = 4_194_305;

machineTest("ProcessEnd hears of the end of a process once, and leaves the loop", ["ffi", "tool:sleep"], async () => {
  const reactor = new Reactor({ clock: new RealClock() });
  reactor.start();
  const child = new Deno.Command("sleep", { args: ["60"] }).spawn();
  const path = `/proc/${child.pid}/ns/net`;
  const ended = Promise.withResolvers<void>();
  let ends = 0;
  const end = ProcessEnd.of(path, () => {
    ends++;
    ended.resolve();
  });
  assert(end !== null);
  reactor.add(end);
  const { fd } = end;
  assertEquals({ isThere: isThere(path), ends, isOpen: fd >= 0 }, { isThere: true, ends: 0, isOpen: true });
  child.kill("SIGKILL");
  // Before its parent has waited for it.
  await ended.promise;
  assertEquals({ isThere: isThere(path), ends, fd: end.fd }, { isThere: false, ends: 1, fd: -1 });
  await child.status;
  await reactor.stop();
});

machineTest("ProcessEnd is of processes only, and of those that there are", ["ffi"], () => {
  for (const path of ["/run/netns/lab", "/proc/self/ns/net", `/proc/${NO_PID}/ns/net`]) {
    assertEquals(ProcessEnd.of(path, () => {}), null, path);
  }
});

machineTest("ProcessEnd that is closed hears of nothing", ["ffi"], async () => {
  const reactor = new Reactor({ clock: new RealClock() });
  reactor.start();
  const end = ProcessEnd.of(`/proc/${Deno.pid}/ns/net`, () => assert(false, "this process goes on"));
  reactor.add(end!);
  end!.close();
  end!.close();
  assertEquals(end!.fd, -1);
  await reactor.stop();
});
