import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { assertRoundTrip, assertSafe, hex, ipv4Addrs, ipv6Addrs, u16, u32 } from "../../tests/kit/ip/wire.ts";
import * as dns from "./dns_record.ts";
import { parseIpAddr } from "./ip_addr.ts";

/** Reads a record that stands alone. */
function parse(buf: Uint8Array, at: number, end: number): dns.DnsRecord | null {
  return dns.parseDnsRecord(buf, at, end, at)?.record ?? null;
}

const SOA = hex(`
  00 00 06 00 01     # the root's SOA, class IN
  00 01 51 80 00 40  # 86400 s, 64 bytes
  01 61 0c 72 6f 6f 74 2d 73 65 72 76 65 72 73 03 6e 65 74 00              # a.root-servers.net
  05 6e 73 74 6c 64 0c 76 65 72 69 73 69 67 6e 2d 67 72 73 03 63 6f 6d 00  # nstld.verisign-grs.com
  78 a3 f4 01 00 00 07 08 00 00 03 84 00 09 3a 80 00 01 51 80
`);

Deno.test("parseDnsRecord() reads a SOA", () => {
  const soa = {
    mname: "a.root-servers.net",
    rname: "nstld.verisign-grs.com",
    serial: 2024010753,
    refresh: 1800,
    retry: 900,
    expire: 604800,
    minimum: 86400,
  };
  assertEquals(dns.parseDnsRecord(SOA, 0, SOA.length, 0), {
    record: { name: ".", type: dns.DNS_TYPE_SOA, class: 1, ttl: 86400, data: { kind: "soa", soa } },
    next: SOA.length,
  });
});

Deno.test("parseDnsRecord() refuses data that does not fill its length", () => {
  const broken = [
    ["an A of 5 bytes", "00 0001 0001 00000000 0005 0a00000100"],
    ["an AAAA of 4 bytes", "00 001c 0001 00000000 0004 0a000001"],
    ["a CNAME and a byte more", "00 0005 0001 00000000 0004 01 61 00 00"],
    ["an MX of 1 byte", "00 000f 0001 00000000 0001 00"],
    ["an SRV without a target", "00 0021 0001 00000000 0006 000000000000"],
    ["a text that leads out", "00 0010 0001 00000000 0002 02 61"],
    ["a SOA that is cut", "00 0006 0001 00000000 0004 00 00 0000"],
    ["data that leads out", "00 0001 0001 00000000 0004 0a0000"],
    ["no room for a length", "00 0001 0001 00000000 00"],
  ];
  for (const [what, text] of broken) {
    const bytes = hex(text!);
    assertEquals(parse(bytes, 0, bytes.length), null, what);
  }
});

Deno.test("dnsAddrRecord() and dnsNameRecord() make the usual records", () => {
  assertEquals(dns.dnsAddrRecord("a.test", parseIpAddr("192.0.2.1")!, 60).type, dns.DNS_TYPE_A);
  assertEquals(dns.dnsAddrRecord("a.test", parseIpAddr("2001:db8::1")!, 60).type, dns.DNS_TYPE_AAAA);
  const pointer = dns.dnsNameRecord("1.2.0.192.in-addr.arpa", dns.DNS_TYPE_PTR, "a.test", 60);
  assertEquals(dns.formatDnsRecord(pointer), "1.2.0.192.in-addr.arpa 60 PTR a.test");
});

Deno.test("findDnsEdns() takes back what dnsOptRecord() says", () => {
  const edns = { udpSize: 1232, dnssecOk: true, extendedRcode: 0xff, version: 3 };
  assertEquals(dns.findDnsEdns([dns.dnsOptRecord(edns)]), edns);
  assertEquals(dns.findDnsEdns([]), null);
});

Deno.test("emitDnsRecord() throws at a name that is none: only a program can have made it", () => {
  const record = dns.dnsNameRecord("a..b", dns.DNS_TYPE_CNAME, "a.test", 60);
  assertThrows(() => dns.emitDnsRecord(record, new Uint8Array(100), 0), RangeError, 'Cannot encode "a..b"');
  assertThrows(() => dns.nameBytes(""), RangeError);
});

Deno.test("formatDnsRecord() prints every kind of data", () => {
  const of = (type: number, data: dns.DnsData) => dns.formatDnsRecord({ name: "a", type, class: 1, ttl: 5, data });
  assertEquals(of(1, { kind: "addr", addr: parseIpAddr("192.0.2.1")! }), "a 5 A 192.0.2.1");
  assertEquals(of(15, { kind: "mx", preference: 10, exchange: "m" }), "a 5 MX 10 m");
  assertEquals(of(33, { kind: "srv", priority: 1, weight: 2, port: 443, target: "s" }), "a 5 SRV 1 2 443 s");
  assertEquals(of(16, { kind: "txt", texts: [hex("68 69"), hex("22")] }), 'a 5 TXT "hi" "\\""');
  assertEquals(of(65, { kind: "raw", bytes: hex("00 01") }), "a 5 TYPE65 0001");
  const soa = parse(SOA, 0, SOA.length)!;
  assertEquals(dns.formatDnsRecord(soa), ". 86400 SOA a.root-servers.net nstld.verisign-grs.com 2024010753");
  assertEquals(dns.formatDnsType(dns.DNS_TYPE_ANY), "ANY");
});

Deno.test("records of every kind are read back as they were emitted, and as long as dnsRecordLen() returns", () => {
  const names = fc.constantFrom(".", "a.test", "x\\.y.example.com", "www.example.com");
  const bytes = fc.uint8Array({ maxLength: 100 });
  const raw = fc.record({ kind: fc.constant("raw" as const), bytes });
  const data: fc.Arbitrary<[number, dns.DnsData]> = fc.oneof(
    ipv4Addrs.map((addr): [number, dns.DnsData] => [dns.DNS_TYPE_A, { kind: "addr", addr }]),
    fc.oneof(ipv4Addrs, ipv6Addrs).map((addr): [number, dns.DnsData] => [dns.DNS_TYPE_AAAA, { kind: "addr", addr }]),
    fc.tuple(
      fc.constantFrom(dns.DNS_TYPE_CNAME, dns.DNS_TYPE_NS, dns.DNS_TYPE_PTR),
      fc.record({ kind: fc.constant("name" as const), name: names }),
    ),
    fc.tuple(
      fc.constant(dns.DNS_TYPE_MX),
      fc.record({ kind: fc.constant("mx" as const), preference: u16, exchange: names }),
    ),
    fc.tuple(
      fc.constant(dns.DNS_TYPE_SRV),
      fc.record({ kind: fc.constant("srv" as const), priority: u16, weight: u16, port: u16, target: names }),
    ),
    fc.tuple(
      fc.constant(dns.DNS_TYPE_SOA),
      fc.record({ mname: names, rname: names, serial: u32, refresh: u32, retry: u32, expire: u32, minimum: u32 })
        .map((soa): dns.DnsData => ({ kind: "soa", soa })),
    ),
    fc.tuple(
      fc.constant(dns.DNS_TYPE_TXT),
      fc.record({ kind: fc.constant("txt" as const), texts: fc.array(bytes, { maxLength: 4 }) }),
    ),
    fc.tuple(fc.constantFrom(dns.DNS_TYPE_OPT, 64, 65, 250), raw),
  );
  const records = fc.tuple(names, data, u16, u32).map(([name, [type, said], klass, ttl]): dns.DnsRecord => {
    return { name, type, class: klass, ttl, data: said };
  });
  assertRoundTrip<dns.DnsRecord>(records, {
    parse,
    emit(record, buf, at) {
      const length = dns.emitDnsRecord(record, buf, at);
      assertEquals(length, dns.dnsRecordLen(record));
      return length;
    },
  });
});

Deno.test("parseDnsRecord() survives any bytes", () => {
  assertSafe(parse, [SOA]);
  // Every type with data of its own, not only those that chance brings up.
  const types = ["01", "02", "05", "06", "0c", "0f", "10", "1c", "21", "29"];
  assertSafe(parse, types.map((type) => hex(`00 00${type} 0001 00000000 0010 ${"01".repeat(16)}`)));
});
