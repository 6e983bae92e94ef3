/**
 * netd as its users start it, between a world and a guest that are network namespaces of the test's own:
 *
 *     await using lab = await openNetdLab({ options: ["--forward", "tcp:8000:8080"] });
 *     await lab.guestMust("ping", "-c", "1", WORLD);
 *
 * ```
 *   guest namespace ─tap0─ netd ─aka0─ world namespace (10.99.0.1; 198.51.100.1 behind it)
 * ```
 *
 * In both namespaces runs tests/kit/netd/peer.ts. No packet leaves them.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { createNetns, type Netns } from "../../../devices/host/netns.ts";
import { labNeeds, runTool, type ToolOptions, type ToolResult } from "../host/linux.ts";
import type { Need } from "../check/skip.ts";
import { ROOT } from "../check/tree.ts";

/** The host kernel's address on the uplink, Linux' own, and one that lies behind it. */
export const UPLINK = "10.99.0.2";
export const PEER = "10.99.0.1";
export const WORLD = "198.51.100.1";
/** An unused address of the world. */
export const DEAD = "10.99.0.77";
/** The guest where netd gives it its address, and the first that DHCP gives. */
export const GUEST = "10.0.2.100";
export const LEASE = "10.0.2.15";
export const ROUTER = "10.0.2.2";
export const NAME_SERVER = "10.0.2.3";

/** Longest that a program of ours may take to be ready, in milliseconds. */
const READY_LIMIT_MS = 20_000;

/** Needs of every lab, and the tools `names`. */
export function netdNeeds(...names: string[]): Need[] {
  return labNeeds("ip", ...names);
}

/** A child with its output, once it is ready. */
export class Child {
  readonly status: Promise<Deno.CommandStatus>;
  text = "";
  readonly #child: Deno.ChildProcess;
  readonly #drained: Promise<unknown>;
  #heard: () => void = () => {};

  constructor(program: string, args: readonly string[]) {
    this.#child = new Deno.Command(program, {
      args: [...args],
      cwd: ROOT,
      env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.status = this.#child.status;
    this.#drained = Promise.all([this.#drain(this.#child.stdout), this.#drain(this.#child.stderr)]);
  }

  async #drain(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const part of stream.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)) {
      this.text += part;
      this.#heard();
    }
    this.#heard();
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Waits until it has written `line`. */
  async until(line: string): Promise<void> {
    const heard = new Promise<void>((resolve) => {
      this.#heard = () => this.text.includes(line) ? resolve() : undefined;
      this.#heard();
    });
    const limit = Promise.withResolvers<never>();
    const timer = setTimeout(() => limit.reject(new Error(`No "${line}" from: ${this.text}`)), READY_LIMIT_MS);
    const ended = this.#drained.then(() => {
      if (!this.text.includes(line)) throw new Error(`It ended without "${line}": ${this.text}`);
    });
    ended.catch(() => {});
    try {
      await Promise.race([heard, limit.promise, ended]);
    } finally {
      clearTimeout(timer);
    }
  }

  kill(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch (error) {
      // It has ended.
      if (!(error instanceof TypeError)) throw error;
    }
  }

  /** Its status once it has ended; it is killed if that takes too long. */
  async end(): Promise<Deno.CommandStatus> {
    const timer = setTimeout(() => this.kill("SIGKILL"), READY_LIMIT_MS);
    await this.#drained;
    const status = await this.status;
    clearTimeout(timer);
    return status;
  }
}

/** V8's flags for netd: those of its task in deno.json, which keep its memory small. */
export function v8Flags(): string {
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${ROOT}/deno.json`));
  return /--v8-flags=\S+/.exec(tasks.netd.command)![0];
}

/** Arguments of Deno that run netd. */
export function netdArguments(options: readonly string[]): string[] {
  return [
    "run",
    v8Flags(),
    "--no-check",
    "--no-prompt",
    "--allow-ffi",
    "--allow-read=/etc/resolv.conf",
    ...options.includes("--uplink-nat") ? ["--allow-run=nsenter"] : [],
    "tools/netd.ts",
    ...options,
  ];
}

/** Starts netd and waits until it is ready. `etc`: a folder that is its /etc. */
export function startNetd(options: readonly string[], etc: string | null = null): Promise<Child> {
  const command = [Deno.execPath(), ...netdArguments(options)];
  if (etc === null) return untilReady(new Child(command[0]!, command.slice(1)));
  return untilReady(new Child("unshare", ["-m", "sh", "-c", `mount --bind ${etc} /etc && exec "$0" "$@"`, ...command]));
}

/** Waits until a netd is ready; one that does not get there is ended. */
export async function untilReady(netd: Child): Promise<Child> {
  try {
    await netd.until("netd: ready");
    return netd;
  } catch (error) {
    netd.kill("SIGKILL");
    await netd.end();
    throw error;
  }
}

/** Reads /proc/PID by a program: Deno needs every permission for that. */
export async function askProc(pid: number, program: "cat" | "ls", name: string): Promise<string> {
  const { success, stdout } = await new Deno.Command(program, { args: [`/proc/${pid}/${name}`] }).output();
  assertEquals(success, true, `${program} /proc/${pid}/${name}`);
  return new TextDecoder().decode(stdout);
}

/** Starts the servers of netd_peer in a namespace. */
export async function startPeer(netns: Netns): Promise<Child> {
  const allowed = ["--no-check", "--no-prompt", "--allow-net", "--allow-ffi"];
  const peer = new Child("nsenter", [
    `--net=${netns.path}`,
    Deno.execPath(),
    ...["run", ...allowed, "tests/kit/netd/peer.ts"],
  ]);
  await peer.until("ready");
  return peer;
}

/** How a lab is made. */
export interface NetdLabOptions {
  /** Options of netd besides guest and uplink. */
  options?: readonly string[];
  /** Set by netd, as slirp4netns' `--configure`; else left to a DHCP client. Default true. */
  configure?: boolean;
  /** Whether servers run in the guest, too. */
  guestServers?: boolean;
  /** Text of netd's own /etc/resolv.conf, to be found and changed at {@link NetdLab.resolvConf}. */
  resolvConf?: string;
  /** Default tap. */
  uplink?: "tap" | "tun";
  /** Called before netd is started. */
  prepare?: (lab: NetdLab) => Promise<void>;
}

/** See above. */
export class NetdLab implements AsyncDisposable {
  readonly children: Child[] = [];
  netd!: Child;

  constructor(readonly world: Netns, readonly guest: Netns, readonly folder: string) {}

  /** Path of netd's own /etc/resolv.conf, if it has one. */
  get resolvConf(): string {
    return `${this.folder}/etc/resolv.conf`;
  }

  get apiSocket(): string {
    return `${this.folder}/api.sock`;
  }

  inGuest(command: readonly string[], options: ToolOptions = {}): Promise<ToolResult> {
    return runTool(this.guest, command, options);
  }

  inWorld(command: readonly string[], options: ToolOptions = {}): Promise<ToolResult> {
    return runTool(this.world, command, options);
  }

  /** Runs a tool in the guest that must succeed; returns its output. */
  async guestMust(...command: string[]): Promise<string> {
    const { code, text } = await this.inGuest(command);
    assertEquals(code, 0, `${command.join(" ")}: ${text}`);
    return text;
  }

  async worldMust(...command: string[]): Promise<string> {
    const { code, text } = await this.inWorld(command);
    assertEquals(code, 0, `${command.join(" ")}: ${text}`);
    return text;
  }

  /** A command of natctl; its answer. */
  async natctl(...words: string[]): Promise<{ code: number; text: string }> {
    const allowed = ["--no-check", "--no-prompt", "--allow-net", "--allow-read", "--allow-write"];
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", ...allowed, "tools/natctl.ts", "--socket", this.apiSocket, ...words],
      cwd: ROOT,
      env: { NO_COLOR: "1" },
    }).output();
    return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.netd !== undefined) {
        this.netd.kill("SIGTERM");
        const { code } = await this.netd.end();
        assertEquals(code, 0, this.netd.text);
      }
    } finally {
      for (const child of this.children) {
        child.kill("SIGKILL");
        await child.end();
      }
      this.guest.close();
      this.world.close();
      await Deno.remove(this.folder, { recursive: true });
    }
  }
}

/** Makes world, guest and netd between them. */
export async function openNetdLab(options: NetdLabOptions = {}): Promise<NetdLab> {
  const { configure = true, guestServers = false, uplink = "tap" } = options;
  // Test files may run side by side in one process.
  const id = crypto.randomUUID().slice(0, 8);
  const folder = await Deno.makeTempDir({ prefix: "akarino-netd-" });
  const lab = new NetdLab(createNetns(`nd-world-${id}`), createNetns(`nd-guest-${id}`), folder);
  try {
    await lab.worldMust("ip", "addr", "add", `${WORLD}/32`, "dev", "lo");
    await options.prepare?.(lab);
    const { resolvConf } = options;
    const isGiven = resolvConf !== undefined || options.options?.includes("--dns") === true;
    const dns = isGiven ? [] : ["--dns", PEER];
    if (resolvConf !== undefined) {
      await Deno.mkdir(`${folder}/etc`);
      await Deno.writeTextFile(lab.resolvConf, resolvConf);
    }
    lab.netd = await startNetd([
      ...["--netns", lab.guest.name, "--uplink", uplink],
      ...["--uplink-netns", lab.world.name, "--uplink-device", "aka0"],
      ...[...dns, "--api-socket", lab.apiSocket, ...configure ? ["--configure"] : [], ...options.options ?? []],
    ], resolvConf === undefined ? null : `${folder}/etc`);
    lab.children.push(await startPeer(lab.world));
    if (guestServers) lab.children.push(await startPeer(lab.guest));
    return lab;
  } catch (error) {
    await lab[Symbol.asyncDispose]();
    throw error;
  }
}
