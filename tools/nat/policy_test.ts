/** What a guest may reach: what is off unless asked for, lists, restrict, and the text of rules. */

import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { KernelError } from "../../kernel/error.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { ipv4Addrs, u16 } from "../../tests/kit/ip/wire.ts";
import { REASON_NAMES } from "./counters.ts";
import { formatRule, NatPolicy, parsePolicyRule, type PolicyOptions, RULES_MAX } from "./policy.ts";

const TCP = 6;
const UDP = 17;

const why = (options: PolicyOptions, addr: string, port = 80, protocol = TCP) =>
  REASON_NAMES[new NatPolicy(options).check(protocol, ip(addr).w3, port)];

Deno.test("Unless asked for: no loopback, no link-local, no metadata; everything else is open", () => {
  const table: [string, string][] = [
    ["127.0.0.1", "policy-loopback"],
    ["127.9.9.9", "policy-loopback"],
    ["169.254.0.1", "policy-link-local"],
    ["169.254.169.254", "policy-metadata"],
    ["0.0.0.0", "destination"],
    ["0.1.2.3", "destination"],
    ["224.0.0.1", "destination"],
    ["255.255.255.255", "destination"],
    ["240.0.0.1", "destination"],
    ["10.0.0.1", "none"],
    ["8.8.8.8", "none"],
    ["223.255.255.255", "none"],
  ];
  for (const [addr, expected] of table) assertEquals([addr, why({}, addr)], [addr, expected]);
});

Deno.test("Each switch opens its own range and no other", () => {
  assertEquals([why({ linkLocal: true }, "169.254.1.1"), why({ linkLocal: true }, "169.254.169.254")], [
    "none",
    "policy-metadata",
  ]);
  assertEquals([why({ metadata: true }, "169.254.169.254"), why({ metadata: true }, "169.254.1.1")], [
    "none",
    "policy-link-local",
  ]);
  for (const addr of ["10.1.1.1", "172.31.0.1", "192.168.1.1", "100.127.0.1"]) {
    assertEquals([why({ private: false }, addr), why({ private: false, allow: [addr] }, addr)], [
      "policy-private",
      "none",
    ]);
  }
  assertEquals(["172.32.0.1", "100.128.0.1", "11.0.0.1"].map((addr) => why({ private: false }, addr)), [
    "none",
    "none",
    "none",
  ]);
});

Deno.test("A rule of the allow list asks for what is off only if it names it", () => {
  assertEquals(why({ allow: ["169.254.169.254"] }, "169.254.169.254"), "none");
  assertEquals(why({ allow: ["127.0.0.1"] }, "127.0.0.1"), "policy-loopback");
  assertEquals(why({ allow: ["0.0.0.0/0"] }, "169.254.169.254"), "policy-metadata");
  assertEquals(why({ allow: ["169.254.0.0/16"] }, "169.254.169.254"), "policy-metadata");
  assertEquals(why({ allow: ["*", "169.254.0.0/16"] }, "169.254.3.3"), "none");
});

Deno.test("restrict leaves what is allowed by protocol, network and port; deny wins over all", () => {
  const options = { restrict: true, allow: ["tcp:192.0.2.0/24:80-443", "udp:*:53"], deny: ["192.0.2.66"] };
  const table: [string, number, number, string][] = [
    ["192.0.2.1", 80, TCP, "none"],
    ["192.0.2.1", 443, TCP, "none"],
    ["192.0.2.1", 444, TCP, "policy-restricted"],
    ["192.0.2.1", 80, UDP, "policy-restricted"],
    ["192.0.3.1", 80, TCP, "policy-restricted"],
    ["9.9.9.9", 53, UDP, "none"],
    ["9.9.9.9", 53, 1, "policy-restricted"],
    ["192.0.2.66", 80, TCP, "policy-denied"],
  ];
  for (const [addr, port, protocol, expected] of table) {
    assertEquals([addr, port, why(options, addr, port, protocol)], [addr, port, expected]);
  }
});

Deno.test("The host: its loopback by the router's address, its own addresses, its name server", () => {
  const router = ip("10.0.2.2").w3;
  const loopback = (options: PolicyOptions) => REASON_NAMES[new NatPolicy(options).checkLoopback(TCP, router, 22)];
  assertEquals([{}, { loopback: true }, { allow: ["10.0.2.2"] }, { allow: ["tcp:10.0.2.2:22"] }].map(loopback), [
    ...["policy-loopback", "none", "none", "none"],
  ]);
  assertEquals([{ allow: ["10.0.0.0/8"] }, { loopback: true, deny: ["*:10.0.2.2:22"] }].map(loopback), [
    ...["policy-loopback", "policy-denied"],
  ]);
  const host = (options: PolicyOptions) => REASON_NAMES[new NatPolicy(options).checkHost(TCP, ip("10.0.0.1").w3, 22)];
  assertEquals(
    [{}, { host: false }, { host: false, allow: ["10.0.0.1"] }, { restrict: true }, { deny: ["10.0.0.1"] }].map(host),
    [
      ...["none", "policy-host", "none", "policy-restricted", "policy-denied"],
    ],
  );
  const dns = (options: PolicyOptions) => REASON_NAMES[new NatPolicy(options).checkNamed(UDP, ip("10.0.2.3").w3, 53)];
  assertEquals(
    [{}, { restrict: true }, { restrict: true, allow: ["udp:10.0.2.3:53"] }, { deny: ["udp:*:53"] }].map(dns),
    [
      ...["none", "policy-restricted", "none", "policy-denied"],
    ],
  );
});

Deno.test("A rule is printed as it is read", () => {
  assertEquals(formatRule(parsePolicyRule("tcp:192.0.2.7/24:80-443")), "tcp:192.0.2.0/24:80-443");
  assertEquals(formatRule(parsePolicyRule("*")), "any:0.0.0.0/0");
  fc.assert(
    fc.property(
      fc.constantFrom("tcp", "udp", "icmp", "any"),
      ipv4Addrs,
      fc.nat(32),
      u16,
      u16,
      (proto, addr, length, a, b) => {
        const rule = parsePolicyRule(`${proto}:${addr}/${length}:${Math.min(a, b)}-${Math.max(a, b)}`);
        assertEquals(parsePolicyRule(formatRule(rule)), rule);
      },
    ),
    fuzz(200),
  );
});

Deno.test("Rules that cannot be read are refused, whatever the text", () => {
  for (
    const text of [
      "",
      "tcp:x",
      "10.0.0.0/33",
      "10.0.0.0/8:99999",
      "1.2.3.4:9-8",
      "a:b:c:d",
      "fe80::1",
      "10.0.0.1/8/8",
    ]
  ) {
    assertEquals([text, assertThrows(() => parsePolicyRule(text), KernelError).code], [text, "EINVAL"]);
  }
  assertThrows(() => new NatPolicy({ deny: new Array(RULES_MAX + 1).fill("*") }), KernelError);
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        parsePolicyRule(text);
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
      }
    }),
    fuzz(300),
  );
});

Deno.test("What is open is said in words", () => {
  assertEquals(new NatPolicy().lines(), [
    "everything but the host by the router's address, loopback, metadata, link-local",
  ]);
  assertEquals(new NatPolicy({ restrict: true, allow: ["udp:*:53"] }).lines(), [
    "restricted: only what is allowed below",
    "allow udp:0.0.0.0/0:53",
  ]);
});
