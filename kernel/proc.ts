/**
 * Proc: a process with its system calls that may sleep; {@link ProcState} is the rest of it.
 *
 * Path: user program → proc → file_calls → dev; proc → rendez (what a call must wait for), dial.
 *
 * Each call is `await`ed and sleeps until it can be done, unless the descriptor is O_NONBLOCK: then EAGAIN is thrown.
 * A last argument bounds the sleep ({@link WaitOptions}): a call that is given up has taken nothing. The same calls
 * without sleeping are in {@link Proc.sys}.
 *
 * @module
 */

import type { Block } from "./block.ts";
import { announce, bypass, type Conversation, dial, type DialOptions } from "./dial.ts";
import { KernelError } from "./error.ts";
import * as calls from "./file_calls.ts";
import { ProcState, type SleepingCall } from "./proc_state.ts";
import { Open } from "./qid.ts";
import { type OrWait, Rendez } from "./rendez.ts";
import { BLOCKREAD_MAX, Sys } from "./sys.ts";
import { AT_CWD, Syscall } from "./syscall_table.ts";
import { WaitLimit, type WaitOptions } from "./wait.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A call of the awaiting face that is under way. */
interface PendingCall<T> extends SleepingCall {
  readonly call: number;
  readonly args: readonly unknown[];
  readonly isNonBlock: () => boolean;
  /** One attempt. */
  readonly work: () => OrWait<T>;
  /** Whether it writes a trace line of its own. */
  readonly traced: boolean;
  /** The result all the same if the wait is interrupted, such as a count of bytes that were taken; null: none. */
  readonly interrupted?: () => T | null;
  /** Ends the call when it is aborted. */
  signal?: AbortSignal | undefined;
}

/** One process. */
export class Proc extends ProcState {
  /** The calls that never sleep. */
  readonly sys: Sys = new Sys(this);
  /** What {@link compound} has under way. */
  #compounds: Set<{ done: Promise<unknown> | null }> = new Set();

  /** Call 102 with the working directory: the lowest free descriptor. Default: for reading, mode 0660 of a new file. */
  open(path: string, flags?: number, mode?: number, wait?: WaitOptions): Promise<number> {
    return this.#open([AT_CWD, path, flags ?? Open.Read, mode ?? 0o660], wait);
  }

  /** Call 102. EAGAIN where O_NONBLOCK would have to sleep (`listen` without a call). */
  openat(from: number, path: string, flags: number = Open.Read, mode = 0o660): Promise<number> {
    return this.#open([from, path, flags, mode], undefined);
  }

  #open(args: readonly [number, string, number, number], wait: WaitOptions | undefined): Promise<number> {
    const [from, path, flags, mode] = args;
    const isNonBlock = () => (flags & Open.NonBlock) !== 0;
    const work = () => calls.openat(this, { from, path, flags, mode });
    return this.#start({ call: Syscall.openat, args, fd: -1, isNonBlock, work, traced: true, done: null }, wait);
  }

  /** Call 103. Calls that sleep on it end with EBADF. */
  close(fd: number): Promise<void> {
    this.sys.close(fd);
    return Promise.resolve();
  }

  /** Call 100: how many bytes; 0 at the end. */
  read(fd: number, buf: Uint8Array, wait?: WaitOptions): Promise<number> {
    return this.#onFd(Syscall.read, [fd, buf], () => calls.read(this, fd, buf), wait);
  }

  /** Call 101: how many bytes; sleeps while there is no room, and after a `connect` until it is made. */
  write(fd: number, bytes: Uint8Array | string, wait?: WaitOptions): Promise<number> {
    const data = typeof bytes === "string" ? encoder.encode(bytes) : bytes;
    const args = [fd, bytes];
    let taken: number | null = null;
    const work = () => {
      if (taken === null) {
        const count = calls.write(this, fd, data);
        if (count instanceof Rendez) return count;
        this.kernel.clock.jobs.run();
        this.traceCall(Syscall.write, args, count);
        taken = count;
      }
      const { chan } = this.fds.get(fd);
      return chan.dev.settle(chan, chan.nonBlock) ?? taken;
    };
    const isNonBlock = () => this.fds.get(fd).chan.nonBlock;
    const interrupted = () => taken;
    const pending = { call: Syscall.write, args, fd, isNonBlock, work, traced: false, interrupted, done: null };
    return this.#start(pending, wait);
  }

  /** Call 127: exactly one block, or null at the end. EMSGSIZE: longer than `max`, stays queued. */
  blockread(fd: number, max?: number, wait?: WaitOptions): Promise<Block | null> {
    const most = max ?? BLOCKREAD_MAX;
    return this.#onFd(Syscall.blockread, [fd, most], () => calls.blockread(this, fd, most), wait);
  }

  /** Call 128: all of it, as one message; returns its length. A Block is the device's from now on. */
  blockwrite(fd: number, data: Block | Uint8Array, wait?: WaitOptions): Promise<number> {
    return this.#onFd(Syscall.blockwrite, [fd, data], () => calls.blockwrite(this, fd, data), wait);
  }

  /** Call 129: one to `count` blocks, or null at the end. */
  blockreadv(fd: number, count: number, max?: number, wait?: WaitOptions): Promise<Block[] | null> {
    const most = max ?? BLOCKREAD_MAX;
    return this.#onFd(Syscall.blockreadv, [fd, count, most], () => calls.blockreadv(this, fd, count, most), wait);
  }

  /** Call 130: how many blocks were taken, at least one. */
  blockwritev(fd: number, blocks: readonly (Block | Uint8Array)[], wait?: WaitOptions): Promise<number> {
    return this.#onFd(Syscall.blockwritev, [fd, blocks], () => calls.blockwritev(this, fd, blocks), wait);
  }

  /**
   * The blocks of `fd`, one after another, until its end, until it is closed, or until the process ends. `wait` bounds
   * the wait for each. While the loop's body works, blocks gather in the file's queue; what its limit does not hold is
   * dropped and counted, or held back, as the file has it.
   */
  async *blocks(fd: number, wait?: WaitOptions): AsyncGenerator<Block, void, void> {
    if (!this.fds.has(fd)) return;
    const { chan } = this.fds.get(fd);
    const isOpen = () => this.fds.has(fd) && this.fds.get(fd).chan === chan;
    while (isOpen()) {
      const block = await this.blockread(fd, BLOCKREAD_MAX, wait).catch((error) => {
        // The descriptor was closed while the call slept. An abort leaves it open, and is thrown.
        if (error instanceof KernelError && !isOpen()) return null;
        throw error;
      });
      if (block === null) return;
      yield block;
    }
  }

  /** Opens `path`, reads it to the end, closes it: for text files. */
  readText(path: string, wait?: WaitOptions): Promise<string> {
    const work = async (fd: number, wait: WaitOptions) => decoder.decode(await this.#readAll(fd, wait));
    return this.#withFile(path, Open.Read, work, wait);
  }

  async #readAll(fd: number, wait: WaitOptions): Promise<Uint8Array> {
    let all = new Uint8Array(8192);
    let length = 0;
    while (true) {
      const count = await this.read(fd, all.subarray(length), wait);
      if (count === 0) return all.subarray(0, length);
      length += count;
      if (length === all.length) {
        const larger = new Uint8Array(2 * length);
        larger.set(all);
        all = larger;
      }
    }
  }

  /** Opens `path`, writes `text` in one write, closes it: for ctl files. */
  writeText(path: string, text: string, wait?: WaitOptions): Promise<void> {
    return this.#withFile(path, Open.Write, async (fd, wait) => void await this.write(fd, text, wait), wait);
  }

  #withFile<T>(
    path: string,
    flags: number,
    work: (fd: number, wait: WaitOptions) => Promise<T>,
    wait: WaitOptions | undefined,
  ): Promise<T> {
    return this.compound(async (wait) => {
      const fd = await this.open(path, flags);
      try {
        return await work(fd, wait);
      } finally {
        this.sys.close(fd);
      }
    }, wait);
  }

  /** Connects to `proto!host!port`. */
  dial(address: string, options: DialOptions = {}): Promise<Conversation> {
    return dial(this, address, options);
  }

  /** Announces `proto!host!port`: calls arrive at its `listen`. */
  announce(address: string, options: DialOptions = {}): Promise<Conversation> {
    return announce(this, address, options);
  }

  /** Claims `proto!host!port`, `proto!*!*`, or a range: its data file carries whole IP packets. */
  bypass(address: string, options: DialOptions = {}): Promise<Conversation> {
    return bypass(this, address, options);
  }

  /**
   * Does `work`, which makes several calls, as if it were one call: if the process ends meanwhile, the promise rejects,
   * and that is no unhandled rejection where the program does not await it. `wait` bounds all of it: `work` passes what
   * it gets to each call.
   */
  compound<T>(work: (wait: WaitOptions) => Promise<T>, wait: WaitOptions = {}): Promise<T> {
    const pending: { done: Promise<T> | null } = { done: null };
    this.#compounds.add(pending);
    const run = async () => {
      let limit: WaitLimit | null = null;
      try {
        limit = new WaitLimit(this.kernel.clock, wait);
        return await work({ signal: limit.signal });
      } finally {
        limit?.end();
        this.#compounds.delete(pending);
      }
    };
    return pending.done = run();
  }

  /** Ends the process: calls that sleep reject with EINTR to their callers, descriptors are closed. */
  exit(): void {
    this.hasEnded = true;
    for (const { done } of this.#compounds) done?.catch(ignore);
    for (const [sleeper, { done }] of [...this.sleepers]) {
      done?.catch(ignore);
      sleeper.abort(new KernelError("EINTR", `Process ${this.pid} (${this.name}) ended while the call slept`));
    }
    for (const fd of this.fds.numbers()) this.sys.close(fd);
    this.kernel.procs.delete(this.pid);
  }

  /** A call on the descriptor that is its first argument. */
  #onFd<T>(
    call: number,
    args: readonly [fd: number, ...unknown[]],
    work: () => OrWait<T>,
    wait: WaitOptions | undefined,
  ): Promise<T> {
    const [fd] = args;
    const isNonBlock = () => this.fds.get(fd).chan.nonBlock;
    return this.#start({ call, args, fd, isNonBlock, work, traced: true, done: null }, wait);
  }

  #start<T>(pending: PendingCall<T>, wait: WaitOptions | undefined): Promise<T> {
    const done = pending.done = wait === undefined ? this.#attempt(pending) : this.#bounded(pending, wait);
    // A job of the first attempt may have ended the process.
    if (this.hasEnded) done.catch(ignore);
    return done;
  }

  async #bounded<T>(pending: PendingCall<T>, wait: WaitOptions): Promise<T> {
    const limit = new WaitLimit(this.kernel.clock, wait);
    pending.signal = limit.signal;
    try {
      return await this.#attempt(pending);
    } finally {
      limit.end();
    }
  }

  /** Makes attempts until one needs not sleep. */
  async #attempt<T>(pending: PendingCall<T>): Promise<T> {
    const { call, args, work } = pending;
    try {
      while (true) {
        pending.signal?.throwIfAborted();
        this.kernel.current = this;
        const result = work();
        if (!(result instanceof Rendez)) {
          this.kernel.clock.jobs.run();
          if (pending.traced) this.traceCall(call, args, result);
          return result;
        }
        if (pending.isNonBlock()) throw new KernelError("EAGAIN", "Nothing there now");
        await this.#sleepAt(result, pending);
      }
    } catch (error) {
      const isInterruption = error instanceof KernelError && (error.code === "EINTR" || error.code === "EBADF");
      const result = isInterruption ? pending.interrupted?.() ?? null : null;
      if (result !== null) return result;
      this.failed(call, args, error);
      throw error;
    }
  }

  async #sleepAt(rendez: Rendez, pending: PendingCall<unknown>): Promise<void> {
    // Asleep before the jobs run: one of them may bring what the call waits for.
    const sleeper = rendez.sleep();
    this.sleepers.set(sleeper, pending);
    const { signal } = pending;
    const abort = signal === undefined ? null : () => sleeper.abort(signal.reason);
    if (abort !== null) signal!.addEventListener("abort", abort);
    try {
      this.kernel.clock.jobs.run();
      await sleeper.done;
    } finally {
      if (abort !== null) signal!.removeEventListener("abort", abort);
      this.sleepers.delete(sleeper);
    }
  }
}

function ignore(): void {}
