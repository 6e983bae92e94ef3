/**
 * Output: lines to a descriptor of the parent, such as standard output, that is nobody's to wait for.
 *
 * Path: netd → host/output → libc.
 *
 * A pipe that is not read fills up, and a write to it waits for ever: no packet goes on meanwhile, and no signal is
 * heard. So it is asked first whether it takes something: a pipe that says so takes {@link PIPE_BUF} bytes without
 * waiting. The descriptor itself is left as it is: a terminal is shared with others, who would find it non-blocking.
 *
 * Limits: {@link LINES_MAX} lines wait, of which the first go first; a line is cut after {@link PIPE_BUF} bytes.
 *
 * @module
 */

import { holdLibc, HostError, lastErrno, libc, releaseLibc } from "./libc.ts";

/** What a pipe that is ready takes at once (pipe(7)). */
const PIPE_BUF = 4096;
/** Lines that wait for a reader. */
export const LINES_MAX = 64;
/** How often a full descriptor is asked again. */
const RETRY_MS = 100;
const POLLOUT = 4;
const NEWLINE = 10;

/** One descriptor for lines. */
export class Output {
  /** Called once, with why nothing more can be written: the disk is full, the reader has gone. */
  onError: ((error: HostError) => void) | null = null;
  readonly #fd: number;
  readonly #name: string;
  readonly #lines: Uint8Array<ArrayBuffer>[] = [];
  readonly #pollfd = new Uint8Array(8);
  #timer: ReturnType<typeof setTimeout> | null = null;
  #isOver = false;

  /** `fd` stays the caller's; `name` is what an error calls it. */
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

  /** Writes what there is room for, and forgets the rest. */
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
      // A program that has nothing else to do ends.
      Deno.unrefTimer(this.#timer as unknown as number);
    }
  }

  /** Writes while there is room; what failed for good. */
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

  /** Whether a write returns at once, be it with an error. */
  #hasRoom(): boolean {
    // Safe because the one struct pollfd is a member.
    return libc().poll(this.#pollfd, 1n, 0) > 0;
  }
}
