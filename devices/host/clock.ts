/**
 * Real time and real randomness, behind the kernel's interfaces.
 *
 * Path: mod, boot, daemon → clock → random, time.
 *
 * @module
 */

import { Random } from "../../kernel/random.ts";
import { Clock } from "../../kernel/time.ts";

/** The machine's time. Timers run when a driver, such as the reactor, calls `expire`. */
export class RealClock extends Clock {
  #startMs = performance.now();

  /** Monotonic milliseconds since it was made. */
  override now(): number {
    return performance.now() - this.#startMs;
  }

  /** Milliseconds since 1970-01-01 UTC, with a fraction; later changes of the machine's clock do not affect it. */
  override wall(): number {
    return performance.timeOrigin + performance.now();
  }
}

/** Words drawn in one batch: one call into the generator costs about as much as 4 KiB of its output. */
const BATCH_WORDS = 1024;
/** Most bytes that one call of `getRandomValues` fills (Web Crypto, section 10.1.1). */
const FILL_MAX = 65536;

/** The machine's cryptographic generator. */
export class HostRandom extends Random {
  #words = new Uint32Array(BATCH_WORDS);
  #at = BATCH_WORDS;

  /** An unsigned 32-bit number. */
  override u32(): number {
    if (this.#at === BATCH_WORDS) {
      crypto.getRandomValues(this.#words);
      this.#at = 0;
    }
    const word = this.#words[this.#at]!;
    // Words are cleared once drawn: a key drawn from here must not stay in memory.
    this.#words[this.#at++] = 0;
    return word;
  }

  /** Fills `buf`. */
  override fill(buf: Uint8Array): Uint8Array {
    for (let at = 0; at < buf.length; at += FILL_MAX) {
      // A view of its own type: getRandomValues refuses shared memory, which a guest's may be.
      const part = new Uint8Array(Math.min(FILL_MAX, buf.length - at));
      buf.set(crypto.getRandomValues(part), at);
    }
    return buf;
  }
}
