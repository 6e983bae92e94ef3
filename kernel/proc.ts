/**
 * Proc: a process with its system calls that may sleep; {@link ProcState} is the rest of it.
 *
 * Path: user program → proc → file_calls → dev; proc → rendez (what a call must wait for), dial.
 *
 * Each call is `await`ed and sleeps until it can be done, unless the descriptor is O_NONBLOCK: then EAGAIN is thrown.
 * The same calls without sleeping are in {@link Proc.sys}.
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
}

/** One process. */
export class Proc extends ProcState {
  /** The calls that never sleep. */
  readonly sys: Sys = new Sys(this);
  /** What {@link compound} has under way. */
  #compounds: Set<{ done: Promise<unknown> | null }> = new Set();

  /** Call 102 with the working directory: the lowest free descriptor. */
  open(path: string, flags: number = Open.Read, mode = 0o660): Promise<number> {
    return this.openat(AT_CWD, path, flags, mode);
  }

  /** Call 102. EAGAIN where O_NONBLOCK would have to sleep (`listen` without a call). */
  openat(from: number, path: string, flags: number = Open.Read, mode = 0o660): Promise<number> {
    const isNonBlock = () => (flags & Open.NonBlock) !== 0;
    const args = [from, path, flags, mode];
    const work = () => calls.openat(this, { from, path, flags, mode });
    return this.#start({ call: Syscall.openat, args, fd: -1, isNonBlock, work, traced: true, done: null });
  }

  /** Call 103. Calls that sleep on it end with EBADF. */
  close(fd: number): Promise<void> {
    this.sys.close(fd);
    return Promise.resolve();
  }

  /** Call 100: how many bytes; 0 at the end. */
  read(fd: number, buf: Uint8Array): Promise<number> {
    return this.#onFd(Syscall.read, [fd, buf], fd, () => calls.read(this, fd, buf));
  }

  /** Call 101: how many bytes; sleeps while there is no room, and after a `connect` until it is made. */
  write(fd: number, bytes: Uint8Array | string): Promise<number> {
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
    return this.#start({ call: Syscall.write, args, fd, isNonBlock, work, traced: false, interrupted, done: null });
  }

  /** Call 127: exactly one block, or null at the end. EMSGSIZE: longer than `max`, stays queued. */
  blockread(fd: number, max: number = BLOCKREAD_MAX): Promise<Block | null> {
    return this.#onFd(Syscall.blockread, [fd, max], fd, () => calls.blockread(this, fd, max));
  }

  /** Call 128: all of it, as one message; returns its length. A Block is the device's from now on. */
  blockwrite(fd: number, data: Block | Uint8Array): Promise<number> {
    return this.#onFd(Syscall.blockwrite, [fd, data], fd, () => calls.blockwrite(this, fd, data));
  }

  /** Call 129: one to `count` blocks, or null at the end. */
  blockreadv(fd: number, count: number, max: number = BLOCKREAD_MAX): Promise<Block[] | null> {
    return this.#onFd(Syscall.blockreadv, [fd, count, max], fd, () => calls.blockreadv(this, fd, count, max));
  }

  /** Call 130: how many blocks were taken, at least one. */
  blockwritev(fd: number, blocks: readonly (Block | Uint8Array)[]): Promise<number> {
    return this.#onFd(Syscall.blockwritev, [fd, blocks], fd, () => calls.blockwritev(this, fd, blocks));
  }

  /** The blocks of `fd`, one after another, until its end, until it is closed, or until the process ends. */
  async *blocks(fd: number): AsyncGenerator<Block, void, void> {
    if (!this.fds.has(fd)) return;
    const { chan } = this.fds.get(fd);
    const isOpen = () => this.fds.has(fd) && this.fds.get(fd).chan === chan;
    while (isOpen()) {
      const block = await this.blockread(fd).catch((error) => {
        // The descriptor was closed while the call slept. An abort leaves it open, and is thrown.
        if (error instanceof KernelError && !isOpen()) return null;
        throw error;
      });
      if (block === null) return;
      yield block;
    }
  }

  /** Opens `path`, reads it to the end, closes it: for text files. */
  readText(path: string): Promise<string> {
    return this.#withFile(path, Open.Read, async (fd) => decoder.decode(await this.#readAll(fd)));
  }

  async #readAll(fd: number): Promise<Uint8Array> {
    let all = new Uint8Array(8192);
    let length = 0;
    while (true) {
      const count = await this.read(fd, all.subarray(length));
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
  writeText(path: string, text: string): Promise<void> {
    return this.#withFile(path, Open.Write, async (fd) => void await this.write(fd, text));
  }

  #withFile<T>(path: string, flags: number, work: (fd: number) => Promise<T>): Promise<T> {
    return this.compound(async () => {
      const fd = await this.open(path, flags);
      try {
        return await work(fd);
      } finally {
        this.sys.close(fd);
      }
    });
  }

  /** Connects to `proto!host!port`. */
  dial(address: string, options: DialOptions = {}): Promise<Conversation> {
    return this.compound(() => dial(this, address, options));
  }

  /** Announces `proto!host!port`: calls arrive at its `listen`. */
  announce(address: string, options: DialOptions = {}): Promise<Conversation> {
    return this.compound(() => announce(this, address, options));
  }

  /** Claims `proto!host!port`, `proto!*!*`, or a range: its data file carries whole IP packets. */
  bypass(address: string, options: DialOptions = {}): Promise<Conversation> {
    return this.compound(() => bypass(this, address, options));
  }

  /**
   * Does `work`, which makes several calls, as if it were one call: if the process ends meanwhile, the promise rejects,
   * and that is no unhandled rejection where the program does not await it.
   */
  compound<T>(work: () => Promise<T>): Promise<T> {
    const pending: { done: Promise<T> | null } = { done: null };
    this.#compounds.add(pending);
    const run = async () => {
      try {
        return await work();
      } finally {
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

  #onFd<T>(call: number, args: readonly unknown[], fd: number, work: () => OrWait<T>): Promise<T> {
    const isNonBlock = () => this.fds.get(fd).chan.nonBlock;
    return this.#start({ call, args, fd, isNonBlock, work, traced: true, done: null });
  }

  #start<T>(pending: PendingCall<T>): Promise<T> {
    const done = pending.done = this.#attempt(pending);
    // A job of the first attempt may have ended the process.
    if (this.hasEnded) done.catch(ignore);
    return done;
  }

  /** Makes attempts until one needs not sleep. */
  async #attempt<T>(pending: PendingCall<T>): Promise<T> {
    const { call, args, work } = pending;
    try {
      while (true) {
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
    try {
      this.kernel.clock.jobs.run();
      await sleeper.done;
    } finally {
      this.sleepers.delete(sleeper);
    }
  }
}

function ignore(): void {}
