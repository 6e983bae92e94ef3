/**
 * The files of one `#ether` interface as its IP medium uses them.
 *
 * Path: ether_medium → ether_files → chan, block, dev, error.
 *
 * A file that would have to wait says "busy" or "empty"; one that refuses says "error": nothing here throws once the
 * files are open, because below them there is no caller to report an error to.
 *
 * @module
 */

import { type Block, BLOCK_MAX } from "../../../kernel/block.ts";
import type { Chan } from "../../../kernel/chan.ts";
import { type DevEnv, textOf } from "../../../kernel/dev.ts";
import { KernelError } from "../../../kernel/error.ts";
import { NO_OFFLOADS, type PortOffloads } from "../../../kernel/host.ts";
import { Open } from "../../../kernel/qid.ts";
import { Rendez } from "../../../kernel/rendez.ts";
import { ETHER_HEADER_LEN } from "../../../kernel/wire/ethernet.ts";
import { type MacAddr, parseMacAddr } from "../../../kernel/wire/mac_addr.ts";

/** Longest stats file that is read, in bytes. */
const STATS_MAX = 4096;

const encoder = new TextEncoder();

/** What an interface says of itself. */
interface EtherFacts {
  readonly mac: MacAddr;
  readonly offloads: PortOffloads;
  /** Most bytes of payload in a frame, or null if it does not say. */
  readonly mtu: number | null;
}

/** One conversation of an interface: its ctl file and its data file. */
export class EtherFiles {
  /** Whether there may be something to read. */
  pending = false;

  constructor(readonly type: number, readonly ctl: Chan, readonly data: Chan) {}

  /** The next frame. */
  read(): Block | "empty" | "closed" | "error" {
    try {
      const block = this.data.dev.bread(this.data, BLOCK_MAX + ETHER_HEADER_LEN);
      if (block instanceof Rendez) return "empty";
      return block ?? "closed";
    } catch (error) {
      if (error instanceof KernelError) return "error";
      throw error;
    }
  }

  /** Writes a frame; on anything but "sent" the block is still the caller's. */
  write(block: Block): "sent" | "busy" | "error" {
    try {
      return this.data.dev.bwrite(this.data, block) instanceof Rendez ? "busy" : "sent";
    } catch (error) {
      if (error instanceof KernelError) return "error";
      throw error;
    }
  }

  /** Writes a command to the ctl file; throws what it throws. */
  control(command: string): void {
    writeNow(this.ctl, command);
  }

  close(): void {
    this.data.release();
    this.ctl.release();
  }
}

/** A conversation for frames of `type` (an ethertype) of the interface at `path`. */
export function openEtherFiles(env: DevEnv, path: string, type: number): EtherFiles {
  const ctl = env.open(`${path}/clone`, Open.ReadWrite);
  try {
    // Akaros ends the number with a NUL.
    const number = parseInt(readNow(ctl, 32), 10);
    if (!(number >= 0)) throw new KernelError("EIO", `Cannot bind: "${path}/clone" gives no number`);
    writeNow(ctl, `connect 0x${type.toString(16)}`);
    askForOffload(ctl);
    return new EtherFiles(type, ctl, env.open(`${path}/${number}/data`, Open.ReadWrite | Open.NonBlock));
  } catch (error) {
    ctl.release();
    throw error;
  }
}

/** Reads the `stats` file of the interface at `path`. EIO: it names no hardware address. */
export function readEtherFacts(env: DevEnv, path: string): EtherFacts {
  const chan = env.open(`${path}/stats`, Open.Read);
  let text: string;
  try {
    text = readNow(chan, STATS_MAX);
  } finally {
    chan.release();
  }
  const value = (label: string) => new RegExp(`^${label}: *(.*?) *$`, "m").exec(text)?.[1] ?? "";
  const mac = parseMacAddr(value("addr"));
  if (mac === null) throw new KernelError("EIO", `Cannot bind: "${path}/stats" names no address`);
  const mtu = Number(value("mtu"));
  return { mac, offloads: offloadsOf(value("feat").split(/\s+/)), mtu: Number.isInteger(mtu) && mtu > 0 ? mtu : null };
}

/** Akaros' feature words, and one of ours (uso). */
function offloadsOf(features: readonly string[]): PortOffloads {
  const checksum = features.includes("udpck") && features.includes("tcpck");
  if (!checksum) return NO_OFFLOADS;
  return { checksum, tcpSegment: features.includes("tso"), udpSegment: features.includes("uso") };
}

/**
 * Asks to be given packets with checksums owed and segments whole; a device that does not know it finishes them
 * itself.
 */
function askForOffload(ctl: Chan): void {
  try {
    writeNow(ctl, "offload on");
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
  }
}

function readNow(chan: Chan, max: number): string {
  const buf = new Uint8Array(max);
  const count = chan.dev.read(chan, buf, 0);
  if (count instanceof Rendez) throw new KernelError("EAGAIN", `Cannot bind: "${chan.path}" has nothing to read`);
  return textOf(buf.subarray(0, count));
}

function writeNow(chan: Chan, text: string): void {
  const count = chan.dev.write(chan, encoder.encode(text), 0);
  if (count instanceof Rendez) throw new KernelError("EAGAIN", `Cannot write "${chan.path}": it would wait`);
}
