/**
 * natctl: queries and controls a running NAT by the socket of netd's `--api-socket`: forwards, maps, counters.
 *
 * Path: natctl → print, options/given, options/option_table.
 *
 * @module
 */

import { Given, runTool, UsageError } from "./options/given.ts";
import type { ToolTable } from "./options/option_table.ts";
import { print, PrintError } from "./print.ts";

const NATCTL: ToolTable = {
  name: "natctl",
  command: "deno task natctl",
  synopsis: "--socket PATH [--json] COMMAND",
  about: `Sends a command to a running netd.

  add SPEC          forward a port: tcp|udp:[addr:]hostport[-hostport]:guestport, or QEMU's hostfwd=
  remove SPEC       remove a forward, in the form in which it was added
  list              forwards, with packets in and out
  maps [PROTO]      ports of guests behind ports of the host
  stats             counters
  leases            addresses leased by DHCP
  show              destinations that guests reach, and exposed ports
  help              the commands`,
  groups: [[
    { name: "socket", value: "PATH", help: "the socket of netd (its --api-socket)" },
    { name: "json", help: "print the answer as JSON" },
  ]],
  takesWords: true,
  after: "Exit status: 0 on success, 1 if netd refused or does not answer, 2 for a bad option.",
};

/** Time limit of an answer. */
const LIMIT_MS = 5000;

/** There is no answer. */
class SocketError extends Error {}

interface NatctlOptions {
  readonly socket: string;
  readonly json: boolean;
  readonly command: string;
}

/** Parses the command line. Throws UsageError. */
function optionsOf(given: Given): NatctlOptions {
  const socket = given.text("socket");
  if (socket === null) throw new UsageError("Want --socket PATH");
  const { words } = given;
  if (words.length === 0) throw new UsageError("Want a command");
  if (words.some((word) => /[\s'{]/.test(word))) throw new UsageError(`Bad command "${words.join(" ")}"`);
  return { socket, json: given.flag("json"), command: words.join(" ") };
}

/** Sends the command, and reads to the end. Throws {@link SocketError}. */
async function ask(socket: string, command: string): Promise<string> {
  try {
    return await talk(socket, command);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const isLate = error.name === "TimeoutError";
    throw new SocketError(`Cannot ask ${socket}: ${isLate ? `no answer in ${LIMIT_MS / 1000} s` : error.message}`);
  }
}

async function talk(socket: string, command: string): Promise<string> {
  using conn = await Deno.connect({ transport: "unix", path: socket });
  const writer = conn.writable.getWriter();
  await writer.write(new TextEncoder().encode(`${command}\n`));
  await conn.closeWrite();
  let text = "";
  const options = { signal: AbortSignal.timeout(LIMIT_MS) };
  for await (const part of conn.readable.pipeThrough(new TextDecoderStream(), options)) text += part;
  return text;
}

/** Sends the command and prints the answer; returns the exit status. */
async function run({ socket, json, command }: NatctlOptions): Promise<number> {
  try {
    const answer = (await ask(socket, json ? `json ${command}` : command)).trimEnd();
    const isOk = json ? answer.startsWith('{"ok":true') : answer === "ok" || answer.startsWith("ok\n");
    const text = json || !isOk ? answer : answer.slice("ok".length).trimStart();
    if (!isOk && !json) console.error(`natctl: ${text === "" ? "no answer" : text.replace(/^error: /, "")}`);
    else if (text !== "") print(text);
    return isOk ? 0 : 1;
  } catch (error) {
    if (!(error instanceof SocketError) && !(error instanceof PrintError)) throw error;
    console.error(`natctl: ${error.message}`);
    return 1;
  }
}

/** Runs the tool; returns its exit status. */
async function main(args: readonly string[]): Promise<number> {
  return await runTool(NATCTL, () => new Given(NATCTL, args), (given) => run(optionsOf(given)));
}

if (import.meta.main) Deno.exit(await main(Deno.args));
