/**
 * utcp: a TCP in a user program, over one bypassed port of a live stack, echoing to every caller.
 *
 * Path: utcp → boot, utcp/echo, libc, tun.
 *
 * @module
 */

import { HostError } from "../devices/host/libc.ts";
import type { TapPort, TunPort } from "../devices/host/tun.ts";
import { KernelError } from "../kernel/error.ts";
import { boot, type Host } from "./boot/boot.ts";
import { startUtcpEcho, type UtcpEcho } from "./utcp/echo.ts";
import { Given, runTool } from "./options/given.ts";
import { UTCP, type UtcpOptions, utcpOptions } from "./utcp/options.ts";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

async function bootHost(options: UtcpOptions): Promise<Host> {
  const { wire, address, peer, device, netns, offload } = options;
  const linux = {
    address: peer,
    offload,
    ...(device === null ? {} : { name: device }),
    ...(netns === null ? {} : { netns }),
  };
  return await boot({ wire, address, linux });
}

/** Runs until a signal. */
async function run(options: UtcpOptions): Promise<void> {
  const say = (line: string) => options.quiet ? undefined : console.log(`utcp: ${line}`);
  const signalled = Promise.withResolvers<void>();
  for (const signal of SIGNALS) Deno.addSignalListener(signal, signalled.resolve);
  try {
    await using host = await bootHost(options);
    const echo = await startUtcpEcho(host.spawn("utcp"), options.port);
    const { name, netns } = host.port as TapPort | TunPort;
    say(
      `echoes at tcp port ${options.port} of ${host.address}, by ${name}${netns === null ? "" : ` in ${netns.path}`}`,
    );
    await Promise.race([signalled.promise, echo.done, host.reactor!.done]);
    say(summary(echo));
    await echo.stop();
  } finally {
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, signalled.resolve);
  }
}

function summary(echo: UtcpEcho): string {
  const { packetsIn, packetsOut, refused } = echo.stack.counters;
  const refusals = Object.entries(refused).map(([errno, count]) => `, ${count} refused (${errno})`).join("");
  return `${echo.connections} connections, ${echo.failed} failed, ${echo.bytes} bytes; ` +
    `${packetsIn} packets in, ${packetsOut} out${refusals}`;
}

async function main(args: readonly string[]): Promise<number> {
  return await runTool(UTCP, () => new Given(UTCP, args), async (given) => {
    const options = utcpOptions(given);
    try {
      await run(options);
      return 0;
    } catch (error) {
      const isOurs = error instanceof HostError || error instanceof KernelError;
      if (!isOurs && !(error instanceof Deno.errors.NotCapable)) throw error;
      console.error(`utcp: ${error.message}`);
      return 1;
    }
  });
}

if (import.meta.main) Deno.exit(await main(Deno.args));
