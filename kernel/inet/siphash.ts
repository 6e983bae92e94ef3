/**
 * SipHash-2-4: a hash under a key of 128 bits (Aumasson and Bernstein, 2012). Without the key one can neither
 * compute it nor find two inputs with one value.
 *
 * Path: ip_id, keyed_hash → siphash.
 *
 * 64-bit words are pairs of 32-bit ones, high and low, in an Int32Array that is allocated once.
 *
 * @module
 */

/** v0 … v3 before the key is mixed in, each high and low. */
const INITIAL = [0x736f6d65, 0x70736575, 0x646f7261, 0x6e646f6d, 0x6c796765, 0x6e657261, 0x74656462, 0x79746573];

/** Four words of key: k0 low, k0 high, k1 low, k1 high. */
type SipKey = readonly [number, number, number, number];

/** One hash at a time: `begin`, `word` for every 8 bytes, `finish`. */
export class SipHash {
  readonly #key: Int32Array;
  readonly #v = new Int32Array(8);
  /** The high half of the last result. */
  high = 0;

  constructor(key: SipKey) {
    this.#key = Int32Array.from(key);
  }

  begin(): void {
    const v = this.#v;
    const key = this.#key;
    for (let i = 0; i < 8; i++) {
      // Even places are high halves: v0 and v2 take k0, v1 and v3 take k1.
      const half = (i & 2) | (i % 2 === 0 ? 1 : 0);
      v[i] = INITIAL[i]! ^ key[half]!;
    }
  }

  /** Takes 64 bits. */
  word(high: number, low: number): void {
    const v = this.#v;
    v[6]! ^= high;
    v[7]! ^= low;
    this.#round();
    this.#round();
    v[0]! ^= high;
    v[1]! ^= low;
  }

  /** Takes the last word, which carries the length; returns the low 32 bits, unsigned. */
  finish(high: number, low: number): number {
    const v = this.#v;
    this.word(high, low);
    v[5]! ^= 0xff;
    for (let i = 0; i < 4; i++) this.#round();
    this.high = (v[0]! ^ v[2]! ^ v[4]! ^ v[6]!) >>> 0;
    return (v[1]! ^ v[3]! ^ v[5]! ^ v[7]!) >>> 0;
  }

  /** SipRound: `ah` and `al` are the halves of v0, and so on; locals, since an array costs five times as much. */
  #round(): void {
    const v = this.#v;
    let ah = v[0]!, al = v[1]!, bh = v[2]!, bl = v[3]!;
    let ch = v[4]!, cl = v[5]!, dh = v[6]!, dl = v[7]!;
    let low = 0, high = 0;
    low = (al >>> 0) + (bl >>> 0);
    ah = (ah + bh + (low > 0xffff_ffff ? 1 : 0)) | 0;
    al = low | 0;
    high = (bh << 13) | (bl >>> 19);
    bl = ((bl << 13) | (bh >>> 19)) ^ al;
    bh = high ^ ah;
    high = ah;
    ah = al;
    al = high;
    low = (cl >>> 0) + (dl >>> 0);
    ch = (ch + dh + (low > 0xffff_ffff ? 1 : 0)) | 0;
    cl = low | 0;
    high = (dh << 16) | (dl >>> 16);
    dl = ((dl << 16) | (dh >>> 16)) ^ cl;
    dh = high ^ ch;
    low = (al >>> 0) + (dl >>> 0);
    ah = (ah + dh + (low > 0xffff_ffff ? 1 : 0)) | 0;
    al = low | 0;
    high = (dh << 21) | (dl >>> 11);
    dl = ((dl << 21) | (dh >>> 11)) ^ al;
    dh = high ^ ah;
    low = (cl >>> 0) + (bl >>> 0);
    ch = (ch + bh + (low > 0xffff_ffff ? 1 : 0)) | 0;
    cl = low | 0;
    high = (bh << 17) | (bl >>> 15);
    bl = ((bl << 17) | (bh >>> 15)) ^ cl;
    bh = high ^ ch;
    high = ch;
    ch = cl;
    cl = high;
    v[0] = ah;
    v[1] = al;
    v[2] = bh;
    v[3] = bl;
    v[4] = ch;
    v[5] = cl;
    v[6] = dh;
    v[7] = dl;
  }
}
