/**
 * DNS messages (RFC 1035 4.1): questions, and records of the types that a resolver or a small server uses.
 *
 * Path: services/dns → dns → dns_record → dns_name.
 *
 *     | id 2 | flags 2 | counts of questions, answers, authorities, additionals 2 each |
 *     | question: name, type 2, class 2 | … | record: name, type 2, class 2, ttl 4, length 2, data | …
 *
 * Names are read with compression and written without it.
 *
 * Limits: a message is null as a whole if any part of it is malformed. The bytes bound the counts: a question takes at
 * least 5 and a record 11. Over TCP the two bytes of length before a message are the caller's.
 *
 * @module
 */

import { get16, put16 } from "./bytes.ts";
import { parseDnsName } from "./dns_name.ts";
import {
  type DnsRecord,
  dnsRecordLen,
  emitDnsRecord,
  formatDnsRecord,
  formatDnsType,
  nameBytes,
  parseDnsRecord,
} from "./dns_record.ts";

const FLAGS = 2;
const QUESTIONS = 4;
const ANSWERS = 6;
const AUTHORITIES = 8;
const ADDITIONALS = 10;

/** Length of the header, in bytes. */
export const DNS_HEADER_LEN = 12;
/** Port of name servers, of UDP and of TCP. */
export const DNS_PORT = 53;
/** Longest message over UDP without EDNS (RFC 1035 4.2.1). */
export const DNS_UDP_MAX = 512;

// Bits of the flags word.
const RESPONSE = 0x8000;
const AUTHORITATIVE = 0x0400;
const TRUNCATED = 0x0200;
const RECURSION_DESIRED = 0x0100;
const RECURSION_AVAILABLE = 0x0080;
const AUTHENTIC_DATA = 0x0020;
const CHECKING_DISABLED = 0x0010;

/** Response code: there is an answer, or the name has no such record. */
export const DNS_NOERROR = 0;
/** Response code: the query makes no sense. */
export const DNS_FORMERR = 1;
/** Response code: the server failed. */
export const DNS_SERVFAIL = 2;
/** Response code: there is no such name. */
export const DNS_NXDOMAIN = 3;
/** Response code: the server does not know this kind of query. */
export const DNS_NOTIMP = 4;
/** Response code: the server does not want to answer. */
export const DNS_REFUSED = 5;

/** One question. */
export interface DnsQuestion {
  /** The name, with dots. */
  readonly name: string;
  /** DNS_TYPE_A and so on, or 255 for any. */
  readonly type: number;
  /** DNS_CLASS_IN, or 255 for any. */
  readonly class: number;
}

/** The header's word of flags. */
export interface DnsFlags {
  /** An answer, not a query. */
  readonly response: boolean;
  /** 0 is a standard query. */
  readonly opcode: number;
  /** The server is an authority for the name. */
  readonly authoritative: boolean;
  /** The message was cut to fit UDP. */
  readonly truncated: boolean;
  /** The server is to ask others. */
  readonly recursionDesired: boolean;
  /** The server asks others. */
  readonly recursionAvailable: boolean;
  /** RFC 4035 3.2.3. */
  readonly authenticData: boolean;
  /** RFC 4035 3.2.2. */
  readonly checkingDisabled: boolean;
  /** The lower four bits of the response code: DNS_NXDOMAIN and so on. */
  readonly rcode: number;
}

/** One message. */
export interface DnsMessage extends DnsFlags {
  /** 16 bits that the asking side chooses and the server repeats. */
  readonly id: number;
  /** What is asked. */
  readonly questions: readonly DnsQuestion[];
  /** Records that answer it. */
  readonly answers: readonly DnsRecord[];
  /** Records of authorities. */
  readonly authorities: readonly DnsRecord[];
  /** Records that help, OPT among them. */
  readonly additionals: readonly DnsRecord[];
}

/** Reads the message from `at` to `end`; null if any part is malformed. Bytes behind the last record are ignored. */
export function parseDns(buf: Uint8Array, at: number, end: number): DnsMessage | null {
  if (end - at < DNS_HEADER_LEN) return null;
  const questions: DnsQuestion[] = [];
  const answers: DnsRecord[] = [];
  const authorities: DnsRecord[] = [];
  const additionals: DnsRecord[] = [];
  let next = at + DNS_HEADER_LEN;
  for (let left = get16(buf, at + QUESTIONS); left > 0; left--) {
    const name = parseDnsName(buf, next, end, at);
    if (name === null || end - name.next < 4) return null;
    questions.push({ name: name.name, type: get16(buf, name.next), class: get16(buf, name.next + 2) });
    next = name.next + 4;
  }
  const sections = [[ANSWERS, answers], [AUTHORITIES, authorities], [ADDITIONALS, additionals]] as const;
  for (const [count, records] of sections) {
    for (let left = get16(buf, at + count); left > 0; left--) {
      const record = parseDnsRecord(buf, next, end, at);
      if (record === null) return null;
      records.push(record.record);
      next = record.next;
    }
  }
  return { id: get16(buf, at), ...parseDnsFlags(get16(buf, at + FLAGS)), questions, answers, authorities, additionals };
}

/** Writes a message and returns its length (`dnsLen`). Throws RangeError at a name that `encodeDnsName` refuses. */
export function emitDns(message: DnsMessage, buf: Uint8Array, at: number): number {
  put16(buf, at, message.id);
  put16(buf, at + FLAGS, flagsWord(message));
  put16(buf, at + QUESTIONS, message.questions.length);
  put16(buf, at + ANSWERS, message.answers.length);
  put16(buf, at + AUTHORITIES, message.authorities.length);
  put16(buf, at + ADDITIONALS, message.additionals.length);
  let next = at + DNS_HEADER_LEN;
  for (const question of message.questions) {
    const name = nameBytes(question.name);
    buf.set(name, next);
    put16(buf, next + name.length, question.type);
    put16(buf, next + name.length + 2, question.class);
    next += name.length + 4;
  }
  for (const record of allRecords(message)) next += emitDnsRecord(record, buf, next);
  return next - at;
}

/** How many bytes `emitDns` writes. */
export function dnsLen(message: DnsMessage): number {
  const questions = message.questions.reduce((length, { name }) => length + nameBytes(name).length + 4, 0);
  return allRecords(message).reduce((length, record) => length + dnsRecordLen(record), DNS_HEADER_LEN + questions);
}

/** A query for one name and type that asks for recursion. */
export function dnsQuery(id: number, question: DnsQuestion): DnsMessage {
  const flags = { ...parseDnsFlags(0), recursionDesired: true };
  return { id, ...flags, questions: [question], answers: [], authorities: [], additionals: [] };
}

/** The answer to `query`: its id, questions and recursion flag, with `answers` and a response code. */
export function dnsAnswer(query: DnsMessage, answers: readonly DnsRecord[], rcode = DNS_NOERROR): DnsMessage {
  const { id, opcode, recursionDesired, questions } = query;
  const flags = { ...parseDnsFlags(0), response: true, opcode, recursionDesired, recursionAvailable: true, rcode };
  return { id, ...flags, questions, answers, authorities: [], additionals: [] };
}

const RCODES = ["noerror", "formerr", "servfail", "nxdomain", "notimp", "refused"];

/** One line of text: `dns 1a2b answer noerror example.com A: example.com 60 A 192.0.2.1`. */
export function formatDns(message: DnsMessage): string {
  const id = message.id.toString(16).padStart(4, "0");
  const kind = message.response ? `answer ${RCODES[message.rcode] ?? `rcode ${message.rcode}`}` : "query";
  const questions = message.questions.map(({ name, type }) => `${name} ${formatDnsType(type)}`).join(", ");
  const records = allRecords(message).map(formatDnsRecord).join(", ");
  const truncated = message.truncated ? " truncated" : "";
  return `dns ${id} ${kind}${truncated} ${questions}${records === "" ? "" : `: ${records}`}`;
}

function allRecords(message: DnsMessage): DnsRecord[] {
  return [...message.answers, ...message.authorities, ...message.additionals];
}

/** Reads the header's word of flags. */
export function parseDnsFlags(word: number): DnsFlags {
  return {
    response: (word & RESPONSE) !== 0,
    opcode: (word >>> 11) & 0xf,
    authoritative: (word & AUTHORITATIVE) !== 0,
    truncated: (word & TRUNCATED) !== 0,
    recursionDesired: (word & RECURSION_DESIRED) !== 0,
    recursionAvailable: (word & RECURSION_AVAILABLE) !== 0,
    authenticData: (word & AUTHENTIC_DATA) !== 0,
    checkingDisabled: (word & CHECKING_DISABLED) !== 0,
    rcode: word & 0xf,
  };
}

function flagsWord(flags: DnsFlags): number {
  return (flags.response ? RESPONSE : 0) | (flags.opcode << 11) | (flags.authoritative ? AUTHORITATIVE : 0) |
    (flags.truncated ? TRUNCATED : 0) | (flags.recursionDesired ? RECURSION_DESIRED : 0) |
    (flags.recursionAvailable ? RECURSION_AVAILABLE : 0) | (flags.authenticData ? AUTHENTIC_DATA : 0) |
    (flags.checkingDisabled ? CHECKING_DISABLED : 0) | flags.rcode;
}
