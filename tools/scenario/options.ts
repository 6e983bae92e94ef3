/**
 * The command line of the scenario.
 *
 * Path: scenario, capture → scenario/options → cable, options/given, options/option_table, nat/forward.
 *
 * @module
 */

import type { CableOptions } from "../../devices/ether/cable.ts";
import { KernelError } from "../../kernel/error.ts";
import { bad, type Given, UsageError } from "../options/given.ts";
import type { ToolTable } from "../options/option_table.ts";
import { parseForward } from "../nat/forward.ts";

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
}

/** The scenario's command line. */
export const SCENARIO: ToolTable = {
  name: "scenario",
  command: "deno task scenario",
  synopsis: "[options]",
  about: `The whole story: a host kernel on a wire, programs that claim ports of it by bypass, and a guest whose
network goes through a virtio card and a NAT that is one of those programs. Every answer is checked.`,
  groups: [
    [
      {
        name: "wire",
        value: "auto|memory|tap|tun",
        usual: "auto",
        help:
          "what the host is connected to; auto: a TAP in a network namespace of its own if that may be made, else " +
          "memory",
      },
      {
        name: "guest",
        value: "model|netns|qemu",
        usual: "model",
        help: "what is behind the NAT; model: a kernel of ours with a virtio driver; netns: Linux in a network " +
          'namespace; qemu: Linux in a virtual machine, see "deno task setup-guest"; both with --wire tap or tun',
      },
      {
        name: "style",
        value: "qemu|real",
        usual: "qemu",
        help: "the guest has a network of its own, or the host's address",
      },
      {
        name: "forward",
        value: "SPEC",
        repeatable: true,
        help: "tcp|udp:[addr:]hostport[-hostport]:guestport, or QEMU's hostfwd=; repeatable",
      },
    ],
    [
      { name: "seed", value: "N", usual: "1", help: "seed of everything random in memory" },
      { name: "loss", value: "P", help: "chance, 0 to 1, that a frame is lost; on the wire in memory" },
      { name: "reorder", value: "P", help: "that it comes late; likewise" },
      { name: "duplicate", value: "P", help: "that it comes twice; likewise" },
      { name: "corrupt", value: "P", help: "that it is damaged; likewise" },
      { name: "delay", value: "MS", help: "how long a frame takes; likewise" },
      { name: "jitter", value: "MS", help: "and up to how much longer; likewise" },
    ],
    [
      {
        name: "pcap",
        value: "FILE",
        help: "write a capture (pcapng, one interface per tap point: wire, ip1, guest, bypass; what the NAT decides " +
          "stands beside its packets)",
      },
      { name: "snaplen", value: "BYTES", help: "keep so many bytes of each packet (default all: some 150 MB in all)" },
      {
        name: "keep",
        value: "SECONDS",
        help: "stay so long after the steps, with live counters; Ctrl-C ends it",
      },
      { name: "json", help: "print one JSON object instead of lines" },
      { name: "verbose", help: "also print the host's system calls and, at the end, its counters" },
    ],
  ],
  after: "Exit status: 0 if every step held, 1 if one failed, 2 for a bad option.",
};

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

/** Makes sense of the command line. Throws UsageError, which names what is wrong. */
export function scenarioOptions(given: Given): ScenarioOptions {
  const wire = given.choice("wire", WIRES);
  const guest = given.choice("guest", GUESTS);
  const seed = given.text("seed")!;
  if (!/^\d+$/.test(seed) || !Number.isSafeInteger(Number(seed))) {
    throw bad("seed", seed, "a whole number that is not negative");
  }
  const faults = faultsOf(given);
  if (Object.keys(faults).length > 0 && wire !== "memory") {
    throw new UsageError("Faults such as --loss are of the wire in memory: they need --wire memory");
  }
  if (guest !== "model" && wire === "memory") {
    throw new UsageError(`--guest ${guest} lives in real time: it needs --wire tap or tun`);
  }
  return {
    wire,
    guest,
    faults,
    snaplen: given.fraction("snaplen", SNAPLEN_MAX) ?? SNAPLEN_MAX,
    style: given.choice("style", STYLES),
    forwards: forwardsOf(given),
    seed: Number(seed),
    pcap: given.text("pcap"),
    keep: given.fraction("keep", KEEP_MAX) ?? 0,
    json: given.flag("json"),
    verbose: given.flag("verbose"),
  };
}

function faultsOf(given: Given): CableOptions {
  const faults: Record<string, number> = {};
  for (const name of CHANCES) {
    const chance = given.fraction(name, 1);
    if (chance !== null) faults[name] = chance;
  }
  for (const [name, member] of Object.entries(DELAYS)) {
    const delay = given.fraction(name, DELAY_MAX);
    if (delay !== null) faults[member] = delay;
  }
  return faults;
}

function forwardsOf(given: Given): string[] {
  return given.list("forward").map((spec) => {
    try {
      parseForward(spec);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      throw bad("forward", spec, error.message);
    }
    return spec;
  });
}
