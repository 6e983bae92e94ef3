/**
 * Connections as web streams, for scripts that know `Deno.Conn`: readable, writable, close, closeWrite.
 *
 * Path: script → streams → system calls on /net/tcp.
 *
 * Back-pressure is the conversation's: nothing is read before the reader asks, and a write settles when the send
 * queue has room again.
 *
 * @module
 */

import { type Conversation, hangUp, listen } from "../kernel/dial.ts";
import { KernelError } from "../kernel/error.ts";
import type { Proc } from "../kernel/proc.ts";

/** Bytes taken from the conversation at once. */
const CHUNK_MAX = 65536;

/** A connection. */
export class StreamConn {
  /** What the other side sends; ends when it closes its half, errors when it resets. */
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** What we send; closing it closes our half. */
  readonly writable: WritableStream<Uint8Array>;
  /** Directory of the conversation: its `status`, `local` and `remote` are files there. */
  readonly dir: string;
  #proc: Proc;
  #conv: Conversation;
  #isOpen = true;
  #isWriteOpen = true;

  /** For {@link dialStream} and {@link announceStream}. */
  constructor(proc: Proc, conv: Conversation) {
    this.#proc = proc;
    this.#conv = conv;
    this.dir = conv.dir;
    this.readable = new ReadableStream({
      type: "bytes",
      pull: (controller) => this.#pull(controller),
      cancel: () => this.close(),
    });
    this.writable = new WritableStream<Uint8Array>({
      write: (chunk) => this.#write(chunk),
      close: () => this.closeWrite(),
      abort: () => this.close(),
    });
  }

  /** Closes our half: the other side reads to the end. It may still send. */
  async closeWrite(): Promise<void> {
    if (!this.#isOpen || !this.#isWriteOpen) return;
    this.#isWriteOpen = false;
    await this.#proc.write(this.#conv.ctl, "shutdown wr");
  }

  /** Lets go of both halves. What was written is still delivered; unread data make it a reset (RFC 9293 3.10.4). */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    hangUp(this.#proc, this.#conv);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #pull(controller: ReadableByteStreamController): Promise<void> {
    const buf = new Uint8Array(CHUNK_MAX);
    const count = await this.#proc.read(this.#conv.data, buf).catch((error) => {
      // Our own close ends the reading, too.
      if (!this.#isOpen && error instanceof KernelError) return 0;
      throw error;
    });
    if (count > 0) {
      controller.enqueue(buf.subarray(0, count));
      return;
    }
    controller.close();
    // A pending read of a caller's own buffer is answered by nothing.
    controller.byobRequest?.respond(0);
  }

  async #write(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length;) at += await this.#proc.write(this.#conv.data, chunk.subarray(at));
  }
}

/** An announced address: calls arrive one by one. */
export class StreamListener implements AsyncIterable<StreamConn> {
  /** The port it listens at. */
  readonly port: number;
  #proc: Proc;
  #conv: Conversation;
  #isOpen = true;

  /** For {@link announceStream}. */
  constructor(proc: Proc, conv: Conversation) {
    this.#proc = proc;
    this.#conv = conv;
    this.port = conv.port;
  }

  /** The next call; sleeps until there is one. */
  async accept(): Promise<StreamConn> {
    return new StreamConn(this.#proc, await listen(this.#proc, this.#conv));
  }

  /** Every call until {@link close}. */
  async *[Symbol.asyncIterator](): AsyncGenerator<StreamConn, void, void> {
    while (this.#isOpen) {
      try {
        yield await this.accept();
      } catch (error) {
        if (this.#isOpen) throw error;
      }
    }
  }

  /** Takes no more calls. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#proc.abortSleepers(-1);
    hangUp(this.#proc, this.#conv);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Connects to `tcp!host!port`. Throws KernelError: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, EINVAL. */
export async function dialStream(proc: Proc, address: string): Promise<StreamConn> {
  return new StreamConn(proc, await proc.dial(address));
}

/** Announces `tcp!*!port`. Throws KernelError: EFAIL if the port is held, EINVAL. */
export async function announceStream(proc: Proc, address: string): Promise<StreamListener> {
  return new StreamListener(proc, await proc.announce(address));
}
