/**
 * Takes over a TAP device that a child process opened in a network namespace that this process may not enter.
 *
 * Path: guest_tap, tap_opener → tun_taken → libc, tun, netdev, netns.
 *
 * The owner of a user namespace may enter it, but a process with several threads cannot (setns(2)), and Deno has
 * several. So a child enters ({@link holdTap} runs there), opens the device, and waits; we take copies of its
 * descriptors ({@link takeTap}), which keep working here after the child has ended.
 *
 * @module
 */

import { call, ENOSYS, EPERM, libc, withLibc } from "./libc.ts";
import { NetDevice } from "./netdev.ts";
import { openNetns } from "./netns.ts";
import { TapPort } from "./tun.ts";
import { openTunDevice, type TapOptions } from "./tun_device.ts";

/** Numbers of the calls, the same on all machines (asm-generic/unistd.h); Linux 5.6 has both. */
const SYS_PIDFD_OPEN = 434n;
const SYS_PIDFD_GETFD = 438n;
const HINTS = { [EPERM]: "needs the child to be ours", [ENOSYS]: "needs Linux 5.6" };

/** An open device, as its holder describes it to the process that takes it. */
export interface HeldTap {
  readonly name: string;
  /** The device's descriptor in the holder. */
  readonly fd: number;
  /** A socket of the namespace, for requests about the device. */
  readonly control: number;
  /** Offloads that we offered, as TUN_F flags. */
  readonly offloads: number;
}

/** Opens a device in this thread's namespace, and keeps it open until it is released. Throws HostError. */
export function holdTap(options: TapOptions): { readonly held: HeldTap; readonly letGo: () => void } {
  return withLibc(() => {
    const { fd, device, offloads } = openTunDevice("tap", options);
    const letGo = () => {
      libc().close(fd);
      device.close();
    };
    return { held: { name: device.name, fd, control: device.fd, offloads }, letGo };
  });
}

/** The device that process `pid` holds, in the namespace at `path`; `options` as it was opened. Throws HostError. */
export function takeTap(pid: number, held: HeldTap, path: string, options: TapOptions): TapPort {
  return withLibc(() => {
    const attempt = `Cannot take over "${held.name}" from process ${pid}`;
    const pidfd = call(attempt, libc().syscall(SYS_PIDFD_OPEN, BigInt(pid), 0n, 0n), HINTS);
    let fd = -1;
    try {
      fd = call(attempt, libc().syscall(SYS_PIDFD_GETFD, BigInt(pidfd), BigInt(held.fd), 0n), HINTS);
      const control = call(attempt, libc().syscall(SYS_PIDFD_GETFD, BigInt(pidfd), BigInt(held.control), 0n), HINTS);
      const device = new NetDevice(held.name, control);
      const handle = { fd, device, netns: openNetns(path), offloads: held.offloads, localnet: "not asked for" };
      return new TapPort(options, handle);
    } catch (error) {
      if (fd >= 0) libc().close(fd);
      throw error;
    } finally {
      libc().close(pidfd);
    }
  });
}
