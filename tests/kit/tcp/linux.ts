/**
 * Our TCP with Linux' own as its neighbour, and what tests of the two need: servers on the host, tools on Linux' side,
 * and the proof that nothing is left.
 *
 *     await using lab = await openTcpLab();
 *     lab.serve(80, (call) => …);
 *     await lab.mustRun(["curl", `http://${HOST}/`]);
 *
 * @module
 */

import { assert, assertEquals, fail } from "@std/assert";
import type { CableFaults } from "../../../devices/ether/cable_faults.ts";
import type { Netns } from "../../../devices/host/netns.ts";
import { openTap, type TapPort } from "../../../devices/host/tun.ts";
import type { IpStack } from "../../../devices/ip/ip_stack.ts";
import { type Conversation, hangUp, listen } from "../../../kernel/dial.ts";
import { KernelError } from "../../../kernel/error.ts";
import type { Proc } from "../../../kernel/proc.ts";
import { Open } from "../../../kernel/qid.ts";
import { boot, type Host } from "../../../tools/boot/boot.ts";
import type { PortObserver } from "../../../tools/boot/observe_port.ts";
import { FaultyPort } from "../ip/faulty_port.ts";
import { DEVICE, HOST, LINUX, runTool, type ToolOptions, type ToolResult } from "../host/linux.ts";

/** Bytes that are moved in one call. */
export const CHUNK = 1 << 18;
/** How long a server of Linux may take until it listens, and a host until it is idle, in milliseconds. */
const PATIENCE_MS = 5000;
/** Bytes that never block their writer in a writable pipe: socat would wait for itself. */
export const PIPE_BUF = "4096";
const MS_BETWEEN_LOOKS = 5;
const SEED = 3;
/** A lab that stays longer is ended, and reports what it held: a test that hangs reports nothing. */
const LAB_LIMIT_MS = Deno.env.has("AKARINO_FUZZ") ? 600_000 : 40_000;

/** How the two are connected. */
export interface TcpLabOptions {
  /** 64 KiB segments cross whole, their checksums owed. */
  readonly offload?: boolean;
  /** Faults of the wire, both ways. */
  readonly faults?: Partial<CableFaults>;
  /** Sees every frame. */
  readonly observe?: PortObserver;
  /** Where packets for strangers go. */
  readonly gateway?: string;
}

/** Connections and timers of a host. */
export interface Holdings {
  /** Conversations in use or lingering. */
  readonly conversations: number;
  readonly synQueue: number;
  readonly timers: number;
}

/** A host and Linux. */
export class TcpLab implements AsyncDisposable {
  readonly netns: Netns;
  readonly proc: Proc;
  /** An error of a server. */
  readonly serverErrors: string[] = [];
  readonly #servers: Promise<void>[] = [];
  readonly #limit: ReturnType<typeof setTimeout>;
  #isOpen = true;

  /** For {@link openTcpLab}. */
  constructor(readonly host: Host, readonly tap: TapPort, readonly wire: FaultyPort | null) {
    this.netns = tap.netns!;
    this.proc = host.spawn("lab");
    this.#limit = setTimeout(() => this.#abandon(), LAB_LIMIT_MS);
  }

  /** Ends every call that sleeps. */
  #abandon(): void {
    const proto = this.stack.protoNamed("tcp")!;
    const busy = this.stack.space(proto).convs.filter((conv) => conv.inUse > 0);
    this.serverErrors.push(`not done after ${LAB_LIMIT_MS} ms: ${busy.slice(0, 5).map((conv) => proto.status(conv))}`);
    this.proc.exit();
  }

  get stack(): IpStack {
    return this.host.ip.stack(0);
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

  /** Sets `net.ipv4.NAME` on Linux' side. */
  async sysctl(name: string, value: number): Promise<void> {
    await this.mustRun(["sh", "-c", `echo ${value} > /proc/sys/net/ipv4/${name}`]);
  }

  /** Runs `work` with a server on Linux' side, which is ended afterwards. */
  async withServer<T>(command: readonly string[], work: (child: Deno.ChildProcess) => Promise<T>): Promise<T> {
    const child = new Deno.Command("nsenter", {
      args: [`--net=${this.netns.path}`, ...command],
      env: { LC_ALL: "C" },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      return await work(child);
    } finally {
      terminate(child);
      await child.status;
    }
  }

  /** Takes calls at `port` of the host until the lab closes; every call gets its own run of `work`. */
  async serve(port: number, work: (call: Conversation) => Promise<void>, ...ctl: string[]): Promise<void> {
    const server = await this.announce(port, ...ctl);
    this.#servers.push(this.#accept(server, work));
  }

  async #accept(server: Conversation, work: (call: Conversation) => Promise<void>): Promise<void> {
    const calls = new Set<Promise<void>>();
    while (this.#isOpen) {
      const call = await listen(this.proc, server).catch((error) => this.#forgive(error));
      if (call === null) break;
      const done = work(call).catch((error) => void this.#forgive(error)).finally(() => this.close(call));
      calls.add(done);
      done.finally(() => calls.delete(done));
    }
    await Promise.all(calls);
  }

  /** The end of the lab ends its servers. */
  #forgive(error: unknown): null {
    if (this.#isOpen) this.serverErrors.push(String(error));
    return null;
  }

  /** Announces `port`, after `ctl` commands that calls inherit. */
  announce(port: number, ...ctl: string[]): Promise<Conversation> {
    return this.#converse([...ctl, `announce ${port}`]);
  }

  /** The next call at `server`. */
  accept(server: Conversation): Promise<Conversation> {
    return listen(this.proc, server);
  }

  /** Connects to `port` of Linux, where a server may be just about to listen. */
  async dial(port: number, ...ctl: string[]): Promise<Conversation> {
    const end = performance.now() + PATIENCE_MS;
    while (true) {
      try {
        return await this.#converse([...ctl, `connect ${LINUX}!${port}`]);
      } catch (error) {
        const isRefused = error instanceof KernelError && error.code === "ECONNREFUSED";
        if (!isRefused || performance.now() > end) throw error;
        await sleep(MS_BETWEEN_LOOKS);
      }
    }
  }

  async #converse(commands: readonly string[]): Promise<Conversation> {
    const { proc } = this;
    const ctl = await proc.open("/net/tcp/clone", Open.ReadWrite);
    try {
      const buf = new Uint8Array(16);
      const dir = `/net/tcp/${new TextDecoder().decode(buf.subarray(0, await proc.read(ctl, buf)))}`;
      for (const command of commands) await proc.write(ctl, command);
      return { dir, ctl, data: await proc.open(`${dir}/data`, Open.ReadWrite), port: 0 };
    } catch (error) {
      proc.sys.close(ctl);
      throw error;
    }
  }

  /** Closes both descriptors, if they are still open. */
  close(conv: Conversation): void {
    if (this.proc.fds.has(conv.data)) hangUp(this.proc, conv);
  }

  /** Says that nothing more is sent. */
  async closeWrite(conv: Conversation): Promise<void> {
    await this.proc.write(conv.ctl, "shutdown wr");
  }

  /** Writes all of `bytes`. */
  async write(conv: Conversation, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.proc.write(conv.data, bytes.subarray(at));
  }

  /** Reads exactly `count` bytes. */
  async read(conv: Conversation, count: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count;) {
      const got = await this.proc.read(conv.data, bytes.subarray(at));
      assert(got > 0, `the end after ${at} of ${count} bytes`);
      at += got;
    }
    return bytes;
  }

  /** Reads to the end. */
  async readAll(conv: Conversation): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    const buf = new Uint8Array(CHUNK);
    for (let got = 0; (got = await this.proc.read(conv.data, buf)) > 0;) chunks.push(buf.slice(0, got));
    return new Uint8Array(await new Blob(chunks as Uint8Array<ArrayBuffer>[]).arrayBuffer());
  }

  /** Words of the status line: `srtt` → `12`. */
  async status(conv: Conversation): Promise<Map<string, string>> {
    const [state, ...words] = (await this.proc.readText(`${conv.dir}/status`)).trim().split(" ");
    const status = new Map([["state", state!]]);
    for (let i = 0; i + 1 < words.length; i += 2) status.set(words[i]!, words[i + 1]!);
    return status;
  }

  /** The numbers of `/net/tcp/stats`. */
  async stats(): Promise<Record<string, number>> {
    const lines = (await this.proc.readText("/net/tcp/stats")).trim().split("\n");
    return Object.fromEntries(lines.map((line) => line.split(": ")).map(([name, value]) => [name!, Number(value)]));
  }

  /** The resources that the host holds now. */
  holdings(): Holdings {
    const proto = this.stack.protoNamed("tcp")!;
    const space = this.stack.space(proto);
    const synQueue = (proto as unknown as { synQueue: { length: number } }).synQueue.length;
    const conversations = space.convs.filter((conv) => !space.isFree(conv)).length;
    return { conversations, synQueue, timers: this.host.clock.timerCount };
  }

  /** Waits until the host holds no more than `before`. */
  async settle(before: Holdings): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    for (let now = this.holdings(); !isWithin(now, before); now = this.holdings()) {
      if (performance.now() > end) fail(`left: ${JSON.stringify(now)}, before: ${JSON.stringify(before)}`);
      await sleep(MS_BETWEEN_LOOKS);
    }
  }

  /** Ends it. No server may have failed, and Linux may have found nothing wrong with our segments. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#limit);
    const snmp = await this.run(["cat", "/proc/net/snmp"]);
    this.#isOpen = false;
    await this.host.close();
    await Promise.all(this.#servers);
    assertEquals(this.serverErrors, []);
    if (this.wire === null) assertEquals(badSegments(snmp.text), "0 0");
  }
}

function terminate(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGTERM");
  } catch (error) {
    // It had ended by itself.
    if (!(error instanceof TypeError)) throw error;
  }
}

function isWithin(now: Holdings, before: Holdings): boolean {
  return now.conversations <= before.conversations && now.synQueue <= before.synQueue && now.timers <= before.timers;
}

/** Packets that Linux counted as malformed, and as having a bad checksum. */
function badSegments(snmp: string): string {
  const [names, values] = snmp.split("\n").filter((line) => line.startsWith("Tcp:")).map((line) => line.split(" "));
  return ["InErrs", "InCsumErrors"].map((name) => values![names!.indexOf(name)]).join(" ");
}

/** A host at {@link HOST} on a new TAP device whose other end, {@link LINUX}, is Linux. */
export async function openTcpLab(options: TcpLabOptions = {}): Promise<TcpLab> {
  const { offload = false, faults, observe, gateway } = options;
  const linux = { netns: "new", address: `${LINUX}/24`, name: DEVICE, offload };
  const common = {
    wire: "tap" as const,
    address: `${HOST}/24`,
    ...(observe === undefined ? {} : { observe }),
    ...(gateway === undefined ? {} : { gateway }),
  };
  if (faults === undefined) {
    const host = await boot({ ...common, linux });
    return new TcpLab(host, host.port as TapPort, null);
  }
  const tap = openTap(linux);
  const port = new FaultyPort(tap);
  const host = await boot({ ...common, port });
  host.reactor!.add(tap);
  port.start(host.clock, SEED, faults);
  const lab = new TcpLab(host, tap, port);
  await knowEachOther(lab);
  return lab;
}

/** ARP has no checksum: a flipped bit would teach a wrong address. */
async function knowEachOther(lab: TcpLab): Promise<void> {
  const ours = macText(lab.tap.mac);
  await lab.mustRun(["ip", "neigh", "replace", HOST, "lladdr", ours, "dev", DEVICE, "nud", "permanent"]);
  await lab.proc.writeText("/net/arp", `add ether ${LINUX} ${macText(lab.tap.device.mac)}`);
}

function macText(mac: Uint8Array): string {
  return mac.toHex().match(/../g)!.join(":");
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
