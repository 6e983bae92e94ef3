/**
 * deno task soak: a million connections and a million flows through a netd, and the resources that they leave in use:
 * memory, descriptors, maps and latency at ten points, which must stay flat.
 *
 * Path: command line → soak → soak/real_soak, soak/memory_soak.
 *
 * @module
 */

import { HostError } from "../devices/host/libc.ts";
import { KernelError } from "../kernel/error.ts";
import { Given, runTool } from "./options/given.ts";
import type { ToolTable } from "./options/option_table.ts";
import { print, PrintError } from "./print.ts";
import { memorySoak } from "./soak/memory_soak.ts";
import { realSoak, type SoakSide } from "./soak/real_soak.ts";

const SOAK: ToolTable = {
  name: "soak",
  command: "deno task soak",
  synopsis: "[options]",
  about: "Connections and flows through a netd between two network namespaces, which are removed at the end.",
  groups: [[
    { name: "connections", value: "N", usual: "1000000", help: "TCP connections, each with a byte in both directions" },
    { name: "flows", value: "N", usual: "1000000", help: "UDP flows, each with a datagram in both directions" },
    { name: "points", value: "N", usual: "10", help: "measurements during the connections, and during the flows" },
    { name: "beside", value: "N", usual: "8", help: "connections or flows at the same time" },
    {
      name: "memory",
      help: "run the NAT in this process between model kernels (default where namespaces are not permitted)",
    },
  ]],
  after: `Exit status: 0; 1 if a resource is not available, or more than one in a thousand had no answer; 2 for a bad
option. Ctrl-C ends it and prints the results so far.`,
};

interface SoakOptions {
  readonly connections: number;
  readonly flows: number;
  readonly points: number;
  readonly beside: number;
  readonly memory: boolean;
}

const COUNT_MAX = 1e9;
/** Round trips of a point; its latency is their median. */
const PROBES = 21;
/** One of so many may fail. */
const FAILURES_ONE_IN = 1000;

function optionsOf(given: Given): SoakOptions {
  return {
    connections: given.number("connections", 0, COUNT_MAX)!,
    flows: given.number("flows", 0, COUNT_MAX)!,
    points: given.number("points", 1, COUNT_MAX)!,
    beside: given.number("beside", 1, COUNT_MAX)!,
    memory: given.flag("memory"),
  };
}

/** A part of the soak: the number of connections or flows, and how to make one. */
interface Part {
  readonly name: string;
  readonly count: number;
  readonly one: (side: SoakSide) => Promise<void>;
}

/** Makes all of a part and prints each point; returns how many failed. */
async function runPart(side: SoakSide, part: Part, options: SoakOptions, isOver: () => boolean): Promise<number> {
  const { points, beside } = options;
  let begun = 0;
  let failed = 0;
  let why = "";
  for (let point = 1; point <= points && part.count > 0 && !isOver(); point++) {
    const end = Math.round(part.count * point / points);
    const from = performance.now();
    const before = begun;
    const worker = async () => {
      while (begun < end && !isOver()) {
        begun++;
        await part.one(side).catch((error) => {
          failed++;
          why = ` (the last: ${error instanceof Error ? error.message : error})`;
        });
      }
    };
    await Promise.all(Array.from({ length: beside }, worker));
    const rate = (begun - before) / ((performance.now() - from) / 1000);
    print(`${part.name} ${begun}: ${await figures(side)}, ${rate.toFixed(0)} /s, failed ${failed}${why}`);
  }
  return failed;
}

/** The figures of a point. */
async function figures(side: SoakSide): Promise<string> {
  const { memoryMib, descriptors, maps } = await side.figures();
  const times: number[] = [];
  for (let i = 0; i < PROBES; i++) {
    const from = performance.now();
    await side.flow().catch(() => {});
    times.push(performance.now() - from);
  }
  const median = times.sort((a, b) => a - b)[PROBES >> 1]!;
  return `memory ${memoryMib.toFixed(1)} MiB, descriptors ${descriptors}, maps ${maps}, latency ${
    median.toFixed(2)
  } ms`;
}

async function open(isMemory: boolean): Promise<SoakSide> {
  if (isMemory) return await memorySoak();
  try {
    return await realSoak();
  } catch (error) {
    if (!(error instanceof HostError) && !(error instanceof Deno.errors.NotCapable)) throw error;
    print(`in memory, as no namespaces can be had: ${error.message}`);
    return await memorySoak();
  }
}

async function run(options: SoakOptions): Promise<number> {
  let isOver = false;
  const interrupt = () => void (isOver = true);
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, interrupt);
  const parts: Part[] = [
    { name: "connections", count: options.connections, one: (side) => side.connection() },
    { name: "flows", count: options.flows, one: (side) => side.flow() },
  ];
  const side = await open(options.memory);
  let failed = 0;
  try {
    print(`${side.name}: ${await figures(side)} at first`);
    for (const part of parts) failed += await runPart(side, part, options, () => isOver);
  } finally {
    await side.close();
  }
  if (isOver) print("interrupted");
  return failed * FAILURES_ONE_IN <= options.connections + options.flows ? 0 : 1;
}

/** Runs the tool; its exit status. */
function main(args: readonly string[]): Promise<number> {
  return runTool(SOAK, () => new Given(SOAK, args), async (given) => {
    const options = optionsOf(given);
    try {
      return await run(options);
    } catch (error) {
      const isKnown = error instanceof HostError || error instanceof KernelError || error instanceof PrintError;
      if (!isKnown) throw error;
      console.error(`soak: ${error.message}`);
      return 1;
    }
  });
}

if (import.meta.main) Deno.exit(await main(Deno.args));
