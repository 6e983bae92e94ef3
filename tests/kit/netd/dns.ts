/**
 * The name server of netd's tests: one answer for each type, whatever the name. Two names are special: `large.test` has
 * a TXT of {@link LARGE_TXT} bytes, cut (TC) over UDP if the query's EDNS does not offer room for it; a query with EDNS
 * is answered with EDNS.
 *
 * Path: netd_peer → netd_dns. Formats: RFC 1035, 2782, 3596, 6891 (EDNS), 3597 (unknown types).
 *
 * @module
 */

/** Bytes of the TXT record of `large.test`: too many for 512 and for 1232 bytes, and for one packet of 1500. */
export const LARGE_TXT = 3000;
/** An unassigned type. */
export const UNKNOWN_TYPE = 65280;

const TYPE_TXT = 16;
const TYPE_OPT = 41;
const TRUNCATED = 0x02;
/** Bytes of an answer over UDP without EDNS (RFC 1035 2.3.4). */
const UDP_MAX = 512;

function name(text: string): number[] {
  return [...text.split(".").flatMap((label) => [label.length, ...new TextEncoder().encode(label)]), 0];
}

/** The answer for each type. */
const RECORDS: Readonly<Record<number, readonly number[]>> = {
  1: [192, 0, 2, 77],
  6: [...name("ns.test"), ...name("root.test"), 0, 0, 0, 9, 0, 0, 14, 16, 0, 0, 2, 88, 0, 1, 81, 128, 0, 0, 0, 60],
  12: name("host.test"),
  15: [0, 10, ...name("mail.test")],
  [TYPE_TXT]: [11, ...new TextEncoder().encode("hello world")],
  28: [0x20, 1, 0xd, 0xb8, ...new Array(11).fill(0), 0x77],
  33: [0, 1, 0, 2, 0x14, 0x95, ...name("srv.test")],
  [UNKNOWN_TYPE]: [0xde, 0xad, 0xbe, 0xef],
};

/** TXT data of {@link LARGE_TXT} bytes, in strings of 249. */
function largeTxt(): number[] {
  return Array.from({ length: LARGE_TXT }, (_, i) => i % 250 === 0 ? 249 : 0x61);
}

/** Room for an answer that the query's OPT record offers; -1: it has none. `at` is behind the question. */
function ednsRoom(query: Uint8Array, at: number): number {
  const isOpt = query[11]! > 0 && query[at] === 0 && (query[at + 1]! << 8 | query[at + 2]!) === TYPE_OPT;
  return isOpt ? query[at + 3]! << 8 | query[at + 4]! : -1;
}

/** The answer to a query with one question. */
export function answerDns(query: Uint8Array, byTcp: boolean): Uint8Array {
  let end = 12;
  while (query[end]! !== 0) end += query[end]! + 1;
  const asked = new TextDecoder().decode(query.subarray(13, end));
  const type = query[end + 1]! << 8 | query[end + 2]!;
  const data = type === TYPE_TXT && asked.startsWith("large") ? largeTxt() : RECORDS[type];
  const room = ednsRoom(query, end + 5);
  const isCut = !byTcp && data !== undefined && data.length + 64 > Math.max(UDP_MAX, room);
  const record = data === undefined || isCut
    ? []
    : [0xc0, 12, type >> 8, type & 255, 0, 1, 0, 0, 0, 60, data.length >> 8, data.length & 255, ...data];
  const opt = room < 0 ? [] : [0, 0, TYPE_OPT, 0x10, 0, 0, 0, 0, 0, 0, 0];
  const counts = [0, 1, 0, record.length > 0 ? 1 : 0, 0, 0, 0, opt.length > 0 ? 1 : 0];
  const head = [query[0]!, query[1]!, 0x85 | (isCut ? TRUNCATED : 0), 0x80, ...counts];
  return new Uint8Array([...head, ...query.subarray(12, end + 5), ...record, ...opt]);
}
