/**
 * Files of random bytes, and hashes of what was moved.
 *
 * @module
 */

import { assert } from "@std/assert";

/** A directory of its own for `work`, gone afterwards. */
export async function withDir<T>(work: (dir: string) => Promise<T>): Promise<T> {
  const dir = await Deno.makeTempDir({ prefix: "akarino-" });
  try {
    return await work(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** A file of `mib` MiB of random bytes, and the hash of them. */
export async function randomFile(dir: string, mib: number): Promise<{ path: string; hash: string }> {
  const path = `${dir}/random`;
  const line = `head -c ${mib}M /dev/urandom > "$1" && sha256sum "$1"`;
  const { success, stdout } = await new Deno.Command("sh", { args: ["-c", line, "sh", path] }).output();
  assert(success);
  return { path, hash: firstWord(new TextDecoder().decode(stdout)) };
}

/** Bytes on their way into `sha256sum`. */
export class Hash implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  bytes = 0;

  constructor() {
    this.#child = new Deno.Command("sha256sum", { stdin: "piped", stdout: "piped" }).spawn();
    this.#writer = this.#child.stdin.getWriter();
  }

  /** Settles when `bytes` may be used again. */
  async add(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    this.bytes += bytes.length;
    await this.#writer.write(bytes);
  }

  /** The hash of all. */
  async end(): Promise<string> {
    await this.#writer.close();
    return firstWord(new TextDecoder().decode((await this.#child.output()).stdout));
  }

  /** Ends it where it is. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.#child.status;
  }
}

/** The first word of `sha256sum`: the hash. */
export function firstWord(text: string): string {
  return text.trim().split(/\s+/)[0]!;
}
