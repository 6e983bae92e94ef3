/**
 * netd: user-mode networking for a virtual machine or a network namespace: stands where passt, libslirp or slirp4netns
 * would.
 *
 * Path: command line → netd → netd/options → netd/daemon.
 *
 * @module
 */

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
/** Runs until a signal, or the guest's end. */
async function run(options: NetdOptions, files: ResolvFiles): Promise<void> {
  const say = (line: string) => options.quiet ? undefined : console.log(`netd: ${line}`);
  const warn = (line: string) => options.quiet ? undefined : console.error(`netd: warning: ${line}`);
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

/** Runs the tool; its exit status. */
export async function main(args: readonly string[]): Promise<number> {
  return await runTool(NETD, () => new NetdGiven(args), async (given) => {
    const files = new ResolvFiles();
    const options = netdOptions(given, () => files.read());
    try {
      await run(options, files);
      return 0;
    } catch (error) {
      if (!(error instanceof KernelError || isHostError(error))) throw error;
      console.error(`netd: ${error.message}`);
      return 1;
    }
  });
}

if (import.meta.main) Deno.exit(await main(Deno.args));
