/**
 * The command line of utcp.
 *
 * Path: utcp → options.
 *
 * @module
 */

import { bad, type Given } from "../options/given.ts";
import type { ToolTable } from "../options/option_table.ts";

/** The user's choices. */
export interface UtcpOptions {
  readonly wire: "tap" | "tun";
  readonly port: number;
  /** Our address and Linux' on the device, each with its prefix length. */
  readonly address: string;
  readonly peer: string;
  /** Name of the device; null: Linux chooses. */
  readonly device: string | null;
  /** Namespace of Linux' side: a path or name, or `new`; null: where utcp runs. */
  readonly netns: string | null;
  readonly offload: boolean;
  readonly quiet: boolean;
}

/** utcp's command line. */
export const UTCP: ToolTable = {
  name: "utcp",
  command: "deno task utcp",
  synopsis: "[options]",
  about: `A TCP in a user program: a host kernel on a TAP or TUN device gives one tcp port to a program, by
bypass. The program runs its own stack on it and echoes the data of callers. It runs until SIGINT or
SIGTERM.`,
  groups: [[
    { name: "port", value: "N", usual: "7", help: "tcp port to serve" },
    { name: "wire", value: "tap|tun", usual: "tap", help: "the device" },
    { name: "device", value: "NAME", help: "its name (default: Linux chooses)" },
    { name: "address", value: "A/LEN", usual: "10.99.0.2/24", help: "the host's address" },
    { name: "peer", value: "A/LEN", usual: "10.99.0.1/24", help: "Linux' address on the device" },
    { name: "netns", value: "new|NAME", help: "network namespace of Linux' side (default: this one)" },
    { name: "no-offload", help: "packets of the link's size, with finished checksums" },
    { name: "quiet", help: "print only errors" },
  ]],
  after: `Try it: deno task utcp & echo hello | nc -N 10.99.0.2 7

Exit status: 0 after a signal, 1 if the device or the port is not available, 2 for a bad option.`,
};

const WIRES = ["tap", "tun"] as const;
const CIDR = /^\d+\.\d+\.\d+\.\d+\/\d+$/;
const PORT_MAX = 65535;

/** Reads the command line. Throws UsageError, which names the bad option. */
export function utcpOptions(given: Given): UtcpOptions {
  const wire = given.choice("wire", WIRES);
  const port = given.number("port", 1, PORT_MAX)!;
  const [address, peer] = (["address", "peer"] as const).map((name) => {
    const text = given.text(name)!;
    if (!CIDR.test(text)) throw bad(name, text, "want A.B.C.D/LEN");
    return text;
  }) as [string, string];
  const texts = { device: given.text("device"), netns: given.text("netns") };
  return { wire, port, address, peer, ...texts, offload: !given.flag("no-offload"), quiet: given.flag("quiet") };
}
