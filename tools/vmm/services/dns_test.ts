/** The relay: which server is asked, and the answers of our own zone. */

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { dnsLen, type DnsMessage, dnsQuery, emitDns, parseDns } from "../../../kernel/wire/dns.ts";
import {
  DNS_TYPE_A,
  DNS_TYPE_AAAA,
  DNS_TYPE_ANY,
  DNS_TYPE_PTR,
  DNS_TYPE_SOA,
} from "../../../kernel/wire/dns_record.ts";
import { fuzz } from "../../../tests/kit/fuzz.ts";
import { ip } from "../../../tests/kit/ip_fixture.ts";
import { damaged } from "../../../tests/kit/wire.ts";
import { DnsRelay, UNANSWERED_MAX } from "./dns.ts";

const servers = ["9.9.9.9", "8.8.8.8", "1.1.1.1"].map(ip);
const zone = new Map([["gateway.internal", ip("10.0.2.2")]]);

function bytesOf(message: DnsMessage): Uint8Array {
  const bytes = new Uint8Array(dnsLen(message));
  emitDns(message, bytes, 0);
  return bytes;
}

function ask(relay: DnsRelay, name: string, type: number, change: Partial<DnsMessage> = {}): DnsMessage | null {
  const query = bytesOf({ ...dnsQuery(77, { name, type, class: 1 }), ...change });
  const answer = relay.answer(query, 0, query.length);
  return answer === null ? null : parseDns(answer, 0, answer.length);
}

Deno.test("The first server that answers is kept; one that does not is left after three questions", () => {
  const relay = new DnsRelay(servers, new Map(), "internal");
  const asked = (count: number) => Array.from({ length: count }, () => `${relay.server()}`);
  assertEquals(asked(UNANSWERED_MAX), ["9.9.9.9", "9.9.9.9", "9.9.9.9"]);
  assertEquals(asked(1), ["8.8.8.8"]);
  assertEquals([relay.answered(ip("8.8.8.8").w3), relay.answered(ip("4.4.4.4").w3)], [true, false]);
  assertEquals(asked(UNANSWERED_MAX + 1), ["8.8.8.8", "8.8.8.8", "8.8.8.8", "1.1.1.1"]);
  relay.setServers([ip("5.5.5.5")]);
  assertEquals(asked(9), new Array(9).fill("5.5.5.5"));
  assertEquals(new DnsRelay([], new Map(), "internal").server(), null);
});

Deno.test("Our zone: addresses, names, nothing for other types, NXDOMAIN for other names, with authority", () => {
  const relay = new DnsRelay(servers, zone, "internal");
  const answer = ask(relay, "GateWay.Internal", DNS_TYPE_A)!;
  assertEquals([answer.id, answer.authoritative, answer.rcode, answer.answers.length], [77, true, 0, 1]);
  assertEquals(answer.questions[0]!.name, "GateWay.Internal");
  const counts = (name: string, type: number) => {
    const one = ask(relay, name, type);
    return one === null ? null : [one.rcode, one.answers.length];
  };
  assertEquals(counts("gateway.internal", DNS_TYPE_AAAA), [0, 0]);
  assertEquals(counts("gateway.internal", DNS_TYPE_ANY), [0, 1]);
  assertEquals(counts("internal", DNS_TYPE_SOA), [0, 0]);
  assertEquals(counts("x.internal", DNS_TYPE_A), [3, 0]);
  assertEquals(counts("2.2.0.10.in-addr.arpa", DNS_TYPE_PTR), [0, 1]);
  for (const name of ["3.2.0.10.in-addr.arpa", "example.com", "notinternal", "internal.com"]) {
    assertEquals([name, counts(name, DNS_TYPE_A)], [name, null]);
  }
});

Deno.test("demand 10: what is not a plain question about our zone is the server's, unknown types included", () => {
  const relay = new DnsRelay(servers, zone, "internal");
  assertEquals(ask(relay, "example.com", 65), null);
  assertEquals(ask(relay, "gateway.internal", DNS_TYPE_A, { response: true }), null);
  assertEquals(ask(relay, "gateway.internal", DNS_TYPE_A, { opcode: 5 }), null);
  assertEquals(ask(relay, "gateway.internal", DNS_TYPE_A, { questions: [] }), null);
});

Deno.test("Without any server a question is answered SERVFAIL, not left to wait", () => {
  assertEquals(ask(new DnsRelay([], zone, "internal"), "example.com", DNS_TYPE_A)?.rcode, 2);
});

Deno.test("No message makes the relay throw", () => {
  const relay = new DnsRelay([], zone, "internal");
  const sample = bytesOf(dnsQuery(7, { name: "gateway.internal", type: DNS_TYPE_A, class: 1 }));
  fc.assert(
    fc.property(fc.oneof(damaged(sample), fc.uint8Array({ maxLength: 80 })), (bytes) => {
      const answer = relay.answer(bytes, 0, bytes.length);
      if (answer !== null) assertEquals(parseDns(answer, 0, answer.length)?.response, true);
    }),
    fuzz(500),
  );
});
