import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { assertRoundTrip, assertSafe, hex, ipv4Addrs, u16, u32 } from "../../tests/kit/ip/wire.ts";
import * as dns from "./dns.ts";
import { DNS_CLASS_IN, DNS_TYPE_A, DNS_TYPE_CNAME, dnsAddrRecord, dnsNameRecord, findDnsEdns } from "./dns_record.ts";
import { parseIpAddr } from "./ip_addr.ts";

const ANSWER = hex(`
  1a 2b 81 80        # id; response, recursion desired and available
  00 01 00 02 00 00 00 01
  03 77 77 77 07 65 78 61 6d 70 6c 65 03 63 6f 6d 00 00 01 00 01  # www.example.com A IN
  c0 0c 00 05 00 01 00 00 0e 10 00 06 03 63 64 6e c0 10           # CNAME cdn.example.com, 3600 s
  c0 2d 00 01 00 01 00 00 00 3c 00 04 c0 00 02 01                 # cdn.example.com A 192.0.2.1, 60 s
  00 00 29 04 d0 00 00 80 00 00 00                                # OPT: 1232 bytes, DNSSEC ok
`);

const QUESTION = { name: "www.example.com", type: DNS_TYPE_A, class: DNS_CLASS_IN };

Deno.test("parseDns() reads an answer with compressed names", () => {
  const message = dns.parseDns(ANSWER, 0, ANSWER.length)!;
  assertEquals([message.id, message.response, message.recursionDesired, message.rcode], [0x1a2b, true, true, 0]);
  assertEquals(message.questions, [QUESTION]);
  assertEquals(message.answers, [
    dnsNameRecord("www.example.com", DNS_TYPE_CNAME, "cdn.example.com", 3600),
    dnsAddrRecord("cdn.example.com", parseIpAddr("192.0.2.1")!, 60),
  ]);
  assertEquals(message.authorities, []);
  assertEquals(findDnsEdns(message.additionals)?.udpSize, 1232);
});

Deno.test("parseDns() refuses a message that is cut anywhere", () => {
  for (let end = 0; end < ANSWER.length; end++) assertEquals(dns.parseDns(ANSWER, 0, end), null, `${end} bytes`);
});

Deno.test("parseDns() refuses counts that the bytes cannot hold", () => {
  for (const at of [4, 6, 8, 10]) {
    const message = ANSWER.slice();
    message[at] = 0xff;
    assertEquals(dns.parseDns(message, 0, message.length), null);
  }
});

Deno.test("dnsQuery() and dnsAnswer() make the two halves of a conversation", () => {
  const query = dns.dnsQuery(7, QUESTION);
  const buf = new Uint8Array(512);
  const length = dns.emitDns(query, buf, 0);
  const expected = [...hex("00 07 01 00 00 01 00 00 00 00 00 00"), ...ANSWER.subarray(12, 33)];
  assertEquals(buf.subarray(0, length), new Uint8Array(expected));
  const record = dnsAddrRecord("www.example.com", parseIpAddr("192.0.2.1")!, 60);
  const answer = dns.dnsAnswer(query, [record]);
  assertEquals([answer.id, answer.response, answer.questions], [7, true, [QUESTION]]);
  assertEquals(dns.dnsAnswer(query, [], dns.DNS_NXDOMAIN).rcode, 3);
});

Deno.test("formatDns() is one line", () => {
  const query = dns.dnsQuery(7, QUESTION);
  assertEquals(dns.formatDns(query), "dns 0007 query www.example.com A");
  const record = dnsAddrRecord("www.example.com", parseIpAddr("192.0.2.1")!, 60);
  assertEquals(
    dns.formatDns({ ...dns.dnsAnswer(query, [record]), truncated: true }),
    "dns 0007 answer noerror truncated www.example.com A: www.example.com 60 A 192.0.2.1",
  );
  assertEquals(dns.formatDns(dns.dnsAnswer(query, [], 9)), "dns 0007 answer rcode 9 www.example.com A");
});

Deno.test("DNS messages are read back as they were emitted, and as long as dnsLen() returns", () => {
  const names = fc.constantFrom(".", "a.test", "www.example.com");
  const record = fc.tuple(names, ipv4Addrs, u32).map(([name, addr, ttl]) => dnsAddrRecord(name, addr, ttl));
  const records = fc.array(record, { maxLength: 3 });
  const messages: fc.Arbitrary<dns.DnsMessage> = fc.record({
    id: u16,
    response: fc.boolean(),
    opcode: fc.nat(15),
    authoritative: fc.boolean(),
    truncated: fc.boolean(),
    recursionDesired: fc.boolean(),
    recursionAvailable: fc.boolean(),
    authenticData: fc.boolean(),
    checkingDisabled: fc.boolean(),
    rcode: fc.nat(15),
    questions: fc.array(fc.record({ name: names, type: u16, class: u16 }), { maxLength: 3 }),
    answers: records,
    authorities: records,
    additionals: records,
  });
  assertRoundTrip<dns.DnsMessage>(messages, {
    parse: dns.parseDns,
    emit(message, buf, at) {
      const length = dns.emitDns(message, buf, at);
      assertEquals(length, dns.dnsLen(message));
      return length;
    },
  });
});

Deno.test("parseDns() survives any bytes, and what it reads can be emitted", () => {
  const buf = new Uint8Array(65536);
  assertSafe((bytes, at, end) => {
    const message = dns.parseDns(bytes, at, end);
    return message && { message, length: dns.emitDns(message, buf, 0) };
  }, [ANSWER]);
});
