/**
 * What a descriptor is that another program handed to this one by its number.
 *
 * Path: descriptors → descriptor → libc, wire/bytes.
 *
 * A descriptor that came from a parent survived execve(2), so it has no FD_CLOEXEC. All that Deno opens for itself has
 * it: by that the two are told apart.
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
/** struct statx, and where its mode stands. */
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

/** What is open there. */
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
  /** Whether a parent may have handed it over: else this program opened it itself. */
  readonly isInherited: boolean;
  readonly canWrite: boolean;
}

/** What is open as `fd`. Throws HostError: EBADF if nothing is. `attempt` begins its message. */
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
