/**
 * SipHash-2-4 over a connection's ends, and what is made from it: initial sequence numbers (RFC 6528), offsets of the
 * timestamp clock (RFC 7323 5.4), and the secret part of SYN cookies.
 *
 * Path: tcp, limbo → keyed_hash. Pure: the key is drawn by who makes it, time is an argument.
 *
 * 64-bit words are pairs of 32-bit ones, high and low, in an Int32Array that is made once.
 *
 * @module
 */

import type { Random } from "../../../kernel/random.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";

/** The two ends of a connection, as its host sees them. */
export interface TcpEnds {
  readonly laddr: IpAddr;
  readonly lport: number;
  readonly raddr: IpAddr;
  readonly rport: number;
}

/** The clock of RFC 6528: it ticks every 4 µs. */
const ISN_TICKS_PER_MS = 250;
/** v0 … v3 before the key is mixed in, each high and low. */
const INITIAL = [0x736f6d65, 0x70736575, 0x646f7261, 0x6e646f6d, 0x6c796765, 0x6e657261, 0x74656462, 0x79746573];

/** A hash under a key of 128 bits that nobody else knows. */
export class KeyedHash {
  readonly #key: Int32Array;
  readonly #v = new Int32Array(8);
  /** The high half of the last result. */
  high = 0;

  /** `key` are four words: k0 low, k0 high, k1 low, k1 high. */
  constructor(key: readonly [number, number, number, number]) {
    this.#key = Int32Array.from(key);
  }

  /** A hash with a key drawn from `random`. */
  static random(random: Random): KeyedHash {
    return new KeyedHash([random.u32(), random.u32(), random.u32(), random.u32()]);
  }

  /** The hash of a connection's ends and of two numbers: the low 32 bits, unsigned; the others are in `high`. */
  ends(ends: TcpEnds, a: number, b: number): number {
    const { laddr, raddr } = ends;
    this.begin();
    this.word(laddr.w0, laddr.w1);
    this.word(laddr.w2, laddr.w3);
    this.word(raddr.w0, raddr.w1);
    this.word(raddr.w2, raddr.w3);
    this.word(a, (ends.lport << 16) | ends.rport);
    // The last word of SipHash carries the length in its highest byte: 44 bytes.
    return this.finish(44 << 24, b);
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

  /** Takes the last word, which carries the length; answers the low 32 bits, unsigned. */
  finish(high: number, low: number): number {
    const v = this.#v;
    this.word(high, low);
    v[5]! ^= 0xff;
    for (let i = 0; i < 4; i++) this.#round();
    this.high = (v[0]! ^ v[2]! ^ v[4]! ^ v[6]!) >>> 0;
    return (v[1]! ^ v[3]! ^ v[5]! ^ v[7]!) >>> 0;
  }

  /** SipRound. */
  #round(): void {
    this.#add(0, 2);
    this.#rotate(2, 13);
    this.#xor(2, 0);
    this.#rotate(0, 32);
    this.#add(4, 6);
    this.#rotate(6, 16);
    this.#xor(6, 4);
    this.#add(0, 6);
    this.#rotate(6, 21);
    this.#xor(6, 0);
    this.#add(4, 2);
    this.#rotate(2, 17);
    this.#xor(2, 4);
    this.#rotate(4, 32);
  }

  #add(to: number, from: number): void {
    const v = this.#v;
    const low = (v[to + 1]! >>> 0) + (v[from + 1]! >>> 0);
    v[to] = v[to]! + v[from]! + (low > 0xffff_ffff ? 1 : 0);
    v[to + 1] = low;
  }

  #xor(to: number, from: number): void {
    const v = this.#v;
    v[to]! ^= v[from]!;
    v[to + 1]! ^= v[from + 1]!;
  }

  #rotate(at: number, bits: number): void {
    const v = this.#v;
    const high = v[at]!;
    const low = v[at + 1]!;
    if (bits === 32) {
      v[at] = low;
      v[at + 1] = high;
      return;
    }
    v[at] = (high << bits) | (low >>> (32 - bits));
    v[at + 1] = (low << bits) | (high >>> (32 - bits));
  }
}

/** RFC 6528: a clock, offset for each pair of ends by a hash that nobody can compute. */
export function initialSequence(hash: KeyedHash, ends: TcpEnds, nowMs: number): number {
  return (hash.ends(ends, 1, 0) + Math.floor(nowMs * ISN_TICKS_PER_MS)) >>> 0;
}

/** Where the timestamp clock of these ends begins (RFC 7323 5.4): monotonic for a pair of ends, useless to others. */
export function timestampOffset(hash: KeyedHash, ends: TcpEnds): number {
  return hash.ends(ends, 2, 0);
}
