/**
 * The ends of netd besides a signal, and its ready notification: descriptors of its parent, the end of the guest.
 *
 * Path: daemon → life → libc.
 *
 * @module
 */

import { call, cString, ENOENT, ENOTDIR, ESRCH, lastErrno, libc, withLibc } from "../../devices/host/libc.ts";
import type { Pollable } from "../../devices/host/reactor.ts";

const O_RDONLY_CLOEXEC = 0x8_0000;
/** How often the existence of a namespace's file, or a device, is checked. */
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
 * A pipe of the parent: when it is readable, such as at its end, the reactor calls `ended` (slirp4netns: "when a
 * poll(2) event happens").
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

/** Calls `ended` once `isThere` returns false. Returns a function that stops that. */
export function watch(isThere: () => boolean, ended: () => void): () => void {
  const timer = setInterval(() => {
    if (isThere()) return;
    clearInterval(timer);
    ended();
  }, WATCH_MS);
  return () => clearInterval(timer);
}

/** Errors of open(2) for a missing file. Any other error (no descriptor left) decides nothing. */
const ABSENT: ReadonlySet<number> = new Set([ENOENT, ENOTDIR, ESRCH]);

/**
 * Whether the file exists: it can be opened, or fails for another reason than its absence. A process that has ended has
 * no namespace, even before its parent has waited for it.
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
