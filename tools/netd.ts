/**
 * netd: user-mode networking for a virtual machine, a network namespace or a command, in the place of passt, libslirp
 * or slirp4netns.
 *
 * Path: command line → netd → netd/options, own_namespace; netd → netd/daemon.
 *
 * @module
 */

import { Output } from "../devices/host/output.ts";
import { KernelError } from "../kernel/error.ts";
import { Daemon, isHostError, NAP_MS } from "./netd/daemon.ts";
import { ProcessEnd, tellReady } from "./netd/life.ts";
import { checkDescriptors } from "./netd/descriptors.ts";
import { findFreeNetwork } from "./netd/machine.ts";
import { requireGuest } from "./netd/open_guest.ts";
import { NetdGiven } from "./netd/given.ts";
import { NETD, NETD_RUN } from "./netd/option_table.ts";
import { type GuestChoice, type NetdOptions, netdOptions } from "./netd/options.ts";
import { OwnNamespace } from "./netd/own_namespace.ts";
import { runTool } from "./options/given.ts";
import { ResolvFiles } from "./netd/resolv_files.ts";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
/** Sinks for lines. */
interface Outputs {
  readonly out: Output;
  readonly err: Output;
}

/** What a run is made from. */
interface Run {
  readonly options: NetdOptions;
  readonly files: ResolvFiles;
}

/** Runs until a signal, or the guest's end. */
async function run({ options, files }: Run, { out, err }: Outputs): Promise<void> {
  const say = (line: string) => options.quiet ? undefined : out.say(`netd: ${line}`);
  const warn = (line: string) => options.quiet ? undefined : err.say(`netd: warning: ${line}`);
  const signalled = Promise.withResolvers<string>();
  const onSignal = () => signalled.resolve("");
  for (const signal of SIGNALS) Deno.addSignalListener(signal, onSignal);
  try {
    requireGuest(options.guest);
    checkDescriptors(options);
    await using daemon = await Daemon.start(options, { warn, napMs: NAP_MS });
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
async function serve(from: Run): Promise<number> {
  using out = new Output(1, "standard output");
  using err = new Output(2, "standard error");
  out.onError = (error) => err.say(`netd: ${error.message}`);
  try {
    await run(from, { out, err });
    return 0;
  } catch (error) {
    if (!(error instanceof KernelError) && !isHostError(error)) throw error;
    err.say(`netd: ${error.message}`);
    return 1;
  }
}

/** Runs the command in `namespace`, whose network netd is; returns its exit status. */
async function runCommand(
  { options, files }: Run,
  namespace: OwnNamespace,
  command: readonly string[],
): Promise<number> {
  using err = new Output(2, "standard error");
  const warn = (line: string) => options.quiet ? undefined : err.say(`netd: warning: ${line}`);
  await using daemon = await Daemon.start(options, { warn, napMs: NAP_MS });
  daemon.say = warn;
  for (const line of daemon.program.nat.refusedForwards()) warn(line);
  daemon.followNames(files, () => {});
  // The terminal sends the command its own SIGINT; it decides what that ends.
  const ignore = () => {};
  const pass = () => namespace.signal("SIGTERM");
  Deno.addSignalListener("SIGINT", ignore);
  Deno.addSignalListener("SIGTERM", pass);
  try {
    const failed = daemon.host.reactor!.done.then(() => Promise.reject(new Error("The loop has stopped")));
    // The loop hears of the command's end at once: else a wait of its polls might come first.
    const started = (pid: number) => {
      const end = ProcessEnd.of(`/proc/${pid}/`, () => {});
      if (end !== null) daemon.host.reactor!.add(end);
    };
    return await Promise.race([namespace.run(command, daemon.resolvConf(), started), failed]);
  } finally {
    Deno.removeSignalListener("SIGINT", ignore);
    Deno.removeSignalListener("SIGTERM", pass);
  }
}

/** `netd run`; returns its exit status. */
async function mainRun(args: readonly string[]): Promise<number> {
  const end = args.includes("--") ? args.indexOf("--") : args.length;
  return await runTool(NETD_RUN, () => new NetdGiven(args.slice(0, end), NETD_RUN), (given) =>
    guarded(async () => {
      const files = new ResolvFiles();
      // Options are checked before anything is made.
      netdOptions(given, () => files.read(), { guest: guestAt(0) });
      await using namespace = await OwnNamespace.make();
      const options = netdOptions(given, () => files.read(), {
        guest: guestAt(namespace.pid),
        freeNetwork: findFreeNetwork,
      });
      return await runCommand({ options, files }, namespace, args.slice(end + 1));
    }));
}

/** A guest in the namespace of a process, set up at once. */
function guestAt(pid: number): GuestChoice {
  return { kind: "netns", netns: `${pid}`, userns: null, device: "tap0", mac: null, configure: true };
}

/** Runs `work`; errors of the machine are reported, with status 1. */
async function guarded(work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof KernelError || isHostError(error))) throw error;
    console.error(`netd: ${error.message}`);
    return 1;
  }
}

/** Runs the tool; returns its exit status. */
async function main(args: readonly string[]): Promise<number> {
  if (args[0] === "run") return await mainRun(args.slice(1));
  return await runTool(NETD, () => new NetdGiven(args), (given) =>
    guarded(async () => {
      const files = new ResolvFiles();
      return await serve({ options: netdOptions(given, () => files.read(), { freeNetwork: findFreeNetwork }), files });
    }));
}

if (import.meta.main) Deno.exit(await main(Deno.args));
