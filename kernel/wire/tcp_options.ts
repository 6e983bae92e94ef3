/**
 * TCP options: maximum segment size (RFC 9293 3.7.1), window scale and timestamps (RFC 7323), selective
 * acknowledgment (RFC 2018).
 *
 * Path: tcp → tcp_options.
 *
 * A list is read up to the first malformed option, and marked malformed (RFC 9293 MUST-7). Kinds that are not known are
 * skipped; a known kind with the wrong length counts as malformed. Of an option that is repeated the last counts.
 *
 * Emitted options are padded so that every number is aligned to 4 bytes, as real stacks do.
 *
 * @module
 */

import { get16, get32, put16, put32 } from "./bytes.ts";

const END = 0;
const NOP = 1;
/** The kind of the maximum segment size option, for `findTcpOption`. */
export const TCP_OPTION_MSS = 2;
const WINDOW_SCALE = 3;
const SACK_PERMITTED = 4;
const SACK = 5;
const TIMESTAMPS = 8;

/** Room for options in a header, in bytes. */
export const TCP_OPTIONS_MAX = 40;
/** Largest shift that may be used; larger ones are read as this (RFC 7323 2.3). */
export const TCP_WINDOW_SCALE_MAX = 14;

/** One range of bytes that has arrived out of order. */
export interface SackBlock {
  /** First sequence number. */
  readonly left: number;
  /** The sequence number behind the last. */
  readonly right: number;
}

/** The options of one segment. */
export interface TcpOptions {
  /** Maximum segment size in bytes, or 0 if not offered. */
  readonly mss: number;
  /** Window shift, 0 to TCP_WINDOW_SCALE_MAX, or -1 if not offered. */
  readonly windowScale: number;
  /** Selective acknowledgments may be sent (RFC 2018). */
  readonly sackPermitted: boolean;
  /** Whether there are timestamps (RFC 7323). */
  readonly hasTimestamps: boolean;
  /** TSval; 0 without timestamps. */
  readonly tsVal: number;
  /** TSecr; 0 without timestamps. */
  readonly tsEcr: number;
  /** At most 4, and 3 beside timestamps; the rest is left out when emitting. */
  readonly sack: readonly SackBlock[];
  /** Whether the list that was read broke off. Not emitted. */
  readonly malformed: boolean;
}

const NO_SACK: readonly SackBlock[] = [];

/** No option at all. */
export const NO_TCP_OPTIONS: TcpOptions = {
  mss: 0,
  windowScale: -1,
  sackPermitted: false,
  hasTimestamps: false,
  tsVal: 0,
  tsEcr: 0,
  sack: NO_SACK,
  malformed: false,
};

/** Reads the options from `at` to `end`. */
export function parseTcpOptions(buf: Uint8Array, at: number, end: number): TcpOptions {
  let { mss, windowScale, sackPermitted, hasTimestamps, tsVal, tsEcr, sack, malformed } = NO_TCP_OPTIONS;
  for (let i = at; i < end && buf[i] !== END;) {
    const kind = buf[i]!;
    if (kind === NOP) {
      i++;
      continue;
    }
    const length = i + 1 < end ? buf[i + 1]! : 0;
    if (length < 2 || length > end - i || !hasRightLength(kind, length)) {
      malformed = true;
      break;
    }
    if (kind === TCP_OPTION_MSS) mss = get16(buf, i + 2);
    else if (kind === WINDOW_SCALE) windowScale = Math.min(buf[i + 2]!, TCP_WINDOW_SCALE_MAX);
    else if (kind === SACK_PERMITTED) sackPermitted = true;
    else if (kind === SACK) sack = parseSack(buf, i + 2, i + length);
    else if (kind === TIMESTAMPS) {
      hasTimestamps = true;
      tsVal = get32(buf, i + 2);
      tsEcr = get32(buf, i + 6);
    }
    i += length;
  }
  return { mss, windowScale, sackPermitted, hasTimestamps, tsVal, tsEcr, sack, malformed };
}

/** Where the first option of `kind` with the right length starts from `at` on, or -1; the list may break off before. */
export function findTcpOption(buf: Uint8Array, at: number, end: number, kind: number): number {
  for (let i = at; i < end && buf[i] !== END;) {
    if (buf[i] === NOP) {
      i++;
      continue;
    }
    const length = i + 1 < end ? buf[i + 1]! : 0;
    if (length < 2 || length > end - i || !hasRightLength(buf[i]!, length)) return -1;
    if (buf[i] === kind) return i;
    i += length;
  }
  return -1;
}

/** Writes the options, padded to a multiple of 4, and returns their length. */
export function emitTcpOptions(options: TcpOptions, buf: Uint8Array, at: number): number {
  let i = at;
  if (options.mss !== 0) {
    put16(buf, i, (TCP_OPTION_MSS << 8) | 4);
    put16(buf, i + 2, options.mss);
    i += 4;
  }
  // The two bytes of "permitted" take the place of the padding before timestamps.
  if (options.sackPermitted || options.hasTimestamps) {
    if (!options.sackPermitted || !options.hasTimestamps) put16(buf, i, (NOP << 8) | NOP);
    if (options.sackPermitted) put16(buf, options.hasTimestamps ? i : i + 2, (SACK_PERMITTED << 8) | 2);
    i += options.hasTimestamps ? 2 : 4;
  }
  if (options.hasTimestamps) {
    put16(buf, i, (TIMESTAMPS << 8) | 10);
    put32(buf, i + 2, options.tsVal);
    put32(buf, i + 6, options.tsEcr);
    i += 10;
  }
  if (options.windowScale >= 0) {
    put32(buf, i, (NOP << 24) | (WINDOW_SCALE << 16) | (3 << 8) | options.windowScale);
    i += 4;
  }
  const blocks = sackRoom(options, i - at);
  if (blocks > 0) {
    put32(buf, i, (NOP << 24) | (NOP << 16) | (SACK << 8) | (2 + 8 * blocks));
    i += 4;
    for (let block = 0; block < blocks; block++, i += 8) {
      put32(buf, i, options.sack[block]!.left);
      put32(buf, i + 4, options.sack[block]!.right);
    }
  }
  return i - at;
}

/** How many bytes `emitTcpOptions` writes. */
export function tcpOptionsLen(options: TcpOptions): number {
  let length = options.mss !== 0 ? 4 : 0;
  if (options.hasTimestamps) length += 12;
  else if (options.sackPermitted) length += 4;
  if (options.windowScale >= 0) length += 4;
  const blocks = sackRoom(options, length);
  return length + (blocks > 0 ? 4 + 8 * blocks : 0);
}

/** As text: `mss 1460 sackok ts 5 0 ws 7`; empty without options. */
export function formatTcpOptions(options: TcpOptions): string {
  const parts: string[] = [];
  if (options.mss !== 0) parts.push(`mss ${options.mss}`);
  if (options.sackPermitted) parts.push("sackok");
  if (options.hasTimestamps) parts.push(`ts ${options.tsVal} ${options.tsEcr}`);
  if (options.windowScale >= 0) parts.push(`ws ${options.windowScale}`);
  for (const { left, right } of options.sack) parts.push(`sack ${left}-${right}`);
  if (options.malformed) parts.push("malformed");
  return parts.join(" ");
}

/** Whether an option of a known kind is as long as it must be; others may have any length. */
function hasRightLength(kind: number, length: number): boolean {
  if (kind === TCP_OPTION_MSS) return length === 4;
  if (kind === WINDOW_SCALE) return length === 3;
  if (kind === SACK_PERMITTED) return length === 2;
  if (kind === SACK) return length > 2 && length % 8 === 2;
  return kind !== TIMESTAMPS || length === 10;
}

function parseSack(buf: Uint8Array, at: number, end: number): SackBlock[] {
  const blocks: SackBlock[] = [];
  for (let i = at; i < end; i += 8) blocks.push({ left: get32(buf, i), right: get32(buf, i + 4) });
  return blocks;
}

/** How many of the blocks fit behind `used` bytes of other options. */
function sackRoom(options: TcpOptions, used: number): number {
  return Math.max(0, Math.min(options.sack.length, (TCP_OPTIONS_MAX - used - 4) >> 3));
}
