/**
 * netd: user-mode networking for a virtual machine or a network namespace: stands where passt, libslirp or slirp4netns
 * would.
 *
 * Path: command line → netd → netd/options → netd/daemon.
 *
 * @module
 */

import { Output } from "../devices/host/output.ts";
import { KernelError } from "../kernel/error.ts";
import { Daemon, isHostError } from "./netd/daemon.ts";
import { tellReady } from "./netd/life.ts";
import { print, PrintError } from "./print.ts";
import { type NetdOptions, parseOptions, USAGE, UsageError } from "./netd/options.ts";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;
/** The second names the servers that systemd-resolved asks, which itself listens on the machine's loopback only. */
const RESOLV_CONFS = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/** The machine's name servers: those of the first file that has any that can be reached from elsewhere, or of none. */
function nameServers(): string[] {
  const found = RESOLV_CONFS.map(nameServersIn);
  return found.find((addrs) => addrs.some((addr) => !addr.startsWith("127."))) ?? found.flat();
}

function nameServersIn(path: string): string[] {
  try {
    const lines = Deno.readTextFileSync(path).split("\n");
    const addrs = lines.map((line) => /^nameserver\s+(\d+\.\d+\.\d+\.\d+)\s*$/.exec(line)?.[1]);
    return addrs.filter((addr) => addr !== undefined) as string[];
  } catch (error) {
    // Without the file, or the permission to read it, others are asked.
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable) return [];
    throw error;
  }
}

/** Runs until a signal, or the guest's end. */
async function run(options: NetdOptions, out: Output): Promise<void> {
  const say = (line: string) => options.quiet ? undefined : out.say(`netd: ${line}`);
  const signalled = Promise.withResolvers<string>();
  const onSignal = () => signalled.resolve("");
  for (const signal of SIGNALS) Deno.addSignalListener(signal, onSignal);
  try {
    await using daemon = await Daemon.start(options);
    daemon.onNews = say;
    for (const line of daemon.describe()) say(line);
    if (options.readyFd !== null) tellReady(options.readyFd);
    say("ready");
    const failed = daemon.host.reactor!.done.then(() => "the loop has stopped");
    const why = await Promise.race([signalled.promise, daemon.ended, failed]);
    if (why !== "") say(why);
  } finally {
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, onSignal);
  }
}

/** Runs it, whatever becomes of what is written: the guest's network does not wait for a reader. The exit status. */
async function serve(options: NetdOptions): Promise<number> {
  using out = new Output(1, "standard output");
  using err = new Output(2, "standard error");
  out.onError = (error) => err.say(`netd: ${error.message}`);
  try {
    await run(options, out);
    return 0;
  } catch (error) {
    if (!(error instanceof KernelError) && !isHostError(error)) throw error;
    err.say(`netd: ${error.message}`);
    return 1;
  }
}

/** Runs the tool; its exit status. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(args, nameServers);
    if (options !== null) return await serve(options);
    print(USAGE.trimEnd());
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`netd: ${error.message}\nTry "deno task netd --help".`);
      return 2;
    }
    if (error instanceof PrintError || isHostError(error)) {
      console.error(`netd: ${error.message}`);
      return 1;
    }
    throw error;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
