/**
 * SipHash over a connection's ends, and what is made from it: initial sequence numbers (RFC 6528), offsets of the
 * timestamp clock (RFC 7323 5.4), and the secret part of SYN cookies.
 *
 * Path: syn_queue, tcp/tcp, cookie → keyed_hash → siphash, random, ip_addr.
 *
 * @module
 */

import type { Random } from "../../../kernel/random.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { SipHash } from "../../../kernel/inet/siphash.ts";

/** The two ends of a connection, as its host sees them. */
export interface TcpEnds {
  readonly laddr: IpAddr;
  readonly lport: number;
  readonly raddr: IpAddr;
  readonly rport: number;
}

/** The clock of RFC 6528: it ticks every 4 µs. */
const ISN_TICKS_PER_MS = 250;
/** A hash of connections under a key of 128 bits. */
export class KeyedHash extends SipHash {
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
}

/** RFC 6528: a clock, offset for each pair of ends by a hash with a secret key. */
export function initialSequence(hash: KeyedHash, ends: TcpEnds, nowMs: number): number {
  return (hash.ends(ends, 1, 0) + Math.floor(nowMs * ISN_TICKS_PER_MS)) >>> 0;
}

/** Where the timestamp clock of these ends begins (RFC 7323 5.4): monotonic for a pair of ends, useless to others. */
export function timestampOffset(hash: KeyedHash, ends: TcpEnds): number {
  return hash.ends(ends, 2, 0);
}
