/**
 * SYN cookies (RFC 4987 3.6): when the SYN queue is full, what it would remember of a call travels to the peer and
 * comes back in its acknowledgment.
 *
 * Path: syn_queue → cookie → keyed_hash, tcp/options, seq, tcp_options.
 *
 * ```
 *   our sequence number    | ticks 5 | MSS 3 | hash of ends, the peer's number, ticks and MSS 24 |
 *   our timestamp's end    | ECN 1 | SACK 1 | window shift 4, 15: none |        only if the peer has timestamps
 * ```
 *
 * @module
 */

import * as seq from "../../../kernel/wire/seq.ts";
import type { TcpOptions } from "../../../kernel/wire/tcp_options.ts";
import type { KeyedHash, TcpEnds } from "./keyed_hash.ts";
import { type Agreement, MSS_MIN } from "./options.ts";

/** How long one tick of the cookie clock lasts; a cookie is good for this tick and the next. */
export const COOKIE_TICK_MS = 64_000;
/** Segment sizes that can be remembered: the smallest, and those of common links and of tunnels through them. */
const SIZES = [MSS_MIN, 216, 536, 1200, 1360, 1400, 1440, 1460] as const;
const NO_SHIFT = 15;
const OPTION_BITS = 6;

/** The sequence number for a SYN `irs` from `ends`. */
export function makeCookie(
  hash: KeyedHash,
  ends: TcpEnds,
  call: { irs: number; peerMss: number; nowMs: number },
): number {
  const ticks = tickAt(call.nowMs);
  let size = SIZES.length - 1;
  while (size > 0 && SIZES[size]! > call.peerMss) size--;
  return cookieFor(hash, ends, call.irs, (ticks << 3) | size);
}

/** The cookie whose upper eight bits are `plain`. */
function cookieFor(hash: KeyedHash, ends: TcpEnds, irs: number, plain: number): number {
  // Bit 31 keeps this use of the hash apart from the others.
  return ((plain << 24) | (hash.ends(ends, irs, 0x8000_0000 | plain) >>> 8)) >>> 0;
}

function tickAt(nowMs: number): number {
  return Math.floor(nowMs / COOKIE_TICK_MS) & 0x1f;
}

/** The MSS that the cookie `iss` remembers; 0: it is not ours, or too old. */
export function readCookie(
  hash: KeyedHash,
  ends: TcpEnds,
  call: { iss: number; irs: number; nowMs: number },
): number {
  const plain = call.iss >>> 24;
  const age = (tickAt(call.nowMs) - (plain >>> 3)) & 0x1f;
  if (age > 1 || cookieFor(hash, ends, call.irs, plain) !== call.iss) return 0;
  return SIZES[plain & 7]!;
}

/** Our timestamp, with what was agreed in its last bits; never one of the future. */
export function cookieTimestamp(tsNow: number, agreement: Agreement): number {
  const shift = agreement.receiveShift > 0 ? agreement.sendShift : NO_SHIFT;
  const bits = (agreement.ecn ? 32 : 0) | (agreement.sack ? 16 : 0) | shift;
  const stamp = ((tsNow >>> OPTION_BITS << OPTION_BITS) | bits) >>> 0;
  return seq.gt(stamp, tsNow) ? seq.add(stamp, -(1 << OPTION_BITS)) : stamp;
}

/** What was agreed, from the acknowledgment's options. */
export function cookieAgreement(options: TcpOptions, peerMss: number, receiveShift: number): Agreement {
  const timestamps = options.hasTimestamps;
  const bits = timestamps ? options.tsEcr & 0x3f : NO_SHIFT;
  const shift = bits & 15;
  return {
    peerMss,
    sendShift: shift === NO_SHIFT ? 0 : Math.min(14, shift),
    receiveShift: shift === NO_SHIFT ? 0 : receiveShift,
    sack: (bits & 16) !== 0,
    timestamps,
    ecn: (bits & 32) !== 0,
  };
}
