import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { hex, ipv4Addrs, ipv6Addrs } from "../../tests/kit/ip/wire.ts";
import {
  formatMask,
  IP_ADDR_LEN,
  IP_UNSPECIFIED,
  IpAddr,
  IPV4_BROADCAST,
  IPV4_LOOPBACK,
  IPV4_UNSPECIFIED,
  IPV6_LOOPBACK,
  parseIpAddr,
  parseIpMask,
  prefixLength,
  prefixMask,
} from "./ip_addr.ts";

/** The address that `text` must spell. */
function ip(text: string): IpAddr {
  const addr = parseIpAddr(text);
  assert(addr !== null, text);
  return addr;
}

Deno.test("IpAddr reads and writes 4 and 16 bytes, IPv4 as an IPv4-mapped address (RFC 4291 2.5.5.2)", () => {
  const bytes = hex("00 20 01 0d b8 00 00 00 00 00 00 00 00 ff 00 00 01");
  assertEquals(`${IpAddr.at(bytes, 1)}`, "2001:db8::ff00:1");
  assertEquals(`${IpAddr.v4At(bytes, 13)}`, "255.0.0.1");
  const buf = new Uint8Array(IP_ADDR_LEN + 1);
  IpAddr.at(bytes, 1).put(buf, 1);
  assertEquals(buf, bytes);
  IpAddr.v4(0xff000001).put(buf, 1);
  assertEquals(buf, hex("00 00 00 00 00 00 00 00 00 00 00 ff ff ff 00 00 01"));
  IpAddr.v4(0x0a000002).putV4(buf, 1);
  assertEquals(buf.subarray(0, 5), hex("00 0a 00 00 02"));
});

Deno.test("IpAddr prints the canonical text of RFC 5952", () => {
  const texts: [string, string][] = [
    ["2001:0db8:0:0:0:0:0:0001", "2001:db8::1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"], // 4.2.2: one group of zeros stays
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"], // 4.2.3: the first of two runs
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"], // 4.2.3: the longest
    ["2001:DB8::A", "2001:db8::a"], // 4.3
    ["::", "::"],
    ["1::", "1::"],
    ["::ffff:10.0.0.1", "10.0.0.1"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
  ];
  for (const [text, canonical] of texts) assertEquals(`${ip(text)}`, canonical);
});

Deno.test("parseIpAddr() refuses anything but an address", () => {
  const texts = [
    "",
    "1",
    "1.2.3",
    "1.2.3.4.5",
    "256.0.0.1",
    "01.2.3.4",
    "1.2.3.4 ",
    "0x1.2.3.4",
    ":",
    ":::",
    "1::2::3",
  ];
  texts.push(
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "12345::",
    "g::",
    "1:2:3:4:5:6:7:1.2.3.4",
    "1.2.3.4::",
  );
  texts.push("::1.2.3.4:5", "fe80::1%eth0", "1:", ":1");
  for (const text of texts) assertEquals(parseIpAddr(text), null, text);
});

Deno.test("IpAddr knows the special ranges of both versions", () => {
  const ranges: [keyof IpAddr, string[], string[]][] = [
    ["isV4", ["0.0.0.0", "::ffff:1.2.3.4"], ["::", "::1.2.3.4"]],
    ["isUnspecified", ["0.0.0.0", "::"], ["0.0.0.1", "::1", "1::"]],
    ["isMulticast", ["224.0.0.1", "239.255.255.255", "ff02::1"], ["223.255.255.255", "240.0.0.0", "fe80::1"]],
    ["isLoopback", ["127.0.0.1", "127.255.0.9", "::1"], ["128.0.0.1", "::", "1::1"]],
    ["isLinkLocal", ["169.254.7.7", "fe80::1", "febf::1"], ["169.253.0.1", "fec0::1"]],
    ["isLimitedBroadcast", ["255.255.255.255"], ["255.255.255.254", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]],
  ];
  for (const [property, inside, outside] of ranges) {
    for (const text of inside) assertEquals(ip(text)[property], true, `${text} ${property}`);
    for (const text of outside) assertEquals(ip(text)[property], false, `${text} ${property}`);
  }
});

Deno.test("the named addresses are what their names say", () => {
  const named = [IP_UNSPECIFIED, IPV4_UNSPECIFIED, IPV4_BROADCAST, IPV4_LOOPBACK, IPV6_LOOPBACK];
  assertEquals(named.map(String), ["::", "0.0.0.0", "255.255.255.255", "127.0.0.1", "::1"]);
});

Deno.test("and(), or() and not() make a network, its last address and its hosts", () => {
  const mask = parseIpMask("/24", true)!;
  assertEquals(`${ip("10.1.2.3").and(mask)}`, "10.1.2.0");
  assertEquals(`${ip("10.1.2.0").or(mask.not())}`, "10.1.2.255");
  assert(ip("10.1.2.3").sameNet(ip("10.1.2.200"), mask));
  assert(!ip("10.1.2.3").sameNet(ip("10.1.3.3"), mask));
  assert(!ip("::1").sameNet(ip("2::1"), parseIpMask("/64", false)!));
});

Deno.test("parseIpMask() takes a length or a contiguous mask of the right version", () => {
  assertEquals(parseIpMask("/20", true), parseIpMask("255.255.240.0", true));
  assertEquals(parseIpMask("/48", false), parseIpMask("ffff:ffff:ffff::", false));
  assertEquals(parseIpMask("/0", true), prefixMask(96));
  for (const text of ["/33", "/", "/-1", "/1e1", "255.0.255.0", "0.0.0.255", "ffff::", "24"]) {
    assertEquals(parseIpMask(text, true), null, text);
  }
  for (const text of ["/129", "255.255.255.0", "ffff::ffff"]) assertEquals(parseIpMask(text, false), null, text);
});

Deno.test("formatMask() prints a length, or the mask when it has holes", () => {
  assertEquals(formatMask(prefixMask(120), true), "/24");
  assertEquals(formatMask(prefixMask(64), false), "/64");
  assertEquals(formatMask(ip("255.0.255.0"), true), "255.0.255.0");
});

Deno.test("prefixLength() takes back every prefixMask() and refuses holes", () => {
  for (let length = 0; length <= 128; length++) assertEquals(prefixLength(prefixMask(length)), length);
  fc.assert(
    fc.property(ipv6Addrs, (mask) => {
      const length = prefixLength(mask);
      if (length !== null) assertEquals(prefixMask(length), mask);
    }),
    fuzz(100),
  );
});

Deno.test("an address survives its text and its bytes, equals itself only, and orders as a number", () => {
  const sparse = fc.array(fc.constantFrom(0, 0, 1, 0xffff, 0x10000, -1), { minLength: 4, maxLength: 4 })
    .map(([w0, w1, w2, w3]) => new IpAddr(w0!, w1!, w2!, w3!));
  const addrs = fc.oneof(ipv4Addrs, ipv6Addrs, sparse);
  const big = (a: IpAddr) => [a.w0, a.w1, a.w2, a.w3].reduce((n, w) => (n << 32n) | BigInt(w >>> 0), 0n);
  fc.assert(
    fc.property(addrs, addrs, (a, b) => {
      assertEquals(parseIpAddr(a.toString()), a);
      const buf = new Uint8Array(16);
      a.put(buf, 0);
      assertEquals(IpAddr.at(buf, 0), a);
      assertEquals(a.equals(b), big(a) === big(b));
      assertEquals(a.hash(), IpAddr.at(buf, 0).hash());
      assertEquals(Math.sign(a.compare(b)), big(a) < big(b) ? -1 : big(a) > big(b) ? 1 : 0);
      assertEquals(a.not().not(), a);
    }),
    fuzz(300),
  );
});

Deno.test("parseIpAddr() survives any text", () => {
  const texts = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom("1", "f", ":", "::", ".", "255") }));
  fc.assert(
    fc.property(texts, (text) => {
      const addr = parseIpAddr(text);
      if (addr !== null) assertEquals(parseIpAddr(addr.toString()), addr);
    }),
    fuzz(300),
  );
});
