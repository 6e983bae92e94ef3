/**
 * Settings of Linux below /proc/sys, read in this thread's network namespace.
 *
 * Path: netd/machine → sysctl → libc.
 *
 * @module
 */

import { cString, libc, withLibc } from "./libc.ts";

const O_RDONLY_CLOEXEC = 0x8_0000;
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
