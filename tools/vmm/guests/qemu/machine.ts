/**
 * QemuMachine: a small virtual machine under QEMU with the kernel and initramfs of tools/setup_guest, and a shell in
 * it.
 *
 * Path: qemu/guest, qemu_side → qemu/machine → port, console.
 *
 * It is emulated (TCG) unless told otherwise: hardware virtualisation is not to be counted on, and without it a boot
 * still takes only some 4 s.
 * A guest ends itself after a limit, so that none outlives a program that was killed.
 *
 * @module
 */

import { GuestConsole, type GuestOutput } from "./console.ts";
import { qemuValue } from "./port.ts";

/** A machine to start. */
export interface QemuMachineOptions {
  /** Paths of the kernel and its initramfs. */
  kernel: string;
  initrd: string;
  /** Value of QEMU's `-netdev` with the id `net0`, as {@link QemuPort.netdev} makes it. */
  netdev: string;
  /** Words for the guest's command line: what its init script is to do (see tools/setup_guest/init.sh). */
  words?: readonly string[];
  /** Hardware address of its card, such as `52:54:00:12:34:56`. */
  mac?: string;
  /** MTU that the card tells its driver. Default: it tells none. */
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

/** What the guest knows the port by that `agent` asks for. */
export const AGENT_PORT = "agent";

/** How long QEMU may take to end after SIGTERM, in milliseconds, before SIGKILL. */
const END_LIMIT_MS = 3000;
/** Characters kept of what QEMU itself complains about. */
const ERRORS_MAX = 16 * 1024;

/** The command line of QEMU. */
export function qemuArguments(options: QemuMachineOptions): string[] {
  const { accel = "tcg", memoryMib = 128, limitS = 300, mac = "52:54:00:12:34:56", mtu } = options;
  // Without its option ROM: nobody boots from this card.
  const card = `virtio-net-pci,romfile=,netdev=net0,mac=${mac}${mtu === undefined ? "" : `,host_mtu=${mtu}`}`;
  // mitigations=off and nokaslr only cost time in an emulated guest; panic=-1 with -no-reboot makes a panic the end.
  const words = ["console=ttyS0 quiet panic=-1 mitigations=off nokaslr", `akarino.limit=${limitS}`];
  return [
    ...["-machine", "pc", "-accel", accel, "-cpu", accel === "kvm" ? "host" : "max", "-smp", "1"],
    ...["-m", `${memoryMib}`, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"],
    ...["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"],
    ...["-netdev", options.netdev, "-device", card],
    ...agentArguments(options.agent),
    ...["-kernel", options.kernel, "-initrd", options.initrd],
    ...["-append", [...words, ...options.words ?? []].join(" ")],
  ];
}

/** A port beside the network: bytes to and from a socket, faster than a serial line by far. */
function agentArguments(path: string | undefined): string[] {
  if (path === undefined) return [];
  const chardev = `socket,id=agent,server=off,path=${qemuValue(path)}`;
  const port = `virtserialport,chardev=agent,name=${AGENT_PORT}`;
  return ["-chardev", chardev, "-device", "virtio-serial-pci", "-device", port];
}

/** A running machine. */
export class QemuMachine implements AsyncDisposable {
  readonly console: GuestConsole;
  /** Settles when QEMU has ended, with its exit status; never rejects. */
  readonly ended: Promise<number>;
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  #errors = "";

  /** Starts QEMU. Throws if there is no such program; whatever else is wrong shows as the guest's end. */
  constructor(options: QemuMachineOptions) {
    const { program = "qemu-system-x86_64" } = options;
    this.#child = new Deno.Command(program, {
      args: qemuArguments(options),
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#stdin = this.#child.stdin.getWriter();
    const encoder = new TextEncoder();
    this.console = new GuestConsole((text) => {
      // What cannot be written is for a machine that ended, of which `ended` tells.
      this.#stdin.write(encoder.encode(text)).catch(() => {});
    });
    this.ended = this.#follow();
  }

  /** What QEMU itself had to say. */
  get errors(): string {
    return this.#errors;
  }

  /** Runs a line of shell in the guest; see {@link GuestConsole.run}. */
  run(command: string, limitMs?: number): Promise<GuestOutput> {
    return this.console.run(command, limitMs);
  }

  /** Has the guest power itself off, and waits for it. */
  async powerOff(): Promise<number> {
    // It ends before it can answer.
    await this.console.run("poweroff -f").catch(() => {});
    return await this.ended;
  }

  /** Ends it, whatever it does. */
  async close(): Promise<void> {
    const limit = setTimeout(() => this.#kill("SIGKILL"), END_LIMIT_MS);
    this.#kill("SIGTERM");
    await this.ended;
    clearTimeout(limit);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #kill(signal: "SIGTERM" | "SIGKILL"): void {
    try {
      this.#child.kill(signal);
    } catch (error) {
      // It has ended by itself.
      if (!(error instanceof TypeError)) throw error;
    }
  }

  async #follow(): Promise<number> {
    const decoder = new TextDecoder();
    const [{ code, signal }] = await Promise.all([
      this.#child.status,
      each(this.#child.stdout, (bytes) => this.console.feed(bytes)),
      each(this.#child.stderr, (bytes) => {
        this.#errors = (this.#errors + decoder.decode(bytes, { stream: true })).slice(-ERRORS_MAX);
      }),
    ]);
    await this.#stdin.close().catch(() => {});
    this.console.end(`QEMU ended ${signal === null ? `with status ${code}` : `by ${signal}`}. ${this.#errors}`);
    return code;
  }
}

/** Hands on each chunk of a stream up to its end. */
async function each(stream: ReadableStream<Uint8Array>, take: (bytes: Uint8Array) => void): Promise<void> {
  for await (const bytes of stream) take(bytes);
}
