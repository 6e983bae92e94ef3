/**
 * Kernel: one machine: its devices, processes and namespace over a clock. Many live side by side; nothing is global.
 *
 * Path: boot → kernel → proc, namespace, dev.
 *
 * @module
 */

import { BlockPool } from "./block.ts";
import type { Chan } from "./chan.ts";
import type { Dev, DevEnv } from "./dev.ts";
import { KernelError } from "./error.ts";
import { Namespace } from "./namespace.ts";
import { Proc } from "./proc.ts";
import type { ProcKernel, ProcOptions } from "./proc_state.ts";
import { EVE } from "./qid.ts";
import type { Random } from "./random.ts";
import { Rendez } from "./rendez.ts";
import type { Clock } from "./time.ts";
import type { TraceSink } from "./trace.ts";

/** Most processes of a kernel. */
const PROCS_MAX = 65536;

/** Parts of a kernel. */
export interface KernelOptions {
  /** Time, timers and jobs; connected kernels share it. */
  clock: Clock;
  /** Random numbers; seeded in a simulation. */
  random: Random;
  /** Memory for blocks; kernels that exchange many may share it. */
  blocks?: BlockPool;
  /** Host name, for messages. */
  name?: string;
}

/** One kernel. */
export class Kernel implements DevEnv, ProcKernel {
  /** Time, timers and jobs. */
  readonly clock: Clock;
  /** Random numbers. */
  readonly random: Random;
  /** Where blocks come from. */
  readonly blocks: BlockPool;
  /** Host name, for messages. */
  readonly name: string;
  /** Running processes by pid. */
  readonly procs: Map<number, Proc> = new Map();
  /** The process whose system call runs or ran last. */
  current: Proc | null = null;
  /** Takes a line for every system call of processes that are spawned from now on and have no trace of their own. */
  trace: TraceSink | null = null;
  readonly #devices: Map<string, Dev> = new Map();
  #namespace: Namespace | null = null;
  #lastPid = 0;

  /** A kernel without devices; {@link Kernel.addDevice} adds them, `root` among them. */
  constructor(options: KernelOptions) {
    this.clock = options.clock;
    this.random = options.random;
    this.blocks = options.blocks ?? new BlockPool();
    this.name = options.name ?? "akarino";
  }

  /** The device table, by name. */
  get devices(): ReadonlyMap<string, Dev> {
    return this.#devices;
  }

  /** Adds a row to the device table; the device `root` is where `/` is. */
  addDevice<D extends Dev>(dev: D): D {
    this.#devices.set(dev.name, dev);
    return dev;
  }

  /** The namespace that processes without a parent share. */
  get namespace(): Namespace {
    if (this.#namespace === null) {
      const root = this.#devices.get("root");
      if (root === undefined) throw new KernelError("ENODEV", "Cannot make a namespace: there is no device #root");
      this.#namespace = new Namespace(this.#devices, root.attach("", EVE));
    }
    return this.#namespace;
  }

  /** A new process; a child shares its parent's namespace, user and directory. */
  spawn(name: string, options: ProcOptions & { parent?: Proc } = {}): Proc {
    if (this.procs.size >= PROCS_MAX) {
      throw new KernelError("ENOFREEPID", `Cannot run more than ${PROCS_MAX} processes`);
    }
    const { parent } = options;
    const user = options.user ?? parent?.user ?? EVE;
    const trace = options.trace ?? this.trace;
    const ns = parent?.ns ?? this.namespace;
    const proc = new Proc({ kernel: this, pid: ++this.#lastPid, name, ns, user, ...trace === null ? {} : { trace } });
    if (parent !== undefined) {
      proc.cwd = parent.cwd;
      proc.umask = parent.umask;
    }
    this.procs.set(proc.pid, proc);
    return proc;
  }

  /** Opens a file for a device, by its name in the kernel's own namespace; never sleeps. */
  open(path: string, flags: number): Chan {
    const chan = this.namespace.walk(path, "/", EVE);
    const opened = chan.dev.open(chan, flags, EVE);
    if (opened instanceof Rendez) throw new KernelError("EAGAIN", `Cannot open "${path}" without sleeping`);
    return opened;
  }

  /** Ends every process. */
  shutdown(): void {
    for (const proc of [...this.procs.values()]) proc.exit();
  }
}
