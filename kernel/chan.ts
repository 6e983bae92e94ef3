/**
 * Chan, Qid and Dir: an open (or merely walked-to) file, its identity, and its directory record.
 *
 * Path: namespace → chan → dev; fd_table holds chans.
 *
 * @module
 */

import type { Dev } from "./dev.ts";

/** Type bits of a {@link Qid}. */
export const QidType = {
  File: 0x00,
  Symlink: 0x02,
  Auth: 0x08,
  Mount: 0x10,
  Excl: 0x20,
  Append: 0x40,
  Dir: 0x80,
} as const;

/** A file's identity on its device. */
export interface Qid {
  /** Unique per file of a device instance; devices build it from the file's kind and number. Below 2^53. */
  readonly path: number;
  /** Changes when the contents do. */
  readonly vers: number;
  /** Bits of {@link QidType}. */
  readonly type: number;
}

/** Bits of {@link Dir.mode} above the nine permission bits. */
export const DirMode = {
  Dir: 0x80000000,
  Append: 0x40000000,
  Excl: 0x20000000,
  Mount: 0x10000000,
  /** A write would be taken now. */
  Writable: 0x08000000,
  /** A read would find something now. */
  Readable: 0x04000000,
  Symlink: 0x02000000,
} as const;

/** A directory record: what stat tells. */
export interface Dir {
  /** Which file it is. */
  readonly qid: Qid;
  /** Its last name. */
  readonly name: string;
  /** Permission bits 0777 and bits of {@link DirMode}; unsigned. */
  readonly mode: number;
  /** Bytes; of a queue's file, those queued. */
  readonly length: number;
  /** Its owner. */
  readonly uid: string;
  /** Its group. */
  readonly gid: string;
  /** Milliseconds since 1970. */
  readonly atimeMs: number;
  /** Milliseconds since 1970. */
  readonly mtimeMs: number;
}

/** Flags of open, Akaros' numbers. Read-only is 1, not 0: without an access bit an fd can neither read nor write. */
export const Open = {
  Read: 1,
  Write: 2,
  ReadWrite: 3,
  Exec: 4,
  AccessMask: 7,
  Create: 0o100,
  Excl: 0o200,
  Trunc: 0o1000,
  Append: 0o2000,
  NonBlock: 0o4000,
  Path: 0o100000,
  Directory: 0o200000,
  NoFollow: 0o400000,
  CloseOnExec: 0o2000000,
  RemoveOnClose: 0o4000000,
} as const;

/** The flags that stay on the chan, shared by all descriptors of it. */
export const CHAN_FLAGS = Open.CloseOnExec | Open.RemoveOnClose | Open.Append | Open.NonBlock | Open.Path;

/** The user who owns the machine: what only the owner may do needs this name (Plan 9's eve). */
export const EVE = "eve";

/** A file that was walked to, and perhaps opened. */
export class Chan {
  /** The device that it is a file of. */
  readonly dev: Dev;
  /** Which of the device's files it is. */
  qid: Qid;
  /** Which instance of the device: stack number, pipe number, NIC. */
  readonly instance: number;
  /** How it was reached, for people and fd2path. */
  path: string;
  /** Access it was opened for: bits {@link Open.AccessMask}. */
  mode = 0;
  /** User-visible flags, see {@link CHAN_FLAGS}. */
  flags = 0;
  /** Whether it was opened, and not only walked to. */
  opened = false;
  /** Byte offset of the next read or write; of a directory, entries already read. */
  offset = 0;
  /** The device's own. */
  aux: unknown = null;
  /** Text of a synthetic file as it was when reading began. */
  snapshot: Uint8Array | null = null;
  /** Members of a union directory, in order; null if nothing is mounted here. */
  union: readonly Chan[] | null = null;
  /** Descriptors and mounts that hold it. */
  refs = 1;

  /** For devices: a file that was reached by `path`; default `#NAME` of the device. */
  constructor(dev: Dev, qid: Qid, options: { instance?: number; path?: string; aux?: unknown } = {}) {
    this.dev = dev;
    this.qid = qid;
    this.instance = options.instance ?? 0;
    this.path = options.path ?? `#${dev.name}`;
    this.aux = options.aux ?? null;
  }

  /** Whether it is a directory. */
  get isDir(): boolean {
    return (this.qid.type & QidType.Dir) !== 0;
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

  /** Holds it once more. */
  retain(): this {
    this.refs++;
    return this;
  }

  /** Lets go of it; the last one closes it. */
  release(): void {
    if (--this.refs === 0) this.dev.close(this);
  }
}
