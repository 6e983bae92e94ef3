/**
 * libc: the C library, opened for its users; errno, and the error class of failed calls.
 *
 * Path: tun, netdev, netns, reactor → libc → libc_symbols, Linux.
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
import { SYMBOLS } from "./libc_symbols.ts";

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
export const EINPROGRESS = 115;

/** The name of an error of Linux: the kernel's {@link ErrnoName}, two more, and `E<number>` for one without words. */
export type HostErrorName = ErrnoName | "ESRCH" | "EBADFD" | `E${number}`;

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
  64: ["ENONET", "machine is not on the network"],
  71: ["EPROTO", "protocol error"],
  77: ["EBADFD", "file descriptor in bad state"],
  90: ["EMSGSIZE", "message too long"],
  92: ["ENOPROTOOPT", "protocol not available"],
  95: ["EOPNOTSUPP", "operation not supported"],
  97: ["EAFNOSUPPORT", "address family not supported by protocol"],
  98: ["EADDRINUSE", "address already in use"],
  99: ["EADDRNOTAVAIL", "cannot assign requested address"],
  100: ["ENETDOWN", "network is down"],
  101: ["ENETUNREACH", "network is unreachable"],
  103: ["ECONNABORTED", "connection aborted"],
  104: ["ECONNRESET", "connection reset by peer"],
  105: ["ENOBUFS", "no buffer space available"],
  110: ["ETIMEDOUT", "connection timed out"],
  111: ["ECONNREFUSED", "connection refused"],
  112: ["EHOSTDOWN", "host is down"],
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
