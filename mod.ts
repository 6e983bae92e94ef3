/**
 * Akarino: a miniature Akaros-like kernel: system calls over file descriptors, an IP stack as a file tree, a bypass
 * that gives a program a port of a live stack, and block system calls that keep packet boundaries.
 *
 * ```ts
 * import { boot, swapEnds } from "./mod.ts";
 *
 * const host = await boot({ wire: "memory", seed: 1 }); // or "tap", "tun"
 * const proc = host.spawn("echo");
 * const conv = await proc.bypass("udp!*!7"); // claims udp port 7 of the live stack
 * for await (const packet of proc.blocks(conv.data)) {
 *   await proc.blockwrite(conv.data, swapEnds(packet)); // whole IP packets, one a block
 * }
 * ```
 *
 * @module
 */

export { boot, type BootOptions, type Guest, Host, type Wire } from "./tools/boot/boot.ts";
export { type GuestHost, GuestOf, type GuestOptions } from "./tools/boot/guest.ts";
export type { Direction, PortObserver } from "./tools/boot/observe_port.ts";
export { type StreamAddr, StreamConn, StreamListener } from "./tools/boot/streams.ts";
export { swapEnds } from "./tools/boot/swap_ends.ts";

export { Block, BlockPool, Checksum, Segment } from "./kernel/block.ts";
export { Chan, type CreateOptions, type Files, type Walked } from "./kernel/chan.ts";
export { type Dir, DirMode, Open, type Qid, QidType } from "./kernel/qid.ts";
export { Dev, type DevEnv } from "./kernel/dev.ts";
export { type OrWait, Rendez, Sleeper } from "./kernel/rendez.ts";
export {
  type Event,
  EventQueue,
  type EventSink,
  FdTap,
  type FdTapOptions,
  type TapCommand,
  TapEvent,
} from "./kernel/fd_tap.ts";
export {
  type Conversation,
  type Dialler,
  type DialOptions,
  getPort,
  hangUp,
  listen,
  netMkAddr,
} from "./kernel/dial.ts";
export { Errno, type ErrnoName, KernelError, SystemError } from "./kernel/error.ts";
export { type FdEntry, FdTable } from "./kernel/fd_table.ts";
export { type FramePort, NO_OFFLOADS, type PacketPort, type Port, type PortOffloads } from "./kernel/host.ts";
export type { HeapEntry } from "./kernel/heap.ts";
export { Job, JobQueue } from "./kernel/job.ts";
export { Kernel, type KernelOptions } from "./kernel/kernel.ts";
export { Mount, Namespace } from "./kernel/namespace.ts";
export { Proc } from "./kernel/proc.ts";
export {
  type ProcKernel,
  type ProcOptions,
  type ProcStart,
  ProcState,
  type SleepingCall,
} from "./kernel/proc_state.ts";
export { Random, SeededRandom } from "./kernel/random.ts";
export { AGAIN, type Again, Sys } from "./kernel/sys.ts";
export { AT_CWD, Fcntl, Seek, Syscall, type SyscallName, Tap } from "./kernel/syscall_table.ts";
export type { DupRequest, TapRequest } from "./kernel/tap_calls.ts";
export { Clock, Timer, VirtualClock } from "./kernel/time.ts";
export type { TraceSink } from "./kernel/trace.ts";
export { IpAddr, parseIpAddr } from "./kernel/wire/ip_addr.ts";

export { HostError, type HostErrorName } from "./devices/host/libc.ts";
export { createNetns, Netns, openNetns } from "./devices/host/netns.ts";
export { type Pollable, Reactor, type ReactorCounters, type ReactorOptions } from "./devices/host/reactor.ts";
export { RealClock } from "./devices/host/clock.ts";
export { type InterfaceAddress, NetDevice } from "./devices/host/netdev.ts";
export {
  LinuxPort,
  openTap,
  openTun,
  type PortCounters,
  type TapOptions,
  TapPort,
  type TunOptions,
  TunPort,
} from "./devices/host/tun.ts";
export { Cable, type CableDirection, type CableOptions } from "./devices/ether/cable.ts";
export type { CableCounters, CableFaults } from "./devices/ether/cable_faults.ts";
export { type CableCore, CablePort, type CablePortOptions } from "./devices/ether/cable_port.ts";
