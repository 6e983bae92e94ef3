/**
 * The command line of the scenario.
 *
 * Path: scenario, capture → scenario/options → cable, options/given, options/option_table, nat/forward, ip_family.
 *
 * @module
 */

import type { CableOptions } from "../../devices/ether/cable.ts";
import { KernelError } from "../../kernel/error.ts";
import { bad, type Given, UsageError } from "../options/given.ts";
import type { ToolTable } from "../options/option_table.ts";
import { parseForward } from "../nat/forward.ts";
import type { IpVersion } from "./ip_family.ts";

/** The user's choices. */
export interface ScenarioOptions {
  readonly wire: "auto" | "memory" | "tap" | "tun" | "socket";
  readonly guest: "model" | "netns" | "qemu";
  readonly style: "qemu" | "real";
  /** The versions of IP that the steps run over. */
  readonly versions: readonly IpVersion[];
  /** Forwards to the guest, from the start. */
  readonly forwards: readonly string[];
  readonly seed: number;
  /** Faults of the wire in memory; empty: none. */
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
  about: `A host kernel on a wire, programs that claim ports of it by bypass, and a guest whose network goes through a
virtio card and a NAT that is one of those programs; over IPv4 and over IPv6. Every answer is checked.`,
  groups: [
    [
      {
        name: "wire",
        value: "auto|memory|tap|tun|socket",
        usual: "auto",
        help:
          "what the host is connected to; auto: a TAP in a network namespace of its own if that may be made, else " +
          "memory; socket: the sockets of this process, which need no right",
      },
      {
        name: "guest",
        value: "model|netns|qemu",
        usual: "model",
        help: "what is behind the NAT; model: a kernel of ours with a virtio driver; netns: Linux in a network " +
          'namespace; qemu: Linux in a virtual machine, see "deno task setup-guest"; ' +
          "both with --wire tap, tun or socket",
      },
      {
        name: "style",
        value: "qemu|real",
        usual: "qemu",
        help: "the guest has a network of its own, or the host's address (and no IPv6)",
      },
      { name: "ipv4-only", help: "leave out the steps over IPv6" },
      { name: "ipv6-only", help: "leave out the steps over IPv4" },
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

const WIRES = ["auto", "memory", "tap", "tun", "socket"] as const;
const GUESTS = ["model", "netns", "qemu"] as const;
const STYLES = ["qemu", "real"] as const;
const CHANCES = ["loss", "reorder", "duplicate", "corrupt"] as const;
const DELAYS = { delay: "delayMs", jitter: "jitterMs" } as const;
/** With a longer one no answer would come in time. */
const DELAY_MAX = 1000;
const KEEP_MAX = 86_400;
/** Longer than any packet, and the most that Wireshark takes. */
export const SNAPLEN_MAX = 262_144;

/** Reads the command line. Throws UsageError, which names the bad option. */
export function scenarioOptions(given: Given): ScenarioOptions {
  const wire = given.choice("wire", WIRES);
  const guest = given.choice("guest", GUESTS);
  const style = given.choice("style", STYLES);
  const seed = given.text("seed")!;
  if (!/^\d+$/.test(seed) || !Number.isSafeInteger(Number(seed))) {
    throw bad("seed", seed, "a whole number that is not negative");
  }
  const faults = faultsOf(given);
  if (Object.keys(faults).length > 0 && wire !== "memory") {
    throw new UsageError("Faults such as --loss are of the wire in memory: they need --wire memory");
  }
  if (guest !== "model" && wire === "memory") {
    throw new UsageError(`--guest ${guest} lives in real time: it needs --wire tap, tun or socket`);
  }
  return {
    wire,
    guest,
    faults,
    snaplen: given.fraction("snaplen", SNAPLEN_MAX) ?? SNAPLEN_MAX,
    style,
    versions: versionsOf(given, style),
    forwards: forwardsOf(given),
    seed: Number(seed),
    pcap: given.text("pcap"),
    keep: given.fraction("keep", KEEP_MAX) ?? 0,
    json: given.flag("json"),
    verbose: given.flag("verbose"),
  };
}

function versionsOf(given: Given, style: ScenarioOptions["style"]): readonly IpVersion[] {
  const [only4, only6] = [given.flag("ipv4-only"), given.flag("ipv6-only")];
  if (only4 && only6) throw new UsageError("--ipv4-only and --ipv6-only leave no step: use one of them");
  if (only6 && style === "real") {
    throw new UsageError("A guest in real style has no IPv6: --ipv6-only needs --style qemu");
  }
  if (only4) return [4];
  return only6 ? [6] : [4, 6];
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
