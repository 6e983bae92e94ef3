/**
 * The kernel, for programs that write a device, or that make system calls by themselves: blocks, queues, channels,
 * the device interface, processes, and the constants of the calls.
 *
 * Path: user program → kernel/mod → kernel, dev, proc, queue, time.
 *
 * A device is a class over `Dev`; `Kernel.addDevice` makes it a row of the device table, `#name`:
 *
 * ```ts
 * import { boot } from "@akarino/akarino";
 * import { Chan, Dev, type Dir, makeDir, readBytes } from "@akarino/akarino/kernel";
 *
 * class HelloDev extends Dev {
 *   override readonly name = "hello";
 *   readonly #dirs = [makeDir(0, ".", { dir: true, mode: 0o555 }), makeDir(1, "hello", { mode: 0o444 })];
 *
 *   override attach(): Chan {
 *     return new Chan(this, this.#dirs[0]!.qid);
 *   }
 *   override lookup(_dir: Chan, name: string): Dir | null {
 *     return name === ".." ? this.#dirs[0]! : this.#dirs.find((dir) => dir.name === name) ?? null;
 *   }
 *   override list(): Dir[] {
 *     return this.#dirs.slice(1);
 *   }
 *   override stat(chan: Chan): Dir {
 *     return this.#dirs[chan.qid.path]!;
 *   }
 *   override read(_chan: Chan, buf: Uint8Array, offset: number): number {
 *     return readBytes(new TextEncoder().encode("hello\n"), buf, offset);
 *   }
 * }
 *
 * await using host = await boot();
 * host.kernel.addDevice(new HelloDev());
 * const text = await host.spawn("look").readText("#hello/hello");
 * console.log(text.trim()); // hello
 * ```
 *
 * @module
 */

export {
  Block,
  BLOCK_HEADROOM,
  BLOCK_MAX,
  BlockPool,
  Checksum as ChecksumState,
  Segment as SegmentOffload,
} from "./block.ts";
export { Chan, type CreateOptions, type Files, type Walked } from "./chan.ts";
export { ctlText, type CtlVerb, parseNumber, parseSwitch, runCtl, splitWords } from "./ctl.ts";
export { ChanCtl, Dev, type DevEnv, makeDir, permits, readBytes, textOf } from "./dev.ts";
export {
  announce,
  bypass,
  type Conversation,
  dial,
  type Dialler,
  type DialOptions,
  getPort,
  hangUp,
  listen,
  netMkAddr,
} from "./dial.ts";
export { DIRENT_LEN } from "./dirent.ts";
export { Errno, type ErrnoName, errnoName, KernelError, SystemError } from "./error.ts";
export { type FdEntry, FdTable } from "./fd_table.ts";
export {
  type Event as FdEvent,
  EventQueue,
  type EventSink,
  FdTap,
  type TapCommand,
  TapEvent,
  TapList,
} from "./fd_tap.ts";
export type { HeapEntry } from "./heap.ts";
export { type FramePort, NO_OFFLOADS, type PacketPort, type Port, type PortOffloads } from "./host.ts";
export { Job, JobQueue } from "./job.ts";
export { Kernel, type KernelOptions } from "./kernel.ts";
export { Mount, Namespace } from "./namespace.ts";
export { Proc } from "./proc.ts";
export { type ProcKernel, type ProcOptions, type ProcStart, ProcState, type SleepingCall } from "./proc_state.ts";
export { type Dir, DirMode, EVE, isDir, Open as OpenMode, type Qid, QidType } from "./qid.ts";
export { BlockChain, type QueueAccount } from "./block_chain.ts";
export { type PutResult, Queue, type QueueOptions } from "./queue.ts";
export { breadQueue, bwriteQueue, readQueue, writeQueue } from "./queue_file.ts";
export { Random, SeededRandom } from "./random.ts";
export { type OrWait, Rendez, Sleeper } from "./rendez.ts";
export { AGAIN, type Again, BLOCKREAD_MAX, Sys } from "./sys.ts";
export { AT_CWD, Fcntl, Seek, Syscall, type SyscallName, syscallName, Tap as TapVerb } from "./syscall_table.ts";
export type { DupRequest, TapRequest } from "./tap_calls.ts";
export { Clock, Timer as ClockTimer, VirtualClock } from "./time.ts";
export type { TraceSink } from "./trace.ts";
export type { WaitOptions } from "./wait.ts";
