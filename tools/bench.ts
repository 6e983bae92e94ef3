/**
 * deno task bench: times and rates of system calls, checksums and packets.
 *
 * Path: command line → bench → benches → measure.
 *
 * @module
 */

import { HostError } from "../devices/host/libc.ts";
import { BENCHES } from "./bench/benches.ts";
import { type Figure, figureLine } from "./bench/measure.ts";
import { Given, runTool, UsageError } from "./options/given.ts";
import type { ToolTable } from "./options/option_table.ts";
import { print } from "./print.ts";

const BENCH: ToolTable = {
  name: "bench",
  command: "deno task bench",
  synopsis: "[options]",
  about: "Median time of one operation, operations per second, slowest round over fastest; of networks also the best.",
  groups: [[
    { name: "only", value: "NAME[,NAME]", help: `some of: ${BENCHES.map((bench) => bench.name).join(", ")}` },
    { name: "json", help: "print one JSON object" },
  ]],
};

function chosen(given: Given): { json: boolean; names: string[] } {
  const names = given.text("only")?.split(",") ?? BENCHES.map((bench) => bench.name);
  for (const name of names) {
    if (!BENCHES.some((bench) => bench.name === name)) throw new UsageError(`No benchmark "${name}"`);
  }
  return { json: given.flag("json"), names };
}

async function run(given: Given): Promise<number> {
  const { json, names } = chosen(given);
  const figures: Figure[] = [];
  const skipped: Record<string, string> = {};
  for (const bench of BENCHES.filter((one) => names.includes(one.name))) {
    try {
      await bench.run((figure) => {
        figures.push(figure);
        if (!json) print(figureLine(figure));
      });
    } catch (error) {
      if (!(error instanceof HostError) && !(error instanceof Deno.errors.NotCapable)) throw error;
      skipped[bench.name] = error.message;
      if (!json) print(`${bench.name} skipped: ${error.message}`);
    }
  }
  if (json) print(JSON.stringify({ figures, skipped }, null, 2));
  return 0;
}

if (import.meta.main) Deno.exit(await runTool(BENCH, () => new Given(BENCH, Deno.args), run));
