import { assert, assertEquals, assertThrows } from "@std/assert";
import { KernelError } from "../../../kernel/error.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import { MapProto } from "../map.ts";
import type { NatOptions } from "../nat.ts";
import { natConfig } from "../config.ts";
import { formatRule6, NatPolicy, parsePolicyRule6 } from "../policy.ts";
import { Reason } from "../counters.ts";
import { ip } from "../../../tests/kit/ip/ip_fixture.ts";
import { AddrKey } from "./addr_key.ts";
import { Policy6 } from "./policy6.ts";

function config(v6: NatOptions["v6"], rest: Partial<NatOptions> = {}) {
  return natConfig({ hostAddr: "10.0.0.1/24", v6: v6 ?? null, ...rest });
}

Deno.test("natConfig() has no IPv6 unless it is asked for, and fills in the rest if it is", () => {
  assertEquals(config(null).v6, null);
  const { router, dns, linkLocal, subnet, mss } = config({ hostAddr: "2001:db8::2/64" }).v6!;
  assertEquals([router, dns, linkLocal, subnet].map(String), [
    ...["fd00:0:0:2::2", "fd00:0:0:2::3", "fe80::201:2ff:fe03:40a", "fd00:0:0:2::"],
  ]);
  assertEquals(mss, 1440);
  assertEquals(config({ hostAddr: "2001:db8::2/64" }, { dns: null }).v6!.dns, null);
});

Deno.test("natConfig() refuses IPv6 that cannot be", () => {
  const bad: [NatOptions["v6"], Partial<NatOptions>?][] = [
    [{ hostAddr: "10.0.0.1/24" }],
    [{ hostAddr: "fe80::1/64" }],
    [{ hostAddr: "2001:db8::2/129" }],
    [{ hostAddr: "fd00:0:0:2::9/64" }],
    [{ hostAddr: "fd00::9/32" }],
    [{ hostAddr: "2001:db8::2/64", subnet: "fd00::/48" }],
    [{ hostAddr: "2001:db8::2/64", subnet: "10.0.2.0/24" }],
    [{ hostAddr: "2001:db8::2/64" }, { mtu: 1279 }],
    [{ hostAddr: "2001:db8::2/64" }, { style: "real", subnet: "10.0.0.0/24", router: "10.0.0.254" }],
  ];
  for (const [v6, rest] of bad) assertEquals(assertThrows(() => config(v6, rest), KernelError).code, "EINVAL");
});

Deno.test("AddrKey gives addresses numbers of 31 bits under a secret: alike ones differ, secrets differ", () => {
  const keys = new AddrKey(new SeededRandom(7));
  const other = new AddrKey(new SeededRandom(8));
  const seen = new Set<number>();
  for (let i = 0; i < 4096; i++) {
    const addr = ip(`2001:db8::${i.toString(16)}`);
    const key = keys.of(addr);
    assert(Number.isInteger(key) && key >= 0 && key < 0x7fffffff);
    seen.add(key);
    assert(key !== other.of(addr));
  }
  assertEquals(seen.size, 4096);
  assert(keys.ofGuest(ip("fd00::1")) > 0xffffffff);
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
  ) assertEquals(formatRule6(parsePolicyRule6(text)), shown);
  for (const text of ["[10.0.0.1]", "[2001:db8::/129]", "[nonsense]", "tcp:[::1", "[::1]:99999", "x:[::1]:1", "[]"]) {
    assertThrows(() => new NatPolicy({ allow: [text] }), KernelError);
  }
});

Deno.test("The policy for IPv6: what is off, what a rule opens, what restrict leaves", () => {
  const check = (options: ConstructorParameters<typeof NatPolicy>[0], addr: string, port = 80) =>
    new Policy6(new NatPolicy(options), options ?? {}, true).check(6, ip(addr), port);
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
    new Policy6(new NatPolicy(options), options, has).checkLoopback(6, ip("fd00:0:0:2::2"), 80);
  assertEquals([loopback({}, true), loopback({ loopback: true }, true), loopback({ loopback: true }, false)], [
    ...[Reason.Loopback, Reason.None, Reason.Loopback],
  ]);
  assertEquals(loopback({ allow: ["tcp:[fd00:0:0:2::2]:80"] }, true), Reason.None);
  assertEquals(MapProto.Tcp, 1);
});
