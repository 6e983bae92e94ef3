/**
 * Multicast listener discovery, version 2 (RFC 3810): which groups a host listens to, so that switches let them
 * through.
 *
 * Path: mld (device) → mld (this file).
 *
 *     query:  | 130 | code 0 | checksum 2 | maximum response code 2 | 0 2 | group 16 | …
 *     report: | 143 | 0 | checksum 2 | 0 2 | records 2 | record: type, 0, sources 2, group 16; … |
 *
 * Emitted reports carry no checksum yet: `setIcmp6Checksum` needs the addresses. Sources are not supported: a listener
 * accepts every source.
 *
 * @module
 */

import { get16, put16, put32 } from "./bytes.ts";
import { IP_ADDR_LEN, type IpAddr } from "./ip_addr.ts";

/** Type: a router asks for the groups of a link. */
export const ICMP6_MLD_QUERY = 130;
/** Type: the groups that a host hears (RFC 3810 5.2). */
export const ICMP6_MLD_REPORT = 143;
/** The hop limit that a receiver demands (RFC 3810 5). */
export const MLD_HOP_LIMIT = 1;
/** A hop-by-hop header with the router alert that every message carries (RFC 2711), before ICMPv6. */
export const MLD_HOP_BY_HOP: Uint8Array = Uint8Array.of(58, 0, 5, 2, 0, 0, 1, 0);

/** Kinds of record (RFC 3810 5.2.12). */
export const MldRecord = { IsExclude: 2, ToInclude: 3, ToExclude: 4 } as const;
/** One of the kinds. */
export type MldRecord = typeof MldRecord[keyof typeof MldRecord];

const QUERY_LEN_MIN = 24;
const REPORT_LEN = 8;
const RECORD_LEN = 4 + IP_ADDR_LEN;
/** A response code is a number of milliseconds up to here, and a mantissa with an exponent above. */
const CODE_PLAIN_MAX = 0x7fff;

/** Bytes of a report about so many groups. */
export function mldReportLen(groups: number): number {
  return REPORT_LEN + groups * RECORD_LEN;
}

/** Writes a report with one record of `kind` for each of `groups`, without its checksum, and returns its length. */
export function emitMldReport(kind: MldRecord, groups: readonly IpAddr[], buf: Uint8Array, at: number): number {
  put32(buf, at, ICMP6_MLD_REPORT << 24);
  put32(buf, at + 4, groups.length);
  groups.forEach((group, i) => {
    const record = at + REPORT_LEN + i * RECORD_LEN;
    put16(buf, record, kind << 8);
    put16(buf, record + 2, 0);
    group.put(buf, record + 4);
  });
  return mldReportLen(groups.length);
}

/** The maximum response delay of the query from `at` to `end`, in milliseconds; -1: it is no query. */
export function mldQueryDelayMs(buf: Uint8Array, at: number, end: number): number {
  if (end - at < QUERY_LEN_MIN || buf[at] !== ICMP6_MLD_QUERY || buf[at + 1] !== 0) return -1;
  const code = get16(buf, at + 4);
  // RFC 3810 5.1.3.
  return code <= CODE_PLAIN_MAX ? code : ((code & 0xfff) | 0x1000) << (((code >> 12) & 7) + 3);
}
