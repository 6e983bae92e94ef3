/**
 * The command line of the scenario.
 *
 * Path: scenario → options.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";

/** What the user asked for. */
export interface ScenarioOptions {
  readonly wire: "auto" | "memory" | "tap" | "tun";
  readonly seed: number;
  /** Where to write the capture; null: none. */
  readonly pcap: string | null;
  readonly json: boolean;
  readonly verbose: boolean;
  readonly help: boolean;
}

/** A command line that cannot be understood: exit 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The text of `--help`. */
export const USAGE = `usage: deno task scenario [options]

One packet all the way: a host kernel takes packets from a wire, a user program claims a UDP port and an ICMP
identifier by bypass, and the other side checks every answer byte for byte.

  --wire auto|memory|tap|tun  what the host is connected to (default auto: a TAP in a network
                              namespace of its own if that may be made, else memory)
  --seed N                    seed of everything random in memory (default 1)
  --pcap FILE                 write a capture (pcapng, one interface per tap point)
  --json                      print one JSON object instead of lines
  --verbose                   also print the host's system calls and, at the end, its counters
  --help                      print this

Exit status: 0 if every step held, 1 if one failed, 2 for a bad option.
`;

const WIRES = ["auto", "memory", "tap", "tun"] as const;

/** Reads the command line. Throws {@link UsageError}, which names what is wrong. */
export function parseOptions(args: readonly string[]): ScenarioOptions {
  const parsed = parseArgs([...args], {
    boolean: ["json", "verbose", "help"],
    string: ["wire", "seed", "pcap"],
    default: { wire: "auto", seed: "1" },
    unknown: (arg: string) => {
      throw new UsageError(`Unknown option "${arg}"`);
    },
  });
  const wire = WIRES.find((name) => name === parsed.wire);
  if (wire === undefined) throw new UsageError(`Bad value "${parsed.wire}" for --wire: one of ${WIRES.join(", ")}`);
  if (!/^\d+$/.test(parsed.seed) || !Number.isSafeInteger(Number(parsed.seed))) {
    throw new UsageError(`Bad value "${parsed.seed}" for --seed: a whole number that is not negative`);
  }
  if (parsed.pcap === "") throw new UsageError("No file name after --pcap");
  return {
    wire,
    seed: Number(parsed.seed),
    pcap: parsed.pcap ?? null,
    json: parsed.json,
    verbose: parsed.verbose,
    help: parsed.help,
  };
}
