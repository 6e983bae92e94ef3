/**
 * The ends of netd besides a signal, and its ready notification: descriptors of its parent, the end of the guest.
 *
 * Path: daemon, open_guest → life → polled_fd, libc.
 *
 * @module
 */

import { call, cString, ENOENT, ENOTDIR, ESRCH, holdLibc, lastErrno, libc, withLibc } from "../../devices/host/libc.ts";
import { PolledFd } from "../../devices/host/polled_fd.ts";
import type { Pollable } from "../../devices/host/pollable.ts";

const O_RDONLY_CLOEXEC = 0x8_0000;
/** How often the existence of a namespace's file, or a device, is checked, of which no event tells. */
const WATCH_MS = 5000;
/** pidfd_open(2), the same number on both architectures. */
const PIDFD_OPEN = 434n;

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

/** A watch that was begun. */
interface Watch {
  /** Looks at once: something has happened. */
  look(): void;
  stop(): void;
}

/**
 * Calls `ended` once `isThere` returns false: it is asked by {@link Watch.look}, and unless events tell of every end
 * (`isTold`), now and then.
 */
export function watch(isThere: () => boolean, ended: () => void, isTold = false): Watch {
  const timer = isTold ? undefined : setInterval(() => look(), WATCH_MS);
  let isOver = false;
  const look = () => {
    if (isOver || isThere()) return;
    stop();
    ended();
  };
  const stop = () => {
    isOver = true;
    clearInterval(timer);
  };
  return { look, stop };
}

/** The end of a process, by its pidfd. */
export class ProcessEnd extends PolledFd implements Pollable {
  readonly #ended: () => void;

  private constructor(fd: number, ended: () => void) {
    super(fd);
    this.#ended = ended;
    holdLibc();
  }

  /** Of the process in whose folder of /proc the file `path` is; null: in none, or it cannot be watched. */
  static of(path: string, ended: () => void): ProcessEnd | null {
    const pid = /^\/proc\/(\d+)\//.exec(path)?.[1];
    if (pid === undefined) return null;
    return withLibc(() => {
      const fd = libc().syscall(PIDFD_OPEN, BigInt(pid), 0n, 0n);
      return fd < 0 ? null : new ProcessEnd(fd, ended);
    });
  }

  drain(): number {
    this.close();
    this.#ended();
    return 0;
  }
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
