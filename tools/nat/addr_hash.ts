/**
 * Addresses as keys: a number for each to look it up by, and tables that compare the address behind the number.
 *
 * Path: guest_table, flow, forward_group, table → addr_hash → random, ip_addr.
 *
 * An IPv4 address is its own number. Of an IPv6 address it is a universal hash to 31 bits under a secret: a sum of its
 * eight pieces, each times a random number, modulo the prime 2^31 - 1. So a guest or a remote cannot choose addresses
 * that fall on one chain better than by trying, one in two thousand million at a time. A hash only says where to look:
 * {@link AddrMap} compares all four words.
 *
 * @module
 */

import type { Random } from "../../kernel/random.ts";
import { getWord } from "../../kernel/wire/bytes.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";

const PRIME = 0x7fffffff;
const TWO_31 = 0x80000000;

/** The hash of one NAT. */
export class AddrHash {
  readonly #factors: readonly number[];

  /** Without `random` the hash is the same for everyone: enough for IPv4, which it does not hash. */
  constructor(random: Random | null) {
    this.#factors = Array.from({ length: 8 }, (_, i) => random === null ? i + 1 : random.below(PRIME));
  }

  /** The number of an address, signed, of 32 bits. Nothing is built: eight products below 2^47, folded. */
  of({ w0, w1, w2, w3 }: IpAddr): number {
    if (w2 === 0xffff && w1 === 0 && w0 === 0) return w3;
    const f = this.#factors;
    const sum = (w0 >>> 16) * f[0]! + (w0 & 0xffff) * f[1]! + (w1 >>> 16) * f[2]! + (w1 & 0xffff) * f[3]! +
      (w2 >>> 16) * f[4]! + (w2 & 0xffff) * f[5]! + (w3 >>> 16) * f[6]! + (w3 & 0xffff) * f[7]!;
    const high = Math.floor(sum / TWO_31);
    return (sum - high * TWO_31 + high) | 0;
  }
}

/** A remote as it is looked up. Its number may cost more than what it is for: it is asked for where a table is. */
export interface RemoteAddr {
  readonly remote: IpAddr;
  readonly remoteHash: number;
}

/** What an {@link AddrMap} keeps: it is found by an address, which has the number `hash`, and a port. */
export interface AddrEntry<E> {
  readonly addr: IpAddr;
  readonly hash: number;
  /** 0 where only the address counts. */
  readonly port: number;
  /** For the table: the next entry with the same number and port. */
  nextSame: E | null;
}

/** Without a port a small integer, which takes no memory of its own. An address has one hash: its keys differ. */
function keyOf(hash: number, port: number): number {
  return port === 0 ? hash : (hash >>> 0) * 0x10000 + port;
}

/** Entries by address and port, in the order in which they came; but those of one number and port come together. */
export class AddrMap<E extends AddrEntry<E>> {
  readonly #first = new Map<number, E>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The entry of `addr`, whose number is `hash`, and `port`; or null. */
  get(hash: number, addr: IpAddr, port: number): E | null {
    let entry = this.#first.get(keyOf(hash, port)) ?? null;
    while (entry !== null && !entry.addr.equals(addr)) entry = entry.nextSame;
    return entry;
  }

  /** Adds an entry of which there is none yet. */
  add(entry: E): void {
    entry.nextSame = null;
    this.#size++;
    const key = keyOf(entry.hash, entry.port);
    let last = this.#first.get(key);
    if (last === undefined) {
      this.#first.set(key, entry);
      return;
    }
    while (last.nextSame !== null) last = last.nextSame;
    last.nextSame = entry;
  }

  /** Takes out an entry that is in it. */
  delete(entry: E): void {
    const key = keyOf(entry.hash, entry.port);
    const first = this.#first.get(key);
    if (first === undefined) return;
    if (first === entry) {
      if (entry.nextSame === null) this.#first.delete(key);
      else this.#first.set(key, entry.nextSame);
    } else {
      let before = first;
      while (before.nextSame !== null && before.nextSame !== entry) before = before.nextSame;
      if (before.nextSame === null) return;
      before.nextSame = entry.nextSame;
    }
    entry.nextSame = null;
    this.#size--;
  }

  /** Every entry; the one that was just shown may be taken out. */
  *values(): Generator<E, void, void> {
    for (const first of this.#first.values()) {
      for (let entry: E | null = first; entry !== null;) {
        const { nextSame }: E = entry;
        yield entry;
        entry = nextSame;
      }
    }
  }
}

type Writable = { -readonly [Field in "w0" | "w1" | "w2" | "w3"]: number };

/**
 * An address that is overwritten again and again, so that reading one builds nothing. It is lent, never given: to keep
 * it, take {@link copyAddr}.
 */
export function scratchAddr(version: 4 | 6 = 6): IpAddr {
  return new IpAddr(0, 0, version === 4 ? 0xffff : 0, 0);
}

/** Overwrites a scratch address with `addr`. */
export function setAddr(scratch: IpAddr, { w0, w1, w2, w3 }: IpAddr): void {
  const words = scratch as Writable;
  words.w0 = w0;
  words.w1 = w1;
  words.w2 = w2;
  words.w3 = w3;
}

/** Overwrites a scratch address that is always one of IPv4: its other words stay. */
export function setAddr4(scratch: IpAddr, word: number): void {
  (scratch as Writable).w3 = word;
}

/** Overwrites a scratch address with the 16 bytes of `buf` at `at`. */
export function setAddrAt(scratch: IpAddr, buf: Uint8Array, at: number): void {
  const words = scratch as Writable;
  words.w0 = getWord(buf, at);
  words.w1 = getWord(buf, at + 4);
  words.w2 = getWord(buf, at + 8);
  words.w3 = getWord(buf, at + 12);
}

/** An address to keep. */
export function copyAddr({ w0, w1, w2, w3 }: IpAddr): IpAddr {
  return new IpAddr(w0, w1, w2, w3);
}
