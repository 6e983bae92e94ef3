/**
 * Randomness as a parameter: a seeded generator for simulations, and the interface for a real one.
 *
 * Path: kernel, cable, ports → random.
 *
 * @module
 */

/** A source of random numbers. */
export abstract class Random {
  /** An unsigned 32-bit number. */
  abstract u32(): number;

  /** A whole number of 0 … n-1. */
  below(n: number): number {
    return Math.floor(this.fraction() * n);
  }

  /** A number of [0, 1). */
  fraction(): number {
    return this.u32() / 0x1_0000_0000;
  }

  /**
   * True with probability `p`; draws nothing when the result is certain, so that an unused fault does not change the
   * sequence.
   */
  chance(p: number): boolean {
    return p > 0 && (p >= 1 || this.fraction() < p);
  }

  /** Fills `buf`. */
  fill(buf: Uint8Array): Uint8Array {
    for (let i = 0; i < buf.length; i++) buf[i] = this.u32() >>> 24;
    return buf;
  }
}

/** The generator sfc32 of Chris Doty-Humphrey: 128 bits of state, seeded from one number. */
export class SeededRandom extends Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** A generator determined by `seed`, a whole number of up to 53 bits. */
  constructor(seed: number) {
    super();
    this.#a = seed | 0;
    this.#b = Math.floor(seed / 0x1_0000_0000) | 0;
    this.#c = 0x2545f491;
    // Mix the seed through: neighbouring seeds must not give neighbouring streams.
    for (let i = 0; i < 15; i++) this.u32();
  }

  /** An unsigned 32-bit number. */
  override u32(): number {
    const out = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + out) | 0;
    return out >>> 0;
  }

  /** An independent generator drawn from this one: give each component its own. */
  fork(): SeededRandom {
    return new SeededRandom(this.u32() + this.u32() * 0x1_0000_0000);
  }
}
