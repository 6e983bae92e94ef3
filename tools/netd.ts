/**
 * netd: user-mode networking for a virtual machine or a network namespace, in the place of passt, libslirp or
 * slirp4netns.
 *
 * Path: command line → netd → netd/options → netd/daemon.
 *
 * @module
 */

import { Output } from "../devices/host/output.ts";
import { KernelError } from "../kernel/error.ts";
import { Daemon, isHostError } from "./netd/daemon.ts";
import { tellReady } from "./netd/life.ts";
import { checkDescriptors } from "./netd/descriptors.ts";
import { requireGuest } from "./netd/open_guest.ts";
import { NetdGiven } from "./netd/given.ts";
import { NETD } from "./netd/option_table.ts";
import { type NetdOptions, netdOptions } from "./netd/options.ts";
import { runTool } from "./options/given.ts";
import { ResolvFiles } from "./netd/resolv_files.ts";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
/** Sinks for lines. */
interface Outputs {
  readonly out: Output;
  readonly err: Output;
}

/** Runs until a signal, or the guest's end. */
async function run(options: NetdOptions, files: ResolvFiles, { out, err }: Outputs): Promise<void> {
  const say = (line: string) => options.quiet ? undefined : out.say(`netd: ${line}`);
  const warn = (line: string) => options.quiet ? undefined : err.say(`netd: warning: ${line}`);
  const signalled = Promise.withResolvers<string>();
  const onSignal = () => signalled.resolve("");
  for (const signal of SIGNALS) Deno.addSignalListener(signal, onSignal);
  try {
    requireGuest(options.guest);
    checkDescriptors(options);
    await using daemon = await Daemon.start(options, warn);
    daemon.say = say;
    for (const line of daemon.describe()) say(line);
    daemon.followNames(files, say);
    if (options.readyFd !== null) tellReady(options.readyFd);
    say("ready");
    const failed = daemon.host.reactor!.done.then(() => "the loop has stopped");
    const why = await Promise.race([signalled.promise, daemon.ended, failed]);
    if (why !== "") say(why);
  } finally {
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, onSignal);
  }
}

/**
 * Runs it even if its output cannot be written: the guest's network does not wait for a reader. Returns the exit
 * status.
 */
async function serve(options: NetdOptions, files: ResolvFiles): Promise<number> {
  using out = new Output(1, "standard output");
  using err = new Output(2, "standard error");
  out.onError = (error) => err.say(`netd: ${error.message}`);
  try {
    await run(options, files, { out, err });
    return 0;
  } catch (error) {
    if (!(error instanceof KernelError) && !isHostError(error)) throw error;
    err.say(`netd: ${error.message}`);
    return 1;
  }
}

/** Runs the tool; returns its exit status. */
async function main(args: readonly string[]): Promise<number> {
  return await runTool(NETD, () => new NetdGiven(args), async (given) => {
    try {
      const files = new ResolvFiles();
      return await serve(netdOptions(given, () => files.read()), files);
    } catch (error) {
      if (!(error instanceof KernelError || isHostError(error))) throw error;
      console.error(`netd: ${error.message}`);
      return 1;
    }
  });
}

if (import.meta.main) Deno.exit(await main(Deno.args));
