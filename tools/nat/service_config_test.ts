import { assertEquals } from "@std/assert";
import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import { natConfig } from "./config.ts";
import { dhcpConfig, namesFor, zone6Of, zoneOf } from "./service_config.ts";

const config = natConfig({ hostAddr: "10.0.0.1/24", v6: { hostAddr: "2001:db8::2/64" }, search: ["a.test", "b.test"] });

/** Names of a zone with their addresses as text. */
function texts(zone: ReturnType<typeof zoneOf>): Record<string, string> {
  return Object.fromEntries([...zone].map(([name, addr]) => [name, `${addr}`]));
}

Deno.test("dhcpConfig() deals addresses from the first lease to the last host of the network", () => {
  const { first, last, router, taken, nameServers, domain } = dhcpConfig(config);
  assertEquals(
    { first: `${first}`, last: `${last}`, router: `${router}`, taken: `${taken}`, servers: `${nameServers}`, domain },
    {
      first: "10.0.2.15",
      last: "10.0.2.254",
      router: "10.0.2.2",
      taken: "10.0.2.2,10.0.2.3",
      servers: "10.0.2.3",
      domain: "a.test",
    },
  );
});

Deno.test("namesFor() gives guests the host's IPv4 servers where the NAT answers for none", () => {
  const servers = ["192.0.2.53", "2001:db8::53"].map((text) => parseIpAddr(text)!);
  const names = namesFor(natConfig({ hostAddr: "10.0.0.1/24", dns: null }), servers, []);
  assertEquals({ servers: `${names.nameServers}`, domain: names.domain }, { servers: "192.0.2.53", domain: "" });
});

Deno.test("zoneOf() and zone6Of() have the router and the name server, of each version its own", () => {
  const { zoneName } = config;
  const own = texts(zoneOf(config));
  assertEquals({ gateway: own[`gateway.${zoneName}`], dns: own[`dns.${zoneName}`] }, {
    gateway: "10.0.2.2",
    dns: "10.0.2.3",
  });
  assertEquals(texts(zone6Of(config)), {
    [`gateway.${zoneName}`]: "fd00:0:0:2::2",
    [`dns.${zoneName}`]: "fd00:0:0:2::3",
  });
  assertEquals(zoneOf(natConfig({ hostAddr: "10.0.0.1/24", dns: null })).size, 0);
});
