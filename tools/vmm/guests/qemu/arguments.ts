/**
 * The command line of QEMU for a small machine with one network card and a console.
 *
 * Path: qemu/machine → qemu/arguments → qemu/port.
 *
 * @module
 */

import { qemuValue } from "./port.ts";

/** A machine to start. */
export interface QemuMachineOptions {
  /** Paths of the kernel and its initramfs. */
  kernel: string;
  initrd: string;
  /** Value of QEMU's `-netdev` with the id `net0`, as {@link QemuPort.netdev} makes it. */
  netdev: string;
  /** Words for the guest's command line, for its init script (see tools/setup_guest/init.sh). */
  words?: readonly string[];
  /** Hardware address of its card, such as `52:54:00:12:34:56`. */
  mac?: string;
  /** MTU that the card offers its driver. Default: none. */
  mtu?: number;
  /** Unix socket that a virtio serial port named {@link AGENT_PORT} is connected to. Default: there is no such port. */
  agent?: string;
  /** MiB of memory. Default 128. */
  memoryMib?: number;
  /** How it runs. Default tcg. */
  accel?: "tcg" | "kvm";
  /** The guest powers itself off after so many seconds. Default 300. */
  limitS?: number;
  /** The program. Default qemu-system-x86_64. */
  program?: string;
}

/** Name under which the guest finds the serial port that `agent` adds. */
export const AGENT_PORT = "agent";

/** The command line of QEMU. */
export function qemuArguments(options: QemuMachineOptions): string[] {
  const { accel = "tcg", memoryMib = 128, limitS = 300, mac = "52:54:00:12:34:56", mtu } = options;
  // Without its option ROM: no guest boots from this card.
  const card = `virtio-net-pci,romfile=,netdev=net0,mac=${mac}${mtu === undefined ? "" : `,host_mtu=${mtu}`}`;
  // mitigations=off and nokaslr only cost time in an emulated guest; panic=-1 with -no-reboot makes a panic the end.
  const words = ["console=ttyS0 quiet panic=-1 mitigations=off nokaslr", `akarino.limit=${limitS}`];
  return [
    "-machine",
    "pc",
    "-accel",
    accel,
    "-cpu",
    accel === "kvm" ? "host" : "max",
    "-smp",
    "1",
    "-m",
    `${memoryMib}`,
    "-nodefaults",
    "-no-user-config",
    "-no-reboot",
    "-display",
    "none",
    "-chardev",
    "stdio,id=console,signal=off",
    "-serial",
    "chardev:console",
    "-netdev",
    options.netdev,
    "-device",
    card,
    ...agentArguments(options.agent),
    "-kernel",
    options.kernel,
    "-initrd",
    options.initrd,
    "-append",
    [...words, ...options.words ?? []].join(" "),
  ];
}

/** A port beside the network: bytes to and from a socket, faster than a serial line by far. */
function agentArguments(path: string | undefined): string[] {
  if (path === undefined) return [];
  const chardev = `socket,id=agent,server=off,path=${qemuValue(path)}`;
  const port = `virtserialport,chardev=agent,name=${AGENT_PORT}`;
  return ["-chardev", chardev, "-device", "virtio-serial-pci", "-device", port];
}
