/**
 * The command line of utcp.
 *
 * Path: utcp → options.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";

/** What the user asked for. */
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

/** A command line that cannot be understood: exit 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The text of `--help`. */
export const USAGE = `usage: deno task utcp [options]

A TCP in a user program: a host kernel on a TAP or TUN device gives one tcp port to a program, by
bypass; the program runs a stack of its own on it and echoes what callers send. It runs until SIGINT
or SIGTERM.

  --port N           tcp port to serve (default 7)
  --wire tap|tun     the device (default tap)
  --device NAME      its name (default: Linux chooses)
  --address A/LEN    the host's address (default 10.99.0.2/24)
  --peer A/LEN       Linux' address on the device (default 10.99.0.1/24)
  --netns new|NAME   network namespace of Linux' side (default: this one)
  --no-offload       cross the device in packets of the link's size, with finished checksums
  --quiet            print nothing but errors
  --help             print this

Try it: deno task utcp & echo hello | nc -N 10.99.0.2 7

Exit status: 0 after a signal, 1 if the device or the port cannot be had, 2 for a bad option.
`;

const WIRES = ["tap", "tun"] as const;
const CIDR = /^\d+\.\d+\.\d+\.\d+\/\d+$/;
const PORT_MAX = 65535;

/** Reads the command line; null: help is wanted. Throws {@link UsageError}, which names what is wrong. */
export function parseOptions(args: readonly string[]): UtcpOptions | null {
  const parsed = parseArgs([...args], {
    boolean: ["offload", "quiet", "help"],
    negatable: ["offload"],
    string: ["port", "wire", "device", "address", "peer", "netns"],
    default: { offload: true, port: "7", wire: "tap", address: "10.99.0.2/24", peer: "10.99.0.1/24" },
    unknown: (arg: string) => {
      throw new UsageError(`Unknown option "${arg}"`);
    },
  });
  if (parsed.help) return null;
  const wire = WIRES.find((name) => name === parsed.wire);
  if (wire === undefined) throw new UsageError(`Bad value "${parsed.wire}" for --wire: one of ${WIRES.join(", ")}`);
  const port = Number(parsed.port);
  if (!/^\d+$/.test(parsed.port) || port < 1 || port > PORT_MAX) {
    throw new UsageError(`Bad value "${parsed.port}" for --port: 1 to ${PORT_MAX}`);
  }
  for (const name of ["address", "peer"] as const) {
    if (!CIDR.test(parsed[name])) throw new UsageError(`Bad value "${parsed[name]}" for --${name}: want A.B.C.D/LEN`);
  }
  const { address, peer, offload, quiet } = parsed;
  return { wire, port, address, peer, offload, quiet, device: parsed.device ?? null, netns: parsed.netns ?? null };
}
