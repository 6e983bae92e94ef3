import { assert, assertEquals } from "@std/assert";
import { SeededRandom } from "../../../kernel/random.ts";
import { parseNd, type RouterAdvert } from "../../../kernel/wire/nd.ts";
import { HOST_MAC } from "../nat/config.ts";
import { ip } from "../../../tests/kit/ip_fixture.ts";
import { AdvertTimer, LIFETIME_S, routerAdvert } from "./router_advert.ts";

const LINK = { mac: HOST_MAC, mtu: 1500, prefix: ip("fd00:0:0:2::"), nameServers: [], search: [] };

Deno.test("routerAdvert() leaves out what there is not, and names that cannot be written", () => {
  const bare = routerAdvert(LINK);
  const advert = parseNd(bare, 0, bare.length) as RouterAdvert;
  assertEquals([advert.dnsServers, advert.otherConfig, advert.lifetimeS], [[], false, LIFETIME_S]);
  assertEquals(routerAdvert({ ...LINK, search: ["a..b", "x".repeat(64)] }).length, bare.length);
  const named = routerAdvert({ ...LINK, nameServers: [ip("fd00:0:0:2::3")], search: ["example"] });
  assertEquals(named.length, bare.length + 24 + 24);
  assert(parseNd(named, 0, named.length) !== null);
  // More than an option can hold: none.
  const many = Array.from({ length: 40 }, (_, i) => `${"y".repeat(60)}.${i}.example`);
  assertEquals(routerAdvert({ ...LINK, search: many }).length, bare.length);
});

Deno.test("AdvertTimer is due at once, then when its time has come, and never twice", () => {
  const timer = new AdvertTimer(new SeededRandom(1));
  assertEquals([timer.take(0), timer.take(0), timer.take(15_999), timer.take(16_000)], [true, false, false, true]);
});
