/**
 * The parts of a DNS message that a relay needs: header, question, and OPT record; the rest is skipped.
 *
 * Path: services/dns → dns_scan → dns_name.
 *
 * `parseDns` refuses a message with any malformed record; a relay passes on messages that it does not understand (an
 * update of RFC 2136 has A records without an address). So records are only skipped here: name, type, class, ttl,
 * length.
 *
 * Limits: an OPT record is looked for in the additional section only (RFC 6891 6.1.1).
 *
 * @module
 */

import { get16, get32 } from "./bytes.ts";
import { DNS_HEADER_LEN, type DnsFlags, type DnsQuestion, parseDnsFlags } from "./dns.ts";
import { parseDnsName, sameDnsName } from "./dns_name.ts";
import { DNS_TYPE_OPT, type DnsEdns, dnsEdnsOf } from "./dns_record.ts";

const FIXED_LEN = 10;

/** The parts that were found. */
export interface DnsScan {
  /** As in the header. */
  readonly id: number;
  /** As in the header. */
  readonly flags: DnsFlags;
  /** How many questions the header counts. */
  readonly questionCount: number;
  /** The first question; null if there is none. */
  readonly question: DnsQuestion | null;
  /** OPT records among the additionals: more than one is a format error (RFC 6891 6.1.1). */
  readonly optCount: number;
  /** What the OPT record says; null: there is none. */
  readonly edns: DnsEdns | null;
  /** Whether every record lies inside the message. */
  readonly isWhole: boolean;
}

/** Scans the message from `at` to `end`; null without a whole header. Bytes behind the last record are ignored. */
export function scanDns(buf: Uint8Array, at: number, end: number): DnsScan | null {
  if (end - at < DNS_HEADER_LEN) return null;
  const count = (index: number) => get16(buf, at + 4 + 2 * index);
  const found = { question: null as DnsQuestion | null, optCount: 0, edns: null as DnsEdns | null, isWhole: false };
  const scan = { id: get16(buf, at), flags: parseDnsFlags(get16(buf, at + 2)), questionCount: count(0) };
  let next = at + DNS_HEADER_LEN;
  for (let i = 0; i < count(0); i++) {
    const name = parseDnsName(buf, next, end, at);
    if (name === null || end - name.next < 4) return { ...scan, ...found };
    found.question ??= { name: name.name, type: get16(buf, name.next), class: get16(buf, name.next + 2) };
    next = name.next + 4;
  }
  const records = count(1) + count(2) + count(3);
  for (let i = 0; i < records; i++) {
    const record = parseDnsName(buf, next, end, at);
    if (record === null || end - record.next < FIXED_LEN) return { ...scan, ...found };
    const { next: fixed } = record;
    next = fixed + FIXED_LEN + get16(buf, fixed + 8);
    if (next > end) return { ...scan, ...found };
    if (i < count(1) + count(2) || get16(buf, fixed) !== DNS_TYPE_OPT || record.name !== ".") continue;
    found.optCount++;
    found.edns ??= dnsEdnsOf(get16(buf, fixed + 2), get32(buf, fixed + 4));
  }
  found.isWhole = true;
  return { ...scan, ...found };
}

/** Whether the question of an answer matches that of the query; names may differ in case (RFC 4343). */
export function sameDnsQuestion(a: DnsQuestion, b: DnsQuestion): boolean {
  return a.type === b.type && a.class === b.class && sameDnsName(a.name, b.name);
}

/** Whether two messages ask the same. */
export function sameDnsQuery(a: DnsScan, b: DnsScan): boolean {
  if (a.question === null || b.question === null) return a.question === b.question;
  return a.flags.opcode === b.flags.opcode && sameDnsQuestion(a.question, b.question);
}

/** Whether `answer` is about what was asked. An error may leave the question out: it could not be read. */
export function isDnsAnswerTo(answer: DnsScan, asked: DnsScan): boolean {
  if (answer.flags.opcode !== asked.flags.opcode) return false;
  return answer.questionCount === 0 && answer.flags.rcode !== 0 ? true : sameDnsQuery(answer, asked);
}
