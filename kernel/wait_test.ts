/** How calls that sleep are given up: by a signal, and by the kernel's clock. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { testKernel } from "../tests/kit/host/test_kernel.ts";
import type { Block } from "./block.ts";
import { KernelError } from "./error.ts";
import type { Kernel } from "./kernel.ts";
import type { Proc } from "./proc.ts";
import { Open } from "./qid.ts";
import { VirtualClock } from "./time.ts";
import { WaitLimit, type WaitOptions } from "./wait.ts";

/** A queue that is empty, and one with no room left. */
interface Queues {
  readonly kernel: Kernel;
  readonly proc: Proc;
  readonly clock: VirtualClock;
  readonly fd: number;
}

function queues(options: { full: boolean }): Queues {
  const kernel = testKernel();
  const proc = kernel.spawn("waits");
  const fd = proc.sys.open("#mem/q", Open.ReadWrite) as number;
  if (options.full) { while (proc.sys.blockwrite(fd, new Uint8Array(60)) === 60); }
  return { kernel, proc, clock: kernel.clock as VirtualClock, fd };
}

interface Call {
  readonly full: boolean;
  readonly run: (at: Queues, wait: WaitOptions) => Promise<unknown>;
}

const CALLS: Record<string, Call> = {
  "read": { full: false, run: ({ proc, fd }, wait) => proc.read(fd, new Uint8Array(9), wait) },
  "write": { full: true, run: ({ proc, fd }, wait) => proc.write(fd, "x", wait) },
  "blockread": { full: false, run: ({ proc, fd }, wait) => proc.blockread(fd, undefined, wait) },
  "blockwrite": { full: true, run: ({ proc, fd }, wait) => proc.blockwrite(fd, new Uint8Array(9), wait) },
  "blockreadv": { full: false, run: ({ proc, fd }, wait) => proc.blockreadv(fd, 3, undefined, wait) },
  "blockwritev": { full: true, run: ({ proc, fd }, wait) => proc.blockwritev(fd, [new Uint8Array(9)], wait) },
  "blocks": { full: false, run: ({ proc, fd }, wait) => proc.blocks(fd, wait).next() },
  "readText": { full: false, run: ({ proc }, wait) => proc.readText("#mem/q", wait) },
  "writeText": { full: true, run: ({ proc }, wait) => proc.writeText("#mem/q", "x", wait) },
};

for (const [name, { full, run }] of Object.entries(CALLS)) {
  Deno.test(`${name}() is given up after its time, by its signal, and at once if that was aborted before`, async () => {
    const at = queues({ full });
    const { clock, proc } = at;
    const late = assertRejects(() => run(at, { timeoutMs: 30 }), KernelError, "Gave up after 30 ms");
    clock.advance(29);
    assertEquals(clock.timerCount, 1);
    clock.advance(1);
    assertEquals((await late).code, "ETIMEDOUT");

    const stop = new AbortController();
    const stopped = assertRejects(() => run(at, { signal: stop.signal, timeoutMs: 30 }));
    const reason = new Error("enough");
    stop.abort(reason);
    assertEquals(await stopped, reason);
    assertEquals(await assertRejects(() => run(at, { signal: stop.signal })), reason);
    // No timer, no sleeper, no listener is left.
    assertEquals({ timers: clock.timerCount, sleepers: proc.abortSleepers(at.fd) }, { timers: 0, sleepers: 0 });
  });
}

Deno.test("a call that is given up has taken nothing: the next one gets what comes", async () => {
  const at = queues({ full: false });
  const { proc, clock, fd } = at;
  const late = assertRejects(() => proc.blockread(fd, undefined, { timeoutMs: 5 }), KernelError);
  clock.advance(5);
  await late;
  proc.sys.blockwrite(fd, new Uint8Array([7]));
  assertEquals((await proc.blockread(fd, undefined, { timeoutMs: 5 }) as Block).bytes(), new Uint8Array([7]));
  assertEquals(clock.timerCount, 0);
});

Deno.test("a call that is served in time leaves no timer, and its signal may be aborted later", async () => {
  const { proc, clock, fd } = queues({ full: false });
  const stop = new AbortController();
  const served = proc.blockread(fd, undefined, { signal: stop.signal, timeoutMs: 5 });
  proc.sys.blockwrite(fd, new Uint8Array(3));
  assertEquals((await served as Block).length, 3);
  assertEquals(clock.timerCount, 0);
  stop.abort();
});

Deno.test("the end of the process ends a bounded call as any other, and its timer", async () => {
  const { proc, clock, fd } = queues({ full: false });
  const ended = assertRejects(() => proc.blockread(fd, undefined, { timeoutMs: 5 }), KernelError);
  proc.exit();
  assertEquals((await ended).code, "EINTR");
  assertEquals(clock.timerCount, 0);
});

Deno.test("a descriptor without O_NONBLOCK only waits: with bounds or not, EAGAIN is for the other kind", async () => {
  const { proc } = queues({ full: false });
  const fd = proc.sys.open("#mem/q", Open.Read | Open.NonBlock) as number;
  assertEquals(
    (await assertRejects(() => proc.blockread(fd, undefined, { timeoutMs: 5 }), KernelError)).code,
    "EAGAIN",
  );
});

Deno.test("WaitLimit refuses what is no length of time, and Infinity sets none", () => {
  const clock = new VirtualClock();
  for (const timeoutMs of [-1, NaN]) {
    assertThrows(() => new WaitLimit(clock, { timeoutMs }), KernelError, `${timeoutMs}`);
  }
  assertEquals(new WaitLimit(clock, { timeoutMs: Infinity }).signal, undefined);
  assertEquals(clock.timerCount, 0);
});
