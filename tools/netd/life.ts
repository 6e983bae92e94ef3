/**
 * What ends netd besides a signal, and whom it tells that it has begun: descriptors of its parent, the guest's end.
 *
 * Path: daemon → life → libc.
 *
 * @module
 */

import { call, cString, ENOENT, ENOTDIR, ESRCH, lastErrno, libc, withLibc } from "../../devices/host/libc.ts";
import type { Pollable } from "../../devices/host/reactor.ts";

const O_RDONLY_CLOEXEC = 0x8_0000;
/** How often it is looked whether a namespace's file, or a device, is still there. */
const WATCH_MS = 250;

/** Writes "1" to a descriptor of the parent, and closes it. Throws HostError: EBADF. */
export function tellReady(fd: number): void {
  withLibc(() => {
    // Safe because the length is that of the text.
    call(`Cannot write to descriptor ${fd} of --ready-fd`, libc().write(fd, new Uint8Array([0x31]), 1n));
    if (fd > 2) libc().close(fd);
  });
}

/**
 * A pipe of the parent: when it has anything to read, such as its end, `ended` is called by the reactor (slirp4netns:
 * "when a poll(2) event happens").
 */
export class ExitPipe implements Pollable {
  onClose: (() => void) | null = null;
  readonly #ended: () => void;

  constructor(readonly fd: number, ended: () => void) {
    this.#ended = ended;
  }

  drain(): number {
    this.#ended();
    return -1;
  }
}

/** Calls `ended` once `isThere` says no. Answers how to stop. */
export function watch(isThere: () => boolean, ended: () => void): () => void {
  const timer = setInterval(() => {
    if (isThere()) return;
    clearInterval(timer);
    ended();
  }, WATCH_MS);
  return () => clearInterval(timer);
}

/** What an open(2) of something that is gone fails with. Any other error (no descriptor left) says nothing of it. */
const ABSENT: ReadonlySet<number> = new Set([ENOENT, ENOTDIR, ESRCH]);

/**
 * Whether the file is there: it can be opened, or is refused for another reason than its absence. A process that has
 * ended has no namespace, also before its parent has noticed.
 */
export function isThere(path: string): boolean {
  return withLibc(() => {
    const name = cString(path);
    const fd = libc().open(name, O_RDONLY_CLOEXEC, 0);
    if (fd < 0) return !ABSENT.has(lastErrno());
    libc().close(fd);
    return true;
  });
}
