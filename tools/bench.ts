/**
 * deno task bench: times and rates of system calls, checksums and packets.
 *
 * Path: command line → bench → benches → measure.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { HostError } from "../devices/host/libc.ts";
import { BENCHES } from "./bench/benches.ts";
import { type Figure, figureLine } from "./bench/measure.ts";
import { print, PrintError } from "./print.ts";

const USAGE = `usage: deno task bench [options]

Median time of one operation, operations per second, and slowest round over fastest.

  --only NAME[,NAME]  some of: ${BENCHES.map((bench) => bench.name).join(", ")}
  --json              print one JSON object
  --help              print this
`;

class UsageError extends Error {}

function chosen(args: readonly string[]): { json: boolean; help: boolean; names: string[] } {
  const parsed = parseArgs([...args], {
    boolean: ["json", "help"],
    string: ["only"],
    unknown: (arg: string) => {
      throw new UsageError(`Unknown option "${arg}"`);
    },
  });
  const names = parsed.only === undefined ? BENCHES.map((bench) => bench.name) : parsed.only.split(",");
  for (const name of names) {
    if (!BENCHES.some((bench) => bench.name === name)) throw new UsageError(`No benchmark "${name}"`);
  }
  return { json: parsed.json, help: parsed.help, names };
}

async function main(args: readonly string[]): Promise<number> {
  const { json, help, names } = chosen(args);
  if (help) {
    print(USAGE.trimEnd());
    return 0;
  }
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

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    if (error instanceof PrintError) {
      console.error(`bench: ${error.message}`);
      Deno.exit(1);
    }
    if (!(error instanceof UsageError)) throw error;
    console.error(`bench: ${error.message}\nTry "deno task bench --help".`);
    Deno.exit(2);
  }
}
