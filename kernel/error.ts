/**
 * User errors: an errno and a text, thrown where they are found and caught at the system-call layer.
 *
 * Path: everywhere → error → user program.
 *
 * Numbers 1 to 131 are Linux'; those from 132 are Akaros' own (its `errno.h`), EFAIL among them is the general refusal
 * of a device: its text gives the reason.
 *
 * @module
 */

/** Error numbers, by name. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  ECHILD: 10,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EPIPE: 32,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENONET: 64,
  EPROTO: 71,
  EOVERFLOW: 75,
  EDESTADDRREQ: 89,
  EMSGSIZE: 90,
  ENOPROTOOPT: 92,
  EPROTONOSUPPORT: 93,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  EISCONN: 106,
  ENOTCONN: 107,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTDOWN: 112,
  EHOSTUNREACH: 113,
  EALREADY: 114,
  EINPROGRESS: 115,
  /** Akaros: refused, and the text says why. */
  EFAIL: 132,
  /** Akaros: no cache for the request. */
  ENOCACHE: 133,
  /** Akaros: no process id is free. */
  ENOFREEPID: 135,
  /** Akaros: an error without a number. */
  EUNSPECIFIED: 136,
} as const;

/** The name of an error number. */
export type ErrnoName = keyof typeof Errno;

const NAMES: ReadonlyMap<number, ErrnoName> = new Map(
  (Object.keys(Errno) as ErrnoName[]).map((name) => [Errno[name], name]),
);

/** The name of `errno`, such as `EBUSY`; `E<number>` if it has none. */
export function errnoName(errno: number): ErrnoName | `E${number}` {
  return NAMES.get(errno) ?? `E${errno}`;
}

/** Longest error text in characters (Akaros' MAX_ERRSTR_LEN). */
export const ERROR_TEXT_MAX = 128;

/**
 * What every refusal is, of this kernel or of the operating system below it: an error with a number and its name. Catch
 * this class to handle both: {@link KernelError} is one, and so is `HostError`.
 */
export abstract class SystemError extends Error {
  /** The error's number. */
  abstract readonly errno: number;
  /** The number's name, such as `EBUSY`. */
  abstract readonly code: string;
}

/** A refusal: thrown inside the kernel, seen by the caller of a system call. */
export class KernelError extends SystemError {
  /** What kind of error it is, for people. */
  override readonly name = "KernelError";
  /** The error's number, see {@link Errno}. */
  override readonly errno: number;
  /** The number's name, such as `EBUSY`. */
  override readonly code: ErrnoName;
  /** EMSGSIZE of a block read: the true length of the block that stays queued, in bytes. */
  readonly length?: number;

  /** An error with the number of `code`; `text` is cut after {@link ERROR_TEXT_MAX} characters. */
  constructor(code: ErrnoName, text: string, options: { length?: number } = {}) {
    super(text.length > ERROR_TEXT_MAX ? text.slice(0, ERROR_TEXT_MAX) : text);
    this.errno = Errno[code];
    this.code = code;
    if (options.length !== undefined) this.length = options.length;
  }
}
