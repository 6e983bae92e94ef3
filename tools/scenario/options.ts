/**
 * The command line of the scenario.
 *
 * Path: scenario → options → parseForward (to refuse at once what the NAT would refuse later).
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import type { CableOptions } from "../../devices/ether/cable.ts";
import { KernelError } from "../../kernel/error.ts";
import { parseForward } from "../vmm/nat_forward.ts";

/** What the user asked for. */
export interface ScenarioOptions {
  readonly wire: "auto" | "memory" | "tap" | "tun";
  readonly guest: "model" | "netns" | "qemu";
  readonly style: "qemu" | "real";
  /** Forwards to the guest, from the start. */
  readonly forwards: readonly string[];
  readonly seed: number;
  /** What the wire in memory does to frames; empty: nothing. */
  readonly faults: CableOptions;
  /** Where to write the capture; null: none. */
  readonly pcap: string | null;
  /** Most bytes kept of a packet. */
  readonly snaplen: number;
  /** How long it stays after the steps, in seconds. */
  readonly keep: number;
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

The whole story: a host kernel on a wire, programs that claim ports of it by bypass, and a guest whose
network goes through a virtio card and a NAT that is one of those programs. Every answer is checked.

  --wire auto|memory|tap|tun  what the host is connected to (default auto: a TAP in a network
                              namespace of its own if that may be made, else memory)
  --guest model|netns|qemu    who is behind the NAT (default model: a kernel of ours with a virtio driver;
                              netns: Linux in a network namespace; qemu: Linux in a virtual machine, see
                              "deno task setup-guest"; both with --wire tap or tun)
  --style qemu|real           the guest has a network of its own, or the host's address (default qemu)
  --forward SPEC              tcp|udp:[addr:]hostport[-hostport]:guestport, or QEMU's hostfwd=; repeatable
  --seed N                    seed of everything random in memory (default 1)
  --loss P, --reorder P, --duplicate P, --corrupt P
                              chance, 0 to 1, of what befalls a frame; on the wire in memory
  --delay MS, --jitter MS     how long a frame takes, and up to how much longer; likewise
  --pcap FILE                 write a capture (pcapng, one interface per tap point: wire, ip1,
                              guest, bypass; what the NAT decides stands beside its packets)
  --snaplen BYTES             keep so many bytes of each packet (default all: some 150 MB in all)
  --keep SECONDS              stay so long after the steps, with live counters; Ctrl-C ends it
  --json                      print one JSON object instead of lines
  --verbose                   also print the host's system calls and, at the end, its counters
  --help                      print this

Exit status: 0 if every step held, 1 if one failed, 2 for a bad option.
`;

const WIRES = ["auto", "memory", "tap", "tun"] as const;
const GUESTS = ["model", "netns", "qemu"] as const;
const STYLES = ["qemu", "real"] as const;
const CHANCES = ["loss", "reorder", "duplicate", "corrupt"] as const;
const DELAYS = { delay: "delayMs", jitter: "jitterMs" } as const;
/** Longer, and nobody would hear an answer in time. */
const DELAY_MAX = 1000;
const KEEP_MAX = 86_400;
/** Longer than any packet, and the most that Wireshark takes. */
export const SNAPLEN_MAX = 262_144;

type Values = Readonly<Record<string, unknown>>;

/** Reads the command line. Throws {@link UsageError}, which names what is wrong. */
export function parseOptions(args: readonly string[]): ScenarioOptions {
  const parsed: Values = parseArgs([...args], {
    boolean: ["json", "verbose", "help"],
    string: [
      "wire",
      "guest",
      "style",
      "forward",
      "seed",
      "pcap",
      "snaplen",
      "keep",
      ...CHANCES,
      ...Object.keys(DELAYS),
    ],
    collect: ["forward"],
    default: { wire: "auto", guest: "model", style: "qemu", seed: "1" },
    unknown: (arg: string) => {
      throw new UsageError(`Unknown option "${arg}"`);
    },
  });
  const wire = oneOf(parsed, "wire", WIRES);
  const guest = oneOf(parsed, "guest", GUESTS);
  const seed = `${parsed.seed}`;
  if (!/^\d+$/.test(seed) || !Number.isSafeInteger(Number(seed))) {
    throw new UsageError(`Bad value "${seed}" for --seed: a whole number that is not negative`);
  }
  if (parsed.pcap === "") throw new UsageError("No file name after --pcap");
  const faults = faultsOf(parsed);
  if (Object.keys(faults).length > 0 && wire !== "memory") {
    throw new UsageError("Faults such as --loss are of the wire in memory: they need --wire memory");
  }
  if (guest !== "model" && wire === "memory") {
    throw new UsageError(`--guest ${guest} lives in real time: it needs --wire tap or tun`);
  }
  const snaplen = number(parsed, "snaplen", SNAPLEN_MAX) ?? SNAPLEN_MAX;
  return {
    ...{
      wire,
      guest,
      faults,
      snaplen,
      style: oneOf(parsed, "style", STYLES),
      forwards: forwardsOf(parsed),
      seed: Number(seed),
    },
    ...{ pcap: (parsed.pcap as string | undefined) ?? null, keep: number(parsed, "keep", KEEP_MAX) ?? 0 },
    ...{ json: parsed.json === true, verbose: parsed.verbose === true, help: parsed.help === true },
  };
}

function oneOf<T extends string>(values: Values, name: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === values[name]);
  if (found !== undefined) return found;
  throw new UsageError(`Bad value "${values[name]}" for --${name}: one of ${choices.join(", ")}`);
}

/** A number from 0 to `max`; null if it was not given. */
function number(values: Values, name: string, max: number): number | null {
  const text = values[name];
  if (text === undefined) return null;
  const value = Number(text);
  if (typeof text === "string" && /^\d+(\.\d+)?$/.test(text) && value <= max) return value;
  throw new UsageError(`Bad value "${text}" for --${name}: a number of 0 to ${max}`);
}

function faultsOf(values: Values): CableOptions {
  const faults: Record<string, number> = {};
  for (const name of CHANCES) {
    const chance = number(values, name, 1);
    if (chance !== null) faults[name] = chance;
  }
  for (const [name, member] of Object.entries(DELAYS)) {
    const delay = number(values, name, DELAY_MAX);
    if (delay !== null) faults[member] = delay;
  }
  return faults;
}

function forwardsOf(values: Values): string[] {
  return (values.forward as string[] | undefined ?? []).map((spec) => {
    try {
      parseForward(spec);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      throw new UsageError(`Bad value "${spec}" for --forward: ${error.message}`);
    }
    return spec;
  });
}
