/** Which IPv6 address of an interface speaks to a destination (RFC 6724 5). */

import { assertEquals } from "@std/assert";
import { MASK_64 } from "../../../kernel/inet/addr6.ts";
import { ip } from "../../../tests/kit/ip/packets.ts";
import { Iplifc } from "../link/iplifc.ts";
import { source6 } from "./source6.ts";

function lifc(local: string, change: Partial<Iplifc> = {}): Iplifc {
  const one = new Iplifc({ local: ip(local), mask: MASK_64, remote: ip(local), proxy: false });
  return Object.assign(one, change);
}

function chosen(lifcs: readonly Iplifc[], dst: string): string | null {
  return source6(lifcs, ip(dst))?.toString() ?? null;
}

Deno.test("source6() takes the narrowest scope that is wide enough, else the widest (rule 2)", () => {
  const lifcs = [lifc("2001:db8::1"), lifc("fe80::1")];
  for (const order of [lifcs, lifcs.toReversed()]) {
    const to = ["fe80::9", "ff02::1", "ff05::1", "2001:db9::9"].map((dst) => chosen(order, dst));
    assertEquals(to, ["fe80::1", "fe80::1", "2001:db8::1", "2001:db8::1"]);
  }
  assertEquals(chosen([lifc("fe80::1")], "2001:db9::9"), "fe80::1");
});

Deno.test("source6() takes the destination itself, if it is ours", () => {
  assertEquals(chosen([lifc("2001:db8::1"), lifc("2001:db8:0:1::5")], "2001:db8:0:1::5"), "2001:db8:0:1::5");
});

Deno.test("source6() avoids deprecated addresses (rule 3) and prefers likeness (rules 6 and 8)", () => {
  const old = lifc("2001:db8::1", { isDeprecated: true });
  assertEquals(chosen([old, lifc("2001:db8:9::1")], "2001:db8::9"), "2001:db8:9::1");
  assertEquals(chosen([lifc("fd00::1"), lifc("2001:db8::1")], "fd01::9"), "fd00::1");
  assertEquals(chosen([lifc("fd00::1"), lifc("2001:db8::1")], "2001:db9::9"), "2001:db8::1");
  assertEquals(chosen([lifc("2001:db8:1::1"), lifc("2001:db8:2::1")], "2001:db8:2:1::9"), "2001:db8:2::1");
});

Deno.test("source6() takes no tentative address, no IPv4 address and not the unspecified one", () => {
  assertEquals(chosen([lifc("2001:db8::1", { tentative: true }), lifc("10.0.0.1"), lifc("::")], "2001:db8::9"), null);
});
