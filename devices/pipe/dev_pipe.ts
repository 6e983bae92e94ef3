/**
 * #pipe: two queues between two ends. Every attach makes a new pipe.
 *
 * Path: dev → dev_pipe → queue.
 *
 * ```
 * #pipe         0555
 *   ctl         0660   read: number of the pipe. write `oneblock`: both queues keep each block whole from then on
 *   data        0660   one end
 *   data1       0660   the other
 * ```
 *
 * A pipe carries bytes; after `oneblock` it carries messages, and empty ones are discarded. A write is admitted whole
 * while fewer than {@link PIPE_BYTES} are queued; then a writer that may wait does so until that is true again. A block
 * is taken whole or not at all; one of more than BLOCK_MAX bytes can never pass a message pipe: EMSGSIZE.
 *
 * When the last descriptor of one end closes, the other end reads what is queued, then the end of the file, and its
 * writes are EPIPE. When both are closed the pipe is as new (but stays `oneblock`).
 *
 * @module
 */

import { type Block, BLOCK_MAX } from "../../kernel/block.ts";
import { Chan } from "../../kernel/chan.ts";
import { type CtlVerb, runCtl } from "../../kernel/ctl.ts";
import { ChanCtl, Dev, type DevEnv, makeDir } from "../../kernel/dev.ts";
import { KernelError } from "../../kernel/error.ts";
import { type FdTap, type TapCommand, TapEvent, TapList } from "../../kernel/fd_tap.ts";
import { type Dir, DirMode, Open, QidType } from "../../kernel/qid.ts";
import { Queue, type QueueOptions } from "../../kernel/queue.ts";
import { breadQueue, bwriteQueue, readQueue, writeQueue } from "../../kernel/queue_file.ts";
import type { OrWait, Rendez } from "../../kernel/rendez.ts";

/** Bytes at which one direction of a pipe is full (Akaros' figure). */
export const PIPE_BYTES = 32768;
/** Most blocks in one direction: single bytes, each in a pooled 2 KiB buffer, then hold 4 MiB at most. */
export const PIPE_BLOCKS = 2048;

const Qid = { Root: 0, Ctl: 1, Data: 2, Data1: 3 } as const;
const TAPS = TapEvent.Readable | TapEvent.Writable | TapEvent.Hangup | TapEvent.Error | TapEvent.RdHup;
const QUEUE: QueueOptions = { limit: PIPE_BYTES, limitBlocks: PIPE_BLOCKS, coalesce: true };

/** End 0 is `data`, end 1 `data1`. */
type EndNumber = 0 | 1;

/** One end: its input queue, its openers, its taps. */
interface End {
  /** Read by this end, written by the other. */
  queue: Queue;
  opens: number;
  readonly taps: TapList;
}

/** A pipe. */
class Pipe {
  readonly number: number;
  readonly user: string;
  readonly ends: readonly [End, End] = [newEnd(), newEnd()];

  constructor(number: number, user: string) {
    this.number = number;
    this.user = user;
    this.#wire(0);
    this.#wire(1);
  }

  /** Passes the edges of the queue that end `n` reads to the taps of both ends. */
  #wire(n: EndNumber): void {
    const reader = this.ends[n];
    const writer = this.ends[other(n)];
    reader.queue.onEdge = (events) => {
      if ((events & TapEvent.Readable) !== 0) reader.taps.fire(TapEvent.Readable);
      if ((events & TapEvent.Writable) !== 0) writer.taps.fire(TapEvent.Writable);
    };
  }

  /** The last descriptor of end `n` was closed. */
  hangup(n: EndNumber): void {
    const gone = this.ends[n];
    const peer = this.ends[other(n)];
    gone.queue.close();
    peer.queue.hangup();
    peer.taps.fire(TapEvent.Hangup | TapEvent.RdHup);
    if (peer.opens > 0) return;
    gone.queue.reopen();
    peer.queue.reopen();
  }

  /** Puts message queues in place of byte queues; each queued block becomes a message. EBUSY: too many are queued. */
  oneblock(): void {
    if (this.ends.some((end) => end.queue.blocks > PIPE_BLOCKS)) {
      throw new KernelError("EBUSY", `Cannot keep blocks whole: more than ${PIPE_BLOCKS} are queued`);
    }
    for (const n of [0, 1] as const) {
      const end = this.ends[n];
      const old = end.queue;
      if (old.message) continue;
      end.queue = messagesOf(old);
      this.#wire(n);
      // Sleepers at the old queue retry and find the new one.
      old.readable.wakeup();
      old.writable.wakeup();
    }
  }

  /** Readiness of end `n` now, as bits of TapEvent. */
  level(n: EndNumber): number {
    const reads = this.ends[n].queue;
    const writes = this.ends[other(n)].queue;
    const ended = reads.closed ? TapEvent.Hangup | TapEvent.RdHup : 0;
    return (reads.level & TapEvent.Readable) | (writes.level & TapEvent.Writable) | ended;
  }
}

const VERBS: readonly CtlVerb<Pipe>[] = [
  { name: "oneblock", usage: "oneblock", minArgs: 0, maxArgs: 0, run: (pipe) => pipe.oneblock() },
];

/** The device `#pipe`. */
export class PipeDev extends Dev {
  override readonly name = "pipe";
  readonly #env: DevEnv;
  #next = 0;

  constructor(env: DevEnv) {
    super();
    this.#env = env;
  }

  override attach(_spec: string, user: string): Chan {
    const pipe = new Pipe(this.#next++, user);
    const qid = { path: Qid.Root, vers: 0, type: QidType.Dir };
    return new Chan(this, qid, { instance: pipe.number, aux: pipe });
  }

  override lookup(dir: Chan, name: string): Dir | null {
    if (name === "..") return rootDir();
    return this.list(dir).find((entry) => entry.name === name) ?? null;
  }

  override list(dir: Chan): Dir[] {
    const pipe = dir.aux as Pipe;
    return [makeDir(Qid.Ctl, "ctl", { mode: 0o660, uid: pipe.user }), dataDir(pipe, 0), dataDir(pipe, 1)];
  }

  override stat(chan: Chan): Dir {
    return this.list(chan)[chan.qid.path - 1] ?? rootDir();
  }

  override open(chan: Chan, flags: number, user: string): OrWait<Chan> {
    const opened = super.open(chan, flags, user);
    const n = endOf(chan);
    if (n !== null && holds(chan)) (chan.aux as Pipe).ends[n].opens++;
    return opened;
  }

  override close(chan: Chan): void {
    const n = endOf(chan);
    if (n === null || !chan.opened || !holds(chan)) return;
    const pipe = chan.aux as Pipe;
    if (--pipe.ends[n].opens === 0) pipe.hangup(n);
  }

  override read(chan: Chan, buf: Uint8Array, offset: number): OrWait<number> {
    const pipe = chan.aux as Pipe;
    const n = endOf(chan);
    if (n === null) return this.readText(chan, buf, offset, () => `${pipe.number}`);
    return readQueue(pipe.ends[n].queue, buf);
  }

  override write(chan: Chan, bytes: Uint8Array, _offset: number): OrWait<number> {
    const pipe = chan.aux as Pipe;
    const n = endOf(chan);
    if (n !== null) return writeQueue(pipe.ends[other(n)].queue, bytes, this.#env.blocks);
    runCtl(VERBS, pipe, bytes, { unknown: "EFAIL" });
    return bytes.length;
  }

  /** The writer of bytes waits after they were taken, as in Akaros: for the queue to be below its limit again. */
  override settle(chan: Chan, nonBlock: boolean): Rendez | null {
    const n = endOf(chan);
    if (n === null || nonBlock) return null;
    const { queue } = (chan.aux as Pipe).ends[other(n)];
    // A reader that closes empties the queue, which ends the wait too.
    return queue.canWrite ? null : queue.writable;
  }

  override bread(chan: Chan, max: number): OrWait<Block | null> {
    const n = endOf(chan);
    return n === null ? super.bread(chan, max) : breadQueue((chan.aux as Pipe).ends[n].queue, max);
  }

  override bwrite(chan: Chan, block: Block): OrWait<number> {
    const n = endOf(chan);
    if (n === null) return super.bwrite(chan, block);
    const { queue } = (chan.aux as Pipe).ends[other(n)];
    if (queue.message && block.length > BLOCK_MAX) {
      throw new KernelError("EMSGSIZE", `Cannot write a block of ${block.length} bytes: the limit is ${BLOCK_MAX}`);
    }
    return bwriteQueue(queue, block);
  }

  override tapfd(chan: Chan, tap: FdTap, command: TapCommand): number {
    const n = endOf(chan);
    if (n === null) return super.tapfd(chan, tap, command);
    const pipe = chan.aux as Pipe;
    pipe.ends[n].taps.apply(tap, command, TAPS);
    return pipe.level(n);
  }

  override chanCtl(chan: Chan, op: number, arg: number): number {
    return op === ChanCtl.SetFlags ? 0 : super.chanCtl(chan, op, arg);
  }
}

/** The end of a chan; null for other files. */
function endOf(chan: Chan): EndNumber | null {
  if (chan.qid.path === Qid.Data) return 0;
  return chan.qid.path === Qid.Data1 ? 1 : null;
}

function other(n: EndNumber): EndNumber {
  return n === 0 ? 1 : 0;
}

/** Whether an open chan keeps its end alive: one of O_PATH can neither read nor write, so it does not. */
function holds(chan: Chan): boolean {
  return (chan.flags & Open.Path) === 0;
}

function newEnd(): End {
  return { queue: new Queue(QUEUE), opens: 0, taps: new TapList() };
}

/** A message queue with the blocks of `old`, which is empty then. */
function messagesOf(old: Queue): Queue {
  const queue = new Queue({ ...QUEUE, message: true });
  // The old queue may have overshot its limit by one write: nothing of it is lost.
  queue.setLimit(0);
  for (let block = old.bread(); typeof block !== "string"; block = old.bread()) queue.bwrite(block);
  queue.setLimit(PIPE_BYTES);
  if (old.closed) queue.hangup(old.reason);
  queue.eofReads = old.eofReads;
  return queue;
}

function rootDir(): Dir {
  return makeDir(Qid.Root, "#pipe", { dir: true });
}

/** The record of an end: its length is the number of bytes to read, its mode shows readiness. */
function dataDir(pipe: Pipe, n: EndNumber): Dir {
  const { queue } = pipe.ends[n];
  const readable = queue.canRead ? DirMode.Readable : 0;
  const writable = pipe.ends[other(n)].queue.canWrite ? DirMode.Writable : 0;
  return makeDir(n === 0 ? Qid.Data : Qid.Data1, n === 0 ? "data" : "data1", {
    mode: 0o660 | readable | writable,
    length: queue.length,
    uid: pipe.user,
  });
}
