import { assert, assertEquals } from "@std/assert";
import { parseDnsName } from "../../../kernel/wire/dns_name.ts";
import { ip } from "../../../tests/kit/ip/ip_fixture.ts";
import { dhcp6Options } from "../../../tests/kit/nat/dhcp6.ts";
import { HOST_MAC } from "../config.ts";
import { answerDhcp6, DHCP6_INFORMATION_REQUEST, DHCP6_OPTION_DNS_SERVERS, DHCP6_OPTION_DOMAIN_LIST } from "./dhcp6.ts";

const ASK = new Uint8Array([DHCP6_INFORMATION_REQUEST, 1, 2, 3]);

/** The options of the reply to an information request. */
function told(search: readonly string[]): Map<number, Uint8Array> {
  const reply = answerDhcp6({ mac: HOST_MAC, nameServers: [ip("fd00:0:0:2::3")], search }, ASK, 0, ASK.length)!;
  return dhcp6Options(reply);
}

Deno.test("DHCPv6 tells name server and domains, uncompressed; of too many the first (RFC 3646, 8415 10)", () => {
  assertEquals(told([]).get(DHCP6_OPTION_DNS_SERVERS)?.length, 16);
  assertEquals(told([]).has(DHCP6_OPTION_DOMAIN_LIST), false);
  const search = Array.from({ length: 5000 }, (_, i) => `sub${i}.example.org`);
  const bytes = told(search).get(DHCP6_OPTION_DOMAIN_LIST)!;
  assert(bytes.length <= 1024 && bytes.length > 1000);
  const names: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const one = parseDnsName(bytes, at, bytes.length, at)!;
    names.push(one.name);
    at = one.next;
  }
  assertEquals(names, search.slice(0, names.length));
});
