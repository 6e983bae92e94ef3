/**
 * BoundPath: a unix socket bound to a path; the mode of its file, which is removed with the socket.
 *
 * Path: unix_socket, api_socket, netd/options → bound_path → libc.
 *
 * When the owner of a path ends, the path may belong to a successor that removed the file and bound its own. So the
 * file is identified by device and inode, and only that file is removed. The owner's socket must still be open then: it
 * holds the inode, which could otherwise belong to a new file.
 *
 * @module
 */

import {
  call,
  cString,
  EADDRINUSE,
  ECONNREFUSED,
  EINVAL,
  ENAMETOOLONG,
  ENXIO,
  holdLibc,
  HostError,
  lastErrno,
  libc,
  releaseLibc,
} from "./libc.ts";

/** Default permissions: only the user may connect. */
export const SOCKET_MODE = 0o600;

export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
const AF_UNIX = 1;
const NONBLOCK_CLOEXEC = 0o2004000;
/** Longest path of a socket in bytes: sun_path less its final NUL. */
const PATH_MAX = 107;
const O_RDONLY_NONBLOCK = 0o4000;
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const STATX_MODE_INO = 0x102;
/** struct statx (linux/stat.h), the same on every machine. */
const STATX_LEN = 256;
const STX_MODE = 28;
const STX_INO = 32;
const STX_DEV_MAJOR = 136;
const STX_DEV_MINOR = 140;
const PERMISSIONS = 0o777;

/** Identity of a file. */
interface FileId {
  readonly device: string;
  readonly inode: bigint;
  readonly mode: number;
}

/** The file at a path that was bound just now. */
export class BoundPath {
  readonly #path: Uint8Array<ArrayBuffer>;
  readonly #id: FileId | null;

  /** Gives the file `mode`, since the umask took some bits of a new one. Throws HostError. */
  constructor(path: string, mode: number) {
    this.#path = cString(path);
    this.#id = look(this.#path);
    if (this.#id === null || (this.#id.mode & PERMISSIONS) === mode) return;
    call(`Cannot set the mode of ${path}`, libc().chmod(this.#path, mode));
  }

  /** Removes the file, unless another one has taken its place. */
  remove(): void {
    const there = look(this.#path);
    if (there === null || this.#id === null) return;
    if (there.device === this.#id.device && there.inode === this.#id.inode) libc().unlink(this.#path);
  }
}

/** The file at `path`; null: it cannot be examined. */
function look(path: Uint8Array<ArrayBuffer>): FileId | null {
  const bytes = new Uint8Array(STATX_LEN);
  // Safe because `bytes` is as long as a struct statx.
  if (libc().statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_MODE_INO, bytes) < 0) return null;
  const view = new DataView(bytes.buffer);
  return {
    device: `${view.getUint32(STX_DEV_MAJOR, true)}:${view.getUint32(STX_DEV_MINOR, true)}`,
    inode: view.getBigUint64(STX_INO, true),
    mode: view.getUint16(STX_MODE, true),
  };
}

/** Opens a socket and retains libc. */
export function openSocket(type: number): number {
  holdLibc();
  try {
    return call("Cannot open a unix socket", libc().socket(AF_UNIX, type | NONBLOCK_CLOEXEC, 0));
  } catch (error) {
    releaseLibc();
    throw error;
  }
}

/** Closes a new socket and releases libc. */
export function abandon(fd: number): void {
  libc().close(fd);
  releaseLibc();
}

/** A socket bound to `path`, whose file has `mode` from the first moment on. */
export function openBound(type: number, path: string, mode: number): { fd: number; bound: BoundPath } {
  const address = sockaddr(path);
  const fd = openSocket(type);
  try {
    // Linux takes the file's mode from the socket's own, less the umask.
    call(`Cannot set the mode of ${path}`, libc().fchmod(fd, mode));
    if (libc().bind(fd, address, address.length) < 0) {
      if (lastErrno() === EADDRINUSE && isStale(type, path)) libc().unlink(cString(path));
      call(`Cannot bind ${path}`, libc().bind(fd, address, address.length), {
        [EADDRINUSE]: "another program uses it, or it is no socket",
      });
    }
    return { fd, bound: new BoundPath(path, mode) };
  } catch (error) {
    abandon(fd);
    throw error;
  }
}

/** Whether there is a socket without a listener at `path`: left by a program that was killed. */
function isStale(type: number, path: string): boolean {
  // Opening a socket file fails with an error number of its own; connect alone would take any file for a stale socket.
  const opened = libc().open(cString(path), O_RDONLY_NONBLOCK, 0);
  if (opened >= 0) libc().close(opened);
  if (opened >= 0 || lastErrno() !== ENXIO) return false;
  const address = sockaddr(path);
  const probe = openSocket(type);
  const refused = libc().connect(probe, address, address.length) < 0 && lastErrno() === ECONNREFUSED;
  abandon(probe);
  return refused;
}

/** struct sockaddr_un: family in host order, then the path. */
export function sockaddr(path: string): Uint8Array<ArrayBuffer> {
  const bytes = cString(path);
  const attempt = `Cannot use socket path "${path}"`;
  if (bytes.length === 1) throw new HostError(attempt, EINVAL, { reason: "it is empty" });
  if (bytes.length > PATH_MAX + 1) {
    throw new HostError(attempt, ENAMETOOLONG, { reason: `too long, ${PATH_MAX} bytes at most` });
  }
  const address = new Uint8Array(2 + bytes.length);
  address[0] = AF_UNIX;
  address.set(bytes, 2);
  return address;
}
