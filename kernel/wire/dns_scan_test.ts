import { assertEquals, assertObjectMatch } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { damaged } from "../../tests/kit/ip/wire.ts";
import { dnsLen, type DnsMessage, dnsQuery, emitDns, parseDns } from "./dns.ts";
import { DNS_TYPE_A, dnsOptRecord, findDnsEdns } from "./dns_record.ts";
import { sameDnsQuestion, scanDns } from "./dns_scan.ts";

const OPT = dnsOptRecord({ udpSize: 1400, dnssecOk: true, extendedRcode: 0, version: 0 });

function bytesOf(change: Partial<DnsMessage>): Uint8Array {
  const message = { ...dnsQuery(7, { name: "a.test", type: DNS_TYPE_A, class: 1 }), ...change };
  const bytes = new Uint8Array(dnsLen(message));
  emitDns(message, bytes, 0);
  return bytes;
}

Deno.test("scanDns() finds the question and the OPT record, and minds no malformed data", () => {
  const broken = {
    name: "a.test",
    type: DNS_TYPE_A,
    class: 1,
    ttl: 0,
    data: { kind: "raw", bytes: new Uint8Array(3) },
  } as const;
  const bytes = bytesOf({ answers: [broken], additionals: [OPT] });
  assertEquals(parseDns(bytes, 0, bytes.length), null);
  const scan = scanDns(bytes, 0, bytes.length)!;
  assertObjectMatch(scan, { id: 7, questionCount: 1, optCount: 1, isWhole: true });
  assertObjectMatch(scan.edns!, { udpSize: 1400, dnssecOk: true, version: 0 });
  assertEquals(scan.question, { name: "a.test", type: DNS_TYPE_A, class: 1 });
});

Deno.test("scanDns() takes an OPT record from the additionals alone, and counts them", () => {
  for (
    const [change, optCount] of [[{ answers: [OPT] }, 0], [{ authorities: [OPT] }, 0], [
      { additionals: [OPT, OPT] },
      2,
    ]] as const
  ) {
    const bytes = bytesOf(change);
    assertEquals(scanDns(bytes, 0, bytes.length)!.optCount, optCount);
  }
  const named = bytesOf({ additionals: [{ ...OPT, name: "a.test" }] });
  assertEquals(scanDns(named, 0, named.length)!.optCount, 0, "its name is the root's");
});

Deno.test("scanDns() says of a message cut anywhere that it is not whole, and null without a header", () => {
  const bytes = bytesOf({ additionals: [OPT] });
  for (let end = 0; end < bytes.length; end++) {
    assertEquals([end, scanDns(bytes, 0, end)?.isWhole ?? null], [end, end < 12 ? null : false]);
  }
});

Deno.test("sameDnsQuestion() minds type and class, and no case", () => {
  const one = { name: "A.test", type: 1, class: 1 };
  assertEquals(sameDnsQuestion(one, { ...one, name: "a.TEST" }), true);
  for (const other of [{ type: 2 }, { class: 3 }, { name: "b.test" }]) {
    assertEquals(sameDnsQuestion(one, { ...one, ...other }), false);
  }
});

Deno.test("What parseDns() reads, scanDns() reads alike; no bytes make it throw", () => {
  fc.assert(
    fc.property(fc.oneof(damaged(bytesOf({ additionals: [OPT] })), fc.uint8Array({ maxLength: 60 })), (bytes) => {
      const scan = scanDns(bytes, 0, bytes.length);
      const message = parseDns(bytes, 0, bytes.length);
      if (message === null) return;
      assertEquals([scan!.isWhole, scan!.id, scan!.questionCount], [true, message.id, message.questions.length]);
      assertEquals(scan!.question, message.questions[0] ?? null);
      if (scan!.optCount === 1) {
        assertEquals(
          scan!.edns,
          findDnsEdns(message.additionals.filter(({ name }) => name === ".")),
        );
      }
    }),
    fuzz(500),
  );
});
