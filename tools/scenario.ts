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

async function run(options: ScenarioOptions): Promise<number> {
  const say = (line: string) => options.json ? undefined : console.log(line);
  const capture = options.pcap === null ? null : new Capture(options.pcap);
  const { world, why } = await choose(options, capture);
  await capture?.ip(world.host, ETHER_IFC);
  let interrupted = false;
  const interrupt = () => interrupted = true;
  Deno.addSignalListener("SIGINT", interrupt);
  try {
    say(`wire ${world.wire} (${why}), seed ${options.seed}`);
    if (options.verbose) traceSystemCalls(world, say);
    const steps = await runSteps(scenarioSteps(world, options.seed), {
      tell: (result) => say(stepLine(result)),
      stopped: () => interrupted,
    });
    const tables = await counters(world.host);
    const ok = !interrupted && steps.every((step) => step.ok);
    const summary = { ok, wire: world.wire, why, seed: options.seed, steps, counters: tables };
    if (options.json) console.log(JSON.stringify(summary, null, 2));
    else if (options.verbose) say(formatCounters(tables));
    const failed = steps.filter((step) => !step.ok).length;
    say(interrupted ? "interrupted" : `${steps.length - failed} of ${steps.length} steps held`);
    return ok ? 0 : 1;
  } finally {
    Deno.removeSignalListener("SIGINT", interrupt);
    await world.close();
    capture?.close();
  }
}

function traceSystemCalls(world: World, say: (line: string) => void): void {
  const { kernel } = world.host;
  const spawn = kernel.spawn.bind(kernel);
  kernel.spawn = (name, options) => spawn(name, { trace: (line) => say(`     ${line}`), ...options });
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
