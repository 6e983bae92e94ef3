/** What an interface learns from router advertisements, and how long it keeps it. */

import { assertEquals } from "@std/assert";
import { ICMP6_ROUTER_ADVERT } from "../../../kernel/wire/icmp6.ts";
import { ipv6Dst } from "../../../kernel/wire/ipv6.ts";
import type { NdPrefix, RouterAdvert } from "../../../kernel/wire/nd.ts";
import { refusalCode } from "../../../tests/kit/host/dev.ts";
import { DAD_WAIT_MS } from "./dad.ts";
import { IPLIFCS_MAX } from "../ifc/ifc_addresses.ts";
import { ifcStatus } from "../ifc/ifc_status.ts";
import { ip, ndPacket, type Packet6Fields, PEER_MAC } from "../../../tests/kit/ip/packets.ts";
import { TestHost, type TestIfc } from "../../../tests/kit/ip/link.ts";
import { DNS_MAX, PREFIXES_MAX, ROUTERS_MAX, SOLICIT_GAP_MS, SOLICITS_MAX } from "./ra6.ts";
import { sourceFor } from "../route/egress.ts";

const LINK_LOCAL = "fe80::ff:fe00:1";
const OURS = "2001:db8:7::ff:fe00:1";
const DAY_S = 86_400;

function listening(): { at: TestHost; made: TestIfc } {
  const at = new TestHost();
  const made = at.ifc("bind ether /net/ether0", "recvra6 on");
  at.clock.advance(DAD_WAIT_MS);
  return { at, made };
}

function prefix(change: Partial<NdPrefix> = {}): NdPrefix {
  return {
    ...{ prefix: ip("2001:db8:7::"), length: 64, onLink: true, autonomous: true },
    ...{ validS: DAY_S, preferredS: DAY_S / 2, ...change },
  };
}

function advert(at: TestHost, change: Partial<RouterAdvert> = {}, fields: Packet6Fields = {}): void {
  const message: RouterAdvert = {
    ...{ type: ICMP6_ROUTER_ADVERT, hopLimit: 64, managed: false, otherConfig: false, lifetimeS: 1800 },
    ...{ reachableMs: 0, retransMs: 0, sourceMac: PEER_MAC, mtu: 0, prefixes: [], dnsServers: [], dnsLifetimeS: 0 },
    ...change,
  };
  at.receive6(ndPacket(message, { src: "fe80::2", dst: "ff02::1", ...fields }));
}

function addresses({ ifc }: TestIfc): string[] {
  return ifc.lifcs.map(({ local }) => `${local}`);
}

Deno.test("recvra6 makes a link-local address and asks for routers, three times at most", () => {
  const { at, made } = listening();
  assertEquals(addresses(made), [LINK_LOCAL]);
  for (let i = 0; i < SOLICITS_MAX + 2; i++) at.clock.advance(SOLICIT_GAP_MS);
  const solicits = at.take6().filter((packet) => packet[40] === 133);
  assertEquals(solicits.map((packet) => `${ipv6Dst(packet, 0)}`), Array(SOLICITS_MAX).fill("ff02::2"));
  assertEquals([at.clock.timerCount, ifcStatus(made.ifc).includes("recvra 1")], [0, true]);
  assertEquals(refusalCode(() => at.ifc("bind loopback", "recvra6")), "EFAIL");
});

Deno.test("an advertisement gives an address, a default route, an MTU and DNS servers", () => {
  const { at, made } = listening();
  const dnsServers = [ip("2001:db8:7::53"), ip("2001:db8:7::54")];
  advert(at, { prefixes: [prefix()], mtu: 1400, dnsServers, dnsLifetimeS: 600 });
  at.clock.advance(DAD_WAIT_MS);
  assertEquals(addresses(made), [LINK_LOCAL, OURS]);
  assertEquals(`${sourceFor(at.stack, ip("2600::1"))}`, OURS);
  const route = at.stack.routes.lookup(ip("2600::1"))!;
  assertEquals([`${route.gateway}`, route.tag, route.ifc!.mtu6, route.ifc!.mtu], ["fe80::2", "ra", 1400, 1500]);
  assertEquals(at.stack.routes.lookup(ip("2001:db8:7::9"))!.gateway, null);
  assertEquals(new TextDecoder().decode(at.stack.ndb.bytes), "\tdns=2001:db8:7::53\n\tdns=2001:db8:7::54\n");
  assertEquals(at.stack.nd.format(), `ether STALE fe80::2 ${PEER_MAC.toHex()}\n`);
  // No more questions.
  at.takeFrames();
  at.clock.advance(3 * SOLICIT_GAP_MS);
  assertEquals(at.take6(), []);
});

Deno.test("what was learnt ends with its lifetime, each by itself", () => {
  const { at, made } = listening();
  const dns = { dnsServers: [ip("2001:db8:7::53")], dnsLifetimeS: 600 };
  advert(at, { prefixes: [prefix({ validS: 7300, preferredS: 3600 })], lifetimeS: 1800, ...dns });
  at.clock.advance(601_000);
  assertEquals(at.stack.ndb.bytes.length, 0);
  at.clock.advance(1_200_000);
  assertEquals(at.stack.routes.lookup(ip("2600::1")), null);
  at.clock.advance(1_800_000);
  assertEquals(made.ifc.lifcs.map(({ isDeprecated }) => isDeprecated), [false, true]);
  at.clock.advance(3_700_000);
  assertEquals([addresses(made), at.stack.adverts.size, at.clock.timerCount], [[LINK_LOCAL], 0, 0]);
});

Deno.test("an advertisement cannot end an address at once, but it can deprecate it (RFC 4862 5.5.3)", () => {
  const { at, made } = listening();
  advert(at, { prefixes: [prefix()] });
  at.clock.advance(DAD_WAIT_MS);
  advert(at, { prefixes: [prefix({ validS: 0, preferredS: 0 })], lifetimeS: 0 });
  assertEquals([addresses(made), made.ifc.lifcs[1]!.isDeprecated], [[LINK_LOCAL, OURS], true]);
  assertEquals([made.ifc.lifcs[1]!.validLifetimeS, at.stack.routes.lookup(ip("2600::1"))], [7200, null]);
  at.clock.advance(7_201_000);
  assertEquals(addresses(made), [LINK_LOCAL]);
});

Deno.test("prefixes that are not on the link, not autonomous, or no net of hosts are taken for what they are", () => {
  const { at, made } = listening();
  advert(at, {
    prefixes: [
      prefix({ onLink: false }),
      prefix({ prefix: ip("2001:db8:8::"), autonomous: false }),
      prefix({ prefix: ip("2001:db8:9::"), length: 56 }),
      prefix({ prefix: ip("fe80::") }),
      prefix({ prefix: ip("2001:db8:a::"), preferredS: DAY_S + 1 }),
    ],
  });
  at.clock.advance(DAD_WAIT_MS);
  assertEquals(addresses(made), [LINK_LOCAL, OURS]);
  const gateways = ["2001:db8:7::9", "2001:db8:8::9", "2001:db8:9::9", "2001:db8:a::9"].map((one) =>
    at.stack.routes.lookup(ip(one))!.gateway === null
  );
  assertEquals(gateways, [false, true, true, false]);
  made.ctl("recvra6 off");
  assertEquals([addresses(made), at.stack.routes.lookup(ip("2001:db8:8::9"))], [[LINK_LOCAL], null]);
});

Deno.test("advertisements count only from a router of the link, while we listen and do not forward", () => {
  const { at, made } = listening();
  advert(at, { prefixes: [prefix()] }, { src: "2001:db8::9" });
  advert(at, { prefixes: [prefix()] }, { hopLimit: 254 });
  assertEquals([at.icmp6.routerAddrErrs, at.icmp6.hoplimErrs, at.stack.adverts.size], [1, 1, 0]);
  at.stack.forwarding = true;
  advert(at, { prefixes: [prefix()] });
  at.stack.forwarding = false;
  made.ctl("recvra6 off");
  advert(at, { prefixes: [prefix()] });
  assertEquals([at.stack.adverts.size, addresses(made)], [0, [LINK_LOCAL]]);
});

Deno.test("a default route that somebody set stays; of several routers the next takes over", () => {
  const { at } = listening();
  const gateway = () => `${at.stack.routes.lookup(ip("2600::1"))?.gateway ?? null}`;
  at.stack.routes.ctl(["add", "::", "/0", "fe80::99"], "none");
  advert(at);
  assertEquals(gateway(), "fe80::99");
  at.stack.routes.ctl(["remove", "::", "/0"], "none");
  advert(at, {}, { src: "fe80::3" });
  assertEquals(gateway(), "fe80::2");
  advert(at, { lifetimeS: 0 });
  assertEquals(gateway(), "fe80::3");
});

Deno.test("an interface learns so many routers, nets and servers and no more; unbind forgets them", () => {
  const { at, made } = listening();
  for (let i = 0; i < 40; i++) {
    const hex = i.toString(16);
    advert(at, {
      prefixes: [prefix({ prefix: ip(`2001:db8:${hex}::`) }), prefix({ prefix: ip(`2001:db9:${hex}::`) })],
      ...{ dnsServers: [ip(`2001:db8::${hex}`)], dnsLifetimeS: 100 },
    }, { src: `fe80::1:${hex}` });
  }
  assertEquals(at.stack.adverts.size, ROUTERS_MAX + PREFIXES_MAX + DNS_MAX);
  made.ctl("unbind");
  at.clock.advance(DAD_WAIT_MS);
  assertEquals([at.stack.adverts.size, at.stack.self.size, at.stack.routes.size, at.clock.timerCount], [0, 0, 0, 0]);
  assertEquals(at.stack.ndb.bytes.length, 0);
});

Deno.test("advertisements throw nothing where a route stands in their way or a table is full", () => {
  const { at, made } = listening();
  made.ctl("add 2001:db8::1 /0");
  advert(at, { prefixes: [prefix()] });
  assertEquals(at.stack.routes.lookup(ip("2600::1"))!.gateway, null);
  const full = listening();
  for (let i = 2; full.made.ifc.lifcs.length < IPLIFCS_MAX; i++) full.made.ctl(`add 10.0.${i}.1 /24`);
  advert(full.at, { prefixes: [prefix()] });
  full.at.clock.advance(DAD_WAIT_MS);
  assertEquals(full.made.ifc.lifcs.some(({ local }) => local.equals(ip(OURS))), false);
});
