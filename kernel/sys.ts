/**
 * The face of the system calls that never sleeps and never allocates a promise, for hot paths and fd taps.
 *
 * Path: user program → sys → file_calls, tap_calls.
 *
 * Where the awaiting face (`Proc`) would sleep, a call here returns {@link AGAIN} and has changed nothing. Every other
 * refusal is thrown as a KernelError. On the way out of a call the jobs that it caused are run, so a packet that was
 * written has crossed the whole stack when the call returns.
 *
 * @module
 */

import type { Block } from "./block.ts";
import { listDir } from "./dirent.ts";
import { KernelError } from "./error.ts";
import * as calls from "./file_calls.ts";
import type { ProcState } from "./proc_state.ts";
import { type Dir, Open } from "./qid.ts";
import { type OrWait, Rendez } from "./rendez.ts";
import { AT_CWD, Seek, Syscall } from "./syscall_table.ts";
import { dupFdsTo, type DupRequest, tapFd, type TapRequest } from "./tap_calls.ts";

/** "Not now": the result of a call that would have to sleep. */
export const AGAIN: unique symbol = Symbol("EAGAIN");
/** Type of {@link AGAIN}. */
export type Again = typeof AGAIN;

/** Largest block that `blockread` takes by default: any IP packet, any frame. */
export const BLOCKREAD_MAX = 1 << 17;

/** System calls of one process that never sleep. */
export class Sys {
  readonly #proc: ProcState;

  /** For `Proc`. */
  constructor(proc: ProcState) {
    this.#proc = proc;
  }

  /** Call 102, `openat` with the working directory. Returns a descriptor. */
  open(path: string, flags: number = Open.Read, mode = 0o660): number | Again {
    return this.openat(AT_CWD, path, flags, mode);
  }

  /** Call 102. Returns the lowest free descriptor; `from` is AT_CWD or an O_PATH descriptor. */
  openat(from: number, path: string, flags: number = Open.Read, mode = 0o660): number | Again {
    return this.#call(
      Syscall.openat,
      [from, path, flags, mode],
      () => calls.openat(this.#proc, { from, path, flags, mode }),
    );
  }

  /** Call 103. */
  close(fd: number): void {
    this.#call(Syscall.close, [fd], () => calls.close(this.#proc, fd));
  }

  /** Call 100: how many bytes; 0 at the end. A message longer than `buf` loses its rest. */
  read(fd: number, buf: Uint8Array): number | Again {
    return this.#call(Syscall.read, [fd, buf], () => calls.read(this.#proc, fd, buf));
  }

  /** Call 101: how many bytes were taken. */
  write(fd: number, bytes: Uint8Array): number | Again {
    return this.#call(Syscall.write, [fd, bytes], () => {
      const count = calls.write(this.#proc, fd, bytes);
      if (!(count instanceof Rendez)) {
        const { chan } = this.#proc.fds.get(fd);
        chan.dev.settle(chan, true);
      }
      return count;
    });
  }

  /** Call 127: exactly one block; null at the end. EMSGSIZE: longer than `max`, stays queued. */
  blockread(fd: number, max: number = BLOCKREAD_MAX): Block | null | Again {
    if (this.#proc.trace !== null) {
      return this.#call(Syscall.blockread, [fd, max], () => calls.blockread(this.#proc, fd, max));
    }
    return this.#leave(calls.blockread(this.#enter(), fd, max));
  }

  /** Call 128: all or nothing; returns the length. On AGAIN the block is still the caller's. */
  blockwrite(fd: number, data: Block | Uint8Array): number | Again {
    if (this.#proc.trace !== null) {
      return this.#call(Syscall.blockwrite, [fd, data], () => calls.blockwrite(this.#proc, fd, data));
    }
    return this.#leave(calls.blockwrite(this.#enter(), fd, data));
  }

  /** Call 129: one to `count` blocks; null at the end. */
  blockreadv(fd: number, count: number, max: number = BLOCKREAD_MAX): Block[] | null | Again {
    if (this.#proc.trace !== null) {
      return this.#call(Syscall.blockreadv, [fd, count, max], () => calls.blockreadv(this.#proc, fd, count, max));
    }
    return this.#leave(calls.blockreadv(this.#enter(), fd, count, max));
  }

  /** Call 130: how many blocks were taken, each whole. */
  blockwritev(fd: number, blocks: readonly (Block | Uint8Array)[]): number | Again {
    if (this.#proc.trace !== null) {
      return this.#call(Syscall.blockwritev, [fd, blocks], () => calls.blockwritev(this.#proc, fd, blocks));
    }
    return this.#leave(calls.blockwritev(this.#enter(), fd, blocks));
  }

  /** Call 104. */
  fstat(fd: number): Dir {
    return this.#now(Syscall.fstat, [fd], () => calls.fstat(this.#proc, fd));
  }

  /** Call 105. */
  stat(path: string): Dir {
    return this.#now(Syscall.stat, [path], () => calls.stat(this.#proc, path));
  }

  /** Call 106: as {@link stat}; no device has symbolic links. */
  lstat(path: string): Dir {
    return this.#now(Syscall.lstat, [path], () => calls.stat(this.#proc, path));
  }

  /** Call 107. */
  fcntl(fd: number, command: number, arg = 0): number {
    return this.#now(Syscall.fcntl, [fd, command, arg], () => calls.fcntl(this.#proc, fd, command, arg));
  }

  /** Call 108. `mode`: 4 read, 2 write, 1 execute; throws ENOENT or EACCES. */
  access(path: string, mode: number): void {
    this.#now(Syscall.access, [path, mode], () => calls.access(this.#proc, path, mode));
  }

  /** Call 109: the old mask. */
  umask(mask: number): number {
    return this.#now(Syscall.umask, [mask], () => {
      const old = this.#proc.umask;
      this.#proc.umask = mask & 0o777;
      return old;
    });
  }

  /** Call 111: the new offset in bytes. */
  llseek(fd: number, offset: number, whence: number = Seek.Set): number {
    return this.#now(Syscall.llseek, [fd, offset, whence], () => calls.llseek(this.#proc, fd, offset, whence));
  }

  /** Call 112: always ENOSYS, as in Akaros. */
  link(from: string, to: string): never {
    return this.#now<never>(
      Syscall.link,
      [from, to],
      () => refuse("ENOSYS", `Cannot link "${to}": there are no hard links`),
    );
  }

  /** Call 114: no device here has symbolic links. */
  symlink(from: string, to: string): never {
    return this.#now<never>(
      Syscall.symlink,
      [from, to],
      () => refuse("EPERM", `Cannot make the symbolic link "${to}"`),
    );
  }

  /** Call 115: no file here is a symbolic link. */
  readlink(path: string): never {
    return this.#now<never>(Syscall.readlink, [path], () => {
      calls.stat(this.#proc, path);
      return refuse("EINVAL", `"${path}" is not a symbolic link`);
    });
  }

  /** Call 113. */
  unlink(path: string): void {
    this.#now(Syscall.unlink, [path], () => calls.unlink(this.#proc, path));
  }

  /** Call 119: the same operation as {@link unlink}. */
  rmdir(path: string): void {
    this.#now(Syscall.rmdir, [path], () => calls.unlink(this.#proc, path));
  }

  /** Call 123. */
  rename(path: string, to: string): void {
    this.#now(Syscall.rename, [path, to], () => calls.rename(this.#proc, path, to));
  }

  /** Call 118. */
  mkdir(path: string, mode = 0o775): void {
    this.#now(Syscall.mkdir, [path, mode], () => calls.mkdir(this.#proc, path, mode));
  }

  /** Call 121: changes those fields of the record that are given. */
  wstat(path: string, change: Partial<Dir>): void {
    this.#now(Syscall.wstat, [path, change], () => {
      const { ns, cwd, user } = this.#proc;
      const chan = ns.walk(path, cwd, user);
      chan.dev.wstat(chan, change, user);
    });
  }

  /** Call 122. */
  fwstat(fd: number, change: Partial<Dir>): void {
    this.#now(Syscall.fwstat, [fd, change], () => {
      const { chan } = this.#proc.fds.get(fd);
      chan.dev.wstat(chan, change, this.#proc.user);
    });
  }

  /** Call 116. */
  chdir(path: string): void {
    this.#now(Syscall.chdir, [path], () => calls.chdir(this.#proc, path));
  }

  /** Call 124. */
  fchdir(fd: number): void {
    this.#now(Syscall.fchdir, [fd], () => calls.chdir(this.#proc, this.#proc.fds.get(fd).chan.path));
  }

  /** Call 117. */
  getcwd(): string {
    return this.#now(Syscall.getcwd, [], () => this.#proc.cwd);
  }

  /** Call 149: the name the descriptor was opened by. */
  fd2path(fd: number): string {
    return this.#now(Syscall.fd2path, [fd], () => this.#proc.fds.get(fd).chan.path);
  }

  /** Call 145: the mount id. `flags` are bits of Mount. */
  nbind(source: string, onto: string, flags: number): number {
    return this.#now(Syscall.nbind, [source, onto, flags], () => calls.nbind(this.#proc, source, onto, flags));
  }

  /** Call 146: there is no 9P client here, so nothing can be mounted from a descriptor. */
  nmount(fd: number, onto: string, flags: number): never {
    return this.#now<never>(
      Syscall.nmount,
      [fd, onto, flags],
      () => refuse("ENOSYS", "Cannot mount a descriptor: no 9P client"),
    );
  }

  /** Call 147: takes `source`, or with null everything, off `onto`. */
  nunmount(source: string | null, onto: string): void {
    this.#now(Syscall.nunmount, [source, onto], () => calls.nunmount(this.#proc, source, onto));
  }

  /** Call 126: how many requests were done; stops at the first that fails and throws it if that is the first of all. */
  tapFds(requests: readonly TapRequest[]): number {
    return this.#now(Syscall.tap_fds, [requests], () => {
      this.#proc.lastError = null;
      for (const [done, request] of requests.entries()) {
        try {
          tapFd(this.#proc, request);
        } catch (error) {
          if (done === 0 || !(error instanceof KernelError)) throw error;
          this.#proc.lastError = error;
          return done;
        }
      }
      return requests.length;
    });
  }

  /** Call 125: how many descriptors the process `pid` got. */
  dupFdsTo(pid: number, map: readonly DupRequest[]): number {
    return this.#now(Syscall.dup_fds_to, [pid, map], () => dupFdsTo(this.#proc, pid, map));
  }

  /** Call 33: ends all calls that sleep on `fd` with EINTR; how many. */
  abortFd(fd: number): number {
    return this.#now(Syscall.abort_sysc_fd, [fd], () => this.#proc.abortSleepers(fd));
  }

  /** The entries of a directory as records, in the place of a loop of `read`. */
  list(path: string): Dir[] {
    return this.#now(Syscall.read, [path], () => {
      const chan = this.#proc.ns.walk(path, this.#proc.cwd, this.#proc.user);
      if (!chan.isDir) throw new KernelError("ENOTDIR", `Cannot list "${path}": not a directory`);
      return listDir(chan);
    });
  }

  /** A call that never sleeps. */
  #now<T>(call: number, args: readonly unknown[], work: () => T): T {
    return this.#call(call, args, work as () => OrWait<T>) as T;
  }

  #call<T>(call: number, args: readonly unknown[], work: () => OrWait<T>): T | Again {
    this.#enter();
    try {
      const result = work();
      this.#proc.traceCall(call, args, result);
      return this.#leave(result);
    } catch (error) {
      // The work that it began continues: a `connect` that failed with EINPROGRESS has sent its SYN.
      this.#proc.kernel.clock.jobs.run();
      this.#proc.failed(call, args, error);
      throw error;
    }
  }

  #enter(): ProcState {
    return this.#proc.kernel.current = this.#proc;
  }

  #leave<T>(result: OrWait<T>): T | Again {
    const { jobs } = this.#proc.kernel.clock;
    if (jobs.pending) jobs.run();
    return result instanceof Rendez ? AGAIN : result;
  }
}

function refuse(code: "ENOSYS" | "EPERM" | "EINVAL", text: string): never {
  throw new KernelError(code, text);
}
