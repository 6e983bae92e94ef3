/**
 * Connections as web streams, for scripts that know `Deno.Conn`: readable, writable, close, closeWrite.
 *
 * Path: boot, mod → streams → ends, dial, proc, sys, error, net_addr.
 *
 * Back-pressure is the conversation's: nothing is read before the reader asks, and a write settles when the send
 * queue took it. A connection whose two directions are over (read to the end or cancelled; closed or aborted) gives its
 * descriptors back by itself, so that `conn.readable.pipeTo(conn.writable)` is a whole echo server.
 *
 * @module
 */

import { type Conversation, type DialOptions, hangUp, listen, parseDialString } from "../../kernel/dial.ts";
import { KernelError } from "../../kernel/error.ts";
import type { Proc } from "../../kernel/proc.ts";
import { AGAIN, type Again } from "../../kernel/sys.ts";
import type { WaitOptions } from "../../kernel/wait.ts";
import { each, orHangUp } from "./ends.ts";
import { type NetAddr, netAddrOf } from "./net_addr.ts";

/** Bytes given to the conversation, or taken from it, at once; a reader may bring a buffer of another size. */
const CHUNK_MAX = 65536;

/** One end of a connection. */
export type StreamAddr = NetAddr<"tcp">;

/** A connection. */
export class StreamConn {
  /** What the other side sends; ends when it closes its half, errors (KernelError) when it resets. */
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** What we send; closing it closes our half, aborting it resets the connection. */
  readonly writable: WritableStream<Uint8Array>;
  /** Directory of the conversation: its `status`, `local` and `remote` are files there. */
  readonly dir: string;
  /** Our end. */
  readonly localAddr: StreamAddr;
  /** The other end. */
  readonly remoteAddr: StreamAddr;
  readonly #proc: Proc;
  readonly #conv: Conversation;
  #isReadOpen = true;
  #isWriteOpen = true;
  /** Whether the other side's end was read. */
  #sawEnd = false;
  #isClosed = false;
  /** Why we reset it; null if we did not. */
  #failure: KernelError | null = null;
  #writer!: WritableStreamDefaultController;

  /** For {@link dialStream} and {@link StreamListener}. */
  constructor(proc: Proc, conv: Conversation, ends: { local: string; remote: string }) {
    this.#proc = proc;
    this.#conv = conv;
    this.dir = conv.dir;
    this.localAddr = netAddrOf("tcp", ends.local);
    this.remoteAddr = netAddrOf("tcp", ends.remote);
    this.readable = new ReadableStream({
      type: "bytes",
      autoAllocateChunkSize: CHUNK_MAX,
      pull: (controller) => this.#pull(controller),
      cancel: () => this.#readDone(true),
    });
    quietPipes(proc, this.readable);
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => void (this.#writer = controller),
      write: (chunk) => this.#write(chunk),
      close: () => this.closeWrite(),
      abort: () => this.reset(),
    });
    quietWrites(proc, this.writable);
  }

  /** Whether neither we nor the end of our host closed it. */
  get #isOpen(): boolean {
    return !this.#isClosed && !this.#proc.hasEnded;
  }

  /**
   * Reads some bytes into `buf`: how many, or null at the end. For programs without streams: while `readable` has a
   * reader, the bytes go to either. Throws KernelError: ECONNRESET, ETIMEDOUT, EBADF once we closed it.
   */
  read(buf: Uint8Array, wait?: WaitOptions): Promise<number | null> {
    return this.#proc.compound(async ({ signal }) => {
      if (buf.length === 0) return 0;
      if (this.#sawEnd) return null;
      if (!this.#isOpen && this.#failure === null) throw this.#closedError("read");
      const count = await this.#read(buf, signal);
      if (count > 0) return count;
      if (!this.#isOpen) throw this.#closedError("read");
      this.#readDone(false);
      return null;
    }, wait);
  }

  /** Writes some bytes: how many the send queue took. Throws KernelError: ECONNRESET, EPIPE, EBADF once closed. */
  async write(bytes: Uint8Array, wait?: WaitOptions): Promise<number> {
    if (this.#failure !== null) throw this.#failure;
    if (!this.#isOpen || !this.#isWriteOpen) throw this.#closedError("write");
    return await this.#proc.write(this.#conv.data, bytes.subarray(0, CHUNK_MAX), wait);
  }

  #closedError(call: string): KernelError {
    return new KernelError("EBADF", `Cannot ${call} ${this.dir}: this side closed it`);
  }

  /** Closes our half: the other side reads to the end. It may still send. */
  async closeWrite(): Promise<void> {
    if (!this.#isOpen || !this.#isWriteOpen) return;
    this.#isWriteOpen = false;
    try {
      await this.#proc.write(this.#conv.ctl, "shutdown wr");
    } catch (error) {
      // The other side was faster: there is no half left to close.
      if (!(error instanceof KernelError && error.code === "ENOTCONN")) throw error;
    }
    if (!this.#isReadOpen) this.close();
  }

  /** Lets go of both halves. What was written is still delivered; unread data make it a reset (RFC 9293 3.10.4). */
  close(): void {
    if (!this.#isOpen) return;
    this.#isClosed = true;
    this.#isReadOpen = this.#isWriteOpen = false;
    hangUp(this.#proc, this.#conv);
  }

  /** Ends the connection at once, without delivering what is still queued: the other side gets ECONNRESET. */
  reset(): void {
    if (!this.#isOpen) return;
    this.#failure = new KernelError("ECONNABORTED", `Connection ${this.dir} was aborted by this side`);
    try {
      this.#command("hangup");
    } catch (error) {
      // Over already.
      if (!(error instanceof KernelError && error.code === "ENOTCONN")) throw error;
    }
    this.close();
  }

  /** Whether small writes are sent at once instead of being gathered (Nagle). */
  setNoDelay(on = true): void {
    this.#command(`nodelay ${on ? "on" : "off"}`);
  }

  /** Whether an idle connection is probed, and ended when it does not answer. */
  setKeepAlive(on = true): void {
    this.#command(on ? "keepalive" : "keepalive off");
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  #command(text: string): void {
    this.#proc.sys.write(this.#conv.ctl, new TextEncoder().encode(text));
  }

  async #pull(controller: ReadableByteStreamController): Promise<void> {
    // There is always one: the stream allocates a buffer for readers that have none.
    const request = controller.byobRequest!;
    const count = await this.#read(request.view as Uint8Array<ArrayBuffer>);
    if (count === 0) {
      controller.close();
      this.#readDone(false);
    }
    request.respond(count);
  }

  /** Some bytes; 0 at the end, and after our own close. */
  async #read(buf: Uint8Array, signal?: AbortSignal): Promise<number> {
    try {
      if (this.#isOpen) return await this.#proc.read(this.#conv.data, buf, signal && { signal });
    } catch (error) {
      // Given up by the reader: the connection is as it was.
      if (signal?.aborted === true && error === signal.reason) throw error;
      if (this.#isOpen) {
        // The whole connection is broken, not only this direction.
        this.#writer.error(error);
        this.close();
        throw error;
      }
      if (!(error instanceof KernelError)) throw error;
    }
    if (this.#failure !== null) throw this.#failure;
    return 0;
  }

  #readDone(cancelled: boolean): void {
    if (!this.#isOpen || !this.#isReadOpen) return;
    this.#isReadOpen = false;
    this.#sawEnd = !cancelled;
    if (!this.#isWriteOpen) return this.close();
    if (cancelled) this.#discard();
  }

  /** Unwanted bytes are taken all the same: left unread it would make the close a reset. */
  #discard(): void {
    this.#command("shutdown rd");
    const buf = new Uint8Array(CHUNK_MAX);
    for (let count: number | Again = 1; count !== 0 && count !== AGAIN;) {
      count = this.#proc.sys.read(this.#conv.data, buf);
    }
  }

  async #write(chunk: Uint8Array): Promise<void> {
    // The last write that a queue takes may overshoot its limit: so none is large.
    for (let at = 0; at < chunk.length;) {
      at += await this.#proc.write(this.#conv.data, chunk.subarray(at, at + CHUNK_MAX));
    }
  }
}

/** An announced address: calls arrive one by one. */
export class StreamListener implements AsyncIterable<StreamConn> {
  /** Where it listens. */
  readonly addr: StreamAddr;
  /** The port it listens at. */
  readonly port: number;
  /** Directory of the conversation. */
  readonly dir: string;
  readonly #proc: Proc;
  readonly #conv: Conversation;
  #isClosed = false;

  /** For {@link announceStream}. */
  constructor(proc: Proc, conv: Conversation, local: string) {
    this.#proc = proc;
    this.#conv = conv;
    this.addr = netAddrOf("tcp", local);
    this.port = conv.port;
    this.dir = conv.dir;
  }

  get #isOpen(): boolean {
    return !this.#isClosed && !this.#proc.hasEnded;
  }

  /** The next call; sleeps until there is one. Rejects with EBADF once the listener or its host is closed. */
  accept(wait?: WaitOptions): Promise<StreamConn> {
    return this.#proc.compound((bounds) => this.#accept(bounds), wait);
  }

  async #accept(wait: WaitOptions): Promise<StreamConn> {
    try {
      if (this.#isOpen) return await toStream(this.#proc, await listen(this.#proc, this.#conv, wait));
    } catch (error) {
      if (this.#isOpen || !(error instanceof KernelError)) throw error;
    }
    throw new KernelError("EBADF", `Cannot accept at port ${this.port}: the listener was closed`);
  }

  /** Every call until {@link close}, or until its host is closed. */
  [Symbol.asyncIterator](): AsyncGenerator<StreamConn, void, void> {
    return each({ next: () => this.accept(), isOpen: () => this.#isOpen });
  }

  /** Takes no more calls; those that wait are reset. Connections that were accepted go on. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isClosed = true;
    // The last close of the conversation wakes the calls that sleep at its `listen`.
    hangUp(this.#proc, this.#conv);
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Connects to `tcp!host!port`. Throws KernelError: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, EINVAL. */
export function dialStream(proc: Proc, address: string, options: DialOptions = {}): Promise<StreamConn> {
  return proc.compound(async () => {
    requireTcp(address);
    return await toStream(proc, await proc.dial(address, options));
  });
}

/** Announces `tcp!*!port`. Throws KernelError: EFAIL if the port is held, EINVAL. */
export function announceStream(proc: Proc, address: string, options: DialOptions = {}): Promise<StreamListener> {
  return proc.compound(async () => {
    requireTcp(address);
    const conv = await proc.announce(address, options);
    const make = async () => new StreamListener(proc, conv, await proc.readText(`${conv.dir}/local`));
    return await orHangUp(proc, conv, make);
  });
}

/** Makes pipes from `readable` calls of `proc`: one that the end of the process breaks rejects to its caller only. */
function quietPipes(proc: Proc, readable: ReadableStream): void {
  const pipeTo = readable.pipeTo.bind(readable);
  readable.pipeTo = (target, options) => proc.compound(() => pipeTo(target, options));
}

/** As {@link quietPipes}, for the writes of the writers of `writable`. */
function quietWrites(proc: Proc, writable: WritableStream): void {
  const getWriter = writable.getWriter.bind(writable);
  writable.getWriter = () => {
    const writer = getWriter();
    const write = writer.write.bind(writer);
    writer.write = (chunk) => proc.compound(() => write(chunk));
    return writer;
  };
}

function requireTcp(address: string): void {
  const { proto } = parseDialString(address);
  if (proto !== "tcp") throw new KernelError("EINVAL", `Cannot make a stream of "${address}": only tcp has streams`);
}

function toStream(proc: Proc, conv: Conversation): Promise<StreamConn> {
  return orHangUp(proc, conv, async () => {
    const [local, remote] = [await proc.readText(`${conv.dir}/local`), await proc.readText(`${conv.dir}/remote`)];
    return new StreamConn(proc, conv, { local, remote });
  });
}
