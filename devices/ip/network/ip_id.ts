/**
 * IpIds: identifications for IPv4 packets that may be cut on their way (RFC 6864), one sequence for each source,
 * destination and protocol (RFC 6274 3.5.2.1, RFC 7739 5.3: double hash).
 *
 * Path: ip_stack, context → ip_id → siphash, random, ip_addr.
 *
 *     id = F(source, destination, protocol) + counter[G(source, destination, protocol)]++
 *
 * One counter for all would show every peer how much we send to others: an idle scan needs no more. Here a peer sees
 * numbers that start anywhere and count what went to it, and to the few whose counter is the same.
 *
 * Limits: {@link COUNTERS} counters. The hashes of the last {@link RECENT} destinations are remembered, since a hash
 * costs more than the rest of the header.
 *
 * @module
 */

import type { Random } from "../../../kernel/random.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { SipHash } from "../../../kernel/inet/siphash.ts";

/** Counters of one stack, a power of two: RFC 7739 5.3 has 8 to 65536 of them. */
const COUNTERS = 4096;
/** Places for hashes, a power of two. */
const RECENT = 256;

/** What was computed for one pair of addresses and protocol. */
class Recent {
  src: IpAddr | null = null;
  dst: IpAddr | null = null;
  protocol = -1;
  offset = 0;
  counter = 0;
}

/** Identifications of one stack. */
export class IpIds {
  readonly #random: Random;
  /** Drawn when the stack is made, as are its other secrets; the rest of the key when it is needed. */
  readonly #firstWord: number;
  #hash: SipHash | null = null;
  #counters: Uint16Array | null = null;
  #recent: Recent[] = [];

  constructor(random: Random) {
    this.#random = random;
    this.#firstWord = random.u32();
  }

  /** The next identification for a packet from `src` to `dst`. */
  next(src: IpAddr, dst: IpAddr, protocol: number): number {
    const recent = this.#find(src, dst, protocol);
    const counters = this.#counters!;
    counters[recent.counter]!++;
    return (recent.offset + counters[recent.counter]!) & 0xffff;
  }

  #find(src: IpAddr, dst: IpAddr, protocol: number): Recent {
    if (this.#hash === null) this.#begin();
    const recent = this.#recent[(dst.hash() ^ src.hash() ^ protocol) & (RECENT - 1)]!;
    const { src: ofSrc, dst: ofDst } = recent;
    const isKnown = ofSrc !== null && ofDst !== null && recent.protocol === protocol && ofDst.equals(dst) &&
      ofSrc.equals(src);
    if (!isKnown) this.#compute(recent, src, dst, protocol);
    return recent;
  }

  #begin(): void {
    const random = this.#random;
    this.#hash = new SipHash([this.#firstWord, random.u32(), random.u32(), random.u32()]);
    this.#counters = new Uint16Array(COUNTERS);
    for (let i = 0; i < RECENT; i++) this.#recent.push(new Recent());
  }

  #compute(recent: Recent, src: IpAddr, dst: IpAddr, protocol: number): void {
    const hash = this.#hash!;
    hash.begin();
    hash.word(src.w0, src.w1);
    hash.word(src.w2, src.w3);
    hash.word(dst.w0, dst.w1);
    hash.word(dst.w2, dst.w3);
    // 33 bytes: the last word has the protocol, and the length in its highest byte.
    recent.offset = hash.finish(33 << 24, protocol) & 0xffff;
    recent.counter = hash.high & (COUNTERS - 1);
    recent.src = src;
    recent.dst = dst;
    recent.protocol = protocol;
  }
}
