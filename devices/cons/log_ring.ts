/**
 * The kernel's log: its last bytes, and the place where readers of new ones sleep.
 *
 * Path: dev_cons → log_ring (kmesg: lines kept; klog: new lines).
 *
 * @module
 */

import { Rendez } from "../../kernel/rendez.ts";

/** Bytes kept: some hundred lines, and small beside a packet buffer. */
const LOG_BYTES = 16384;

/** Longest line in characters; the rest of it is cut off, so that one line cannot push out all others. */
export const LOG_LINE_MAX = 1024;

const NEWLINE = 10;
const encoder = new TextEncoder();

/** A ring of bytes; positions count from the first byte ever logged. */
export class LogRing {
  /** Where a reader sleeps that has read everything. */
  readonly grown: Rendez = new Rendez();
  readonly #bytes: Uint8Array;
  #end = 0;

  constructor(capacity: number = LOG_BYTES) {
    this.#bytes = new Uint8Array(capacity);
  }

  /** Position after the newest byte. */
  get end(): number {
    return this.#end;
  }

  /** Position of the oldest byte that is kept and begins a line. */
  get start(): number {
    if (this.#end <= this.#bytes.length) return 0;
    // Bytes before the oldest one are gone, so a line is known to begin only after a newline that is kept.
    let at = this.#end - this.#bytes.length + 1;
    while (at < this.#end && this.#at(at - 1) !== NEWLINE) at++;
    return at;
  }

  /** Adds a line; a newline at its end is not needed. */
  append(text: string): void {
    const line = text.endsWith("\n") ? text.slice(0, -1) : text;
    for (const byte of encoder.encode(`${line.slice(0, LOG_LINE_MAX)}\n`)) {
      this.#bytes[this.#end++ % this.#bytes.length] = byte;
    }
    this.grown.wakeup();
  }

  /**
   * Copies the bytes from `position` on into `buf`, or from the oldest line if those are gone; returns the position
   * after them.
   */
  read(buf: Uint8Array, position: number): { count: number; next: number } {
    const from = Math.max(position, this.start);
    const count = Math.min(buf.length, this.#end - from);
    for (let i = 0; i < count; i++) buf[i] = this.#at(from + i);
    return { count, next: from + count };
  }

  /** The bytes kept, from the start of a line. */
  snapshot(): Uint8Array {
    const from = this.start;
    const buf = new Uint8Array(this.#end - from);
    this.read(buf, from);
    return buf;
  }

  #at(position: number): number {
    return this.#bytes[position % this.#bytes.length]!;
  }
}
