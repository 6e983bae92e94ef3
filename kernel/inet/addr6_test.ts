/** IPv6 addresses made from others, and how far they reach. */

import { assertEquals } from "@std/assert";
import { ip, mac } from "../../tests/kit/ip/packets.ts";
import { eui64, LINK_LOCAL_PREFIX, scopeOf, solicitedNode } from "./addr6.ts";

Deno.test("eui64() puts ff:fe into the hardware address and turns its universal bit (RFC 4291, appendix A)", () => {
  assertEquals(`${eui64(LINK_LOCAL_PREFIX, mac("02:00:00:00:00:01"))}`, "fe80::ff:fe00:1");
  assertEquals(`${eui64(ip("2001:db8:1:2::"), mac("34:56:78:9a:bc:de"))}`, "2001:db8:1:2:3656:78ff:fe9a:bcde");
});

Deno.test("solicitedNode() has the last 24 bits of the address", () => {
  assertEquals(`${solicitedNode(ip("2001:db8::1234:5678:9abc"))}`, "ff02::1:ff78:9abc");
});

Deno.test("scopeOf() is 2 on the link, 14 in the world, and what a group says (RFC 4291 2.7)", () => {
  const scopes = { "fe80::1": 2, "ff02::1": 2, "ff05::1": 5, "::1": 2, "2001:db8::1": 14, "ff0e::1": 14 };
  for (const [addr, scope] of Object.entries(scopes)) assertEquals(scopeOf(ip(addr)), scope, addr);
});
