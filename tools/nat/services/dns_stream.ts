/**
 * DnsStream: DNS messages over a TCP conversation, each behind two bytes of length (RFC 1035 4.2.2, RFC 7766 8).
 *
 * Path: dns_sockets, names → dns_stream → sys, error, wire/bytes.
 *
 * Limits: {@link OUT_MAX} bytes that the other side does not take; then the stream is over.
 *
 * @module
 */

import { KernelError } from "../../../kernel/error.ts";
import { AGAIN, type Sys } from "../../../kernel/sys.ts";
import { get16, put16 } from "../../../kernel/wire/bytes.ts";

/** Bytes that wait for a side that does not read: four answers of the largest size. */
export const OUT_MAX = 256 * 1024;
const READ_SIZE = 16 * 1024;
/** Reads in one turn: a connection that sends without end does not stop the others. */
const READS_PER_TURN = 16;

/** One connection. */
export class DnsStream {
  /** Whether it can be written: false after an error, or {@link close}. */
  isOpen = true;
  /** The other side sends no more. */
  isEnded = false;
  #in: Uint8Array = new Uint8Array(0);
  #out: Uint8Array[] = [];
  #outBytes = 0;
  /** Before a call is answered, nothing can be written. */
  #isConnected: boolean;

  /** `data` is the conversation's descriptor, which does not sleep; it closes it. */
  constructor(readonly sys: Sys, readonly data: number, isConnected: boolean) {
    this.#isConnected = isConnected;
  }

  /** The messages that have come whole. `isMore`: there may be others, although nothing tells it. */
  read(): { messages: Uint8Array[]; isMore: boolean } {
    const buf = new Uint8Array(READ_SIZE);
    const messages: Uint8Array[] = [];
    for (let i = 0; i < READS_PER_TURN && this.isOpen && !this.isEnded; i++) {
      const count = this.#guarded(() => this.sys.read(this.data, buf));
      if (count === AGAIN) return { messages, isMore: false };
      if (count === null) this.isOpen = false;
      if (count === null || count === 0) this.isEnded = true;
      else this.#take(buf.subarray(0, count as number), messages);
    }
    return { messages, isMore: !this.isEnded };
  }

  #take(bytes: Uint8Array, messages: Uint8Array[]): void {
    const all = new Uint8Array(this.#in.length + bytes.length);
    all.set(this.#in);
    all.set(bytes, this.#in.length);
    let at = 0;
    while (all.length - at >= 2 && all.length - at - 2 >= get16(all, at)) {
      const next = at + 2 + get16(all, at);
      messages.push(all.slice(at + 2, next));
      at = next;
    }
    this.#in = all.slice(at);
  }

  /** Sends a message, now or when there is room. */
  write(message: Uint8Array): void {
    const framed = new Uint8Array(2 + message.length);
    put16(framed, 0, message.length);
    framed.set(message, 2);
    this.#out.push(framed);
    this.#outBytes += framed.length;
    if (this.#outBytes > OUT_MAX) this.isOpen = false;
    else if (this.#isConnected) this.flush();
  }

  /** There is room: sends what waits. */
  flush(): void {
    this.#isConnected = true;
    while (this.isOpen && this.#out.length > 0) {
      const [first] = this.#out;
      const count = this.#guarded(() => this.sys.write(this.data, first!));
      if (count === AGAIN) return;
      if (count === null) {
        this.isOpen = false;
        return;
      }
      this.#outBytes -= count as number;
      if ((count as number) < first!.length) this.#out[0] = first!.subarray(count as number);
      else this.#out.shift();
    }
  }

  close(): void {
    this.isOpen = false;
    this.isEnded = true;
    this.sys.close(this.data);
  }

  /** What a call answers; null: the connection is over. */
  #guarded<T>(call: () => T): T | null {
    try {
      return call();
    } catch (error) {
      if (error instanceof KernelError) return null;
      throw error;
    }
  }
}
