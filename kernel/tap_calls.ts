/**
 * The system calls on taps and on other processes' descriptors.
 *
 * Path: sys → tap_calls → fd_tap, proc_state.
 *
 * @module
 */

import { KernelError } from "./error.ts";
import { isDescriptor } from "./fd_table.ts";
import { type EventQueue, FdTap } from "./fd_tap.ts";
import type { ProcState } from "./proc_state.ts";
import { Tap } from "./syscall_table.ts";

/** One request of tap_fds. */
export interface TapRequest {
  /** The descriptor. */
  readonly fd: number;
  /** Tap.Add, Tap.Remove or Tap.Modify. */
  readonly command: number;
  /** Wanted bits of TapEvent. */
  readonly filter?: number;
  /** Comes back in the event; default the descriptor. */
  readonly id?: number;
  /** Where events go; Tap.Add needs it. */
  readonly queue?: EventQueue;
  /** Comes back in the event. */
  readonly data?: unknown;
  /** Beyond Akaros: an event at once if the file is ready already. */
  readonly level?: boolean;
}

/**
 * Call 126, one request: EBUSY for a second tap on an fd, EBADF for none to remove, ENOSYS if the file has no such
 * tap.
 */
export function tapFd(proc: ProcState, request: TapRequest): void {
  const entry = proc.fds.get(request.fd);
  const { chan } = entry;
  switch (request.command) {
    case Tap.Add: {
      if (entry.tap !== null) throw new KernelError("EBUSY", `Descriptor ${request.fd} has a tap already`);
      if (request.queue === undefined) throw new KernelError("EINVAL", "Cannot add a tap without an event queue");
      const id = request.id ?? request.fd;
      const tap = new FdTap({
        fd: request.fd,
        filter: request.filter ?? 0,
        id,
        queue: request.queue,
        data: request.data,
      });
      const level = chan.dev.tapfd(chan, tap, "add");
      entry.tap = tap;
      if (request.level === true) tap.fire(level);
      return;
    }
    case Tap.Remove:
      if (entry.tap === null) throw new KernelError("EBADF", `Descriptor ${request.fd} has no tap`);
      chan.dev.tapfd(chan, entry.tap, "remove");
      entry.tap = null;
      return;
    case Tap.Modify: {
      if (entry.tap === null) throw new KernelError("EBADF", `Descriptor ${request.fd} has no tap`);
      const old = entry.tap.filter;
      entry.tap.filter = request.filter ?? 0;
      try {
        const level = chan.dev.tapfd(chan, entry.tap, "modify");
        if (request.level === true) entry.tap.fire(level);
      } catch (error) {
        entry.tap.filter = old;
        throw error;
      }
      return;
    }
    default:
      throw new KernelError("ENOSYS", `Cannot tap descriptor ${request.fd}: no command ${request.command}`);
  }
}

/** One entry of dup_fds_to: a descriptor of ours, the number that it gets in the child. */
export interface DupRequest {
  /** The descriptor. */
  readonly fd: number;
  /** The number that it gets in the child. */
  readonly childFd: number;
}

/** Call 125: how many of `map` succeeded; a number that the child uses already fails and is never closed. */
export function dupFdsTo(proc: ProcState, pid: number, map: readonly DupRequest[]): number {
  const child = proc.kernel.procs.get(pid);
  if (child === undefined) throw new KernelError("ENOENT", `No process ${pid}`);
  let done = 0;
  for (const { fd, childFd } of map) {
    if (!proc.fds.has(fd) || !isDescriptor(childFd) || child.fds.has(childFd)) continue;
    child.fds.put(childFd, proc.fds.get(fd).chan.retain());
    done++;
  }
  return done;
}
