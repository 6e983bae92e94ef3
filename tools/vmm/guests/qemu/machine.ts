/**
 * QemuMachine: a small virtual machine under QEMU with the kernel and initramfs of tools/setup_guest, and a shell in
 * it.
 *
 * Path: qemu/guest, qemu_side → qemu/machine → qemu/arguments, console.
 *
 * By default QEMU emulates it (TCG): not every machine offers hardware virtualisation, and an emulated boot takes only
 * about 4 s. A guest powers itself off after a limit, so that none outlives a program that was killed.
 *
 * @module
 */

import { qemuArguments, type QemuMachineOptions } from "./arguments.ts";
import { GuestConsole, type GuestOutput } from "./console.ts";

/** How long QEMU may take to end after SIGTERM, in milliseconds, before SIGKILL. */
const END_LIMIT_MS = 3000;
/** Characters kept of QEMU's own error output. */
const ERRORS_MAX = 16 * 1024;

/** A running machine. */
export class QemuMachine implements AsyncDisposable {
  readonly console: GuestConsole;
  /** Settles when QEMU has ended, with its exit status; never rejects. */
  readonly ended: Promise<number>;
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  #errors = "";

  /** Starts QEMU. Throws if there is no such program; any other failure shows as the guest's end. */
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
      // A write fails only after the machine has ended, which `ended` reports.
      this.#stdin.write(encoder.encode(text)).catch(() => {});
    });
    this.ended = this.#follow();
  }

  /** QEMU's own error output. */
  get errors(): string {
    return this.#errors;
  }

  /** Runs a line of shell in the guest; see {@link GuestConsole.run}. */
  run(command: string, limitMs?: number): Promise<GuestOutput> {
    return this.console.run(command, limitMs);
  }

  /** Powers the guest off from inside, and waits for its end. */
  async powerOff(): Promise<number> {
    // It ends before it can answer.
    await this.console.run("poweroff -f").catch(() => {});
    return await this.ended;
  }

  /** Ends it in any case. */
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

/** Passes on each chunk of a stream up to its end. */
async function each(stream: ReadableStream<Uint8Array>, take: (bytes: Uint8Array) => void): Promise<void> {
  for await (const bytes of stream) take(bytes);
}
