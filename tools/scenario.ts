/**
 * deno task scenario: the main job, from a wire to a user program and back, each step checked by content.
 *
 * Path: command line → scenario → world (host and remote) → steps → report.
 *
 * @module
 */

import { HostError } from "../devices/host/libc.ts";
import { Capture } from "./scenario/capture.ts";
import { counters } from "./scenario/counters.ts";
import { linuxWorld } from "./scenario/linux_world.ts";
import { memoryWorld } from "./scenario/memory_world.ts";
import { parseOptions, type ScenarioOptions, USAGE, UsageError } from "./scenario/options.ts";
import { runSteps, stepLine } from "./scenario/report.ts";
import { scenarioSteps } from "./scenario/steps.ts";
import type { World } from "./scenario/world.ts";

/** Number of the host's interface on the wire; 0 is its loopback. */
const ETHER_IFC = 1;

/** The wire that was chosen, and why. */
interface Chosen {
  readonly world: World;
  readonly why: string;
}

async function choose(options: ScenarioOptions, capture: Capture | null): Promise<Chosen> {
  const { wire, seed } = options;
  const observe = capture?.wire("wire", wire === "tun" ? "packet" : "frame");
  if (wire === "memory") return { world: await memoryWorld(seed, observe), why: "asked for" };
  if (wire !== "auto") return { world: await linuxWorld(wire, observe), why: "asked for" };
  try {
    return {
      world: await linuxWorld("tap", observe),
      why: "auto: a TAP in a network namespace of its own can be made",
    };
  } catch (error) {
    if (!(error instanceof HostError) && !(error instanceof Deno.errors.NotCapable)) throw error;
    return { world: await memoryWorld(seed, observe), why: `auto: no TAP here (${error.message})` };
  }
}

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

async function run(options: ScenarioOptions): Promise<number> {
  let interrupted = false;
  const interrupt = () => interrupted = true;
  for (const signal of SIGNALS) Deno.addSignalListener(signal, interrupt);
  const capture = options.pcap === null ? null : new Capture(options.pcap);
  try {
    const { world, why } = await choose(options, capture);
    try {
      await capture?.ip(world.host, ETHER_IFC);
      return await tryAll(world, why, options, () => interrupted);
    } finally {
      await world.close();
    }
  } finally {
    capture?.close();
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, interrupt);
  }
}

/** Runs the steps and tells; answers the exit status. */
async function tryAll(world: World, why: string, options: ScenarioOptions, stopped: () => boolean): Promise<number> {
  const { seed, json, verbose } = options;
  const say = (line: string) => json ? undefined : console.log(line);
  say(`wire ${world.wire} (${why}), seed ${seed}`);
  if (verbose) world.host.kernel.trace = (line) => say(`     ${line}`);
  const steps = await runSteps(scenarioSteps(world, seed), { tell: (result) => say(stepLine(result)), stopped });
  world.host.kernel.trace = null;
  const tables = await counters(world.host);
  const ok = !stopped() && steps.every((step) => step.ok);
  if (json) console.log(JSON.stringify({ ok, wire: world.wire, why, seed, steps, counters: tables }, null, 2));
  else if (verbose) say(formatCounters(tables));
  const held = steps.filter((step) => step.ok).length;
  say(stopped() ? "interrupted" : `${held} of ${steps.length} steps held`);
  return ok ? 0 : 1;
}

function formatCounters(tables: Record<string, Record<string, number>>): string {
  return Object.entries(tables).map(([table, values]) => {
    const shown = Object.entries(values).filter(([, value]) => value !== 0).map(([name, value]) => `${name} ${value}`);
    return `${table}: ${shown.join(", ")}`;
  }).join("\n");
}

async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options.help) {
      console.log(USAGE.trimEnd());
      return 0;
    }
    return await run(options);
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`scenario: ${error.message}\nTry "deno task scenario --help".`);
      return 2;
    }
    if (error instanceof HostError || error instanceof Deno.errors.NotCapable) {
      console.error(`scenario: ${error.message}`);
      return 1;
    }
    throw error;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
