/**
 * Dialling: the helper library over `/net` (Akaros iplib): dial strings, and the steps of clone, ctl and data.
 *
 * Path: user program, proc → dial → sys.
 *
 * A dial string is `[netdir/]proto!host!service`. If the directory has a connection server `cs`, it translates; if not,
 * `proto` is the directory and the rest is written to ctl as it is.
 *
 * @module
 */

import { KernelError } from "./error.ts";
import { Open } from "./qid.ts";
import type { Sys } from "./sys.ts";
import type { WaitOptions } from "./wait.ts";

/** Directory of the network's files unless the dial string names another. */
const NET_DIR = "/net";

/** The calls that dialling needs; `Proc` has them. */
export interface Dialler {
  /** The calls that never sleep. */
  readonly sys: Sys;
  /** Opens a file. */
  open(path: string, flags?: number, mode?: number, wait?: WaitOptions): Promise<number>;
  /** Reads some bytes. */
  read(fd: number, buf: Uint8Array, wait?: WaitOptions): Promise<number>;
  /** Writes, and waits for what that began. */
  write(fd: number, bytes: Uint8Array | string, wait?: WaitOptions): Promise<number>;
  /** Reads a text file. */
  readText(path: string): Promise<string>;
  /** Makes one call of several, and passes each the bounds of the whole. */
  compound<T>(work: (wait: WaitOptions) => Promise<T>, wait?: WaitOptions): Promise<T>;
}

/** Options of dial, announce and bypass; a dial that is given up leaves no conversation behind. */
export interface DialOptions extends WaitOptions {
  /** Local end: `[addr!]port`. */
  local?: string;
  /** Flags added to those of the data descriptor: Open.NonBlock. */
  flags?: number;
  /** Ctl commands that are written before the conversation is connected, announced or bypassed. */
  setup?: readonly string[];
  /** Ctl commands that are written after that, before it is used. */
  ctl?: readonly string[];
}

/** An open conversation: two descriptors of the process that made it. */
export interface Conversation {
  /** Its directory, such as `/net/udp/3`. */
  readonly dir: string;
  /** Descriptor of its ctl file. */
  readonly ctl: number;
  /** Descriptor of its data file. */
  readonly data: number;
  /** Local port (or echo identifier). */
  readonly port: number;
}

/** The parts of a dial string. */
interface DialString {
  readonly netDir: string;
  readonly proto: string;
  /** Everything after the protocol: `host!service`. */
  readonly rest: string;
}

/** Splits a dial string; EINVAL names what is missing. */
export function parseDialString(text: string): DialString {
  const slash = text.indexOf("!") < 0 ? -1 : text.lastIndexOf("/", text.indexOf("!"));
  const netDir = slash < 0 ? NET_DIR : text.slice(0, slash);
  const [proto, ...parts] = text.slice(slash + 1).split("!");
  if (proto === undefined || proto === "" || parts.length === 0) {
    throw new KernelError("EINVAL", `Cannot dial "${text}": it should read proto!host!service`);
  }
  return { netDir, proto, rest: parts.join("!") };
}

/** Fills in what a short address leaves out: `netmkaddr("10.0.0.1", "udp", "7")`. */
export function netMkAddr(address: string, defaultNet: string, defaultService: string): string {
  const parts = address.split("!");
  if (parts.length === 1) return `${defaultNet}!${address}!${defaultService}`;
  if (parts.length === 2 && defaultService !== "" && /^[a-z]+\d*$/.test(parts[0]!)) {
    return `${address}!${defaultService}`;
  }
  return parts.length === 2 ? `${defaultNet}!${address}` : address;
}

/** Connects; returns when the other side has answered, if the protocol knows such a thing. */
export function dial(proc: Dialler, address: string, options: DialOptions = {}): Promise<Conversation> {
  return proc.compound(async (wait) => {
    const { netDir, proto, rest } = await translate(proc, address, wait);
    const local = options.local === undefined ? "" : ` ${options.local}`;
    return await converse(proc, `${netDir}/${proto}`, `connect ${rest}${local}`, { ...options, ...wait });
  }, options);
}

/** Announces a local end. */
export function announce(proc: Dialler, address: string, options: DialOptions = {}): Promise<Conversation> {
  return atLocalEnd(proc, "announce", address, options);
}

/** Claims a local end for whole IP packets. */
export function bypass(proc: Dialler, address: string, options: DialOptions = {}): Promise<Conversation> {
  return atLocalEnd(proc, "bypass", address, options);
}

function atLocalEnd(proc: Dialler, verb: string, address: string, options: DialOptions): Promise<Conversation> {
  return proc.compound(async (wait) => {
    const { netDir, proto, rest } = parseDialString(address);
    return await converse(proc, `${netDir}/${proto}`, `${verb} ${rest}`, { ...options, ...wait });
  }, options);
}

/** Waits for a call on an announced conversation and takes it. */
export function listen(proc: Dialler, conv: Conversation, options: DialOptions = {}): Promise<Conversation> {
  return proc.compound(async (wait) => {
    const flags = Open.ReadWrite | (options.flags ?? 0) & Open.NonBlock;
    const ctl = await proc.open(`${conv.dir}/listen`, flags, undefined, wait);
    const protoDir = conv.dir.slice(0, conv.dir.lastIndexOf("/"));
    return await opened(proc, { protoDir, ctl, commands: options.ctl ?? [] }, { ...options, ...wait });
  }, options);
}

/** Closes both descriptors. */
export function hangUp(proc: Dialler, conv: Conversation): void {
  proc.sys.close(conv.data);
  proc.sys.close(conv.ctl);
}

/** The port after the last `!` of a conversation's `local` or `remote` file. */
export async function getPort(proc: Dialler, dir: string, end: "local" | "remote"): Promise<number> {
  const text = await proc.readText(`${dir}/${end}`);
  return parseInt(text.slice(text.lastIndexOf("!") + 1), 10);
}

async function converse(proc: Dialler, protoDir: string, command: string, options: DialOptions): Promise<Conversation> {
  const ctl = await proc.open(`${protoDir}/clone`, Open.ReadWrite);
  return await opened(
    proc,
    { protoDir, ctl, commands: [...options.setup ?? [], command, ...options.ctl ?? []] },
    options,
  );
}

/** A conversation whose ctl file is open. */
interface Opened {
  readonly protoDir: string;
  readonly ctl: number;
  /** What is written to it. */
  readonly commands: readonly string[];
}

/** Learns the number behind a ctl descriptor, writes the commands to it, and opens its data file. */
async function opened(proc: Dialler, conv: Opened, { flags = 0, signal }: DialOptions): Promise<Conversation> {
  const { protoDir, ctl, commands } = conv;
  try {
    // Read first: a write would move the offset of the number.
    const buf = new Uint8Array(16);
    const dir = `${protoDir}/${new TextDecoder().decode(buf.subarray(0, await proc.read(ctl, buf)))}`;
    for (const command of commands) await proc.write(ctl, command, { signal });
    const data = await proc.open(`${dir}/data`, Open.ReadWrite | flags);
    return { dir, ctl, data, port: await getPort(proc, dir, "local") };
  } catch (error) {
    proc.sys.close(ctl);
    throw error;
  }
}

/** Asks `cs`, if there is one; numbers need no translation. */
async function translate(proc: Dialler, address: string, wait: WaitOptions): Promise<DialString> {
  const parsed = parseDialString(address);
  const isNumeric = /^[0-9a-fA-F:.*]+(!\d+)?(!r)?$/.test(parsed.rest);
  if (isNumeric) return parsed;
  let cs: number;
  try {
    cs = await proc.open(`${parsed.netDir}/cs`, Open.ReadWrite);
  } catch (error) {
    if (error instanceof KernelError && error.code === "ENOENT") return parsed;
    throw error;
  }
  try {
    await proc.write(cs, `${parsed.proto}!${parsed.rest}`, wait);
    proc.sys.llseek(cs, 0);
    const buf = new Uint8Array(256);
    const answer = new TextDecoder().decode(buf.subarray(0, await proc.read(cs, buf, wait)));
    const [clone, rest] = answer.trim().split(/\s+/);
    if (clone === undefined || rest === undefined) throw new KernelError("EFAIL", `Cannot translate "${address}"`);
    const names = clone.split("/");
    return { netDir: names.slice(0, -2).join("/"), proto: names.at(-2)!, rest };
  } finally {
    proc.sys.close(cs);
  }
}
