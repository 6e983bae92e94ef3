/**
 * Chan and Files: an open (or merely walked-to) file, and its operations. Each refers to the other: a chan holds the
 * device of its file, and every operation takes a chan. `Dev` implements the operations.
 *
 * Path: namespace, fd_table → chan ← dev.
 *
 * @module
 */

import type { Block } from "./block.ts";
import type { FdTap, TapCommand } from "./fd_tap.ts";
import { type Dir, isDir, Open, type Qid } from "./qid.ts";
import type { OrWait, Rendez } from "./rendez.ts";

/** Result of a walk; `chan` is set if all names were found. */
export interface Walked {
  /** How many of the names were found. */
  readonly found: number;
  /** The file of the last name; null if a name was not found. */
  readonly chan: Chan | null;
}

/** How a file is created. */
export interface CreateOptions {
  /** How it is opened, bits of {@link Open}. */
  readonly flags: number;
  /** Its permission bits. */
  readonly mode: number;
  /** Its owner. */
  readonly user: string;
}

/** The file operations of a device: a row of Plan 9's device table. */
export interface Files {
  /** Its name after `#`. */
  readonly name: string;
  /** A chan for the root of the instance that `spec` names (the text after the first dot). */
  attach(spec: string, user: string): Chan;
  /** The entry `name` of directory `dir`, or null. `..` gives the parent; of the root, the root. */
  lookup(dir: Chan, name: string): Dir | null;
  /** All entries of directory `dir`, in listing order. */
  list(dir: Chan): Dir[];
  /** The record of the file itself. */
  stat(chan: Chan): Dir;
  /** Walks `names` from `from`, which stays as it is. */
  walk(from: Chan, names: readonly string[]): Walked;
  /** Moves `at`, which is not open, to its entry `name`; false: it has none, and `at` stays where it is. */
  enter(at: Chan, name: string): boolean;
  /** Opens `chan` in place, or returns another chan (clone, listen and posted files do). */
  open(chan: Chan, flags: number, user: string): OrWait<Chan>;
  /** Makes the file `name` in `dir` and opens it. */
  create(dir: Chan, name: string, options: CreateOptions): Chan;
  /** The last reference is gone; `chan.opened` tells whether it was ever opened. */
  close(chan: Chan): void;
  /** Reads into `buf`; how many bytes, 0 at the end. Files with a queue ignore `offset`. */
  read(chan: Chan, buf: Uint8Array, offset: number): OrWait<number>;
  /** Writes; returns how many bytes were taken. */
  write(chan: Chan, bytes: Uint8Array, offset: number): OrWait<number>;
  /**
   * Where a sleeping writer waits after its write was taken (for room in a pipe, for a connection), or null. With
   * `nonBlock` the caller cannot wait: EINPROGRESS is thrown where that matters.
   */
  settle(chan: Chan, nonBlock: boolean): Rendez | null;
  /** One block of at most `max` bytes; null at the end. */
  bread(chan: Chan, max: number): OrWait<Block | null>;
  /** One block, whole or not at all; returns its length. On anything but success the block is still the caller's. */
  bwrite(chan: Chan, block: Block): OrWait<number>;
  /** Removes the file. */
  remove(chan: Chan, user: string): void;
  /** Gives the file another name. */
  rename(chan: Chan, name: string, user: string): void;
  /** Changes parts of the file's record. */
  wstat(chan: Chan, change: Partial<Dir>, user: string): void;
  /** Adds, removes or changes a tap; returns the current level (bits of TapEvent). ENOSYS: the file has no taps. */
  tapfd(chan: Chan, tap: FdTap, command: TapCommand): number;
  /** Control of one chan, see {@link ChanCtl}; `arg` are the new flags for SetFlags. EINVAL: not supported. */
  chanCtl(chan: Chan, op: number, arg: number): number;
}

/** A file that was walked to, and perhaps opened. */
export class Chan {
  /** The device that the file belongs to. */
  readonly dev: Files;
  /** Identifies the file on its device. */
  qid: Qid;
  /** Which instance of the device: stack number, pipe number, NIC. */
  readonly instance: number;
  /** The path by which it was opened, for messages and fd2path. */
  path: string;
  /** Access it was opened for: bits {@link Open.AccessMask}. */
  mode = 0;
  /** User-visible flags, see {@link CHAN_FLAGS}. */
  flags = 0;
  /** Whether it was opened, and not only walked to. */
  opened = false;
  /** Byte offset of the next read or write; of a directory, entries already read. */
  offset = 0;
  /** Private data of the device. */
  aux: unknown = null;
  /** Text of a synthetic file, as of the start of reading. */
  snapshot: Uint8Array | null = null;
  /** Members of a union directory, in order; null if nothing is mounted here. */
  union: readonly Chan[] | null = null;
  /** Descriptors and mounts that hold it. */
  refs = 1;

  /** For devices: a file that was reached by `path`; default `#NAME` of the device. */
  constructor(dev: Files, qid: Qid, options: { instance?: number; path?: string; aux?: unknown } = {}) {
    this.dev = dev;
    this.qid = qid;
    this.instance = options.instance ?? 0;
    this.path = options.path ?? `#${dev.name}`;
    this.aux = options.aux ?? null;
  }

  /** Whether it is a directory. */
  get isDir(): boolean {
    return isDir(this.qid);
  }

  /** Whether calls on it must not sleep (O_NONBLOCK). */
  get nonBlock(): boolean {
    return (this.flags & Open.NonBlock) !== 0;
  }

  /** A chan for the same file, not open. */
  clone(): Chan {
    return new Chan(this.dev, this.qid, { instance: this.instance, path: this.path, aux: this.aux });
  }

  /** Whether both are the same file of the same device instance. */
  sameFile(other: Chan): boolean {
    return this.dev === other.dev && this.instance === other.instance && this.qid.path === other.qid.path;
  }

  /** Adds a reference. */
  retain(): this {
    this.refs++;
    return this;
  }

  /** Drops a reference; the last one closes it. */
  release(): void {
    if (--this.refs === 0) this.dev.close(this);
  }
}
