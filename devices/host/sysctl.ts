/**
 * Settings of Linux below /proc/sys, read and written in this thread's network namespace.
 *
 * Path: netd/machine, linux_environment → sysctl → libc.
 *
 * @module
 */

import { call, cString, libc, withLibc } from "./libc.ts";

const O_RDONLY_CLOEXEC = 0x8_0000;
const O_WRONLY_CLOEXEC = 0x8_0001;
/** Longer than any number. */
const VALUE_MAX = 64;

/** The value of `/proc/sys/PATH`; null if there is none that may be read. */
export function readSysctl(path: string): string | null {
  return withLibc(() => {
    const fd = libc().open(cString(`/proc/sys/${path}`), O_RDONLY_CLOEXEC, 0);
    if (fd < 0) return null;
    const value = new Uint8Array(VALUE_MAX);
    // Safe because the length is that of the view.
    const count = libc().read(fd, value, BigInt(VALUE_MAX));
    libc().close(fd);
    return count < 0 ? null : new TextDecoder().decode(value.subarray(0, count)).trim();
  });
}

/** Sets `/proc/sys/PATH`. Throws {@link HostError}: ENOENT for no such setting, EACCES, EROFS in some containers. */
export function writeSysctl(path: string, value: string): void {
  const attempt = `Cannot set /proc/sys/${path}`;
  const bytes = new TextEncoder().encode(value);
  withLibc(() => {
    const fd = call(attempt, libc().open(cString(`/proc/sys/${path}`), O_WRONLY_CLOEXEC, 0));
    try {
      // Safe because the length is that of the text.
      call(attempt, libc().write(fd, bytes, BigInt(bytes.length)));
    } finally {
      libc().close(fd);
    }
  });
}
