/**
 * netd from a program: user-mode networking for one guest, a QEMU machine by its socket or a network namespace, with
 * the options of the command line of netd(1). It needs the permissions that `deno task netd` has.
 *
 * Path: user program → netd/mod → daemon, netd/options, netd/given, start_checks.
 *
 * ```ts no-run
 * import { startNetd } from "@akarino/akarino/netd";
 *
 * await using netd = await startNetd(["--netns", "/run/netns/lab", "--configure", "--forward", "tcp:8080:80"]);
 * for (const line of netd.describe()) console.log(line);
 * console.log(netd.command("list"));
 * console.log(await netd.ended); // the guest is gone, or the uplink
 * ```
 *
 * @module
 */

import { Daemon } from "./daemon.ts";
import { checkDescriptors } from "./descriptors.ts";
import { NetdGiven } from "./given.ts";
import { findFreeNetwork } from "./machine.ts";
import { requireGuest } from "./open_guest.ts";
import { netdOptions } from "./options.ts";
import { ResolvFiles } from "./resolv_files.ts";

export { HostError, type HostErrorName } from "../../devices/host/libc.ts";
export { KernelError, SystemError } from "../../kernel/error.ts";
export { UsageError } from "../options/given.ts";
export { StartError } from "./start_checks.ts";

/** Takes a line for people. */
export type LineSink = (line: string) => void;

/** A running netd. */
export interface Netd extends AsyncDisposable {
  /** Settles when the guest is gone, and says why; rejects (HostError) if the uplink is gone. */
  readonly ended: Promise<string>;
  /** What it is connected to and what is open, a line each. */
  describe(): string[];
  /** Runs a command of the control channel, natctl(1), such as `list` or `add tcp:8080:80`; its answer. */
  command(text: string): string;
  /** Ends it: every device and socket that it made is gone. */
  close(): Promise<void>;
}

/** Where netd's lines go; by default nowhere. */
export interface NetdSinks {
  /** What is likely not meant, at the start. */
  readonly warn?: LineSink;
  /** Limits that were met, interfaces that came back, a change of resolv.conf. */
  readonly say?: LineSink;
}

/**
 * Starts what the command `netd` would start with `args`. Throws UsageError for options that make no sense, HostError
 * or StartError for a machine that cannot do it, KernelError for addresses that cannot be; nothing is left behind then.
 */
export async function startNetd(args: readonly string[], sinks: NetdSinks = {}): Promise<Netd> {
  const { warn = () => {}, say = () => {} } = sinks;
  const files = new ResolvFiles();
  const options = netdOptions(new NetdGiven(args), () => files.read(), { freeNetwork: findFreeNetwork });
  requireGuest(options.guest);
  checkDescriptors(options);
  const daemon = await Daemon.start(options, { warn });
  daemon.say = say;
  daemon.followNames(files, say);
  return {
    ended: daemon.ended,
    describe: () => daemon.describe(),
    command: (text) => daemon.program.command(text),
    close: () => daemon.close(),
    [Symbol.asyncDispose]: () => daemon.close(),
  };
}
