/**
 * GuestConsole: a shell on the serial line of a guest made by tools/setup_guest: commands in, output and status out.
 *
 * Path: qemu/machine → console.
 *
 * ```
 *   guest   akarino: ready                      the init script has set up the network
 *   we      7 ping -c 1 10.0.2.2                a number, a line of shell
 *   guest   akarino: 7 run                      then whatever the command writes, then
 *   guest   akarino: 7 exit 0                   on a line of its own
 * ```
 *
 * @module
 */

/** Characters of console kept; older ones are dropped. */
const KEPT_MAX = 256 * 1024;
/** Longest command: the guest's terminal takes lines of 4095 bytes. */
const COMMAND_MAX = 4000;

/** How a command in the guest ended. */
export interface GuestOutput {
  /** Its exit status. */
  readonly code: number;
  /** Its output, both streams; lines end with `\n`. */
  readonly text: string;
}

/** A command that was sent. */
interface Running {
  readonly number: number;
  readonly answer: PromiseWithResolvers<GuestOutput>;
  /** Its output so far; null before it has begun. */
  lines: string[] | null;
}

/** See above. */
export class GuestConsole {
  /** Settles when the guest is ready for commands; rejects when it ends before. */
  readonly ready: Promise<void>;
  /** Milliseconds since its start that the guest was ready, by its own clock; null before. */
  bootMs: number | null = null;
  readonly #ready = Promise.withResolvers<void>();
  readonly #send: (text: string) => void;
  readonly #decoder = new TextDecoder();
  #kept = "";
  /** The line that is not complete. */
  #line = "";
  #number = 0;
  #running = new Map<number, Running>();
  #ended: string | null = null;

  /** `send` writes text to the line. */
  constructor(send: (text: string) => void) {
    this.#send = send;
    this.ready = this.#ready.promise;
    // A caller that does not await it learns of the end elsewhere.
    this.ready.catch(() => {});
  }

  /** Everything that came over the line, or the last of it. */
  get text(): string {
    return this.#kept;
  }

  /** Takes bytes from the line. */
  feed(bytes: Uint8Array): void {
    const text = this.#decoder.decode(bytes, { stream: true }).replaceAll("\r", "");
    this.#kept = (this.#kept + text).slice(-KEPT_MAX);
    const lines = (this.#line + text).split("\n");
    this.#line = lines.pop()!;
    for (const line of lines) this.#take(line);
  }

  /** Ends the console for `why`: waiting commands reject. */
  end(why: string): void {
    if (this.#ended !== null) return;
    this.#ended = why;
    const error = this.#failure(`The guest ended: ${why}`);
    this.#ready.reject(error);
    for (const { answer } of this.#running.values()) answer.reject(error);
    this.#running.clear();
  }

  /**
   * Runs a line of shell in the guest, after those before it. Rejects if the guest ends, or if it takes longer than
   * `limitMs`; then the guest is still busy with it.
   */
  async run(command: string, limitMs = 30_000): Promise<GuestOutput> {
    if (command.includes("\n") || command.length > COMMAND_MAX) {
      throw new TypeError(`Cannot run "${command}": one line of at most ${COMMAND_MAX} characters is needed`);
    }
    await this.ready;
    if (this.#ended !== null) throw this.#failure(`The guest ended: ${this.#ended}`);
    const running: Running = { number: ++this.#number, answer: Promise.withResolvers(), lines: null };
    this.#running.set(running.number, running);
    const limit = setTimeout(() => {
      this.#running.delete(running.number);
      running.answer.reject(this.#failure(`"${command}" was not done after ${limitMs} ms`));
    }, limitMs);
    this.#send(`${running.number} ${command}\n`);
    try {
      return await running.answer.promise;
    } finally {
      clearTimeout(limit);
    }
  }

  #take(line: string): void {
    const [, number, word, code] = /^akarino: (?:(\d+) )?(ready|run|exit)(?: ([\d.]+))?$/.exec(line) ?? [];
    const running = this.#running.get(Number(number));
    if (word === "ready") {
      this.bootMs = Math.round(Number(code ?? 0) * 1000);
      this.#ready.resolve();
    } else if (word === "run" && running !== undefined) {
      running.lines = [];
    } else if (word === "exit" && running !== undefined) {
      this.#running.delete(running.number);
      running.answer.resolve({ code: Number(code), text: textOf(running.lines ?? []) });
    } else {
      for (const one of this.#running.values()) one.lines?.push(line);
    }
  }

  #failure(what: string): Error {
    return new Error(`${what}\n--- console ---\n${this.#kept.slice(-4000)}`);
  }
}

/** The guest writes a newline before its status line in any case: that one is not part of the command's output. */
function textOf(lines: readonly string[]): string {
  if (lines.at(-1) === "") return lines.slice(0, -1).map((line) => `${line}\n`).join("");
  return lines.join("\n");
}
