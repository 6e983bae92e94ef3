/** What a guest may reach: what is off unless asked for, lists, restrict, and the text of rules. */

import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { KernelError } from "../../kernel/error.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { ipv4Addrs, u16 } from "../../tests/kit/ip/wire.ts";
import { Reason, REASON_NAMES } from "./counters.ts";
import { NatPolicy, type PolicyOptions } from "./policy.ts";
import { formatRule, parseRules, type PolicyRule, RULES_MAX } from "./policy_rule.ts";

const TCP = 6;
const UDP = 17;

const why = (options: PolicyOptions, addr: string, port = 80, protocol = TCP) =>
  REASON_NAMES[new NatPolicy(options).check(protocol, ip(addr), port)];

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
  const router = ip("10.0.2.2");
  const loopback = (options: PolicyOptions) => REASON_NAMES[new NatPolicy(options).checkLoopback(TCP, router, 22)];
  assertEquals([{}, { loopback: true }, { allow: ["10.0.2.2"] }, { allow: ["tcp:10.0.2.2:22"] }].map(loopback), [
    ...["policy-loopback", "none", "none", "none"],
  ]);
  assertEquals([{ allow: ["10.0.0.0/8"] }, { loopback: true, deny: ["*:10.0.2.2:22"] }].map(loopback), [
    ...["policy-loopback", "policy-denied"],
  ]);
  const host = (options: PolicyOptions) => REASON_NAMES[new NatPolicy(options).checkHost(TCP, ip("10.0.0.1"), 22)];
  assertEquals(
    [{}, { host: false }, { host: false, allow: ["10.0.0.1"] }, { restrict: true }, { deny: ["10.0.0.1"] }].map(host),
    [
      ...["none", "policy-host", "none", "policy-restricted", "policy-denied"],
    ],
  );
  const dns = (options: PolicyOptions) => REASON_NAMES[new NatPolicy(options).checkNamed(UDP, ip("10.0.2.3"), 53)];
  assertEquals(
    [{}, { restrict: true }, { restrict: true, allow: ["udp:10.0.2.3:53"] }, { deny: ["udp:*:53"] }].map(dns),
    [
      ...["none", "policy-restricted", "none", "policy-denied"],
    ],
  );
});

/** One rule as a list of one has it. */
function ruleOf(text: string): PolicyRule {
  return parseRules([text])[0]!;
}

Deno.test("A rule is printed as it is read", () => {
  assertEquals(formatRule(ruleOf("tcp:192.0.2.7/24:80-443")), "tcp:192.0.2.0/24:80-443");
  assertEquals(formatRule(ruleOf("*")), "any:0.0.0.0/0");
  fc.assert(
    fc.property(
      fc.constantFrom("tcp", "udp", "icmp", "any"),
      ipv4Addrs,
      fc.nat(32),
      u16,
      u16,
      (proto, addr, length, a, b) => {
        const rule = ruleOf(`${proto}:${addr}/${length}:${Math.min(a, b)}-${Math.max(a, b)}`);
        assertEquals(ruleOf(formatRule(rule)), rule);
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
    assertEquals([text, assertThrows(() => ruleOf(text), KernelError).code], [text, "EINVAL"]);
  }
  assertThrows(() => new NatPolicy({ deny: new Array(RULES_MAX + 1).fill("*") }), KernelError);
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        ruleOf(text);
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

Deno.test("Rules about IPv6 stand in brackets, and are shown as they are read", () => {
  for (
    const [text, shown] of [
      ["tcp:[2001:db8::/32]:443", "tcp:[2001:db8::/32]:443"],
      ["[2001:db8::1]", "any:[2001:db8::1/128]"],
      ["*:[fd00::/8]:*", "any:[fd00::/8]"],
      ["icmp:[2001:db8:ffff::1/48]", "icmp:[2001:db8:ffff::/48]"],
      ["udp:[::/0]:1-99", "udp:[::/0]:1-99"],
    ] as const
  ) assertEquals(formatRule(ruleOf(text)), shown);
  for (const text of ["[10.0.0.1]", "[2001:db8::/129]", "[nonsense]", "tcp:[::1", "[::1]:99999", "x:[::1]:1", "[]"]) {
    assertThrows(() => new NatPolicy({ allow: [text] }), KernelError);
  }
});

Deno.test("The policy for IPv6: what is off, what a rule opens, what restrict leaves", () => {
  const check = (options: PolicyOptions, addr: string, port = 80) => new NatPolicy(options, 6).check(6, ip(addr), port);
  assertEquals(check({}, "2001:db8::1"), Reason.None);
  assertEquals(check({}, "fd12::1"), Reason.None);
  assertEquals(check({ private: false }, "fd12::1"), Reason.Private);
  assertEquals(check({ private: false, allow: ["[fd12::/16]"] }, "fd12::1"), Reason.None);
  assertEquals(check({ private: false, allow: ["*"] }, "fd12::1"), Reason.Private);
  assertEquals(check({}, "fd00:ec2::254"), Reason.Metadata);
  assertEquals(check({ metadata: true }, "fd00:ec2::254"), Reason.None);
  assertEquals(check({ allow: ["tcp:[fd00:ec2::254]:80"] }, "fd00:ec2::254"), Reason.None);
  assertEquals(check({ allow: ["[::1]", "[fe80::/10]"], linkLocal: true }, "::1"), Reason.Loopback);
  assertEquals(check({ allow: ["[fe80::/10]"], linkLocal: true }, "fe80::9"), Reason.LinkLocal);
  assertEquals(check({ allow: ["[ff00::/8]"] }, "ff0e::1"), Reason.Destination);
  assertEquals(check({ restrict: true }, "2001:db8::1"), Reason.Restricted);
  assertEquals(check({ restrict: true, allow: ["tcp:*:443"] }, "2001:db8::1", 443), Reason.None);
  assertEquals(check({ restrict: true, allow: ["tcp:10.0.0.0/8:443"] }, "2001:db8::1", 443), Reason.Restricted);
  assertEquals(check({ deny: ["*"], allow: ["[2001:db8::1]"] }, "2001:db8::1"), Reason.Denied);
  const loopback = (options: { loopback?: boolean; allow?: string[] }, has: boolean) =>
    new NatPolicy(options, 6, has).checkLoopback(6, ip("fd00:0:0:2::2"), 80);
  assertEquals([loopback({}, true), loopback({ loopback: true }, true), loopback({ loopback: true }, false)], [
    ...[Reason.Loopback, Reason.None, Reason.Loopback],
  ]);
  assertEquals(loopback({ allow: ["tcp:[fd00:0:0:2::2]:80"] }, true), Reason.None);
});

Deno.test("Both versions ask in one order: no destination, denied, off, allowed, restricted", () => {
  const rows: { version: 4 | 6; never: string; loopback: string; linkLocal: string; metadata: string; far: string }[] =
    [
      {
        version: 4,
        never: "224.0.0.1",
        loopback: "127.0.0.1",
        linkLocal: "169.254.1.1",
        metadata: "169.254.169.254",
        far: "192.0.2.9",
      },
      {
        version: 6,
        never: "ff0e::1",
        loopback: "::1",
        linkLocal: "fe80::9",
        metadata: "fd00:ec2::254",
        far: "2001:db8::9",
      },
    ];
  for (const { version, never, loopback, linkLocal, metadata, far } of rows) {
    const of = (options: PolicyOptions) => {
      const policy = new NatPolicy(options, version);
      const reason = (addr: string) => REASON_NAMES[policy.check(TCP, ip(addr), 80)];
      return {
        never: reason(never),
        loopback: reason(loopback),
        linkLocal: reason(linkLocal),
        metadata: reason(metadata),
        far: reason(far),
      };
    };
    const bracket = (addr: string) => version === 6 ? `[${addr}]` : addr;
    assertEquals(of({ deny: ["*"], allow: [bracket(far)] }), {
      never: "destination",
      loopback: "policy-denied",
      linkLocal: "policy-denied",
      metadata: "policy-denied",
      far: "policy-denied",
    });
    assertEquals(of({ restrict: true, allow: [bracket(metadata)] }), {
      never: "destination",
      loopback: "policy-loopback",
      linkLocal: "policy-link-local",
      metadata: "none",
      far: "policy-restricted",
    });
  }
});

Deno.test("A rule about every address of IPv6 is not one about IPv4", () => {
  assertEquals(why({ restrict: true, allow: ["tcp:[::/0]:80"] }, "192.0.2.9"), "policy-restricted");
  assertEquals(
    new NatPolicy({ restrict: true, allow: ["tcp:[::/0]:80"] }, 6).check(TCP, ip("2001:db8::9"), 80),
    Reason.None,
  );
  assertEquals(new NatPolicy({ deny: ["tcp:[::/0]:80"] }, 6).lines(), ["deny tcp:[::/0]:80"]);
});
