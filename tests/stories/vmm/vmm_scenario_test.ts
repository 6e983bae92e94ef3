/**
 * The scenario's guest in memory: a kernel behind a virtio card and a NAT, step by step, in both styles and on faulty
 * wires; and the same seed is the same run.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { CableOptions } from "../../../devices/ether/cable.ts";
import { guestSide } from "../../../tools/scenario/guest_side.ts";
import { guestScenes, guestSteps, notApplicable } from "../../../tools/scenario/guest_steps.ts";
import { guestTcpSteps, lastStep } from "../../../tools/scenario/guest_tcp_steps.ts";
import type { GuestSide } from "../../../tools/scenario/guest_types.ts";
import { memoryEnvironment } from "../../../tools/scenario/memory_environment.ts";
import { Retries } from "../../../tools/scenario/retries.ts";
import { runSteps, type StepResult } from "../../../tools/scenario/report.ts";
import { notWorthTrying, scenarioSteps } from "../../../tools/scenario/steps.ts";

/** What a run leaves behind. */
interface Played {
  readonly steps: readonly StepResult[];
  /** Times and lengths of all frames of the wire, and of the guest's link, and a sum of their bytes. */
  readonly digest: readonly number[];
  readonly descriptors: number;
}

/** Runs the guest's steps; without `transfers` only those below TCP. */
async function play(style: "qemu" | "real", seed: number, transfers: boolean): Promise<Played> {
  const digest: number[] = [];
  let sum = 0;
  const see = (bytes: Uint8Array, ms: number) => {
    for (const byte of bytes) sum = (Math.imul(sum, 31) + byte) | 0;
    digest.push(ms, bytes.length, sum);
  };
  const observe = (_: unknown, block: { bytes(): Uint8Array }, ms: number) =>
    transfers ? undefined : see(block.bytes(), ms);
  const env = await memoryEnvironment({ seed, observe });
  let side: GuestSide | null = null;
  try {
    side = await guestSide(env, { guest: "model", style, forwards: [], seed });
    const scenes = guestScenes(env, side, { seed });
    assertEquals(scenes.map(({ family }) => family.version), style === "real" ? [4] : [4, 6]);
    assertEquals(scenes.flatMap(notApplicable), []);
    const all = scenes.flatMap((scene) => [...guestSteps(scene), ...transfers ? guestTcpSteps(scene) : []]);
    all.push(lastStep(scenes[0]!));
    const steps = await runSteps(all, { tell: () => {}, stopped: () => false });
    await side.close();
    return { steps, digest, descriptors: side.network.program.sockets.openCount };
  } finally {
    await env.close();
  }
}

for (const style of ["qemu", "real"] as const) {
  Deno.test(`the guest's steps hold in ${style} style, and the NAT gives back what it had`, async () => {
    const { steps, descriptors } = await play(style, 3, true);
    assertEquals(steps.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: ${detail}`), []);
    assertEquals(steps.length, style === "real" ? 26 : 49);
    assertEquals(descriptors, 0);
  });
}

Deno.test("the guest's steps: one seed gives the same bytes at the same times, another seed others", async () => {
  const [first, second, third] = [
    await play("qemu", 5, false),
    await play("qemu", 5, false),
    await play("qemu", 6, false),
  ];
  assert(first.digest.length > 300);
  assertEquals(first.digest, second.digest);
  assert(JSON.stringify(first.digest) !== JSON.stringify(third.digest));
});

/** Faults of the wire, and the seeds of runs that once failed under them. */
const FAULTY: readonly (readonly [faults: CableOptions, seed: number])[] = [
  // An answer that came twice was taken for that to the next echo request.
  [{ duplicate: 0.2, reorder: 0.2 }, 1],
  // A frame of noise of 14 bytes had no room for what makes it look like IPv4.
  [{ delayMs: 20, jitterMs: 10 }, 6],
  // 45 fragments each way: one datagram in a hundred comes back, and 40 tries were too few.
  [{ loss: 0.05 }, 1],
  [{ loss: 0.05, corrupt: 0.05, duplicate: 0.2, reorder: 0.2, delayMs: 20, jitterMs: 10 }, 2],
];

for (const [faults, seed] of FAULTY) {
  Deno.test(`steps hold on a faulty wire: ${JSON.stringify(faults)}, seed ${seed}`, async () => {
    const retries = new Retries(faults);
    const env = await memoryEnvironment({ seed, cable: faults });
    let side: GuestSide | null = null;
    try {
      side = await guestSide(env, { guest: "model", style: "qemu", forwards: [], seed });
      const play = { seed, retries };
      const scenes = guestScenes(env, side, play);
      const all = [
        ...scenarioSteps(env, play),
        ...scenes.flatMap((scene) => [...guestSteps(scene), ...guestTcpSteps(scene)]),
        lastStep(scenes[0]!),
      ];
      const steps = await runSteps(all.filter(({ name }) => !name.includes(" MiB")), {
        tell: () => {},
        stopped: () => false,
      });
      assertEquals(steps.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: ${detail}`), []);
      const skipped = [...notWorthTrying(retries), ...scenes.flatMap(notApplicable)].map(({ name }) => name);
      assertEquals(skipped.filter((name) => !/udp echo, 65(507 bytes|519 bytes, IPv6)$/.test(name)), []);
      assertEquals(steps.length + skipped.length, 89);
      assertEquals(skipped.length, faults.loss && faults.corrupt ? 6 : 0);
    } finally {
      await side?.close();
      await env.close();
    }
  });
}
