/**
 * deno task scenario: from a wire to a user program and back, and from a guest to a remote and back; over both versions
 * of IP, each step checked by content.
 *
 * Path: command line → scenario → environment (host and remote), guest_side, steps, guest_steps, report, keep_alive.
 *
 * @module
 */

import { HostError } from "../devices/host/libc.ts";
import { KernelError } from "../kernel/error.ts";
import { exposureOf } from "./nat/exposure.ts";
import { Capture, CaptureError } from "./scenario/capture.ts";
import { counters } from "./scenario/counters.ts";
import { guestSide } from "./scenario/guest_side.ts";
import { guestScenes, guestSteps, notApplicable, notInStyle } from "./scenario/guest_steps.ts";
import { guestTcpSteps, lastStep, tcpNotApplicable } from "./scenario/guest_tcp_steps.ts";
import type { GuestSide } from "./scenario/guest_types.ts";
import { keepAlive } from "./scenario/keep_alive.ts";
import { linuxEnvironment } from "./scenario/linux_environment.ts";
import { memoryEnvironment } from "./scenario/memory_environment.ts";
import { Given, runTool } from "./options/given.ts";
import { SCENARIO, type ScenarioOptions, scenarioOptions } from "./scenario/options.ts";
import { Retries } from "./scenario/retries.ts";
import { print, PrintError } from "./print.ts";
import { runSteps, skippedLine, stepLine } from "./scenario/report.ts";
import { socketEnvironment } from "./scenario/socket_environment.ts";
import { notBySockets, notWorthTrying, scenarioSteps } from "./scenario/steps.ts";
import { type Environment, GuestFailed, Interrupted, within } from "./scenario/environment.ts";

/** Number of the host's interface on the wire; 0 is its loopback. */
const ETHER_IFC = 1;

/** The wire that was chosen, and why. */
interface Chosen {
  readonly env: Environment;
  readonly why: string;
}

async function choose(options: ScenarioOptions, capture: Capture | null): Promise<Chosen> {
  const { wire, seed, faults, versions } = options;
  const ipv6 = versions.includes(6);
  const seen = capture?.wire("wire", wire === "tun" || wire === "socket" ? "packet" : "frame");
  const observe = seen === undefined ? {} : { observe: seen };
  if (wire === "memory") {
    return { env: await memoryEnvironment({ seed, ipv6, cable: faults, ...observe }), why: "asked for" };
  }
  if (wire === "socket") return { env: await socketEnvironment({ ipv6, ...observe }), why: "asked for" };
  if (wire !== "auto") return { env: await linuxEnvironment({ wire, ipv6, ...observe }), why: "asked for" };
  try {
    return {
      env: await linuxEnvironment({ wire: "tap", ipv6, ...observe }),
      why: "auto: a TAP in a network namespace of its own can be made",
    };
  } catch (error) {
    if (!(error instanceof HostError) && !(error instanceof Deno.errors.NotCapable)) throw error;
    if (options.guest !== "model") throw error;
    return { env: await memoryEnvironment({ seed, ipv6, ...observe }), why: `auto: no TAP here (${error.message})` };
  }
}

/**
 * How long a step may take. Virtual time costs little, and a transfer on a wire that loses one frame in five takes half
 * an hour of it. A connection that the wire has killed (one end gave up, and the other cannot hear of it) has no end.
 */
const VIRTUAL_STEP_MS = 86_400_000;
const REAL_STEP_MS = 300_000;
/** Errors that a user can do something about: printed in a line, exit 1. */
const FAILURES = [HostError, KernelError, GuestFailed, CaptureError, PrintError, Deno.errors.NotCapable];
const SIGNALS = ["SIGINT", "SIGTERM"] as const;

async function run(options: ScenarioOptions): Promise<number> {
  const interrupted = Promise.withResolvers<void>();
  let stopped = false;
  const interrupt = () => {
    stopped = true;
    interrupted.resolve();
  };
  for (const signal of SIGNALS) Deno.addSignalListener(signal, interrupt);
  const capture = options.pcap === null ? null : new Capture(options.pcap, options.snaplen);
  const say = (line: string) => options.json ? undefined : print(line);
  try {
    const { env, why } = await choose(options, capture);
    say(`wire ${env.wire} (${why}), guest ${options.guest}, style ${options.style}, seed ${options.seed}`);
    let side: GuestSide | null = null;
    try {
      await capture?.ip(env.host, ETHER_IFC);
      const observe = capture?.nat(env.host.clock);
      side = await guestSide(env, {
        ...options,
        say: (line) => say(`     ${line}`),
        interrupted: interrupted.promise,
        ...(observe === undefined ? {} : { observe }),
      });
      return await tryAll({ env, why, side, options, say, stopped: () => stopped, interrupted: interrupted.promise });
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      say("interrupted");
      return 1;
    } finally {
      await side?.close();
      await env.close();
    }
  } finally {
    capture?.close();
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, interrupt);
  }
}

/** Everything that a run has. */
interface Run extends Chosen {
  readonly side: GuestSide;
  readonly options: ScenarioOptions;
  readonly say: (line: string) => void;
  readonly stopped: () => boolean;
  readonly interrupted: Promise<void>;
}

/** Runs the steps and prints them; returns the exit status. */
async function tryAll({ env, why, side, options, say, stopped, interrupted }: Run): Promise<number> {
  const { seed, json, verbose, style, faults, versions } = options;
  for (const line of exposureOf(side.network.program.nat)) say(`     ${line}`);
  // Of the steps only: the end of the programs afterwards is left out.
  let isTracing = verbose;
  if (verbose) env.host.kernel.trace = (line) => isTracing ? say(`     ${line}`) : undefined;
  const retries = new Retries(faults);
  const play = { seed, retries, versions };
  const scenes = guestScenes(env, side, play);
  const all = [
    ...scenarioSteps(env, play),
    ...scenes.flatMap((scene) => [...guestSteps(scene), ...guestTcpSteps(scene)]),
    lastStep(scenes[0]!),
  ];
  const steps = await runSteps(all, {
    tell: (result) => say(stepLine(result)),
    stopped,
    bound: bound(env, interrupted),
  });
  const skipped = [
    ...notBySockets(env),
    ...notWorthTrying(retries, versions),
    ...scenes.flatMap(notApplicable),
    ...scenes.flatMap(tcpNotApplicable),
    ...notInStyle(style, versions),
  ];
  for (const one of skipped) say(skippedLine(one));
  isTracing = false;
  const tables = { ...await counters(env.host), nat: natCounters(side) };
  const ok = !stopped() && steps.every((step) => step.ok);
  const about = { ok, wire: env.wire, why, guest: side.kind, style, seed };
  if (json) print(JSON.stringify({ ...about, steps, skipped, counters: tables }, null, 2));
  else if (verbose) say(formatCounters(tables));
  const held = steps.filter((step) => step.ok).length;
  say(stopped() ? "interrupted" : `${held} of ${steps.length} steps held`);
  if (options.keep > 0 && !stopped()) await keepAlive({ env, side, seconds: options.keep, say, interrupted });
  return ok ? 0 : 1;
}

/** Ends a step that takes too long, or at once if the user interrupts it. */
function bound(env: Environment, interrupted: Promise<void>): (running: Promise<string>) => Promise<string> {
  const over = interrupted.then(() => Promise.reject(new Interrupted("Interrupted")));
  over.catch(() => {});
  const limitMs = env.wire === "memory" ? VIRTUAL_STEP_MS : REAL_STEP_MS;
  return (running) => Promise.race([within(env.host.clock, limitMs, "end of the step", running), over]);
}

function natCounters(side: GuestSide): Record<string, number> {
  return Object.fromEntries(side.network.program.nat.counters.entries());
}

function formatCounters(tables: Record<string, Record<string, number>>): string {
  return Object.entries(tables).map(([table, values]) => {
    const shown = Object.entries(values).filter(([, value]) => value !== 0).map(([name, value]) => `${name} ${value}`);
    return `${table}: ${shown.join(", ")}`;
  }).join("\n");
}

async function main(args: readonly string[]): Promise<number> {
  return await runTool(SCENARIO, () => new Given(SCENARIO, args), async (given) => {
    const options = scenarioOptions(given);
    try {
      return await run(options);
    } catch (error) {
      if (!(error instanceof Error) || !FAILURES.some((one) => error instanceof one)) throw error;
      console.error(`scenario: ${error.message}`);
      return 1;
    }
  });
}

if (import.meta.main) Deno.exit(await main(Deno.args));
