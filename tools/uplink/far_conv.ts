/**
 * FarConv: a TCP conversation of the far stack, as the relay uses it: two descriptors, and no call that sleeps.
 *
 * Path: splice, far_stack → far_conv → sys, proc.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import type { Proc } from "../../kernel/proc.ts";
import { Open } from "../../kernel/qid.ts";
import { AGAIN } from "../../kernel/sys.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Bytes of a packet without its headers, at most. */
const PACKET_BYTES = 65_415;
/** Blocks of one read. */
const BLOCKS_MAX = 64;

/** See above. */
export class FarConv {
  readonly dir: string;
  readonly data: number;
  readonly #proc: Proc;
  readonly #ctl: number;
  #isOpen = true;

  /** Owns `ctl`, an open ctl file, and opens the data file beside it. */
  constructor(proc: Proc, ctl: number) {
    this.#proc = proc;
    this.#ctl = ctl;
    this.dir = proc.sys.fd2path(ctl).replace(/\/ctl$/, "");
    this.data = descriptor(proc.sys.open(`${this.dir}/data`, Open.ReadWrite | Open.NonBlock));
  }

  /** A new one below `net`, the directory of the stack. */
  static make(proc: Proc, net: string): FarConv {
    const ctl = descriptor(proc.sys.open(`${net}/tcp/clone`, Open.ReadWrite | Open.NonBlock));
    return new FarConv(proc, ctl);
  }

  /** Writes a command to ctl. False: it is under way (`connect`). Throws KernelError. */
  command(text: string): boolean {
    try {
      this.#proc.sys.write(this.#ctl, encoder.encode(text));
      return true;
    } catch (error) {
      if (error instanceof KernelError && error.code === "EINPROGRESS") return false;
      throw error;
    }
  }

  /** As {@link command}, for one whose refusal says that the connection is over. */
  tell(text: string): void {
    try {
      this.command(text);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
    }
  }

  /** The text of a file of its directory. */
  text(name: "local" | "remote" | "status"): string {
    return readFile(this.#proc, `${this.dir}/${name}`);
  }

  /** Bytes that the other end has not acknowledged. */
  get unsent(): number {
    return Number(/ qout (\d+) /.exec(this.text("status"))?.[1] ?? 0);
  }

  /** Bytes in full segments that one packet carries. */
  get packetBytes(): number {
    const mss = Number(/ mss (\d+)/.exec(this.text("status"))?.[1] ?? PACKET_BYTES);
    return Math.max(1, Math.floor(PACKET_BYTES / mss)) * mss;
  }

  /** Whether the connection is over. */
  get isClosed(): boolean {
    return this.text("status").startsWith("Closed");
  }

  /** The blocks that wait, or AGAIN, or null at the end. Throws KernelError: ECONNRESET and the like. */
  read(): Block[] | typeof AGAIN | null {
    return this.#proc.sys.blockreadv(this.data, BLOCKS_MAX);
  }

  /** Gives a block to be sent. False: there is no room, and it stays the caller's. Throws KernelError. */
  write(block: Block): boolean {
    return this.#proc.sys.blockwrite(this.data, block) !== AGAIN;
  }

  /** Lets go of it: what was written is still delivered. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#proc.sys.close(this.data);
    this.#proc.sys.close(this.#ctl);
  }
}

/** The text of a small file. */
function readFile(proc: Proc, path: string): string {
  const fd = descriptor(proc.sys.open(path, Open.Read));
  try {
    const buf = new Uint8Array(1024);
    const count = proc.sys.read(fd, buf);
    return count === AGAIN ? "" : decoder.decode(buf.subarray(0, count as number));
  } finally {
    proc.sys.close(fd);
  }
}

/** A descriptor; EAGAIN is an error here. */
export function descriptor(fd: number | typeof AGAIN): number {
  if (fd === AGAIN) throw new KernelError("EAGAIN", "Cannot open a file of the far stack now");
  return fd as number;
}
