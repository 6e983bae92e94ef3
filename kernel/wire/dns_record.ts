/**
 * DNS resource records: A, NS, CNAME, SOA, PTR, MX, TXT (RFC 1035 3.3), AAAA (RFC 3596), SRV (RFC 2782) and OPT
 * (RFC 6891).
 *
 * Path: dns → dns_record → dns_name.
 *
 * The data of every other type is kept as bytes; names in it are not parsed (RFC 3597 4).
 *
 * @module
 */

import { concatBytes, get16, get32, put16, put32, toHex } from "./bytes.ts";
import { encodeDnsName, parseDnsName } from "./dns_name.ts";
import { IP_ADDR_LEN, IpAddr } from "./ip_addr.ts";

/** An IPv4 address. */
export const DNS_TYPE_A = 1;
/** A name server. */
export const DNS_TYPE_NS = 2;
/** The true name of an alias. */
export const DNS_TYPE_CNAME = 5;
/** The start of a zone of authority. */
export const DNS_TYPE_SOA = 6;
/** The name of an address. */
export const DNS_TYPE_PTR = 12;
/** A mail server. */
export const DNS_TYPE_MX = 15;
/** Texts. */
export const DNS_TYPE_TXT = 16;
/** An IPv6 address (RFC 3596). */
export const DNS_TYPE_AAAA = 28;
/** Host and port of a service (RFC 2782). */
export const DNS_TYPE_SRV = 33;
/** EDNS (RFC 6891). */
export const DNS_TYPE_OPT = 41;
/** In a question: every type. */
export const DNS_TYPE_ANY = 255;

/** The Internet. */
export const DNS_CLASS_IN = 1;
/** In a question: every class. */
export const DNS_CLASS_ANY = 255;

/** Type, class, ttl and length, behind the name. */
const FIXED_LEN = 10;
/** Serial, refresh, retry, expire and minimum of a SOA. */
const SOA_NUMBERS_LEN = 20;
/** The flag in an OPT record's ttl that asks for DNSSEC records (RFC 3225 3). */
const DNSSEC_OK = 0x8000;

/** The data of a record. */
export type DnsData =
  | { readonly kind: "addr"; readonly addr: IpAddr }
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "mx"; readonly preference: number; readonly exchange: string }
  | {
    readonly kind: "srv";
    readonly priority: number;
    readonly weight: number;
    readonly port: number;
    readonly target: string;
  }
  | { readonly kind: "soa"; readonly soa: DnsSoa }
  | { readonly kind: "txt"; readonly texts: readonly Uint8Array[] }
  | { readonly kind: "raw"; readonly bytes: Uint8Array };

/** The start of a zone of authority (RFC 1035 3.3.13); times in seconds. */
export interface DnsSoa {
  /** The first name server of the zone. */
  readonly mname: string;
  /** Mailbox of the person in charge, as a name. */
  readonly rname: string;
  /** Version of the zone. */
  readonly serial: number;
  /** Interval at which other servers look for a new version. */
  readonly refresh: number;
  /** Interval at which they try again after a failure. */
  readonly retry: number;
  /** How long their copy counts without a refresh. */
  readonly expire: number;
  /** How long an answer "no such name" may be kept (RFC 2308 4). */
  readonly minimum: number;
}

/** One record. */
export interface DnsRecord {
  /** The name that it is about. */
  readonly name: string;
  /** DNS_TYPE_A and so on. */
  readonly type: number;
  /** DNS_CLASS_IN. */
  readonly class: number;
  /** In seconds. */
  readonly ttl: number;
  /** Its contents, by its type. */
  readonly data: DnsData;
}

/** The fields of an OPT record, which have another meaning in other records (RFC 6891 6.1.2, 6.1.3). */
export interface DnsEdns {
  /** How long a message its sender can take over UDP, in bytes. */
  readonly udpSize: number;
  /** Whether the sender wants DNSSEC records. */
  readonly dnssecOk: boolean;
  /** The upper eight bits of the response code. */
  readonly extendedRcode: number;
  /** Version of EDNS; 0. */
  readonly version: number;
}

/** Reads the record at `at` of the message from `start` to `end`, and where the next one starts; null if malformed. */
export function parseDnsRecord(
  buf: Uint8Array,
  at: number,
  end: number,
  start: number,
): { record: DnsRecord; next: number } | null {
  const name = parseDnsName(buf, at, end, start);
  if (name === null || end - name.next < FIXED_LEN) return null;
  const type = get16(buf, name.next);
  const dataAt = name.next + FIXED_LEN;
  const next = dataAt + get16(buf, name.next + 8);
  if (next > end) return null;
  const data = parseData(type, { buf, at: dataAt, end: next, start });
  if (data === null) return null;
  const ttl = get32(buf, name.next + 4);
  return { record: { name: name.name, type, class: get16(buf, name.next + 2), ttl, data }, next };
}

/** Writes a record and returns its length. Throws RangeError at a name that `encodeDnsName` refuses. */
export function emitDnsRecord(record: DnsRecord, buf: Uint8Array, at: number): number {
  const name = nameBytes(record.name);
  const data = dataBytes(record);
  buf.set(name, at);
  const fixed = at + name.length;
  put16(buf, fixed, record.type);
  put16(buf, fixed + 2, record.class);
  put32(buf, fixed + 4, record.ttl);
  put16(buf, fixed + 8, data.length);
  buf.set(data, fixed + FIXED_LEN);
  return name.length + FIXED_LEN + data.length;
}

/** How many bytes `emitDnsRecord` writes. */
export function dnsRecordLen(record: DnsRecord): number {
  return nameBytes(record.name).length + FIXED_LEN + dataBytes(record).length;
}

/** An A or AAAA record for `addr`, whichever fits it. */
export function dnsAddrRecord(name: string, addr: IpAddr, ttl: number): DnsRecord {
  return { name, type: addr.isV4 ? DNS_TYPE_A : DNS_TYPE_AAAA, class: DNS_CLASS_IN, ttl, data: { kind: "addr", addr } };
}

/** A CNAME, NS or PTR record that points to another name. */
export function dnsNameRecord(name: string, type: number, target: string, ttl: number): DnsRecord {
  return { name, type, class: DNS_CLASS_IN, ttl, data: { kind: "name", name: target } };
}

/** An OPT record without options: for the additionals of a message whose sender supports EDNS. */
export function dnsOptRecord(edns: DnsEdns): DnsRecord {
  const ttl = ((edns.extendedRcode << 24) | (edns.version << 16) | (edns.dnssecOk ? DNSSEC_OK : 0)) >>> 0;
  const data: DnsData = { kind: "raw", bytes: new Uint8Array(0) };
  return { name: ".", type: DNS_TYPE_OPT, class: edns.udpSize, ttl, data };
}

/** The fields of the OPT record among `additionals`, or null if there is none. */
export function findDnsEdns(additionals: readonly DnsRecord[]): DnsEdns | null {
  const opt = additionals.find(({ type }) => type === DNS_TYPE_OPT);
  if (opt === undefined) return null;
  return dnsEdnsOf(opt.class, opt.ttl);
}

/** The fields in the class and the ttl of an OPT record. */
export function dnsEdnsOf(udpSize: number, ttl: number): DnsEdns {
  const version = (ttl >>> 16) & 0xff;
  return { udpSize, dnssecOk: (ttl & DNSSEC_OK) !== 0, extendedRcode: ttl >>> 24, version };
}

const TYPE_NAMES: Readonly<Record<number, string>> = {
  [DNS_TYPE_A]: "A",
  [DNS_TYPE_NS]: "NS",
  [DNS_TYPE_CNAME]: "CNAME",
  [DNS_TYPE_SOA]: "SOA",
  [DNS_TYPE_PTR]: "PTR",
  [DNS_TYPE_MX]: "MX",
  [DNS_TYPE_TXT]: "TXT",
  [DNS_TYPE_AAAA]: "AAAA",
  [DNS_TYPE_SRV]: "SRV",
  [DNS_TYPE_OPT]: "OPT",
  [DNS_TYPE_ANY]: "ANY",
};

/** A type's name; `TYPE65` of one without (RFC 3597 5). */
export function formatDnsType(type: number): string {
  return TYPE_NAMES[type] ?? `TYPE${type}`;
}

/** As text: `example.com 60 A 192.0.2.1`. */
export function formatDnsRecord(record: DnsRecord): string {
  return `${record.name} ${record.ttl} ${formatDnsType(record.type)} ${formatData(record.data)}`.trimEnd();
}

/** The bytes of a name; throws RangeError where `encodeDnsName` returns null. */
export function nameBytes(name: string): Uint8Array {
  const bytes = encodeDnsName(name);
  if (bytes === null) throw new RangeError(`Cannot encode "${name}": not a domain name`);
  return bytes;
}

/** Where the data of a record lies, and where the message starts that pointers count from. */
interface DataPlace {
  readonly buf: Uint8Array;
  readonly at: number;
  readonly end: number;
  readonly start: number;
}

function parseData(type: number, place: DataPlace): DnsData | null {
  const { buf, at, end } = place;
  switch (type) {
    case DNS_TYPE_A:
      return end - at === 4 ? { kind: "addr", addr: IpAddr.v4At(buf, at) } : null;
    case DNS_TYPE_AAAA:
      return end - at === IP_ADDR_LEN ? { kind: "addr", addr: IpAddr.at(buf, at) } : null;
    case DNS_TYPE_CNAME:
    case DNS_TYPE_NS:
    case DNS_TYPE_PTR: {
      const name = lastName(place, 0);
      return name === null ? null : { kind: "name", name };
    }
    case DNS_TYPE_MX: {
      const exchange = lastName(place, 2);
      return exchange === null ? null : { kind: "mx", preference: get16(buf, at), exchange };
    }
    case DNS_TYPE_SRV: {
      const target = lastName(place, 6);
      if (target === null) return null;
      return { kind: "srv", priority: get16(buf, at), weight: get16(buf, at + 2), port: get16(buf, at + 4), target };
    }
    case DNS_TYPE_SOA:
      return parseSoa(place);
    case DNS_TYPE_TXT:
      return parseTexts(place);
    default:
      return { kind: "raw", bytes: buf.slice(at, end) };
  }
}

/** The name that fills the data from its byte `skip` on. */
function lastName({ buf, at, end, start }: DataPlace, skip: number): string | null {
  if (end - at < skip) return null;
  const name = parseDnsName(buf, at + skip, end, start);
  return name?.next === end ? name.name : null;
}

function parseSoa({ buf, at, end, start }: DataPlace): DnsData | null {
  const mname = parseDnsName(buf, at, end, start);
  const rname = mname && parseDnsName(buf, mname.next, end, start);
  if (mname === null || rname === null || end - rname.next !== SOA_NUMBERS_LEN) return null;
  const number = (i: number) => get32(buf, rname.next + 4 * i);
  const [serial, refresh, retry, expire, minimum] = [number(0), number(1), number(2), number(3), number(4)];
  return { kind: "soa", soa: { mname: mname.name, rname: rname.name, serial, refresh, retry, expire, minimum } };
}

function parseTexts({ buf, at, end }: DataPlace): DnsData | null {
  const texts: Uint8Array[] = [];
  for (let i = at; i < end; i += 1 + buf[i]!) {
    if (buf[i]! >= end - i) return null;
    texts.push(buf.slice(i + 1, i + 1 + buf[i]!));
  }
  return { kind: "txt", texts };
}

function dataBytes({ type, data }: DnsRecord): Uint8Array {
  switch (data.kind) {
    case "addr":
      return addrBytes(data.addr, type);
    case "name":
      return nameBytes(data.name);
    case "mx":
      return concatBytes([words(data.preference), nameBytes(data.exchange)]);
    case "srv":
      return concatBytes([words(data.priority, data.weight, data.port), nameBytes(data.target)]);
    case "soa":
      return soaBytes(data.soa);
    case "txt":
      return concatBytes(
        data.texts.flatMap((text) => [Uint8Array.of(Math.min(text.length, 255)), text.subarray(0, 255)]),
      );
    case "raw":
      return data.bytes;
  }
}

/** By the record's type and not by the address: an AAAA may hold an IPv4-mapped one. */
function addrBytes(addr: IpAddr, type: number): Uint8Array {
  const bytes = new Uint8Array(type === DNS_TYPE_A ? 4 : IP_ADDR_LEN);
  if (type === DNS_TYPE_A) addr.putV4(bytes, 0);
  else addr.put(bytes, 0);
  return bytes;
}

function soaBytes(soa: DnsSoa): Uint8Array {
  const numbers = new Uint8Array(SOA_NUMBERS_LEN);
  [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum].forEach((value, i) => put32(numbers, 4 * i, value));
  return concatBytes([nameBytes(soa.mname), nameBytes(soa.rname), numbers]);
}

function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(2 * values.length);
  values.forEach((value, i) => put16(bytes, 2 * i, value));
  return bytes;
}

function formatData(data: DnsData): string {
  switch (data.kind) {
    case "addr":
      return `${data.addr}`;
    case "name":
      return data.name;
    case "mx":
      return `${data.preference} ${data.exchange}`;
    case "srv":
      return `${data.priority} ${data.weight} ${data.port} ${data.target}`;
    case "soa":
      return `${data.soa.mname} ${data.soa.rname} ${data.soa.serial}`;
    case "txt":
      return data.texts.map((text) => JSON.stringify(String.fromCharCode(...text))).join(" ");
    case "raw":
      return toHex(data.bytes);
  }
}
