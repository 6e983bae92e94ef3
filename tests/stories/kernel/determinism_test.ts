/**
 * Determinism (DESIGN section 7): what two kernels, their programs and a faulty cable do is a function of options and
 * seed; the same seed gives the same capture, byte for byte.
 *
 * The programs are ordinary ones that `await`: between two steps of the clock all of them have had their turn.
 *
 * @module
 */

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import type { CableOptions } from "../../../devices/ether/cable.ts";
import { hangUp } from "../../../kernel/dial.ts";
import { KernelError } from "../../../kernel/error.ts";
import type { Proc } from "../../../kernel/proc.ts";
import type { Clock } from "../../../kernel/time.ts";
import { pcapngTimestamp } from "../../../kernel/wire/pcapng.ts";
import { toHex } from "../../../kernel/wire/bytes.ts";
import { boot } from "../../../tools/boot/boot.ts";
import type { PortObserver } from "../../../tools/boot/observe_port.ts";
import { memoryEnvironment } from "../../../tools/scenario/memory_environment.ts";
import { scenarioSteps } from "../../../tools/scenario/steps.ts";
import { bypassPing, bypassUdpEcho } from "../../../tools/scenario/programs.ts";
import { within } from "../../../tools/scenario/environment.ts";
import { pattern } from "../../kit/ip/ip_fixture.ts";

const FAULTS: CableOptions = {
  rateBps: 1e7,
  delayMs: 2,
  jitterMs: 3,
  reorderMs: 8,
  loss: 0.1,
  duplicate: 0.1,
  reorder: 0.1,
  corrupt: 0.05,
};

/** What one run left behind. */
interface Run {
  /** One line for each frame that passed the first host's port: when, which way, its bytes. */
  readonly capture: readonly string[];
  readonly answers: number;
  readonly faults: number;
  readonly endMs: number;
}

/** A port observer that writes each frame down. */
function recorder(): { capture: string[]; observe: PortObserver } {
  const capture: string[] = [];
  return {
    capture,
    observe: (direction, block, wallMs) =>
      void capture.push(`${pcapngTimestamp(wallMs)} ${direction} ${toHex(block.bytes())}`),
  };
}

/** Sleeps for `ms` of the clock. */
function sleep(clock: Clock, ms: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  clock.timer(resolve).arm(ms);
  return promise;
}

/**
 * Sends datagrams of growing length, each until it is answered, three times at most; returns how many were answered.
 */
async function client(proc: Proc, port: number): Promise<number> {
  const { clock } = proc.kernel;
  const conv = await proc.dial(`udp!10.0.0.1!${port}`, { ctl: ["ignoreadvice"] });
  let answered = 0;
  for (let i = 0; i < 12; i++) {
    const tries = 3;
    for (let attempt = 0; attempt < tries; attempt++) {
      await proc.blockwrite(conv.data, pattern(i * 170, i));
      const answer = await within(clock, 60, "answer", proc.blockread(conv.data)).catch(() => null);
      // Who waits no more must not take the next answer.
      proc.sys.abortFd(conv.data);
      await Promise.resolve();
      if (answer === null) continue;
      answered++;
      break;
    }
    await sleep(clock, 7);
  }
  hangUp(proc, conv);
  return answered;
}

/** Two clients that talk to two bypass programs, over a cable with faults. */
async function run(seed: number, cable: CableOptions): Promise<Run> {
  const { capture, observe } = recorder();
  await using host = await boot({ seed, cable, observe });
  await using other = await host.neighbor();
  const ended = (error: unknown) => {
    if (!(error instanceof KernelError)) throw error;
  };
  const servers = [
    bypassUdpEcho(host.spawn("echo"), 7),
    bypassUdpEcho(host.spawn("echo"), 8),
    bypassPing(host.spawn("ping"), 77),
  ].map((server) => server.catch(ended));
  const answers = await Promise.all([client(other.spawn("a"), 7), client(other.spawn("b"), 8)]);
  const counters = host.cable!.counters();
  const { lost, duplicated, reordered, corrupted } = counters;
  const endMs = host.clock.now();
  await host.world.close();
  await Promise.all(servers);
  return {
    capture,
    answers: answers[0]! + answers[1]!,
    endMs,
    faults: Math.min(lost, duplicated, reordered, corrupted),
  };
}

Deno.test("the same seed gives the same capture, byte for byte, on a cable with every fault", async () => {
  const [first, second] = [await run(42, FAULTS), await run(42, FAULTS)];
  assertEquals(second, first);
  assert(first.faults > 0, "every fault happened");
  assert(first.answers > 12 && first.capture.length > 80, `${first.answers} answers, ${first.capture.length} frames`);
});

Deno.test("runs side by side do not touch each other", async () => {
  const alone = await run(7, FAULTS);
  const [one, other, third] = await Promise.all([run(7, FAULTS), run(8, FAULTS), run(7, FAULTS)]);
  assertEquals([one, third], [alone, alone]);
  assertNotEquals(other.capture, alone.capture);
});

Deno.test("another seed gives another capture, with faults and without", async () => {
  const seeds = [1, 2, 3, 4, 5];
  for (const cable of [FAULTS, {}]) {
    const captures = new Set<string>();
    for (const seed of seeds) captures.add((await run(seed, cable)).capture.join("\n"));
    assertEquals(captures.size, seeds.length);
  }
});

Deno.test("each fault alone is repeatable", async () => {
  const faults: CableOptions[] = [
    { loss: 0.2 },
    { duplicate: 0.3 },
    { reorder: 0.3, reorderMs: 5 },
    { corrupt: 0.2 },
    { delayMs: 3, jitterMs: 10 },
    { rateBps: 1e6, queueFrames: 5 },
  ];
  for (const cable of faults) assertEquals(await run(9, cable), await run(9, cable));
});

Deno.test("the scenario in memory passes every step, twice the same", async () => {
  const runs: string[][] = [];
  for (let i = 0; i < 2; i++) {
    const { capture, observe } = recorder();
    const env = await memoryEnvironment({ seed: 3, observe });
    try {
      for (const step of scenarioSteps(env, { seed: 3 })) await step.run();
    } finally {
      await env.close();
    }
    runs.push(capture);
  }
  assertEquals(runs[1], runs[0]);
  assert(runs[0]!.length > 100);
});
