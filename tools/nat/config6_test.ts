import { assertEquals, assertThrows } from "@std/assert";
import { KernelError } from "../../kernel/error.ts";
import type { NatOptions } from "./nat.ts";
import { natConfig } from "./config.ts";

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
