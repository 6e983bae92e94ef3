/**
 * FakeEther: an Ethernet interface that is nothing but the files its medium needs.
 *
 * @module
 */

import { type Block, BlockPool } from "../../../kernel/block.ts";
import { Chan } from "../../../kernel/chan.ts";
import { Dev, makeDir, textOf } from "../../../kernel/dev.ts";
import { KernelError } from "../../../kernel/error.ts";
import { type FdTap, TapEvent, TapList } from "../../../kernel/fd_tap.ts";
import { type Dir, QidType } from "../../../kernel/qid.ts";
import { Queue } from "../../../kernel/queue.ts";
import { breadQueue, readQueue } from "../../../kernel/queue_file.ts";
import { type OrWait, Rendez } from "../../../kernel/rendez.ts";
import { etherTypeAt } from "../../../kernel/wire/ethernet.ts";
import type { MacAddr } from "../../../kernel/wire/mac_addr.ts";
import { OUR_MAC } from "./packets.ts";

const Kind = { Root: 0, Clone: 1, Stats: 2, Dir: 3, Ctl: 4, Data: 5 } as const;

interface FakeConv {
  type: number;
  open: number;
  readonly queue: Queue;
  readonly taps: TapList;
}

/** An Ethernet interface of files: what is written is kept, and frames are received when a test says so. */
export class FakeEther extends Dev {
  override readonly name = "fake";
  /** Frames written, in order. */
  readonly sent: Uint8Array[] = [];
  /** Commands written to ctl files. */
  readonly commands: string[] = [];
  /** Feature words. */
  features = "";
  /** Writes of data would have to wait. */
  busy = false;
  /** Writes of data are refused. */
  failing = false;
  readonly convs: FakeConv[] = [];

  constructor(readonly mac: MacAddr = OUR_MAC) {
    super();
  }

  /** Conversations that somebody has open. */
  get openConvs(): number {
    return this.convs.filter((conv) => conv.open > 0).length;
  }

  /** Receives a frame. */
  receive(frame: Uint8Array): void {
    const type = etherTypeAt(frame, 0);
    for (const conv of this.convs) if (conv.type === type) conv.queue.pass(new BlockPool().from(frame));
  }

  override attach(): Chan {
    return new Chan(this, { path: Kind.Root, vers: 0, type: QidType.Dir });
  }

  override lookup(dir: Chan, name: string): Dir | null {
    const number = dir.qid.path >> 4;
    if ((dir.qid.path & 15) === Kind.Dir) {
      return name === "data" ? makeDir(number << 4 | Kind.Data, name) : null;
    }
    if (name === "clone") return makeDir(Kind.Clone, name);
    if (name === "stats") return makeDir(Kind.Stats, name);
    return /^\d$/.test(name) ? makeDir(Number(name) << 4 | Kind.Dir, name, { dir: true }) : null;
  }

  override list(): Dir[] {
    return [];
  }

  override stat(chan: Chan): Dir {
    return makeDir(chan.qid.path, "file", { dir: chan.isDir });
  }

  override open(chan: Chan, flags: number): OrWait<Chan> {
    if (chan.qid.path === Kind.Clone) chan.qid = { path: this.#clone() << 4 | Kind.Ctl, vers: 0, type: 0 };
    const conv = this.convs[chan.qid.path >> 4];
    if ((chan.qid.path & 15) >= Kind.Ctl && conv !== undefined) conv.open++;
    return this.markOpen(chan, flags);
  }

  override close(chan: Chan): void {
    if (chan.opened && (chan.qid.path & 15) >= Kind.Ctl) this.convs[chan.qid.path >> 4]!.open--;
  }

  override read(chan: Chan, buf: Uint8Array): OrWait<number> {
    const kind = chan.qid.path & 15;
    if (kind === Kind.Data) return readQueue(this.#conv(chan).queue, buf);
    const stats = `in: 0\nlink: 1\naddr: ${this.mac.toHex()}\nfeat: ${this.features}\n`;
    return new TextEncoder().encodeInto(kind === Kind.Ctl ? `${chan.qid.path >> 4}\0` : stats, buf).written;
  }

  override bread(chan: Chan, max: number): OrWait<Block | null> {
    return breadQueue(this.#conv(chan).queue, max);
  }

  override write(chan: Chan, bytes: Uint8Array): OrWait<number> {
    const text = textOf(bytes);
    this.commands.push(text);
    const type = /^connect (0x[0-9a-f]+)$/.exec(text)?.[1];
    if (type !== undefined) this.#conv(chan).type = Number(type);
    else if (!/^(addmulti|remmulti) /.test(text)) throw new KernelError("EINVAL", `Unknown "${text}"`);
    return bytes.length;
  }

  override bwrite(chan: Chan, block: Block): OrWait<number> {
    if (this.busy) return new Rendez();
    if (this.failing) throw new KernelError("EIO", `Cannot write "${chan.path}"`);
    this.sent.push(block.bytes().slice());
    const { length } = block;
    block.free();
    return length;
  }

  override tapfd(chan: Chan, tap: FdTap, command: "add" | "remove" | "modify"): number {
    const { taps, queue } = this.#conv(chan);
    if (command === "remove") taps.remove(tap);
    else taps.add(tap, TapEvent.Readable | TapEvent.Hangup | TapEvent.Writable);
    return queue.level & TapEvent.Readable;
  }

  #conv(chan: Chan): FakeConv {
    return this.convs[chan.qid.path >> 4]!;
  }

  #clone(): number {
    const taps = new TapList();
    const queue = new Queue({ limit: 1 << 20, message: true });
    queue.onEdge = (events) => taps.fire(events);
    return this.convs.push({ type: 0, open: 0, queue, taps }) - 1;
  }
}
