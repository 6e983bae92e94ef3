/**
 * Ndb: the `ndb` file, a small text in which ipconfig leaves what it learned (names, DNS servers).
 *
 * Path: ip_stack, ra6 → ndb → error.
 *
 * Limits: {@link NDB_BYTES_MAX} bytes, as in Akaros; what would end beyond is refused whole.
 *
 * @module
 */

import { KernelError } from "../../../kernel/error.ts";

/** Bytes of text: a page of names for one machine. */
export const NDB_BYTES_MAX = 1023;

/** The text of one stack. */
export class Ndb {
  /** Goes up with each write. */
  version = 0;
  /** Milliseconds since 1970 of the last write. */
  mtimeMs = 0;
  #bytes: Uint8Array = new Uint8Array(0);

  /** The text as it is. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** Forgets the text. */
  truncate(): void {
    this.#bytes = new Uint8Array(0);
    this.version++;
  }

  /**
   * Puts `text` at the end in place of `old`, wherever that stands by now. False: it does not fit, and nothing is
   * changed.
   */
  replace(old: string, text: string, wallMs: number): boolean {
    if (old === text) return true;
    const whole = new TextDecoder().decode(this.#bytes);
    const rest = old === "" ? whole : whole.replace(old, "");
    const bytes = new TextEncoder().encode(rest + text);
    if (bytes.length > NDB_BYTES_MAX) return false;
    this.#bytes = bytes;
    this.version++;
    this.mtimeMs = wallMs;
    return true;
  }

  /** Puts `bytes` at `offset`; a write at 0 replaces the whole text. EIO: beyond the limit, or behind the end. */
  write(bytes: Uint8Array, offset: number, wallMs: number): number {
    if (offset > this.#bytes.length || offset + bytes.length > NDB_BYTES_MAX) {
      throw new KernelError("EIO", `Cannot write ndb from ${offset} to ${offset + bytes.length}: it holds 1023 bytes`);
    }
    const text = new Uint8Array(offset + bytes.length);
    text.set(this.#bytes.subarray(0, offset));
    text.set(bytes, offset);
    this.#bytes = text;
    this.version++;
    this.mtimeMs = wallMs;
    return bytes.length;
  }
}
