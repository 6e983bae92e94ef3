/**
 * #cons: the console, and small files about the kernel and the running process.
 *
 * Path: dev → dev_cons → log_ring.
 *
 * ```
 * #cons         0555
 *   bintime     0444   8, 16 or 24 bytes, big-endian: ns since 1970, ticks, ticks a second
 *   cons        0666   reads as stdin, writes as stdout
 *   drivers     0444   the device table, a `#name` a line
 *   hostowner   0444   who owns the machine
 *   klog        0440   the kernel's log, as it grows: a read waits for more
 *   kmesg       0440   the kernel's log, as far as it is kept
 *   null        0666   empty; takes everything
 *   osversion   0444
 *   pgrpid pid ppid user   0444   of the process that reads
 *   random      0444   random bytes
 *   stderr      0222
 *   stdin       0444   a queue that the host fills
 *   stdout      0222
 *   sysname     0664   this host's name; eve may write it
 *   sysstat     0444   `Name: value` lines
 *   time        0444   `seconds nanoseconds ticks ticks-a-second`
 *   zero        0444   bytes of zero
 * ```
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { Chan } from "../../kernel/chan.ts";
import { ctlText, shown, splitWords } from "../../kernel/ctl.ts";
import { ChanCtl, Dev, type DevEnv, makeDir, readBytes } from "../../kernel/dev.ts";
import { KernelError } from "../../kernel/error.ts";
import { type FdTap, type TapCommand, TapEvent, TapList } from "../../kernel/fd_tap.ts";
import { type Dir, DirMode, EVE, QidType } from "../../kernel/qid.ts";
import { Queue } from "../../kernel/queue.ts";
import { breadQueue, readQueue } from "../../kernel/queue_file.ts";
import type { OrWait } from "../../kernel/rendez.ts";
import { LogRing } from "./log_ring.ts";

/** Bytes of typed-ahead input. */
const INPUT_BYTES = 65536;
/** Longest host name in characters (Plan 9's KNAMELEN less the NUL). */
export const SYSNAME_MAX = 27;

const TICKS_PER_SECOND = 1_000_000_000n;

/** Takes output; the bytes are the caller's again when it returns. */
interface ByteSink {
  write(bytes: Uint8Array): void;
}

/** The part of a process that `#cons` shows. */
interface ConsProc {
  readonly pid: number;
  readonly ppid: number;
  readonly pgrpid: number;
  readonly user: string;
}

/** Ends of the console, and the contents of its files. Output without a sink is lost. */
export interface ConsOptions {
  /** Queue that stdin reads; its writer hangs it up at the end. Default: an empty queue of {@link INPUT_BYTES}. */
  input?: Queue;
  stdout?: ByteSink;
  stderr?: ByteSink;
  /** The process whose system call is running, or null. */
  proc?: () => ConsProc | null;
  /** Names of the device table. */
  devices?: () => Iterable<string>;
  sysname?: string;
  /** More lines for sysstat. */
  stats?: () => string;
}

/** One file: how it is read and written; without `write` it is read-only. */
interface ConsFile {
  readonly name: string;
  readonly mode: number;
  read(chan: Chan, buf: Uint8Array, offset: number): OrWait<number>;
  write?(bytes: Uint8Array): number;
}

const ROOT_PATH = 0;
const NO_PROC: ConsProc = { pid: 0, ppid: 0, pgrpid: 0, user: EVE };

/** The device `#cons`; every spec names the same instance. */
export class ConsDev extends Dev {
  override readonly name = "cons";
  /** Queue that stdin reads. */
  readonly input: Queue;
  readonly #env: DevEnv;
  readonly #options: ConsOptions;
  readonly #log = new LogRing();
  readonly #inputTaps = new TapList();
  readonly #logTaps = new TapList();
  readonly #files: readonly ConsFile[];
  #sysname: string;

  constructor(env: DevEnv, options: ConsOptions = {}) {
    super();
    this.#env = env;
    this.#options = options;
    this.#sysname = options.sysname ?? "akarino";
    this.input = options.input ?? new Queue({ limit: INPUT_BYTES });
    this.input.onEdge = (events) => this.#inputTaps.fire(events & (TapEvent.Readable | TapEvent.Hangup));
    this.#files = [...this.#streams(), ...this.#facts()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Adds a line to the kernel's log. */
  log(text: string): void {
    this.#log.append(text);
    this.#logTaps.fire(TapEvent.Readable);
  }

  override attach(_spec: string, _user: string): Chan {
    return new Chan(this, { path: ROOT_PATH, vers: 0, type: QidType.Dir });
  }

  override lookup(dir: Chan, name: string): Dir | null {
    if (name === "..") return rootDir();
    return this.list(dir).find((entry) => entry.name === name) ?? null;
  }

  override list(_dir: Chan): Dir[] {
    return this.#files.map((file, i) => this.#dirOf(file, i + 1));
  }

  override stat(chan: Chan): Dir {
    return chan.isDir ? rootDir() : this.#dirOf(this.#fileOf(chan), chan.qid.path);
  }

  override read(chan: Chan, buf: Uint8Array, offset: number): OrWait<number> {
    return this.#fileOf(chan).read(chan, buf, offset);
  }

  override write(chan: Chan, bytes: Uint8Array, offset: number): OrWait<number> {
    const file = this.#fileOf(chan);
    return file.write === undefined ? super.write(chan, bytes, offset) : file.write(bytes);
  }

  override bread(chan: Chan, max: number): OrWait<Block | null> {
    return this.#isInput(chan) ? breadQueue(this.input, max) : super.bread(chan, max);
  }

  override tapfd(chan: Chan, tap: FdTap, command: TapCommand): number {
    if (this.#isInput(chan)) {
      this.#inputTaps.apply(tap, command, TapEvent.Readable | TapEvent.Hangup);
      return this.input.level & (TapEvent.Readable | TapEvent.Hangup);
    }
    const { name } = this.#fileOf(chan);
    // It has no events: reads and writes never wait.
    if (name === "null") return TapEvent.Readable | TapEvent.Writable;
    if (name !== "klog") return super.tapfd(chan, tap, command);
    this.#logTaps.apply(tap, command, TapEvent.Readable);
    return positionOf(chan) < this.#log.end ? TapEvent.Readable : 0;
  }

  override chanCtl(chan: Chan, op: number, arg: number): number {
    return op === ChanCtl.SetFlags ? 0 : super.chanCtl(chan, op, arg);
  }

  /** Files of bytes. */
  #streams(): ConsFile[] {
    const input = (_chan: Chan, buf: Uint8Array) => readQueue(this.input, buf);
    const cannotRead = (chan: Chan): never => {
      throw new KernelError("EPERM", `Cannot read "${chan.path}"`);
    };
    const output = (sink: ByteSink | undefined) => (bytes: Uint8Array) => {
      sink?.write(bytes);
      return bytes.length;
    };
    const { stdout, stderr } = this.#options;
    return [
      { name: "cons", mode: 0o666, read: input, write: output(stdout) },
      { name: "stdin", mode: 0o444, read: input },
      { name: "stdout", mode: 0o222, read: cannotRead, write: output(stdout) },
      { name: "stderr", mode: 0o222, read: cannotRead, write: output(stderr) },
      { name: "null", mode: 0o666, read: () => 0, write: (bytes) => bytes.length },
      { name: "zero", mode: 0o444, read: (_chan, buf) => buf.fill(0).length },
      { name: "random", mode: 0o444, read: (_chan, buf) => this.#env.random.fill(buf).length },
      { name: "bintime", mode: 0o444, read: (_chan, buf) => this.#readBintime(buf) },
      { name: "klog", mode: 0o440, read: (chan, buf) => this.#readLog(chan, buf) },
      { name: "kmesg", mode: 0o440, read: (chan, buf, offset) => this.#readMessages(chan, buf, offset) },
    ];
  }

  /** Files with one value as text. */
  #facts(): ConsFile[] {
    const text = (name: string, make: () => string): ConsFile => ({
      name,
      mode: 0o444,
      read: (chan, buf, offset) => this.readText(chan, buf, offset, make),
    });
    const { devices } = this.#options;
    const proc = () => this.#options.proc?.() ?? NO_PROC;
    return [
      text("drivers", () => [...devices?.() ?? []].map((name) => `#${name}\n`).join("")),
      text("hostowner", () => EVE),
      text("osversion", () => "akarino"),
      text("pgrpid", () => `${proc().pgrpid}`),
      text("pid", () => `${proc().pid}`),
      text("ppid", () => `${proc().ppid}`),
      text("user", () => proc().user),
      text("sysstat", () => this.#stats()),
      text("time", () => `${BigInt(Math.floor(this.#env.clock.wall() / 1000))} ${this.#times().join(" ")}`),
      {
        ...text("sysname", () => this.#sysname),
        mode: 0o664,
        write: (bytes) => this.#setSysname(bytes),
      },
    ];
  }

  #stats(): string {
    const { clock } = this.#env;
    return `UptimeMs: ${Math.floor(clock.now())}\nTimers: ${clock.timerCount}\n${this.#options.stats?.() ?? ""}`;
  }

  /** Nanoseconds since 1970, ticks since the start, ticks a second. */
  #times(): bigint[] {
    const { clock } = this.#env;
    return [nanoseconds(clock.wall()), nanoseconds(clock.now()), TICKS_PER_SECOND];
  }

  #readBintime(buf: Uint8Array): number {
    const count = Math.min(3, Math.floor(buf.length / 8));
    if (count === 0) throw new KernelError("EINVAL", `Cannot read the time into ${buf.length} bytes: it takes 8`);
    const view = new DataView(buf.buffer, buf.byteOffset, buf.length);
    for (const [i, value] of this.#times().slice(0, count).entries()) view.setBigUint64(8 * i, value);
    return 8 * count;
  }

  /** Each chan of klog has its own position: the offset would be wrong after lines were overwritten. */
  #readLog(chan: Chan, buf: Uint8Array): OrWait<number> {
    const { count, next } = this.#log.read(buf, positionOf(chan));
    if (count === 0 && buf.length > 0) return this.#log.grown;
    chan.aux = next;
    return count;
  }

  #readMessages(chan: Chan, buf: Uint8Array, offset: number): number {
    if (offset === 0 || chan.snapshot === null) chan.snapshot = this.#log.snapshot();
    return readBytes(chan.snapshot, buf, offset);
  }

  #setSysname(bytes: Uint8Array): number {
    const words = splitWords(ctlText(bytes));
    const name = words[0] ?? "";
    if (words.length !== 1 || name.length > SYSNAME_MAX || !/^[\x21-\x7e]+$/.test(name)) {
      throw new KernelError("EINVAL", `Cannot name the host ${shown(words.join(" "))}`);
    }
    this.#sysname = name;
    return bytes.length;
  }

  #isInput(chan: Chan): boolean {
    const { name } = this.#fileOf(chan);
    return name === "stdin" || name === "cons";
  }

  #fileOf(chan: Chan): ConsFile {
    const file = this.#files[chan.qid.path - 1];
    if (file === undefined) throw new KernelError("EISDIR", `Cannot use "${chan.path}": it is a directory`);
    return file;
  }

  #dirOf(file: ConsFile, path: number): Dir {
    if (file.name !== "stdin" && file.name !== "cons") return makeDir(path, file.name, { mode: file.mode });
    const readable = this.input.canRead ? DirMode.Readable : 0;
    return makeDir(path, file.name, { mode: file.mode | readable, length: this.input.length });
  }
}

function rootDir(): Dir {
  return makeDir(ROOT_PATH, "#cons", { dir: true });
}

/** Read position of a chan of klog. */
function positionOf(chan: Chan): number {
  return typeof chan.aux === "number" ? chan.aux : 0;
}

/** Milliseconds as whole nanoseconds; a double carries microseconds of wall time. */
function nanoseconds(ms: number): bigint {
  return BigInt(Math.floor(ms * 1000)) * 1000n;
}
