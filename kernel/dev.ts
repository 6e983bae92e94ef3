/**
 * Dev: a row of the device table. Every device is a file tree with these operations.
 *
 * Path: file_calls, kernel → dev → chan.
 *
 * Nothing here sleeps. An operation that would have to wait returns the {@link Rendez} to wait at and has changed
 * nothing; the system-call layer calls it again after a wakeup. User errors are thrown as KernelError.
 *
 * A device supplies its tree by three small functions (`lookup`, `list`, `stat`); walking and reading directories are
 * built on them.
 *
 * @module
 */

import { Block, BLOCK_MAX, type BlockPool } from "./block.ts";
import type { Chan, CreateOptions, Files, Walked } from "./chan.ts";
import { KernelError } from "./error.ts";
import type { FdTap, TapCommand } from "./fd_tap.ts";
import { CHAN_FLAGS, type Dir, DirMode, EVE, Open, QidType } from "./qid.ts";
import type { Random } from "./random.ts";
import { type OrWait, Rendez } from "./rendez.ts";
import type { Clock } from "./time.ts";

/** Services of the kernel for its devices. */
export interface DevEnv {
  /** Time, timers and jobs. */
  readonly clock: Clock;
  /** Random numbers; seeded in a simulation. */
  readonly random: Random;
  /** Where blocks come from. */
  readonly blocks: BlockPool;
  /** Opens a file by name in the kernel's own namespace: how one device reaches another. */
  open(path: string, flags: number): Chan;
}

/** Operations of `chanCtl`; numbers are fcntl's. */
export const ChanCtl = { SetFlags: 1000, Sync: 1001, Debug: 1002 } as const;

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** A device. */
export abstract class Dev implements Files {
  /** Its name after `#`. */
  abstract readonly name: string;
  /** Buffer that {@link bread} reads into before it knows the length. */
  #scratch: Uint8Array | null = null;

  /** A chan for the root of the instance that `spec` names (the text after the first dot). */
  abstract attach(spec: string, user: string): Chan;

  /** The entry `name` of directory `dir`, or null. `..` gives the parent; of the root, the root. */
  abstract lookup(dir: Chan, name: string): Dir | null;

  /** All entries of directory `dir`, in listing order. */
  abstract list(dir: Chan): Dir[];

  /** The record of the file itself. */
  abstract stat(chan: Chan): Dir;

  /** Walks `names` from `from`, which stays as it is. */
  walk(from: Chan, names: readonly string[]): Walked {
    const at = from.clone();
    for (let i = 0; i < names.length; i++) {
      if (!this.enter(at, names[i]!)) return { found: i, chan: null };
    }
    return { found: names.length, chan: at };
  }

  /** Moves `at`, which is not open, to its entry `name`; false: it has none, and `at` stays where it is. */
  enter(at: Chan, name: string): boolean {
    const dir = at.isDir ? this.lookup(at, name) : null;
    if (dir === null) return false;
    at.qid = dir.qid;
    at.path = name === ".." ? parentPath(at.path) : `${at.path}/${name}`;
    return true;
  }

  /** Opens `chan` in place, or returns another chan (clone, listen and posted files do). */
  open(chan: Chan, flags: number, user: string): OrWait<Chan> {
    this.checkPermission(this.stat(chan), flags, user);
    if (chan.isDir && (flags & Open.Write) !== 0) {
      throw new KernelError("EISDIR", `Cannot write "${chan.path}": it is a directory`);
    }
    return this.markOpen(chan, flags);
  }

  /** Makes the file `name` in `dir` and opens it. Default: EPERM. */
  create(dir: Chan, name: string, _options: CreateOptions): Chan {
    throw new KernelError("EPERM", `Cannot create "${name}" in "${dir.path}": the device makes its own files`);
  }

  /** The last reference is gone; `chan.opened` tells whether it was ever opened. */
  close(_chan: Chan): void {}

  /** Reads into `buf`; how many bytes, 0 at the end. Files with a queue ignore `offset`. */
  abstract read(chan: Chan, buf: Uint8Array, offset: number): OrWait<number>;

  /** Writes; returns how many bytes were taken. Default: EPERM. */
  write(chan: Chan, _bytes: Uint8Array, _offset: number): OrWait<number> {
    throw new KernelError("EPERM", `Cannot write "${chan.path}"`);
  }

  /**
   * Where a sleeping writer waits after its write was taken (for room in a pipe, for a connection), or null. With
   * `nonBlock` the caller cannot wait: EINPROGRESS is thrown where that matters.
   */
  settle(_chan: Chan, _nonBlock: boolean): Rendez | null {
    return null;
  }

  /** One block of at most `max` bytes; null at the end. Default: one read. */
  bread(chan: Chan, max: number): OrWait<Block | null> {
    const buf = this.#scratch ??= new Uint8Array(BLOCK_MAX);
    const count = this.read(chan, max < buf.length ? buf.subarray(0, max) : buf, chan.offset);
    if (count instanceof Rendez) return count;
    chan.offset += count;
    return count === 0 ? null : Block.from(buf.subarray(0, count));
  }

  /** One block, whole or not at all; returns its length. On anything but success the block is still the caller's. */
  bwrite(chan: Chan, block: Block): OrWait<number> {
    const count = this.write(chan, block.bytes(), chan.offset);
    if (count instanceof Rendez) return count;
    chan.offset += count;
    block.free();
    return count;
  }

  /** Removes the file. Default: EPERM. */
  remove(chan: Chan, _user: string): void {
    throw new KernelError("EPERM", `Cannot remove "${chan.path}"`);
  }

  /** Gives the file another name. Default: EXDEV. */
  rename(chan: Chan, _name: string, _user: string): void {
    throw new KernelError("EXDEV", `Cannot rename "${chan.path}"`);
  }

  /** Changes parts of the file's record. Default: EPERM. */
  wstat(chan: Chan, _change: Partial<Dir>, _user: string): void {
    throw new KernelError("EPERM", `Cannot change the record of "${chan.path}"`);
  }

  /** Adds, removes or changes a tap; returns the current level (bits of TapEvent). ENOSYS: the file has no taps. */
  tapfd(chan: Chan, _tap: FdTap, _command: TapCommand): number {
    throw new KernelError("ENOSYS", `Cannot tap "${chan.path}"`);
  }

  /** Control of one chan, see {@link ChanCtl}; `arg` are the new flags for SetFlags. EINVAL: not supported. */
  chanCtl(chan: Chan, op: number, _arg: number): number {
    throw new KernelError("EINVAL", `Cannot control "${chan.path}": no operation ${op}`);
  }

  /** EACCES unless the record lets `user` have the access that `flags` ask for: owner, group eve, others. */
  protected checkPermission(dir: Dir, flags: number, user: string): void {
    let wanted = (flags & Open.Read) !== 0 ? 4 : 0;
    if ((flags & (Open.Write | Open.Trunc)) !== 0) wanted |= 2;
    if ((flags & Open.Exec) !== 0) wanted |= 1;
    if (permits(dir, user, wanted)) return;
    const mode = (dir.mode & 0o777).toString(8);
    throw new KernelError("EACCES", `Cannot open "${dir.name}": ${user} lacks permission (mode ${mode})`);
  }

  /** Marks `chan` open with `flags`. */
  protected markOpen(chan: Chan, flags: number): Chan {
    chan.mode = flags & Open.AccessMask;
    chan.flags = flags & CHAN_FLAGS;
    chan.opened = true;
    chan.offset = 0;
    return chan;
  }

  /**
   * Serves a read of a synthetic file. The text is made once, when reading starts at 0, so that successive reads are
   * consistent.
   */
  protected readText(chan: Chan, buf: Uint8Array, offset: number, make: () => string): number {
    if (offset === 0 || chan.snapshot === null) chan.snapshot = encoder.encode(make());
    return readBytes(chan.snapshot, buf, offset);
  }
}

/**
 * Whether the record grants `user` all of `wanted` (4 read, 2 write, 1 execute): as others, as eve's group, as owner.
 */
export function permits(dir: Dir, user: string, wanted: number): boolean {
  let granted = dir.mode & 7;
  if (user === EVE) granted |= (dir.mode >> 3) & 7;
  if (user === dir.uid) granted |= (dir.mode >> 6) & 7;
  return (granted & wanted) === wanted;
}

/** Copies the part of `content` from `offset` on into `buf`; returns how many bytes. */
export function readBytes(content: Uint8Array, buf: Uint8Array, offset: number): number {
  const part = content.subarray(offset, offset + buf.length);
  buf.set(part);
  return part.length;
}

/** The text of a write, for ctl files. */
export function textOf(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** A directory record with the usual defaults. */
export function makeDir(
  path: number,
  name: string,
  options: { dir?: boolean; mode?: number; length?: number; uid?: string; gid?: string; vers?: number } = {},
): Dir {
  const isDir = options.dir ?? false;
  const mode = options.mode ?? (isDir ? 0o555 : 0o666);
  return {
    qid: { path, vers: options.vers ?? 0, type: isDir ? QidType.Dir : QidType.File },
    name,
    mode: ((isDir ? DirMode.Dir : 0) | mode) >>> 0,
    length: options.length ?? 0,
    uid: options.uid ?? EVE,
    gid: options.gid ?? EVE,
    atimeMs: 0,
    mtimeMs: 0,
  };
}

/** `path` without its last element. */
function parentPath(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? path : path.slice(0, slash);
}
