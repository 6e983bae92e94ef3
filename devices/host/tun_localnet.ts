/**
 * Whether Linux accepts packets for 127/8 on a device, and sends answers from 127/8 out of it: the sysctl
 * `net.ipv4.conf.DEVICE.route_localnet`. Without the `sysctl` command.
 *
 * Path: tun_device → tun_localnet → libc.
 *
 * The file is that of the network namespace that the thread is in.
 *
 * @module
 */

import { call, cString, HostError, libc } from "./libc.ts";

const O_RDONLY_CLOEXEC = 0x8_0000;
const O_WRONLY_CLOEXEC = 0x8_0001;
const ONE = 0x31;

function path(device: string): string {
  return `/proc/sys/net/ipv4/conf/${device}/route_localnet`;
}

/** Sets it for `device` (this thread's namespace). Throws {@link HostError}: EACCES, EROFS in some containers. */
function set(device: string): void {
  const attempt = `Cannot set ${path(device)}`;
  const fd = call(attempt, libc().open(cString(path(device)), O_WRONLY_CLOEXEC, 0));
  try {
    // Safe because the length is that of the text.
    call(attempt, libc().write(fd, new Uint8Array([ONE]), 1n));
  } finally {
    libc().close(fd);
  }
}

/** Whether it is set for `device`. Throws {@link HostError} if it cannot be read. */
function isSet(device: string): boolean {
  const attempt = `Cannot read ${path(device)}`;
  const fd = call(attempt, libc().open(cString(path(device)), O_RDONLY_CLOEXEC, 0));
  const value = new Uint8Array(1);
  try {
    // Safe because the length is that of the view.
    call(attempt, libc().read(fd, value, 1n));
  } finally {
    libc().close(fd);
  }
  return value[0] === ONE;
}

/**
 * Lets `device`, in this thread's namespace, route 127/8. The setting of a device that is not ours (`attached`) is only
 * read. Returns the reason if it does not route it; empty: it does.
 */
export function routeLocalnet(device: string, attached: boolean): string {
  try {
    if (!attached) set(device);
    return isSet(device) ? "" : `net.ipv4.conf.${device}.route_localnet is 0`;
  } catch (error) {
    if (error instanceof HostError) return error.message;
    throw error;
  }
}
