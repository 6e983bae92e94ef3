/**
 * AddrKey: a number for an IPv6 address, by which the tables of the NAT know it.
 *
 * Path: nat6 → addr_key → random, ip_addr.
 *
 * The tables were made for addresses of 32 bits. This is a universal hash to 31 bits under a secret: a sum of the
 * address's eight pieces, each times a random number, modulo the prime 2^31 - 1. Who does not know the secret cannot
 * find an address that has another's key better than by trying, one in two thousand million at a time. So a remote that
 * the guest has not sent to is as good as never let in; where an address must be right (whose packet is it?), it is
 * compared besides.
 *
 * @module
 */

import type { Random } from "../../../kernel/random.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";

const PRIME = 0x7fffffff;
/** No IPv4 address, a signed 32-bit number, is as large. */
const GUEST_BASE = 0x1_0000_0000;

/** The keys of one NAT. */
export class AddrKey {
  readonly #factors: readonly number[];

  constructor(random: Random) {
    this.#factors = Array.from({ length: 8 }, () => random.below(PRIME));
  }

  /** The key of an address: 0 … 2^31 - 2. Nothing is built: eight products below 2^47, one remainder. */
  of({ w0, w1, w2, w3 }: IpAddr): number {
    const f = this.#factors;
    return ((w0 >>> 16) * f[0]! + (w0 & 0xffff) * f[1]! + (w1 >>> 16) * f[2]! + (w1 & 0xffff) * f[3]! +
      (w2 >>> 16) * f[4]! + (w2 & 0xffff) * f[5]! + (w3 >>> 16) * f[6]! + (w3 & 0xffff) * f[7]!) % PRIME;
  }

  /** The key of a guest's address in the table of guests. */
  ofGuest(addr: IpAddr): number {
    return GUEST_BASE + this.of(addr);
  }
}
