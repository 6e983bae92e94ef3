/** The relay's own answers: names of the zone, what cannot be read, and what is answered the same to everybody. */

import { assertEquals, assertObjectMatch } from "@std/assert";
import fc from "fast-check";
import { type DnsMessage, parseDns } from "../../../kernel/wire/dns.ts";
import {
  DNS_CLASS_ANY,
  DNS_TYPE_A,
  DNS_TYPE_AAAA,
  DNS_TYPE_ANY,
  DNS_TYPE_NS,
  DNS_TYPE_PTR,
  DNS_TYPE_SOA,
  findDnsEdns,
} from "../../../kernel/wire/dns_record.ts";
import { scanDns } from "../../../kernel/wire/dns_scan.ts";
import { dnsQuestion } from "../../../tests/kit/nat/dns_relay.ts";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { ip } from "../../../tests/kit/ip/ip_fixture.ts";
import { damaged } from "../../../tests/kit/ip/wire.ts";
import { DnsZone } from "./dns_zone.ts";

const zone = new DnsZone(
  new Map([["gateway.internal", ip("10.0.2.2")], ["printer.floor.internal", ip("10.0.0.9")]]),
  "internal",
  new Map([["gateway.internal", ip("fd00:0:0:2::2")]]),
);

function judge(query: Uint8Array): DnsMessage | string {
  const verdict = zone.judge(scanDns(query, 0, query.length)!);
  return typeof verdict === "string" ? verdict : parseDns(verdict, 0, verdict.length)!;
}

const answerTo = (query: Uint8Array) => judge(query) as DnsMessage;

Deno.test("Names of the zone: addresses, reverse names, nothing for other types, NXDOMAIN, all with authority", () => {
  const reverse6 = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
  const rows = [
    { name: "GateWay.Internal", type: DNS_TYPE_A, rcode: 0, count: 1 },
    { name: "gateway.internal", type: DNS_TYPE_AAAA, rcode: 0, count: 1 },
    { name: "gateway.internal", type: DNS_TYPE_ANY, rcode: 0, count: 2 },
    { name: "gateway.internal", type: 65, rcode: 0, count: 0 },
    { name: "2.2.0.10.in-addr.arpa", type: DNS_TYPE_PTR, rcode: 0, count: 1 },
    { name: reverse6, type: DNS_TYPE_PTR, rcode: 0, count: 1 },
    { name: "internal", type: DNS_TYPE_SOA, rcode: 0, count: 1 },
    { name: "internal", type: DNS_TYPE_NS, rcode: 0, count: 1 },
    { name: "internal", type: DNS_TYPE_A, rcode: 0, count: 0 },
    { name: "floor.internal", type: DNS_TYPE_A, rcode: 0, count: 0 },
    { name: "absent.internal", type: DNS_TYPE_A, rcode: 3, count: 0 },
  ];
  for (const { name, type, rcode, count } of rows) {
    const answer = answerTo(dnsQuestion(name, { type }));
    assertObjectMatch(answer, { id: 7, response: true, authoritative: true, recursionAvailable: true, rcode });
    assertEquals({ name, type, count: answer.answers.length }, { name, type, count });
    assertEquals(answer.questions, [{ name, type, class: 1 }]);
  }
});

Deno.test("RFC 2308: every negative answer carries the SOA of the zone, every other none", () => {
  for (const [name, type] of [["absent.internal", 1], ["gateway.internal", 16], ["internal", 1]] as const) {
    const [soa, ...more] = answerTo(dnsQuestion(name, { type })).authorities;
    assertObjectMatch(soa!, {
      name: "internal",
      type: DNS_TYPE_SOA,
      ttl: 60,
      data: { kind: "soa", soa: { minimum: 60 } },
    });
    assertEquals(more, []);
  }
  assertEquals(answerTo(dnsQuestion("gateway.internal")).authorities, []);
});

Deno.test("RFC 6891: OPT in the answer exactly if the question has one; a version above 0 is BADVERS", () => {
  for (const name of ["gateway.internal", "absent.internal"]) {
    assertEquals(answerTo(dnsQuestion(name)).additionals, []);
    const edns = findDnsEdns(answerTo(dnsQuestion(name, { edns: 0 })).additionals);
    assertEquals(edns, { udpSize: 1232, dnssecOk: true, extendedRcode: 0, version: 0 });
  }
  for (const name of ["gateway.internal", "example.com"]) {
    const answer = answerTo(dnsQuestion(name, { edns: 1 }));
    assertObjectMatch(findDnsEdns(answer.additionals)!, { extendedRcode: 1, version: 0 });
    assertEquals([answer.rcode, answer.answers.length], [0, 0]);
  }
  const opt = answerTo(dnsQuestion("gateway.internal", { edns: 0 })).additionals;
  assertEquals(answerTo(dnsQuestion("example.com", { change: { additionals: [...opt, ...opt] } })).rcode, 1);
});

Deno.test("What cannot be read is FORMERR: cut short, no question, two of them; a response gets no answer", () => {
  const query = dnsQuestion("example.com", { edns: 0 });
  for (let end = 12; end < query.length; end++) {
    const scan = scanDns(query, 0, end)!;
    const verdict = zone.judge(scan);
    assertEquals([end, typeof verdict === "string" ? verdict : verdict[3]! & 15], [end, 1]);
  }
  const [question] = parseDns(query, 0, query.length)!.questions;
  const two = answerTo(dnsQuestion("gateway.internal", { change: { questions: [question!, question!] } }));
  assertEquals([two.rcode, two.questions], [1, []]);
  assertEquals(answerTo(dnsQuestion("x", { change: { questions: [] } })).rcode, 1);
  assertEquals(judge(dnsQuestion("gateway.internal", { change: { response: true } })), "drop");
  assertEquals(judge(dnsQuestion("example.com", { change: { response: true } })), "drop");
  assertEquals(scanDns(query, 0, 11), null);
});

Deno.test("Bytes behind the message are ignored, and do not come back", () => {
  const query = dnsQuestion("gateway.internal");
  const answer = answerTo(new Uint8Array([...query, 1, 2, 3, 4, 5]));
  assertEquals(answer, answerTo(query));
});

Deno.test("No name of ours goes to a server, in whatever way it is asked for; all others do", () => {
  const asks = (name: string, options: Parameters<typeof dnsQuestion>[1] = {}) => {
    const verdict = judge(dnsQuestion(name, options));
    return typeof verdict === "string" ? verdict : verdict.rcode;
  };
  assertEquals(asks("gateway.internal", { change: { opcode: 5 } }), 4);
  assertEquals(asks("gateway.internal", { change: { opcode: 4 } }), 4);
  assertEquals(asks("gateway.internal", { class: 3 }), 5);
  assertEquals(asks("gateway.internal", { class: DNS_CLASS_ANY }), 0);
  assertEquals(asks("2.2.0.10.in-addr.arpa", { type: 252 }), 0);
  for (const name of ["3.2.0.10.in-addr.arpa", "example.com", "notinternal", "internal.com", "."]) {
    assertEquals([name, asks(name), asks(name, { change: { opcode: 5 } })], [name, "ask", "ask"]);
  }
  const none = new DnsZone(new Map(), "internal");
  const query = dnsQuestion("gateway.internal");
  assertEquals(none.judge(scanDns(query, 0, query.length)!), "ask");
});

Deno.test("An update with an A record without an address passes unjudged (RFC 2136 2.5.2)", () => {
  const bare = {
    name: "example.com",
    type: 1,
    class: 255,
    ttl: 0,
    data: { kind: "raw", bytes: new Uint8Array(0) },
  } as const;
  const query = dnsQuestion("example.com", { type: 6, change: { opcode: 5, authorities: [bare] } });
  assertEquals([parseDns(query, 0, query.length), judge(query)], [null, "ask"]);
});

Deno.test("Whatever is asked, nothing throws, and an answer of ours is a response with the question's id", () => {
  const sample = dnsQuestion("gateway.internal", { edns: 0 });
  fc.assert(
    fc.property(fc.oneof(damaged(sample), fc.uint8Array({ maxLength: 80 })), (bytes) => {
      const scan = scanDns(bytes, 0, bytes.length);
      if (scan === null) return;
      const verdict = zone.judge(scan);
      if (typeof verdict === "string") return;
      const answer = parseDns(verdict, 0, verdict.length)!;
      assertEquals([answer.response, answer.id], [true, bytes[0]! << 8 | bytes[1]!]);
    }),
    fuzz(500),
  );
});
