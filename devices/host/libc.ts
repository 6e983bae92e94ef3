/**
 * libc: every call into C that Akarino makes, in one symbol table, and the error class of failed ones.
 *
 * Path: tun, netdev, netns, reactor → libc → Linux.
 *
 * Limits: Linux on x86_64 or aarch64, both little endian; the constants are those that the two share. The library is
 * opened by its first user and closed after its last, and needs `--allow-ffi` (Deno cannot limit that to one library by
 * its bare name).
 *
 * Three rules keep the calls cheap and correct:
 * - A length is passed as a BigInt: with a number Deno takes a slower path into C (about 120 ns more).
 * - A buffer is passed as a subarray: cheaper than keeping pointers. Safe because C gets its length too, and no
 *   synchronous call here keeps it.
 * - errno is read through a view on its memory, with nothing in between: another call into C for its address lets the
 *   garbage collector run, which changes it (seen: EAGAIN from its futex).
 *
 * @module
 */

import { type ErrnoName, errnoName, SystemError } from "../../kernel/error.ts";

const SYMBOLS = {
  open: {
    parameters: [/* const char *path */ "buffer", /* int flags */ "i32", /* mode_t mode */ "u32"],
    result: /* int */ "i32",
  },
  close: { parameters: [/* int fd */ "i32"], result: /* int */ "i32" },
  // ssize_t is read as 32 bits: no call here can move 2 GiB.
  read: {
    parameters: [/* int fd */ "i32", /* void *buf */ "buffer", /* size_t count */ "usize"],
    result: /* ssize_t */ "i32",
  },
  write: {
    parameters: [/* int fd */ "i32", /* const void *buf */ "buffer", /* size_t count */ "usize"],
    result: /* ssize_t */ "i32",
  },
  readv: {
    parameters: [/* int fd */ "i32", /* const struct iovec *iov */ "buffer", /* int iovcnt */ "i32"],
    result: /* ssize_t */ "i32",
  },
  writev: {
    parameters: [/* int fd */ "i32", /* const struct iovec *iov */ "buffer", /* int iovcnt */ "i32"],
    result: /* ssize_t */ "i32",
  },
  // ioctl is variadic; on both machines a variadic integer or pointer travels like a named one.
  ioctl: {
    parameters: [/* int fd */ "i32", /* unsigned long request */ "usize", /* void *argp */ "buffer"],
    result: /* int */ "i32",
  },
  ioctlValue: {
    name: "ioctl",
    parameters: [/* int fd */ "i32", /* unsigned long request */ "usize", /* unsigned long arg */ "usize"],
    result: /* int */ "i32",
  },
  socket: {
    parameters: [/* int domain */ "i32", /* int type */ "i32", /* int protocol */ "i32"],
    result: /* int */ "i32",
  },
  bind: {
    parameters: [/* int sockfd */ "i32", /* const struct sockaddr *addr */ "buffer", /* socklen_t addrlen */ "u32"],
    result: /* int */ "i32",
  },
  listen: { parameters: [/* int sockfd */ "i32", /* int backlog */ "i32"], result: /* int */ "i32" },
  connect: {
    parameters: [/* int sockfd */ "i32", /* const struct sockaddr *addr */ "buffer", /* socklen_t addrlen */ "u32"],
    result: /* int */ "i32",
  },
  shutdown: { parameters: [/* int sockfd */ "i32", /* int how */ "i32"], result: /* int */ "i32" },
  accept4: {
    parameters: [
      /* int sockfd */ "i32",
      /* struct sockaddr *addr */ "buffer",
      /* socklen_t *addrlen */ "buffer",
      /* int flags */ "i32",
    ],
    result: /* int */ "i32",
  },
  setsockopt: {
    parameters: [
      /* int sockfd */ "i32",
      /* int level */ "i32",
      /* int optname */ "i32",
      /* const void *optval */ "buffer",
      /* socklen_t optlen */ "u32",
    ],
    result: /* int */ "i32",
  },
  sendto: {
    parameters: [
      /* int sockfd */ "i32",
      /* const void *buf */ "buffer",
      /* size_t len */ "usize",
      /* int flags */ "i32",
      /* const struct sockaddr *dest_addr */ "buffer",
      /* socklen_t addrlen */ "u32",
    ],
    result: /* ssize_t */ "i32",
  },
  recvfrom: {
    parameters: [
      /* int sockfd */ "i32",
      /* void *buf */ "buffer",
      /* size_t len */ "usize",
      /* int flags */ "i32",
      /* struct sockaddr *src_addr */ "buffer",
      /* socklen_t *addrlen */ "buffer",
    ],
    result: /* ssize_t */ "i32",
  },
  epoll_create1: { parameters: [/* int flags */ "i32"], result: /* int */ "i32" },
  epoll_ctl: {
    parameters: [/* int epfd */ "i32", /* int op */ "i32", /* int fd */ "i32", /* struct epoll_event * */ "buffer"],
    result: /* int */ "i32",
  },
  epoll_wait: {
    parameters: [
      /* int epfd */ "i32",
      /* struct epoll_event *events */ "buffer",
      /* int maxevents */ "i32",
      /* int timeout, ms */ "i32",
    ],
    result: /* int */ "i32",
  },
  ppoll: {
    parameters: [
      /* struct pollfd *fds */ "buffer",
      /* nfds_t nfds */ "usize",
      /* const struct timespec *timeout */ "buffer",
      /* const sigset_t *sigmask */ "pointer",
    ],
    result: /* int */ "i32",
    // Runs on another thread. Safe because the reactor keeps both buffers, untouched, until its promise settles.
    nonblocking: true,
  },
  // Variadic; its third argument is an int or nothing here, and travels as a named one does.
  fcntl: { parameters: [/* int fd */ "i32", /* int cmd */ "i32", /* long arg */ "i64"], result: /* int */ "i32" },
  statx: {
    parameters: [
      /* int dirfd */ "i32",
      /* const char *pathname */ "buffer",
      /* int flags */ "i32",
      /* unsigned int mask */ "u32",
      /* struct statx *statxbuf */ "buffer",
    ],
    result: /* int */ "i32",
  },
  eventfd: { parameters: [/* unsigned int initval */ "u32", /* int flags */ "i32"], result: /* int */ "i32" },
  setns: { parameters: [/* int fd */ "i32", /* int nstype */ "i32"], result: /* int */ "i32" },
  unshare: { parameters: [/* int flags */ "i32"], result: /* int */ "i32" },
  mount: {
    parameters: [
      /* const char *source */ "buffer",
      /* const char *target */ "buffer",
      /* const char *filesystemtype */ "buffer",
      /* unsigned long mountflags */ "usize",
      /* const void *data */ "pointer",
    ],
    result: /* int */ "i32",
  },
  umount2: { parameters: [/* const char *target */ "buffer", /* int flags */ "i32"], result: /* int */ "i32" },
  mkdir: { parameters: [/* const char *path */ "buffer", /* mode_t mode */ "u32"], result: /* int */ "i32" },
  unlink: { parameters: [/* const char *path */ "buffer"], result: /* int */ "i32" },
  chmod: { parameters: [/* const char *path */ "buffer", /* mode_t mode */ "u32"], result: /* int */ "i32" },
  fchmod: { parameters: [/* int fd */ "i32", /* mode_t mode */ "u32"], result: /* int */ "i32" },
  poll: {
    parameters: [/* struct pollfd *fds */ "buffer", /* nfds_t nfds */ "usize", /* int timeout, ms */ "i32"],
    result: /* int */ "i32",
  },
  // Variadic, for calls without a function of their own in older libraries; integers travel as named ones do.
  syscall: {
    parameters: [/* long number */ "i64", /* long */ "i64", /* long */ "i64", /* long */ "i64"],
    result: /* long; a descriptor fits */ "i32",
  },
  __errno_location: { parameters: [], result: /* int * */ "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The calls, as functions. */
export type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let library: Deno.DynamicLibrary<typeof SYMBOLS> | null = null;
let holders = 0;
let errnoView = new Int32Array(1);

/**
 * The C library, for a caller that holds it (see {@link holdLibc}). Opened if need be. Throws {@link HostError} off
 * Linux, `NotCapable` without `--allow-ffi`.
 */
export function libc(): Libc {
  return library === null ? open() : library.symbols;
}

/**
 * Keeps the C library open until a {@link releaseLibc}: every owner of a descriptor holds it. It is closed with the
 * last hold, so that a program that has closed everything leaves nothing open (Deno's test sanitizers check that).
 */
export function holdLibc(): Libc {
  const symbols = libc();
  holders++;
  return symbols;
}

/** Ends one hold. */
export function releaseLibc(): void {
  if (--holders > 0) return;
  library?.close();
  library = null;
}

/** Runs `work` while holding the library. */
export function withLibc<T>(work: () => T): T {
  holdLibc();
  try {
    return work();
  } finally {
    releaseLibc();
  }
}

function open(): Libc {
  const { os, arch } = Deno.build;
  if (os !== "linux" || (arch !== "x86_64" && arch !== "aarch64")) {
    throw new HostError("Cannot open libc", ENOSYS, {
      reason: `needs Linux on x86_64 or aarch64, not ${os} on ${arch}`,
    });
  }
  library = Deno.dlopen("libc.so.6", SYMBOLS);
  const { symbols } = library;
  // Safe because errno stays where it is as long as this thread lives, and JavaScript never leaves its thread.
  errnoView = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(symbols.__errno_location()!, 4));
  return symbols;
}

/** errno of the last call, if it failed; read it before any other call. */
export function lastErrno(): number {
  return errnoView[0]!;
}

/**
 * The result of a call, if it is not negative; else throws {@link HostError}. Written `call("Cannot …", libc().x(…))`:
 * the text is made before the call, so that nothing comes between the call and its errno.
 */
export function call(attempt: string, result: number, hints: Readonly<Record<number, string>> = {}): number {
  if (result >= 0) return result;
  const errno = lastErrno();
  const hint = hints[errno];
  throw new HostError(attempt, errno, hint === undefined ? {} : { hint });
}

/** `text` as a C string. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) throw new HostError(`Cannot pass "${text.replaceAll("\0", "\\0")}" to C`, EINVAL);
  return new TextEncoder().encode(`${text}\0`);
}

/** The machine address of the first byte of `bytes`: for a struct that holds pointers. */
export function addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
  // Touching `.buffer` moves a short array off V8's own heap, where it could move. Safe because the caller keeps
  // `bytes` reachable until the call that uses the address has returned.
  const length = bytes.buffer.byteLength;
  return length === 0 ? 0n : Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
}

// Error numbers that this folder tests for (asm-generic/errno.h).
export const EPERM = 1;
export const ENOENT = 2;
export const ESRCH = 3;
export const EINTR = 4;
export const EIO = 5;
export const ENXIO = 6;
export const EBADF = 9;
export const EAGAIN = 11;
const ENOMEM = 12;
export const EACCES = 13;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const ENOTDIR = 20;
export const EINVAL = 22;
const ENFILE = 23;
const EMFILE = 24;
export const ENAMETOOLONG = 36;
export const ENOSYS = 38;
export const EBADFD = 77;
export const EADDRINUSE = 98;
export const ENOBUFS = 105;
export const ECONNREFUSED = 111;

/** The name of an error of Linux: the kernel's {@link ErrnoName}, three more, and `E<number>` for one without words. */
export type HostErrorName = ErrnoName | "ESRCH" | "EBADFD" | "EAFNOSUPPORT" | `E${number}`;

/** Linux' names and words for the errors that these calls give. */
const ERRORS: Readonly<Record<number, readonly [name: HostErrorName, text: string]>> = {
  1: ["EPERM", "operation not permitted"],
  2: ["ENOENT", "no such file or directory"],
  3: ["ESRCH", "no such process"],
  4: ["EINTR", "interrupted system call"],
  5: ["EIO", "input/output error"],
  6: ["ENXIO", "no such device or address"],
  9: ["EBADF", "bad file descriptor"],
  11: ["EAGAIN", "resource temporarily unavailable"],
  12: ["ENOMEM", "cannot allocate memory"],
  13: ["EACCES", "permission denied"],
  14: ["EFAULT", "bad address"],
  16: ["EBUSY", "device or resource busy"],
  17: ["EEXIST", "file exists"],
  19: ["ENODEV", "no such device"],
  20: ["ENOTDIR", "not a directory"],
  22: ["EINVAL", "invalid argument"],
  23: ["ENFILE", "too many open files in system"],
  24: ["EMFILE", "too many open files"],
  25: ["ENOTTY", "inappropriate ioctl for device"],
  28: ["ENOSPC", "no space left on device"],
  30: ["EROFS", "read-only file system"],
  32: ["EPIPE", "broken pipe"],
  34: ["ERANGE", "numerical result out of range"],
  36: ["ENAMETOOLONG", "file name too long"],
  38: ["ENOSYS", "function not implemented"],
  77: ["EBADFD", "file descriptor in bad state"],
  90: ["EMSGSIZE", "message too long"],
  95: ["EOPNOTSUPP", "operation not supported"],
  97: ["EAFNOSUPPORT", "address family not supported by protocol"],
  98: ["EADDRINUSE", "address already in use"],
  99: ["EADDRNOTAVAIL", "cannot assign requested address"],
  100: ["ENETDOWN", "network is down"],
  101: ["ENETUNREACH", "network is unreachable"],
  105: ["ENOBUFS", "no buffer space available"],
  111: ["ECONNREFUSED", "connection refused"],
  113: ["EHOSTUNREACH", "no route to host"],
};

/** Whether an error says that this process, or the machine, has no descriptor or no memory left at the moment. */
export function isShortage(errno: number): boolean {
  return errno === EMFILE || errno === ENFILE || errno === ENOMEM || errno === ENOBUFS;
}

/** A refusal by the operating system, or by a check before the call. */
export class HostError extends SystemError {
  /** Name of the class. */
  override readonly name = "HostError";
  /** Linux' error number. */
  override readonly errno: number;
  /** Its name, such as `EBUSY`. */
  override readonly code: HostErrorName;

  /** `reason` replaces the usual words for `errno`; `hint` follows them and says what to do. */
  constructor(attempt: string, errno: number, options: { reason?: string; hint?: string } = {}) {
    const [code, text] = ERRORS[errno] ?? [errnoName(errno), "unknown error"];
    super(`${attempt}: ${options.reason ?? text} (${code})${options.hint === undefined ? "" : `: ${options.hint}`}`);
    this.errno = errno;
    this.code = code;
  }
}
