/**
 * The relay's own answers: about its zone, and about questions that no server shall see.
 *
 * Path: services/dns → dns_zone → wire/dns, wire/dns_scan.
 *
 * - `gateway.internal` and the other names of the zone, and the reverse names of their addresses, are answered here and
 *   never asked of a server, whatever the question's type, class and opcode.
 * - A negative answer carries the zone's SOA (RFC 2308 2.1, 2.2), or resolvers could not cache it.
 * - An answer has an OPT record if the question had one, and none if not (RFC 6891 6.1.1, 7); a version above 0 is
 *   BADVERS (6.1.3).
 * - A message that cannot be read is FORMERR; so are two questions (RFC 9619) and two OPT records. A response is
 *   dropped: two relays would else answer each other for ever.
 *
 * @module
 */

import {
  DNS_FORMERR,
  DNS_NOERROR,
  DNS_NOTIMP,
  DNS_NXDOMAIN,
  DNS_REFUSED,
  DNS_SERVFAIL,
  dnsAnswer,
  dnsLen,
  type DnsMessage,
  type DnsQuestion,
  emitDns,
} from "../../../kernel/wire/dns.ts";
import {
  DNS_CLASS_ANY,
  DNS_CLASS_IN,
  DNS_TYPE_A,
  DNS_TYPE_AAAA,
  DNS_TYPE_ANY,
  DNS_TYPE_NS,
  DNS_TYPE_PTR,
  DNS_TYPE_SOA,
  dnsAddrRecord,
  dnsNameRecord,
  dnsOptRecord,
  type DnsRecord,
} from "../../../kernel/wire/dns_record.ts";
import type { DnsScan } from "../../../kernel/wire/dns_scan.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";

/** How long our own answers are good, in seconds, the negative ones too (RFC 2308 5: the SOA's minimum). */
const ZONE_TTL = 60;
/** What we take over UDP, as our OPT says: what fits every path of IPv6 (DNS flag day 2020). */
const UDP_SIZE = 1232;
const BADVERS = 16;
const SOA_TIMES = { serial: 1, refresh: 3600, retry: 600, expire: 86_400, minimum: ZONE_TTL };

/** What becomes of a question: an answer of ours, a server's to answer, or none. */
type DnsVerdict = Uint8Array | "ask" | "drop";

/** The names of one NAT. */
export class DnsZone {
  readonly #names: ReadonlyMap<string, IpAddr>;
  readonly #names6: ReadonlyMap<string, IpAddr>;
  readonly #zoneName: string;
  /** Names by `d.c.b.a.in-addr.arpa`, and by what IPv6 has for it. */
  readonly #reverse: ReadonlyMap<string, string>;

  /** `names` are whole names in lower case; `names6` has their IPv6 addresses. Without any there is no zone. */
  constructor(
    names: ReadonlyMap<string, IpAddr>,
    zoneName: string,
    names6: ReadonlyMap<string, IpAddr> = new Map(),
  ) {
    this.#names = names;
    this.#names6 = names6;
    this.#zoneName = zoneName;
    this.#reverse = new Map([...names, ...names6].map(([name, addr]) => [reverseName(addr), name]));
  }

  /** What becomes of the message that `scan` tells of. */
  judge(scan: DnsScan): DnsVerdict {
    const { flags, question } = scan;
    if (flags.response) return "drop";
    if (!scan.isWhole || scan.questionCount > 1 || scan.optCount > 1) return dnsError(scan, DNS_FORMERR);
    if (scan.edns !== null && scan.edns.version > 0) return dnsError(scan, BADVERS);
    if (question === null || !this.#isOurs(question)) {
      // RFC 1035 4.1.1: a query asks something. What other operations want without a question is a server's to know.
      return question === null && flags.opcode === 0 ? dnsError(scan, DNS_FORMERR) : "ask";
    }
    if (flags.opcode !== 0) return dnsError(scan, DNS_NOTIMP);
    if (question.class !== DNS_CLASS_IN && question.class !== DNS_CLASS_ANY) return dnsError(scan, DNS_REFUSED);
    return this.#answer(scan, question);
  }

  #isOurs({ name }: DnsQuestion): boolean {
    if (this.#names.size === 0) return false;
    const asked = name.toLowerCase();
    return asked === this.#zoneName || asked.endsWith(`.${this.#zoneName}`) || this.#names.has(asked) ||
      this.#reverse.has(asked);
  }

  #answer(scan: DnsScan, { name, type }: DnsQuestion): Uint8Array {
    const asked = name.toLowerCase();
    const reverse = this.#reverse.get(asked);
    const addr = this.#names.get(asked);
    const addr6 = this.#names6.get(asked);
    const isApex = asked === this.#zoneName;
    const wants = (one: number) => type === one || type === DNS_TYPE_ANY;
    const records: DnsRecord[] = [];
    if (addr !== undefined && wants(DNS_TYPE_A)) records.push(dnsAddrRecord(name, addr, ZONE_TTL));
    if (addr6 !== undefined && wants(DNS_TYPE_AAAA)) records.push(dnsAddrRecord(name, addr6, ZONE_TTL));
    if (reverse !== undefined && wants(DNS_TYPE_PTR)) {
      records.push(dnsNameRecord(name, DNS_TYPE_PTR, reverse, ZONE_TTL));
    }
    if (isApex && wants(DNS_TYPE_SOA)) records.push(this.#soa(name));
    if (isApex && wants(DNS_TYPE_NS)) records.push(dnsNameRecord(name, DNS_TYPE_NS, this.#server, ZONE_TTL));
    // A name that exists, or has names below it, has no records of other types: NOERROR and nothing (RFC 2308 2.2).
    const isThere = isApex || addr !== undefined || addr6 !== undefined || reverse !== undefined ||
      this.#isAbove(asked);
    const message = dnsAnswer(messageOf(scan), records, isThere ? DNS_NOERROR : DNS_NXDOMAIN);
    const authorities = records.length > 0 ? [] : [this.#soa(reverse === undefined ? this.#zoneName : asked)];
    return bytesOf(scan, { ...message, authoritative: true, authorities });
  }

  get #server(): string {
    return `dns.${this.#zoneName}`;
  }

  /** RFC 8020: what has a name below it exists. */
  #isAbove(asked: string): boolean {
    for (const name of this.#names.keys()) if (name.endsWith(`.${asked}`)) return true;
    return false;
  }

  #soa(name: string): DnsRecord {
    const soa = { mname: this.#server, rname: `hostmaster.${this.#zoneName}`, ...SOA_TIMES };
    return { name, type: DNS_TYPE_SOA, class: DNS_CLASS_IN, ttl: ZONE_TTL, data: { kind: "soa", soa } };
  }
}

/** The answer that there is none: `rcode`, of which the OPT record has the upper bits. */
function dnsError(scan: DnsScan, rcode: number): Uint8Array {
  return bytesOf(scan, dnsAnswer(messageOf(scan), [], rcode & 0xf), rcode >>> 4);
}

/** The answer to a question that no server has answered. */
export function dnsServerFailure(scan: DnsScan): Uint8Array {
  return dnsError(scan, DNS_SERVFAIL);
}

function bytesOf(scan: DnsScan, message: DnsMessage, extendedRcode = 0): Uint8Array {
  const { edns } = scan;
  // The flag DO comes back as it was (RFC 3225 3).
  const opt = edns === null
    ? []
    : [dnsOptRecord({ udpSize: UDP_SIZE, dnssecOk: edns.dnssecOk, extendedRcode, version: 0 })];
  const whole = { ...message, additionals: opt };
  const bytes = new Uint8Array(dnsLen(whole));
  emitDns(whole, bytes, 0);
  return bytes;
}

function messageOf({ id, flags, question, questionCount }: DnsScan): DnsMessage {
  // Of several questions none is repeated: which of them would it be that the answer is about?
  const questions = question === null || questionCount > 1 ? [] : [question];
  return { id, ...flags, questions, answers: [], authorities: [], additionals: [] };
}

/** RFC 1035 3.5, RFC 3596 2.5. */
function reverseName(addr: IpAddr): string {
  if (addr.isV4) return `${`${addr}`.split(".").reverse().join(".")}.in-addr.arpa`;
  const digits = [addr.w0, addr.w1, addr.w2, addr.w3].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join(
    "",
  );
  return `${[...digits].reverse().join(".")}.ip6.arpa`;
}
