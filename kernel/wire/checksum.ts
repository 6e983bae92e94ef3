/**
 * The Internet checksum: RFC 1071, incremental updates after RFC 1624, and the pseudo-headers of RFC 9293 3.1 and
 * RFC 8200 8.1.
 *
 * Path: kernel/wire, inet/segment → checksum → checksum_wide.
 *
 * A *sum* here is a ones' complement sum of 16-bit words in network order, always folded to 16 bits, so that a sum can
 * be the `initial` of the next call. It is zero only if every byte that went in was zero. A *checksum* is what a header
 * carries: the complement of a sum. The meaning of a zero field (UDP: no checksum) is left to the format.
 *
 * Pieces: `sum` takes its first byte for the high half of a word. All pieces but the last must therefore have an even
 * length; after a piece of odd length use `joinSums`.
 *
 * Headers are summed by a loop; from `WIDE_FROM` bytes on, copying to a scratch memory and adding 64 bytes at a time is
 * faster.
 *
 * @module
 */

import { swap16 } from "./bytes.ts";
import type { IpAddr } from "./ip_addr.ts";
import { loopWideSum, simdWideSum, WIDE_ROOM } from "./checksum_wide.ts";

/** Measured (V8 15, x86-64): at 96 bytes both ways take 50 ns; at 20 the loop takes 16, at 1460 the other takes 90. */
const WIDE_FROM = 96;

const wide = simdWideSum() ?? loopWideSum();

/** Folds the carries of a sum of less than 2^32 into 16 bits. */
export function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** The folded sum of the bytes from `at` to `end` and of `initial`, a sum. An odd last byte counts as a high half. */
export function sum(buf: Uint8Array, at: number, end: number, initial = 0): number {
  if (end - at >= WIDE_FROM) return sumWide(buf, at, end, initial);
  let total = initial;
  let i = at;
  for (; i < end - 1; i += 2) total += (buf[i]! << 8) | buf[i + 1]!;
  if (i < end) total += buf[i]! << 8;
  return fold(total);
}

/** The checksum of the bytes from `at` to `end`, continued from the sum `initial`: 16 bits for the header to carry. */
export function checksum(buf: Uint8Array, at: number, end: number, initial = 0): number {
  return ~sum(buf, at, end, initial) & 0xffff;
}

/** The sum of two pieces one after the other, of which the first has `length` bytes (odd: the second is swapped). */
export function joinSums(first: number, length: number, second: number): number {
  return fold(first + (length % 2 === 0 ? second : swap16(second)));
}

/** The sum of the four or sixteen bytes of an address. */
export function addrSum(addr: IpAddr): number {
  const { w0, w1, w2, w3 } = addr;
  // The 0xffff of an IPv4-mapped address is a zero of ones' complement arithmetic, but must not turn 0 into 0xffff.
  if (addr.isV4) return fold((w3 >>> 16) + (w3 & 0xffff));
  return fold(
    (w0 >>> 16) + (w0 & 0xffff) + (w1 >>> 16) + (w1 & 0xffff) + (w2 >>> 16) + (w2 & 0xffff) + (w3 >>> 16) +
      (w3 & 0xffff),
  );
}

/** Source and destination of an IP packet: the addresses of its pseudo-header. */
export interface IpEnds {
  /** Its source. */
  readonly src: IpAddr;
  /** Its destination. */
  readonly dst: IpAddr;
}

/** The sum of the pseudo-header before `length` bytes of `protocol`: IPv4 or IPv6 by the kind of the addresses. */
export function pseudoSum(src: IpAddr, dst: IpAddr, protocol: number, length: number): number {
  return fold(addrSum(src) + addrSum(dst) + protocol + (length >>> 16) + (length & 0xffff));
}

/**
 * The checksum `check` after the 16-bit word `oldWord` under it became `newWord` (RFC 1624 3, equation 3). The words
 * may also be sums of any even number of bytes: such as `addrSum` of an old and of a new address.
 */
export function updateChecksum16(check: number, oldWord: number, newWord: number): number {
  return ~fold((~check & 0xffff) + (~oldWord & 0xffff) + newWord) & 0xffff;
}

/** The checksum `check` after 32 bits under it, aligned to 16, became `newValue`; both may be signed or unsigned. */
export function updateChecksum32(check: number, oldValue: number, newValue: number): number {
  const gone = (~oldValue >>> 16) + (~oldValue & 0xffff);
  return ~fold((~check & 0xffff) + gone + (newValue >>> 16) + (newValue & 0xffff)) & 0xffff;
}

function sumWide(buf: Uint8Array, at: number, end: number, initial: number): number {
  let total = initial;
  for (let from = at; from < end; from += WIDE_ROOM) {
    const to = Math.min(end, from + WIDE_ROOM);
    wide.memory.set(buf.subarray(from, to));
    total = fold(total + swap16(fold(wide.sum(to - from))));
  }
  return total;
}
