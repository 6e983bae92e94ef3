/**
 * A virtual machine of QEMU as the guest: one that is started elsewhere and attached to our socket, or one of ours.
 *
 * Path: open_guest, qemu_side → qemu/guest → guests/guest, qemu/machine, port.
 *
 * @module
 */

import type { Guest, Loop } from "../guest.ts";
import type { QemuMachineOptions } from "./arguments.ts";
import { QemuMachine } from "./machine.ts";
import type { QemuPort } from "./port.ts";

/** A virtual machine as a guest. */
export interface QemuGuest extends Guest {
  readonly port: QemuPort;
  /** The machine, if we started it; null: it connects by itself, and may disconnect and return. */
  readonly machine: QemuMachine | null;
}

/**
 * Lets `loop` drain the port, which it owns, and starts the machine if there is one to start. Throws if QEMU cannot be
 * started; then the port is closed.
 */
export function qemuGuest(
  port: QemuPort,
  loop: Loop,
  machineOptions?: Omit<QemuMachineOptions, "netdev">,
): QemuGuest {
  try {
    port.start(loop);
    const machine = machineOptions === undefined
      ? null
      : new QemuMachine({ ...machineOptions, netdev: port.netdev("net0") });
    const close = async () => {
      await machine?.close();
      port.close();
    };
    return { name: port.name, port, machine, close };
  } catch (error) {
    port.close();
    throw error;
  }
}
