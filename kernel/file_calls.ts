/**
 * The system calls on files: one implementation, which neither sleeps nor allocates a promise.
 *
 * Path: sys, proc → file_calls → proc_state (its descriptors and names), dev.
 *
 * A call that would sleep returns the Rendez to wait at and has changed nothing; both faces call the same function
 * again.
 *
 * @module
 */

import { Block } from "./block.ts";
import type { Chan } from "./chan.ts";
import { ChanCtl, permits } from "./dev.ts";
import { direntRead } from "./dirent.ts";
import { KernelError } from "./error.ts";
import type { ProcState } from "./proc_state.ts";
import { CHAN_FLAGS, type Dir, DirMode, Open } from "./qid.ts";
import { type OrWait, Rendez } from "./rendez.ts";
import { AT_CWD, Fcntl, Seek } from "./syscall_table.ts";

/** A chan of `proc` open for `access` (a bit of {@link Open}); EBADF otherwise. */
export function chanFor(proc: ProcState, fd: number, access: number): Chan {
  const { chan } = proc.fds.get(fd);
  if ((chan.mode & access) === 0) {
    throw new KernelError("EBADF", `Descriptor ${fd} is not open for ${access === Open.Read ? "reading" : "writing"}`);
  }
  return chan;
}

/** Arguments of call 102. */
interface OpenRequest {
  /** AT_CWD, or a descriptor of a directory open with O_PATH. */
  readonly from: number;
  readonly path: string;
  readonly flags: number;
  /** Permission bits of a file that is created. */
  readonly mode: number;
}

/** Call 102. Returns the lowest free descriptor. */
export function openat(proc: ProcState, request: OpenRequest): OrWait<number> {
  const { from, path, flags } = request;
  checkOpenFlags(flags);
  if (proc.hasEnded) throw new KernelError("EINTR", `Cannot open "${path}": process ${proc.pid} has ended`);
  const chan = openOrCreate(proc, directoryOf(proc, from), request);
  if (chan instanceof Rendez) return chan;
  try {
    return proc.fds.insert(chan);
  } catch (error) {
    chan.release();
    throw error;
  }
}

function checkOpenFlags(flags: number): void {
  if ((flags & Open.Path) !== 0 && (flags & Open.AccessMask) !== 0) {
    throw new KernelError("EINVAL", "Cannot open with O_PATH and access bits together");
  }
  if ((flags & Open.Excl) !== 0 && (flags & Open.Create) === 0) {
    throw new KernelError("EINVAL", "Cannot open with O_EXCL but without O_CREATE");
  }
}

/** The directory that relative names start from; null: the working directory. */
function directoryOf(proc: ProcState, from: number): Chan | null {
  if (from === AT_CWD) return null;
  const { chan } = proc.fds.get(from);
  if ((chan.flags & Open.Path) === 0) throw new KernelError("EINVAL", `Descriptor ${from} is not open with O_PATH`);
  return chan;
}

function openOrCreate(proc: ProcState, base: Chan | null, { path, flags, mode }: OpenRequest): OrWait<Chan> {
  const cwd = base?.path ?? proc.cwd;
  const chan = walkFrom(proc, base, path, flags);
  if (chan === null) {
    const { dir, name } = proc.ns.createIn(path, cwd, proc.user);
    return dir.dev.create(dir, name, { flags, mode: mode & ~proc.umask, user: proc.user });
  }
  if ((flags & Open.Excl) !== 0) throw new KernelError("EEXIST", `Cannot create "${path}": it exists`);
  if ((flags & Open.Directory) !== 0 && !chan.isDir) {
    throw new KernelError("ENOTDIR", `Cannot open "${path}": not a directory`);
  }
  return chan.dev.open(chan, flags, proc.user);
}

/** The file, or null if it is to be created. */
function walkFrom(proc: ProcState, base: Chan | null, path: string, flags: number): Chan | null {
  try {
    const isBelow = base !== null && base.path.startsWith("#") && !path.startsWith("/") && !path.startsWith("#");
    if (isBelow) return walkInDevice(base, path);
    return proc.ns.walk(path, base?.path ?? proc.cwd, proc.user);
  } catch (error) {
    const missing = error instanceof KernelError && error.code === "ENOENT";
    if (missing && (flags & Open.Create) !== 0) return null;
    throw error;
  }
}

/** A name below a descriptor: never by attaching again, since #pipe makes a new pipe at every attach. */
function walkInDevice(base: Chan, path: string): Chan {
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  const walked = base.dev.walk(base, names);
  if (walked.chan === null) {
    throw new KernelError("ENOENT", `Cannot find "${base.path}/${path}": no "${names[walked.found]}"`);
  }
  return walked.chan;
}

/** Call 103. Does nothing for a process that has ended: its cleanup code may run late. */
export function close(proc: ProcState, fd: number): void {
  if (proc.hasEnded && !proc.fds.has(fd)) return;
  const entry = proc.fds.remove(fd);
  proc.abortSleepers(fd, () => new KernelError("EBADF", `Descriptor ${fd} was closed`));
  if (entry.tap !== null) entry.chan.dev.tapfd(entry.chan, entry.tap, "remove");
  entry.chan.release();
}

/** Call 100. Of a directory: one record of fixed size. */
export function read(proc: ProcState, fd: number, buf: Uint8Array): OrWait<number> {
  const chan = chanFor(proc, fd, Open.Read);
  if (chan.isDir) return direntRead(chan, buf);
  const count = chan.dev.read(chan, buf, chan.offset);
  if (typeof count === "number") chan.offset += count;
  return count;
}

/** Call 101. */
export function write(proc: ProcState, fd: number, bytes: Uint8Array): OrWait<number> {
  const chan = chanFor(proc, fd, Open.Write);
  if (chan.isDir) throw new KernelError("EISDIR", `Cannot write "${chan.path}": it is a directory`);
  if ((chan.flags & Open.Append) !== 0) chan.offset = chan.dev.stat(chan).length;
  const count = chan.dev.write(chan, bytes, chan.offset);
  if (typeof count === "number") chan.offset += count;
  return count;
}

/** The chan to read blocks of at most `max` bytes from. EISDIR: a directory has none; EINVAL: `max` is no length. */
function blockSource(proc: ProcState, fd: number, max: number): Chan {
  const chan = chanFor(proc, fd, Open.Read);
  if (chan.isDir) throw new KernelError("EISDIR", `Cannot read a block of "${chan.path}": it is a directory`);
  if (max !== Infinity && (max < 0 || !Number.isInteger(max))) {
    throw new KernelError("EINVAL", `Cannot read a block of at most ${max} bytes`);
  }
  return chan;
}

/** Call 127: exactly one block; null at the end. */
export function blockread(proc: ProcState, fd: number, max: number): OrWait<Block | null> {
  const chan = blockSource(proc, fd, max);
  return chan.dev.bread(chan, max);
}

/** Call 128: all or nothing; returns the block's length. A Uint8Array is copied; a Block is consumed. */
export function blockwrite(proc: ProcState, fd: number, data: Block | Uint8Array): OrWait<number> {
  const chan = chanFor(proc, fd, Open.Write);
  if (data instanceof Block) return chan.dev.bwrite(chan, data);
  const block = proc.kernel.blocks.from(data);
  try {
    const count = chan.dev.bwrite(chan, block);
    if (count instanceof Rendez) block.free();
    return count;
  } catch (error) {
    block.free();
    throw error;
  }
}

/** Call 129: one to `count` blocks; null at the end. */
export function blockreadv(proc: ProcState, fd: number, count: number, max: number): OrWait<Block[] | null> {
  const chan = blockSource(proc, fd, max);
  if (!(count >= 1)) throw new KernelError("EINVAL", `Cannot read ${count} blocks`);
  const first = chan.dev.bread(chan, max);
  if (first === null || first instanceof Rendez) return first;
  const blocks = [first];
  try {
    while (blocks.length < count) {
      const block = chan.dev.bread(chan, max);
      if (block === null || block instanceof Rendez) break;
      blocks.push(block);
    }
  } catch (error) {
    // The blocks that were read are returned; the next call meets the error again.
    if (!(error instanceof KernelError)) throw error;
  }
  return blocks;
}

/** Call 130: how many blocks were taken, each whole; an error only if the first failed. */
export function blockwritev(proc: ProcState, fd: number, blocks: readonly (Block | Uint8Array)[]): OrWait<number> {
  let taken = 0;
  for (const block of blocks) {
    try {
      const result = blockwrite(proc, fd, block);
      if (result instanceof Rendez) return taken === 0 ? result : taken;
    } catch (error) {
      if (taken === 0 || !(error instanceof KernelError)) throw error;
      return taken;
    }
    taken++;
  }
  return taken;
}

/** Call 104. */
export function fstat(proc: ProcState, fd: number): Dir {
  const { chan } = proc.fds.get(fd);
  return chan.dev.stat(chan);
}

/** Calls 105 and 106: no device here has symbolic links, so they are one. */
export function stat(proc: ProcState, path: string): Dir {
  const chan = proc.ns.walk(path, proc.cwd, proc.user);
  return chan.dev.stat(chan);
}

/** Call 107. */
export function fcntl(proc: ProcState, fd: number, command: number, arg: number): number {
  const entry = proc.fds.get(fd);
  const { chan } = entry;
  switch (command) {
    case Fcntl.DupFd: {
      const copy = proc.fds.insert(chan, arg);
      // Retained only now: a refused copy must hold no reference.
      chan.retain();
      return copy;
    }
    case Fcntl.GetFd:
      return entry.flags;
    case Fcntl.SetFd:
      entry.flags = arg;
      return 0;
    case Fcntl.GetFl:
      return chan.mode | chan.flags;
    case Fcntl.SetFl:
      return setFlags(chan, arg);
    case Fcntl.Sync:
      return 0;
  }
  if (command >= ChanCtl.SetFlags) return chan.dev.chanCtl(chan, command, arg);
  throw new KernelError("EINVAL", `Cannot fcntl descriptor ${fd}: no command ${command}`);
}

/** Replaces all user-visible flags at once; CLOEXEC, REMCLO and PATH must stay as they are; the device may refuse. */
function setFlags(chan: Chan, flags: number): number {
  const fixed = Open.CloseOnExec | Open.RemoveOnClose | Open.Path;
  const wanted = flags & CHAN_FLAGS;
  if (((wanted ^ chan.flags) & fixed) !== 0) {
    throw new KernelError("EINVAL", `Cannot change CLOEXEC, REMCLO or PATH of the open file "${chan.path}"`);
  }
  chan.dev.chanCtl(chan, ChanCtl.SetFlags, wanted);
  chan.flags = wanted;
  return 0;
}

/** Call 111: answers the new offset. */
export function llseek(proc: ProcState, fd: number, offset: number, whence: number): number {
  const { chan } = proc.fds.get(fd);
  const base = whence === Seek.Set ? 0 : whence === Seek.Current ? chan.offset : chan.dev.stat(chan).length;
  const to = base + offset;
  if (whence < Seek.Set || whence > Seek.End || !(to >= 0)) throw new KernelError("EINVAL", `Cannot seek to ${to}`);
  if (chan.isDir && to !== 0) throw new KernelError("EISDIR", `Cannot seek in the directory "${chan.path}" but to 0`);
  return chan.offset = to;
}

/** Calls 113 and 119: one operation. */
export function unlink(proc: ProcState, path: string): void {
  const chan = proc.ns.walk(path, proc.cwd, proc.user);
  chan.dev.remove(chan, proc.user);
}

/** Call 123. */
export function rename(proc: ProcState, path: string, to: string): void {
  const chan = proc.ns.walk(path, proc.cwd, proc.user);
  const target = proc.ns.absolute(to, proc.cwd);
  chan.dev.rename(chan, target.slice(target.lastIndexOf("/") + 1), proc.user);
}

/** Call 118. */
export function mkdir(proc: ProcState, path: string, mode: number): void {
  if (walkFrom(proc, null, path, Open.Create) !== null) {
    throw new KernelError("EEXIST", `Cannot create "${path}": it exists`);
  }
  const { dir, name } = proc.ns.createIn(path, proc.cwd, proc.user);
  const bits = (DirMode.Dir | (mode & ~proc.umask)) >>> 0;
  dir.dev.create(dir, name, { flags: Open.Read, mode: bits, user: proc.user }).release();
}

/** Call 108: ENOENT or EACCES, or nothing. `mode`: 4 read, 2 write, 1 execute. */
export function access(proc: ProcState, path: string, mode: number): void {
  if (!permits(stat(proc, path), proc.user, mode)) {
    throw new KernelError("EACCES", `${proc.user} may not access "${path}"`);
  }
}

/** Calls 116 and 124: relative names of `proc` start there. */
export function chdir(proc: ProcState, path: string): void {
  const chan = proc.ns.walk(path, proc.cwd, proc.user);
  if (!chan.isDir) throw new KernelError("ENOTDIR", `Cannot change to "${path}": not a directory`);
  proc.cwd = proc.ns.absolute(path, proc.cwd);
}

/** Call 145: answers the mount id. */
export function nbind(proc: ProcState, source: string, onto: string, flags: number): number {
  const { ns, cwd, user } = proc;
  return ns.bind(ns.walk(source, cwd, user), ns.mountTarget(onto, cwd, user), flags);
}

/** Call 147: unmounts `source`, or everything. */
export function nunmount(proc: ProcState, source: string | null, onto: string): void {
  const { ns, cwd, user } = proc;
  ns.unmount(source === null ? null : ns.walk(source, cwd, user), ns.mountTarget(onto, cwd, user));
}
