/**
 * Identifies a descriptor that another program passed to this one by its number.
 *
 * Path: descriptors → descriptor → libc, wire/bytes.
 *
 * A descriptor from a parent survived execve(2), so it has no FD_CLOEXEC. Every descriptor that Deno opens itself has
 * the flag, which distinguishes the two.
 *
 * @module
 */

import { get16le } from "../../kernel/wire/bytes.ts";
import { call, libc, withLibc } from "./libc.ts";

const F_GETFD = 1;
const F_GETFL = 3;
const FD_CLOEXEC = 1;
const O_ACCMODE = 3;
const AT_EMPTY_PATH = 0x1000;
const STATX_TYPE = 1;
/** Size of struct statx, and the offset of its mode. */
const STATX_LEN = 256;
const STX_MODE = 28;

/** File types of a mode (inode(7)); 0: a file without one, such as an eventfd. */
const KINDS: ReadonlyMap<number, DescriptorKind> = new Map([
  [0, "anonymous"],
  [0o1, "pipe"],
  [0o2, "character device"],
  [0o4, "directory"],
  [0o6, "block device"],
  [0o10, "file"],
  [0o14, "socket"],
]);

/** Kind of the open file. */
type DescriptorKind =
  | "anonymous"
  | "pipe"
  | "character device"
  | "directory"
  | "block device"
  | "file"
  | "socket"
  | "unknown";

/** An open descriptor. */
export interface Descriptor {
  readonly kind: DescriptorKind;
  /** Whether a parent may have passed it; otherwise this program opened it. */
  readonly isInherited: boolean;
  readonly canWrite: boolean;
}

/** The file open as `fd`. Throws HostError: EBADF if there is none. `attempt` begins its message. */
export function describeDescriptor(fd: number, attempt: string): Descriptor {
  return withLibc(() => {
    const flags = call(attempt, libc().fcntl(fd, F_GETFD, 0n));
    const access = call(attempt, libc().fcntl(fd, F_GETFL, 0n)) & O_ACCMODE;
    const stat = new Uint8Array(STATX_LEN);
    // Safe because `stat` has the size of a struct statx, and the path is an empty string.
    call(attempt, libc().statx(fd, new Uint8Array(1), AT_EMPTY_PATH, STATX_TYPE, stat));
    const kind = KINDS.get(get16le(stat, STX_MODE) >> 12) ?? "unknown";
    return { kind, isInherited: (flags & FD_CLOEXEC) === 0, canWrite: access !== 0 };
  });
}
