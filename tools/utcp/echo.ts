/**
 * An echo server whose TCP is the program's own: byte for byte, both ways, until the caller closes its half.
 *
 * Path: utcp, guest_tcp_steps → utcp/echo → user_stack, dial, proc, error.
 *
 * @module
 */

import { type Conversation, hangUp, listen } from "../../kernel/dial.ts";
import { KernelError } from "../../kernel/error.ts";
import type { Proc } from "../../kernel/proc.ts";
import { startUserStack, type UserStack, type UserStackOptions } from "./user_stack.ts";

/** Bytes moved at once. */
const CHUNK = 65536;

/** A server that runs. */
export class UtcpEcho {
  /** Connections that were taken. */
  connections = 0;
  /** Connections that ended by an error, such as a reset. */
  failed = 0;
  /** Bytes sent back. */
  bytes = 0;
  /** Settles when it has stopped. */
  readonly done: Promise<void>;
  readonly #calls: Set<Promise<void>> = new Set();
  #isOpen = true;

  /** For {@link startUtcpEcho}. */
  constructor(readonly stack: UserStack, readonly listener: Conversation) {
    this.done = this.#serve();
    // An error that no caller waits for is not unhandled.
    this.done.catch(() => {});
  }

  /** Connections that are open. */
  get open(): number {
    return this.#calls.size;
  }

  async #serve(): Promise<void> {
    const { proc } = this.stack;
    while (this.#isOpen) {
      const call = await listen(proc, this.listener).catch((error) => this.#forgive(error));
      if (call === null) break;
      this.connections++;
      const done: Promise<void> = this.#echo(proc, call).finally(() => this.#calls.delete(done));
      this.#calls.add(done);
    }
    await Promise.all(this.#calls);
  }

  /** Our own end, or that of the program, ends the listening. */
  #forgive(error: unknown): null {
    const { kernel, proc } = this.stack;
    if (!(error instanceof KernelError) || (this.#isOpen && kernel.procs.has(proc.pid))) throw error;
    return null;
  }

  async #echo(proc: Proc, call: Conversation): Promise<void> {
    const buf = new Uint8Array(CHUNK);
    try {
      for (let count = 0; (count = await proc.read(call.data, buf)) > 0;) {
        for (let at = 0; at < count;) at += await proc.write(call.data, buf.subarray(at, count));
        this.bytes += count;
      }
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.failed++;
    } finally {
      if (proc.fds.has(call.data)) hangUp(proc, call);
    }
  }

  /** Takes no more calls, ends those there are, and gives the port back. */
  async stop(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await this.stack.stop();
    await this.done;
  }
}

/** Claims tcp port `port` for a stack inside the program of `proc` and echoes there. Throws KernelError as bypass. */
export async function startUtcpEcho(proc: Proc, port: number, options: UserStackOptions = {}): Promise<UtcpEcho> {
  const stack = await startUserStack(proc, port, options);
  try {
    return new UtcpEcho(stack, await stack.proc.announce(`tcp!*!${port}`));
  } catch (error) {
    await stack.stop();
    throw error;
  }
}
