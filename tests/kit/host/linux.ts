/**
 * A host on a TAP or TUN device with Linux as its neighbour, for tests that let Linux' own tools try it:
 *
 *     await using lab = await openLab("tap");
 *     const { text } = await lab.run(["ping", "-c", "1", HOST]);
 *     const refused = await lab.refusals(() => lab.run(["hping3", "--badcksum", …]));
 *
 * Device and tools live in a network namespace that the lab makes; no packet leaves it. Programs that echo run on the
 * host: UDP on {@link ECHO_PORT}, bypassed UDP on {@link BYPASS_PORT}, bypassed pings with {@link BYPASS_PING_ID}.
 *
 * @module
 */

import { assert, assertEquals, fail } from "@std/assert";
import type { Netns } from "../../../devices/host/netns.ts";
import type { TapPort, TunPort } from "../../../devices/host/tun.ts";
import { KernelError } from "../../../kernel/error.ts";
import type { Proc } from "../../../kernel/proc.ts";
import { Open } from "../../../kernel/qid.ts";
import { boot, type Host } from "../../../tools/boot/boot.ts";
import { bypassPing, bypassUdpEcho, udpEcho } from "../../../tools/scenario/programs.ts";
import type { Need } from "../check/skip.ts";

/** Linux' address and the host's. */
export const LINUX = "10.99.0.1";
export const HOST = "10.99.0.2";
/** Name of Linux' end of the wire. */
export const DEVICE = "aka0";
export const ECHO_PORT = 7;
export const BYPASS_PORT = 7070;
export const BYPASS_PING_ID = 22136;

/** Needs of every lab, and the tools `names`. */
export function labNeeds(...names: string[]): Need[] {
  return ["root", "tun", "netns", "ffi", "tool:nsenter", ...names.map((name): Need => `tool:${name}`)];
}

/** Longest that a tool may run, in milliseconds, before it is ended. */
const TOOL_LIMIT_MS = 20_000;
/** Counters that keep still for so long have settled, in milliseconds. */
const SETTLE_MS = 10;

/** How a tool ended. */
export interface ToolResult {
  readonly code: number;
  /** Its standard output. */
  readonly bytes: Uint8Array;
  /** Its output, both streams. */
  readonly text: string;
}

/** How a tool is run. */
export interface ToolOptions {
  /** Its input; default none. */
  stdin?: Uint8Array;
  /** How long it may run, in milliseconds. */
  limitMs?: number;
}

/** Runs a tool inside `netns` and waits for its end. A tool that takes too long is killed, and is an error. */
export async function runTool(
  netns: Netns,
  command: readonly string[],
  options: ToolOptions = {},
): Promise<ToolResult> {
  const { stdin, limitMs = TOOL_LIMIT_MS } = options;
  // nsenter becomes the tool: killing the child ends the tool itself.
  const child = new Deno.Command("nsenter", {
    args: [`--net=${netns.path}`, ...command],
    env: { LC_ALL: "C" },
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let late = false;
  const limit = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, limitMs);
  try {
    const [{ code, stdout, stderr }] = await Promise.all([
      child.output(),
      stdin === undefined ? null : feed(child.stdin, stdin),
    ]);
    const decoder = new TextDecoder();
    const text = decoder.decode(stdout) + decoder.decode(stderr);
    if (late) throw new Error(`"${command.join(" ")}" was not done after ${limitMs} ms:\n${text}`);
    return { code, bytes: stdout, text };
  } finally {
    clearTimeout(limit);
  }
}

async function feed(stdin: WritableStream<Uint8Array<ArrayBuffer>>, bytes: Uint8Array): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(bytes as Uint8Array<ArrayBuffer>);
    await writer.close();
  } catch (error) {
    // The tool did not read all of it: its output shows why.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** Counters of traffic and sums of others: every other line of a stats file counts refusals. */
const TRAFFIC: ReadonlySet<string> = new Set([
  ...["Forwarding", "DefaultTTL", "InReceives", "InHdrErrors", "InAddrErrors", "ForwDatagrams", "InDiscards"],
  ...["InDelivers", "OutRequests", "OutDiscards", "ReasmTimeout", "ReasmReqds", "ReasmOKs", "ReasmFails", "FragOKs"],
  ...["FragCreates", "InMsgs", "OutMsgs", "OutErrors", "InErrors", "InDatagrams", "OutDatagrams", "InBypassed"],
  ...["in", "out", "link", "prom", "mbps", "mtu"],
  // What is held now, and its limit: no counters.
  ...["Memory", "MemoryMax"],
]);

/** A host, the programs on it, and the tools that try it. */
export class Lab implements AsyncDisposable {
  /** Why a program ended early. */
  readonly programErrors: string[] = [];
  readonly port: TapPort | TunPort;
  readonly netns: Netns;
  /** Whether Linux' own IPv6 packets reach the stack: a TUN has no type field to distinguish them. */
  hearsIpv6: boolean;
  readonly #reader: Proc;

  /** For {@link openLab}. */
  constructor(readonly host: Host) {
    this.port = host.port as TapPort | TunPort;
    this.netns = this.port.netns!;
    this.hearsIpv6 = this.port.kind === "packet";
    this.#reader = host.spawn("reader");
    this.#start(udpEcho(host.spawn("udp-echo"), ECHO_PORT));
    this.#start(bypassUdpEcho(host.spawn("bypass-echo"), BYPASS_PORT));
    this.#start(bypassPing(host.spawn("bypass-ping"), BYPASS_PING_ID));
  }

  #start(program: Promise<void>): void {
    program.catch((error) => {
      // The end of the host ends its programs.
      const isEnd = error instanceof KernelError && (error.code === "EINTR" || error.code === "EBADF");
      if (!isEnd) this.programErrors.push(String(error));
    });
  }

  /** Runs a tool on Linux' side. */
  run(command: readonly string[], options: ToolOptions = {}): Promise<ToolResult> {
    return runTool(this.netns, command, options);
  }

  /** Runs a tool that must succeed; returns its output. */
  async mustRun(command: readonly string[], options: ToolOptions = {}): Promise<string> {
    const { code, text } = await this.run(command, options);
    assertEquals(code, 0, `${command.join(" ")}: ${text}`);
    return text;
  }

  /** The text of a file of the host. */
  text(path: string): Promise<string> {
    return this.#reader.readText(path);
  }

  /** Writes a command to a file of the host. */
  command(path: string, text: string): Promise<void> {
    return this.#reader.writeText(path, text);
  }

  /**
   * Every number of the stats files, as `udp.NoPorts`; a type of ICMP message has two, `icmp.EchoRequest.in` and
   * `icmp.EchoRequest.out`.
   */
  async counters(): Promise<Map<string, number>> {
    const values = new Map<string, number>();
    for (const table of ["ipifc", "icmp", "udp", ...(this.port.kind === "frame" ? ["ether0"] : [])]) {
      for (const line of (await this.text(`/net/${table}/stats`)).split("\n")) {
        const found = /^([\w ]+): (\d+)(?: (\d+))?$/.exec(line);
        if (found === null) continue;
        const [, name, first, second] = found;
        values.set(second === undefined ? `${table}.${name}` : `${table}.${name}.in`, Number(first));
        if (second !== undefined) values.set(`${table}.${name}.out`, Number(second));
      }
    }
    return values;
  }

  /** By how much `work` and what follows from it raised each counter that it raised at all. */
  async raised(work: () => Promise<unknown>): Promise<Record<string, number>> {
    const before = await this.counters();
    await work();
    const after = await this.#settled();
    const changes = [...after].map(([name, value]) => [name, value - (before.get(name) ?? 0)] as const);
    return Object.fromEntries(changes.filter(([, change]) => change !== 0));
  }

  /** As {@link raised}, but only counters of refusals. */
  async refusals(work: () => Promise<unknown>): Promise<Record<string, number>> {
    const raised = await this.raised(work);
    if (this.hearsIpv6) delete raised["ipifc.InBadVersion"];
    return Object.fromEntries(Object.entries(raised).filter(([name]) => isRefusal(name)));
  }

  async #settled(): Promise<Map<string, number>> {
    for (let last = await this.counters();;) {
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
      const now = await this.counters();
      if ([...now].every(([name, value]) => last.get(name) === value)) return now;
      last = now;
    }
  }

  /** Ends it; nothing of it may be left, no program may have failed, and Linux may have found nothing wrong with us. */
  async close(): Promise<void> {
    const held = await targetOf(this.netns.path);
    const snmp = await this.run(["cat", "/proc/net/snmp"]).finally(() => this.host.close());
    assertEquals(this.programErrors, []);
    assertEquals(linuxErrors(snmp.text), {});
    // The number of a closed descriptor may be another one's by now.
    assert(await targetOf(this.netns.path) !== held, `${this.netns.path}, ${held}, is left`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** What a link of /proc leads to; empty: there is none. */
async function targetOf(path: string): Promise<string> {
  const { stdout } = await new Deno.Command("readlink", { args: [path], stderr: "null" }).output();
  return new TextDecoder().decode(stdout).trim();
}

/** A type of ICMP message has two numbers, by direction: traffic as well. */
function isRefusal(name: string): boolean {
  const [, counter, direction] = name.split(".");
  return direction === undefined && !TRAFFIC.has(counter!);
}

/** Packets that Linux counted as malformed: its own view of our packets (/proc/net/snmp, RFC 1213 names). */
function linuxErrors(snmp: string): Record<string, number> {
  const wanted = new Set(["Ip.InHdrErrors", "Icmp.InCsumErrors", "Udp.InCsumErrors", "Udp.InErrors", "Ip.ReasmFails"]);
  const lines = snmp.split("\n").map((line) => line.trim().split(/\s+/));
  const errors: Record<string, number> = {};
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const table = lines[i]![0]!.slice(0, -1);
    lines[i]!.slice(1).forEach((name, column) => {
      const value = Number(lines[i + 1]![column + 1]);
      if (wanted.has(`${table}.${name}`) && value !== 0) errors[`${table}.${name}`] = value;
    });
  }
  return errors;
}

/** A host at {@link HOST} on a new device whose other end, {@link LINUX}, is Linux. */
export async function openLab(wire: "tap" | "tun"): Promise<Lab> {
  const linux = { netns: "new", address: `${LINUX}/24`, name: DEVICE };
  const host = await boot({ wire, address: `${HOST}/24`, linux });
  return new Lab(host);
}

/** Gives the host one more interface; answers its number. */
export async function addInterface(lab: Lab, medium: string, address: string): Promise<string> {
  const proc = lab.host.spawn("setup");
  const ctl = await proc.open("/net/ipifc/clone", Open.ReadWrite);
  const buf = new Uint8Array(16);
  const number = new TextDecoder().decode(buf.subarray(0, await proc.read(ctl, buf)));
  const [addr, length] = address.split("/");
  await proc.write(ctl, `bind ${medium}`);
  await proc.write(ctl, `add ${addr} /${length}`);
  proc.exit();
  return number;
}

/** The number behind which `text` says `packets received` or the like: `(\d+) WHAT`. */
export function numberBefore(text: string, what: string): number {
  return Number(new RegExp(`(\\d+) ${what}`).exec(text)?.[1] ?? fail(`No number before "${what}" in: ${text}`));
}

/**
 * A command that connects by TCP to the address and port that follow, reads, and prints how that failed: a refusal and
 * a reset stay apart, while curl takes a reset that comes before it looks at its new connection for a refusal.
 */
export const READ_BY_TCP: readonly string[] = [
  "/usr/bin/python3",
  "-c",
  "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).recv(1)",
];
