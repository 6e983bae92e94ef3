/**
 * Qid and Dir: a file's identity and its directory record, and the flags that files are opened with.
 *
 * Path: chan, dev, file_calls → qid.
 *
 * @module
 */

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
  /** A write would not wait now. */
  Writable: 0x08000000,
  /** A read would not wait now. */
  Readable: 0x04000000,
  Symlink: 0x02000000,
} as const;

/** A directory record, as stat returns it. */
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

/** The user that owns the machine (Plan 9's eve); operations for the owner alone require this name. */
export const EVE = "eve";

/** Whether the file is a directory. */
export function isDir(qid: Qid): boolean {
  return (qid.type & QidType.Dir) !== 0;
}
