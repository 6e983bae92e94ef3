/**
 * The system calls by number: Akaros' numbers for its calls; ours (127 to 130) are in its numbering gap.
 *
 * Path: sys, proc, trace → syscall_table.
 *
 * @module
 */

/** Numbers of system calls, by name. */
export const Syscall = {
  abort_sysc: 31,
  abort_sysc_fd: 33,
  read: 100,
  write: 101,
  openat: 102,
  close: 103,
  fstat: 104,
  stat: 105,
  lstat: 106,
  fcntl: 107,
  access: 108,
  umask: 109,
  llseek: 111,
  link: 112,
  unlink: 113,
  symlink: 114,
  readlink: 115,
  chdir: 116,
  getcwd: 117,
  mkdir: 118,
  rmdir: 119,
  wstat: 121,
  fwstat: 122,
  rename: 123,
  fchdir: 124,
  dup_fds_to: 125,
  tap_fds: 126,
  blockread: 127,
  blockwrite: 128,
  blockreadv: 129,
  blockwritev: 130,
  nbind: 145,
  nmount: 146,
  nunmount: 147,
  fd2path: 149,
} as const;

/** Name of a system call. */
export type SyscallName = keyof typeof Syscall;

const NAMES = new Map<number, SyscallName>(
  (Object.keys(Syscall) as SyscallName[]).map((name) => [Syscall[name], name]),
);

/** The name of system call `number`; the number itself if there is none. */
export function syscallName(number: number): string {
  return NAMES.get(number) ?? String(number);
}

/** Commands of fcntl; from 1000 on they go to the device's chan_ctl. */
export const Fcntl = {
  DupFd: 0,
  GetFd: 1,
  SetFd: 2,
  GetFl: 3,
  SetFl: 4,
  Sync: 101,
  Advise: 102,
} as const;

/** `openat` and its like: paths are relative to the working directory. */
export const AT_CWD: number = -100;

/** Whence of llseek. */
export const Seek = { Set: 0, Current: 1, End: 2 } as const;

/** Commands of tap_fds. */
export const Tap = { Add: 1, Remove: 2, Modify: 3 } as const;
