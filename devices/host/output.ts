/**
 * Output: lines to a descriptor of the parent, such as standard output, without waiting for its reader.
 *
 * Path: netd → host/output → libc.
 *
 * A pipe that is not read fills up, and a write to it blocks for ever: packets and signals would wait. So poll(2) is
 * called first: a writable pipe takes {@link PIPE_BUF} bytes without blocking. The descriptor is not made non-blocking:
 * a terminal is shared with other programs.
 *
 * Limits: {@link LINES_MAX} lines wait, in order; a line is cut after {@link PIPE_BUF} bytes.
 *
 * @module
 */

import { holdLibc, HostError, lastErrno, libc, releaseLibc } from "./libc.ts";

/** Bytes that a writable pipe takes at once (pipe(7)). */
const PIPE_BUF = 4096;
/** Lines that wait for a reader. */
export const LINES_MAX = 64;
/** How often a full descriptor is polled. */
const RETRY_MS = 100;
const POLLOUT = 4;
const NEWLINE = 10;

/** One descriptor for lines. */
export class Output {
  /** Called once with the reason why no more can be written: the disk is full, the reader is gone. */
  onError: ((error: HostError) => void) | null = null;
  readonly #fd: number;
  readonly #name: string;
  readonly #lines: Uint8Array<ArrayBuffer>[] = [];
  readonly #pollfd = new Uint8Array(8);
  #timer: ReturnType<typeof setTimeout> | null = null;
  #isOver = false;

  /** `fd` stays the caller's; `name` stands in errors. */
  constructor(fd: number, name: string) {
    holdLibc();
    this.#fd = fd;
    this.#name = name;
    const view = new DataView(this.#pollfd.buffer);
    view.setInt32(0, fd, true);
    view.setInt16(4, POLLOUT, true);
  }

  /** Writes a line now, or when there is room; never waits. */
  say(line: string): void {
    if (this.#isOver) return;
    const bytes = new TextEncoder().encode(`${line}\n`);
    const cut = bytes.subarray(0, PIPE_BUF);
    cut[cut.length - 1] = NEWLINE;
    if (this.#lines.length >= LINES_MAX) this.#lines.shift();
    this.#lines.push(cut);
    this.#flush();
  }

  /** Writes as much as there is room for, and drops the rest. */
  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#isOver) return;
    this.#isOver = true;
    this.#write();
    releaseLibc();
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  #flush(): void {
    const error = this.#write();
    if (error !== null) {
      this.close();
      this.onError?.(error);
    } else if (this.#lines.length > 0 && this.#timer === null) {
      this.#timer = setTimeout(() => {
        this.#timer = null;
        this.#flush();
      }, RETRY_MS);
      // The timer does not keep the program alive.
      Deno.unrefTimer(this.#timer as unknown as number);
    }
  }

  /** Writes while there is room; returns a permanent error. */
  #write(): HostError | null {
    while (this.#lines.length > 0 && this.#hasRoom()) {
      const line = this.#lines[0]!;
      // Safe because the length is that of the line.
      const count = libc().write(this.#fd, line, BigInt(line.length));
      if (count < 0) return new HostError(`Cannot write to ${this.#name}`, lastErrno());
      if (count < line.length) this.#lines[0] = line.subarray(count);
      else this.#lines.shift();
    }
    return null;
  }

  /** Whether a write returns at once, even with an error. */
  #hasRoom(): boolean {
    // Safe because the one struct pollfd is a member.
    return libc().poll(this.#pollfd, 1n, 0) > 0;
  }
}
