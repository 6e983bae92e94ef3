/**
 * DNS messages in few words, and a relay under test whose servers are a list.
 *
 *     const lab = relayLab(["9.9.9.1", "9.9.9.2"]);
 *     lab.ask("example.com");
 *     lab.sent; // [{ server: "9.9.9.1", … }]
 *     lab.answer(lab.sent[0]!); lab.got; // the answer that the asker got
 *
 * @module
 */

import { fail } from "@std/assert";
import { SeededRandom } from "../../../kernel/random.ts";
import { dnsLen, type DnsMessage, dnsQuery, emitDns, parseDns } from "../../../kernel/wire/dns.ts";
import { DNS_TYPE_A, dnsAddrRecord, dnsOptRecord } from "../../../kernel/wire/dns_record.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { type DnsAsker, type DnsPlace, DnsRelay, type DnsUpstream } from "../../../tools/nat/services/dns.ts";
import { DNS_PATIENCE, type DnsPatience, DnsServers } from "../../../tools/nat/services/dns_servers.ts";
import { DnsZone } from "../../../tools/nat/services/dns_zone.ts";
import { ip } from "../ip/ip_fixture.ts";

/** The bytes of `message`. */
export function dnsBytes(message: DnsMessage): Uint8Array {
  const bytes = new Uint8Array(dnsLen(message));
  emitDns(message, bytes, 0);
  return bytes;
}

/** A query; `edns`: the version of its OPT record. */
export function dnsQuestion(
  name: string,
  options: { id?: number; type?: number; class?: number; edns?: number; change?: Partial<DnsMessage> } = {},
): Uint8Array {
  const { id = 7, type = DNS_TYPE_A, class: cls = 1, edns, change } = options;
  const opt = { udpSize: 1400, dnssecOk: true, extendedRcode: 0, version: edns ?? 0 };
  const additionals = edns === undefined ? [] : [dnsOptRecord(opt)];
  return dnsBytes({ ...dnsQuery(id, { name, type, class: cls }), additionals, ...change });
}

/** A server's answer to `query`: an address, or an error. */
export function dnsReply(query: Uint8Array, change: Partial<DnsMessage> = {}): Uint8Array {
  const asked = parseDns(query, 0, query.length) ?? fail("no query");
  const answers = asked.questions.map(({ name }) => dnsAddrRecord(name, ip("192.0.2.77"), 60));
  return dnsBytes({ ...asked, response: true, answers, additionals: [], ...change });
}

/** The message that `bytes` are. */
export function dnsRead(bytes: Uint8Array | undefined): DnsMessage {
  return (bytes === undefined ? null : parseDns(bytes, 0, bytes.length)) ?? fail("no DNS message");
}

/** One question as a server gets it. */
export interface SentQuestion {
  readonly server: string;
  readonly byTcp: boolean;
  readonly message: Uint8Array;
  readonly place: DnsPlace;
}

/** A relay whose servers are a list. */
export class RelayLab implements DnsUpstream {
  readonly relay: DnsRelay;
  /** Messages sent to servers, and answers to askers. */
  readonly sent: SentQuestion[] = [];
  readonly got: { port: number; message: DnsMessage }[] = [];
  /** Servers that cannot be sent to. */
  readonly unreachable = new Set<string>();
  readonly owner = {};
  now = 1000;
  releases = 0;

  constructor(servers: readonly string[], patience: DnsPatience, zone: DnsZone) {
    this.relay = new DnsRelay({
      zone,
      servers: new DnsServers(servers.map(ip), patience),
      random: new SeededRandom(5),
    });
    this.relay.upstream = this;
  }

  send(server: IpAddr, message: Uint8Array, byTcp: boolean): DnsPlace | null {
    if (this.unreachable.has(`${server}`)) return null;
    const place = { server, ids: new Set<number>() };
    this.sent.push({ server: `${server}`, byTcp, message: message.slice(), place });
    return place;
  }

  released(): void {
    this.releases++;
  }

  /** An asker. */
  asker(port: number, byTcp = false, owner: object = this.owner): DnsAsker {
    return { owner, port, byTcp, answer: (message) => void this.got.push({ port, message: dnsRead(message) }) };
  }

  /** Asks, and lets the relay do its work. */
  ask(question: string | Uint8Array, asker: DnsAsker = this.asker(4000)): void {
    const buf = typeof question === "string" ? dnsQuestion(question) : question;
    this.relay.ask(asker, { buf, at: 0, end: buf.length }, this.now);
    this.relay.run(this.now);
  }

  /** A server answers a message. */
  answer(one: SentQuestion, change: Partial<DnsMessage> = {}): void {
    this.relay.answered(one.place, dnsReply(one.message, change), this.now);
    this.relay.run(this.now);
  }

  /** Lets `ms` pass. */
  wait(ms: number): void {
    const end = this.now + ms;
    while (this.relay.nextDeadline() <= end) {
      this.now = Math.max(this.now, this.relay.nextDeadline());
      this.relay.run(this.now);
    }
    this.now = end;
  }

  /** The servers that were sent to, in order. */
  get order(): string[] {
    return this.sent.map(({ server }) => server);
  }
}

/** A relay with these servers, with resolv.conf's time-outs by default. */
export function relayLab(servers: readonly string[], patience: Partial<DnsPatience> = {}): RelayLab {
  const zone = new DnsZone(new Map([["gateway.internal", ip("10.0.2.2")]]), "internal");
  return new RelayLab(servers, { ...DNS_PATIENCE, ...patience }, zone);
}
