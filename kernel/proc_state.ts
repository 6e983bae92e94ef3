/**
 * ProcState: the state of a process without its calls: descriptors, namespace, user, working directory, trace, and its
 * sleeping calls.
 *
 * Path: proc, kernel → proc_state ← file_calls, tap_calls, sys; proc_state → fd_table.
 *
 * @module
 */

import type { BlockPool } from "./block.ts";
import { KernelError } from "./error.ts";
import { FdTable } from "./fd_table.ts";
import type { Namespace } from "./namespace.ts";
import type { Random } from "./random.ts";
import type { Sleeper } from "./rendez.ts";
import type { Clock } from "./time.ts";
import { traceLine, type TraceSink } from "./trace.ts";

/** The part of the kernel that a process uses. */
export interface ProcKernel {
  /** Time, timers and jobs. */
  readonly clock: Clock;
  /** Random numbers. */
  readonly random: Random;
  /** Where blocks come from. */
  readonly blocks: BlockPool;
  /** Running processes by pid. */
  readonly procs: Map<number, ProcState>;
  /** The process whose system call runs or ran last. */
  current: ProcState | null;
}

/** How a process is made. */
export interface ProcOptions {
  /** Default `eve`. */
  user?: string;
  /** Takes a line for every system call. */
  trace?: TraceSink;
}

/** Owner and name of a process. */
export interface ProcStart extends ProcOptions {
  /** The kernel that it runs on. */
  readonly kernel: ProcKernel;
  /** Its number. */
  readonly pid: number;
  /** Its name, for messages. */
  readonly name: string;
  /** Its names for files. */
  readonly ns: Namespace;
}

/** A call that sleeps. */
export interface SleepingCall {
  /** The descriptor that it sleeps on; -1: none, {@link ProcState.abortSleepers} does not find it. */
  readonly fd: number;
  /** The promise that the caller awaits. */
  done: Promise<unknown> | null;
}

/** The state of one process. */
export class ProcState {
  /** The kernel that it runs on. */
  readonly kernel: ProcKernel;
  /** Its number. */
  readonly pid: number;
  /** Its name, for messages. */
  readonly name: string;
  /** Its names for files. */
  readonly ns: Namespace;
  /** Its descriptors. */
  readonly fds: FdTable = new FdTable();
  /** Its owner. */
  readonly user: string;
  /** Absolute text of the working directory. */
  cwd = "/";
  /** Permission bits that new files do not get. */
  umask = 0o002;
  /** Takes a line for every system call; null: none. */
  trace: TraceSink | null;
  /** What stopped the last tap_fds after its first request, or null. */
  lastError: KernelError | null = null;
  /** Whether it has ended: its descriptors are closed, and it opens no more. */
  hasEnded = false;
  /** Its calls that sleep. */
  protected readonly sleepers: Map<Sleeper, SleepingCall> = new Map();

  /** For {@link Kernel.spawn}. */
  constructor({ kernel, pid, name, ns, user = "eve", trace }: ProcStart) {
    this.kernel = kernel;
    this.pid = pid;
    this.name = name;
    this.ns = ns;
    this.user = user;
    this.trace = trace ?? null;
  }

  /** Ends calls that sleep on `fd` with `reason` (default EINTR); how many. */
  abortSleepers(fd: number, reason?: () => KernelError): number {
    let count = 0;
    for (const [sleeper, call] of [...this.sleepers]) {
      if (call.fd !== fd) continue;
      sleeper.abort(reason?.());
      count++;
    }
    return count;
  }

  /** For the faces: writes a trace line. */
  traceCall(call: number, args: readonly unknown[], outcome: unknown): void {
    if (this.trace === null) return;
    this.trace(traceLine({ now: this.kernel.clock.now(), pid: this.pid, name: this.name }, call, args, outcome));
  }

  /** For the faces: traces a refusal. */
  failed(call: number, args: readonly unknown[], error: unknown): void {
    if (error instanceof KernelError) this.traceCall(call, args, error);
  }
}
