/**
 * DNS relay: which server a question goes to, and the answers that the NAT has itself.
 *
 * Path: nat/outbound → dns → wire/dns.
 *
 * Messages are not relayed but translated: the packet goes to a server of the host with its bytes unchanged, over UDP
 * or TCP, and the answer comes back as from the NAT's name server. So every type, EDNS, and what will be invented next
 * works (peers.md 5, demand 10). Only a question about our own zone, over UDP, is answered here; what is so short is
 * never asked again over TCP.
 *
 * Several servers: the first that answers is kept; after {@link UNANSWERED_MAX} questions without any answer the next
 * one is asked.
 *
 * @module
 */

import {
  DNS_NOERROR,
  DNS_NXDOMAIN,
  DNS_SERVFAIL,
  dnsAnswer,
  dnsLen,
  emitDns,
  parseDns,
} from "../../../kernel/wire/dns.ts";
import type { DnsMessage } from "../../../kernel/wire/dns.ts";
import {
  DNS_CLASS_IN,
  DNS_TYPE_A,
  DNS_TYPE_AAAA,
  DNS_TYPE_ANY,
  DNS_TYPE_PTR,
  dnsAddrRecord,
  dnsNameRecord,
  type DnsRecord,
} from "../../../kernel/wire/dns_record.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";

/** Questions that a server may leave unanswered before the next one is asked: one lookup asks two or three times. */
export const UNANSWERED_MAX = 3;
/** How long our own answers are good, in seconds. */
const ZONE_TTL = 60;

/** The relay of one NAT. */
export class DnsRelay {
  #servers: readonly IpAddr[];
  #current = 0;
  #unanswered = 0;
  readonly #zone: ReadonlyMap<string, IpAddr>;
  readonly #zone6: ReadonlyMap<string, IpAddr>;
  readonly #zoneName: string;
  /** Names by `d.c.b.a.in-addr.arpa`. */
  readonly #reverse: ReadonlyMap<string, string>;

  /** `zone` has whole names in lower case, all below `zoneName`; `zone6` their IPv6 addresses. */
  constructor(
    servers: readonly IpAddr[],
    zone: ReadonlyMap<string, IpAddr>,
    zoneName: string,
    zone6: ReadonlyMap<string, IpAddr> = new Map(),
  ) {
    this.#servers = servers;
    this.#zone = zone;
    this.#zone6 = zone6;
    this.#zoneName = zoneName;
    this.#reverse = new Map([...zone].map(([name, addr]) => [reverseName(addr), name]));
  }

  get servers(): readonly IpAddr[] {
    return this.#servers;
  }

  /** The host has other servers now. */
  setServers(servers: readonly IpAddr[]): void {
    this.#servers = servers;
    this.#current = this.#unanswered = 0;
  }

  /** The server for the next question; null: there is none. */
  server(): IpAddr | null {
    if (++this.#unanswered > UNANSWERED_MAX && this.#servers.length > 1) {
      this.#current = (this.#current + 1) % this.#servers.length;
      this.#unanswered = 1;
    }
    return this.#servers[this.#current] ?? null;
  }

  /** Whether `word` is one of the servers; if so, it has just answered and is kept. */
  answered(word: number): boolean {
    return this.#keep(this.#servers.findIndex((server) => server.w3 === word && server.isV4));
  }

  /** As {@link answered}, of an address of either version. */
  answeredBy(addr: IpAddr): boolean {
    return this.#keep(this.#servers.findIndex((server) => server.equals(addr)));
  }

  #keep(at: number): boolean {
    if (at < 0) return false;
    if (at === this.#current) this.#unanswered = 0;
    return true;
  }

  /** Our own answer to the message from `at` to `end`: about our zone, or that there is no server; null: ask one. */
  answer(buf: Uint8Array, at: number, end: number): Uint8Array | null {
    const hasServer = this.#servers.length > 0;
    if (hasServer && this.#zone.size === 0) return null;
    const query = parseDns(buf, at, end);
    if (query === null || query.response || query.questions.length !== 1) return null;
    const answer = this.#zoneAnswer(query) ?? (hasServer ? null : dnsAnswer(query, [], DNS_SERVFAIL));
    if (answer === null) return null;
    const bytes = new Uint8Array(dnsLen(answer));
    emitDns(answer, bytes, 0);
    return bytes;
  }

  #zoneAnswer(query: DnsMessage): DnsMessage | null {
    const { name, type } = query.questions[0]!;
    const asked = name.toLowerCase();
    const reverse = this.#reverse.get(asked);
    const isOurs = asked === this.#zoneName || asked.endsWith(`.${this.#zoneName}`) || reverse !== undefined;
    if (!isOurs || query.opcode !== 0 || query.questions[0]!.class !== DNS_CLASS_IN) return null;
    const addr = this.#zone.get(asked);
    const addr6 = this.#zone6.get(asked);
    const records: DnsRecord[] = [];
    const wants = (one: number) => type === one || type === DNS_TYPE_ANY;
    if (addr !== undefined && wants(DNS_TYPE_A)) records.push(dnsAddrRecord(name, addr, ZONE_TTL));
    if (addr6 !== undefined && wants(DNS_TYPE_AAAA)) records.push(dnsAddrRecord(name, addr6, ZONE_TTL));
    if (reverse !== undefined && wants(DNS_TYPE_PTR)) {
      records.push(dnsNameRecord(name, DNS_TYPE_PTR, reverse, ZONE_TTL));
    }
    // A name that exists has no records of other types: NOERROR and nothing (RFC 2308 2.2).
    const exists = addr !== undefined || addr6 !== undefined || reverse !== undefined || asked === this.#zoneName;
    return { ...dnsAnswer(query, records, exists ? DNS_NOERROR : DNS_NXDOMAIN), authoritative: true };
  }
}

function reverseName(addr: IpAddr): string {
  return `${`${addr}`.split(".").reverse().join(".")}.in-addr.arpa`;
}
