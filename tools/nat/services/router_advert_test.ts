import { assert, assertEquals } from "@std/assert";
import { SeededRandom } from "../../../kernel/random.ts";
import { parseDnsName } from "../../../kernel/wire/dns_name.ts";
import { parseNd, type RouterAdvert } from "../../../kernel/wire/nd.ts";
import { HOST_MAC } from "../config.ts";
import { ip } from "../../../tests/kit/ip/ip_fixture.ts";
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
});

Deno.test("Of more domains than fit the link, or one option, the first are advertised (RFC 8106 5.2, RFC 6980)", () => {
  const many = Array.from({ length: 99 }, (_, i) => `${"y".repeat(60)}.${i}.example`);
  for (const [mtu, length] of [[1280, 1280 - 40], [1500, 1500 - 40], [9000, 2040]] as const) {
    const bare = routerAdvert({ ...LINK, mtu }).length;
    const named = routerAdvert({ ...LINK, mtu, search: many });
    const room = mtu === 9000 ? bare + length : length;
    assert(named.length <= room && named.length > room - 80, `${mtu}: ${named.length}`);
    assert(parseNd(named, 0, named.length) !== null);
    const last = parseDnsName(named, bare + 8, named.length, 0);
    assertEquals(last?.name, many[0]);
  }
});

Deno.test("AdvertTimer is due at once, then when its time has come, and never twice", () => {
  const timer = new AdvertTimer(new SeededRandom(1));
  assertEquals([timer.take(0), timer.take(0), timer.take(15_999), timer.take(16_000)], [true, false, false, true]);
});
