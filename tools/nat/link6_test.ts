import { assert, assertEquals } from "@std/assert";
import {
  ICMP6_NEIGHBOR_ADVERT,
  ICMP6_NEIGHBOR_SOLICIT,
  ICMP6_ROUTER_ADVERT,
  ICMP6_ROUTER_SOLICIT,
} from "../../kernel/wire/icmp6.ts";
import { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { type NeighborAdvert, parseNd, type RouterAdvert } from "../../kernel/wire/nd.ts";
import { ip } from "../../tests/kit/ip/ip_fixture.ts";
import { header6, udp6Packet } from "../../tests/kit/ip/story6.ts";
import { HOST_MAC } from "./config.ts";
import { dhcp6Options } from "../../tests/kit/nat/dhcp6.ts";
import { GUEST_MAC, type Outcome, sentOf } from "../../tests/kit/nat/steps.ts";
import { solicitedNode } from "../../kernel/inet/addr6.ts";
import {
  assertSound,
  DNS6,
  gotOf,
  GUEST6,
  GUEST_LL,
  natKit6,
  nd6,
  ROUTER6,
  ROUTER_LL,
  udp6,
} from "../../tests/kit/nat/steps.ts";

function solicit(target: string, src: string, dst = `${solicitedNode(ip(target))}`): Uint8Array {
  return nd6({ type: ICMP6_NEIGHBOR_SOLICIT, target: ip(target), sourceMac: GUEST_MAC }, { src, dst });
}

/** The neighbour advertisement that the guest got. */
function advertOf(outcome: Outcome): NeighborAdvert & { dst: string; src: string } {
  const packet = gotOf(outcome);
  assertSound(packet);
  const { src, dst, hopLimit } = header6(packet);
  assertEquals(hopLimit, 255);
  return { ...parseNd(packet, 40, packet.length) as NeighborAdvert, src: `${src}`, dst: `${dst}` };
}

Deno.test("A router's solicitation is answered with network, MTU, router and name servers", () => {
  const kit = natKit6({ mtu: 1400, search: ["lab.test", "example"] });
  const packet = gotOf(
    kit.out(nd6({ type: ICMP6_ROUTER_SOLICIT, sourceMac: GUEST_MAC }, { src: GUEST_LL, dst: "ff02::2" })),
  );
  assertSound(packet);
  const { src, dst, hopLimit } = header6(packet);
  assertEquals([`${src}`, `${dst}`, hopLimit], [ROUTER_LL, GUEST_LL, 255]);
  const advert = parseNd(packet, 40, packet.length) as RouterAdvert;
  assertEquals([advert.type, advert.mtu, advert.lifetimeS, advert.otherConfig], [
    ICMP6_ROUTER_ADVERT,
    1400,
    1800,
    true,
  ]);
  assertEquals(advert.sourceMac, HOST_MAC);
  const [{ prefix, length, onLink, autonomous }] = advert.prefixes as [RouterAdvert["prefixes"][0]];
  assertEquals([`${prefix}`, length, onLink, autonomous], ["fd00:0:0:2::", 64, true, true]);
  assertEquals(advert.dnsServers.map(String), [DNS6]);
  const search = new TextDecoder().decode(packet.slice(-24));
  assert(search.includes("\x03lab\x04test\0\x07example\0"), search);
});

Deno.test("Advertisements come at the start, soon again, and every few minutes; answers are limited", () => {
  const kit = natKit6();
  const times: number[] = [];
  for (let now = 0; now < 1_400_000; now = kit.nat.nextExpiry()) {
    kit.nat.expire(now);
    const [frame] = kit.nat.takeFrames();
    assertEquals(MacAddr.at(frame!.buf, frame!.rp).toHex(), "333300000001");
    times.push(now);
  }
  assertEquals(times.slice(0, 3), [0, 16_000, 32_000]);
  const gaps = times.slice(3).map((time, i) => time - times[i + 2]!);
  assert(gaps.every((gap) => gap >= 200_000 && gap <= 600_000), `${gaps}`);
  let answers = 0;
  const ask = nd6({ type: ICMP6_ROUTER_SOLICIT, sourceMac: null }, { src: "::", dst: "ff02::2" });
  for (let i = 0; i < 40; i++) answers += kit.out(ask).toGuest.length;
  assertEquals(answers, 10);
});

Deno.test("The router answers for its own addresses and the name server's, and for no guest's", () => {
  const kit = natKit6();
  for (const target of [ROUTER6, ROUTER_LL, DNS6]) {
    for (const src of [GUEST6, GUEST_LL]) {
      const advert = advertOf(kit.out(solicit(target, src)));
      assertEquals([advert.src, advert.dst, `${advert.target}`], [target, src, target]);
      assertEquals([advert.isRouter, advert.solicited, advert.override, advert.targetMac], [
        true,
        true,
        true,
        HOST_MAC,
      ]);
    }
  }
  assertEquals(kit.out(solicit("fd00:0:0:2::77", GUEST6)).reason, "nd");
});

Deno.test("Who asks whether an address is free hears of the router's and of others', not of its own", () => {
  const kit = natKit6();
  sentOf(kit.out(udp6()));
  assertEquals(kit.out(solicit(GUEST6, "::")).reason, "nd");
  const taken = advertOf(kit.out(solicit(ROUTER6, "::")));
  assertEquals([taken.dst, taken.solicited, taken.targetMac], ["ff02::1", false, HOST_MAC]);
  const other = new MacAddr(0x5254, 7);
  const defended = advertOf(kit.out(solicit(GUEST6, "::"), { src: other }));
  assertEquals([defended.targetMac, defended.isRouter], [GUEST_MAC, false]);
  assertEquals(kit.out(solicit(ROUTER6, GUEST6), { src: other }).reason, "spoofed");
});

Deno.test("Neighbour discovery from beyond the link, damaged or malformed is not listened to", () => {
  const kit = natKit6();
  const good = solicit(ROUTER6, GUEST6);
  const far = nd6(
    { type: ICMP6_NEIGHBOR_SOLICIT, target: ip(ROUTER6), sourceMac: null },
    { src: GUEST6, dst: ROUTER6, hopLimit: 254 },
  );
  const damaged = good.slice();
  damaged[50]! ^= 1;
  assertEquals([far, damaged, good.slice(0, 60)].map((packet) => kit.out(packet).reason), ["nd", "nd", "bad-ip"]);
  const advert = { isRouter: false, solicited: false, override: true, targetMac: GUEST_MAC };
  const claim = nd6({ type: ICMP6_NEIGHBOR_ADVERT, target: ip(GUEST6), ...advert }, { src: GUEST6, dst: "ff02::1" });
  assertEquals(kit.out(claim).reason, "nd");
  assertEquals(kit.nat.table.guest(ip(GUEST6)), null);
});

Deno.test("DHCPv6 tells name servers and domains to who asks for information, and nothing else", () => {
  const kit = natKit6({ search: ["lab.test"] });
  const ask = (payload: number[], src = GUEST_LL) =>
    kit.out(udp6Packet({ src, dst: "ff02::1:2", srcPort: 546, dstPort: 547, payload: new Uint8Array(payload) }));
  const clientId = [0, 1, 0, 4, 9, 8, 7, 6];
  const packet = gotOf(ask([11, 1, 2, 3, ...clientId, 0, 6, 0, 4, 0, 23, 0, 24]));
  assertSound(packet);
  assertEquals([`${header6(packet).src}`, `${header6(packet).dst}`], [ROUTER_LL, GUEST_LL]);
  assertEquals(packet.slice(40, 44), new Uint8Array([2, 35, 2, 34]));
  assertEquals(packet.slice(48, 52), new Uint8Array([7, 1, 2, 3]));
  const options = dhcp6Options(packet.subarray(48));
  assertEquals(options.get(1), new Uint8Array([9, 8, 7, 6]));
  assertEquals(options.get(2), new Uint8Array([0, 3, 0, 1, 0, 1, 2, 3, 4, 10]));
  assertEquals(options.get(23), new Uint8Array([0xfd, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]));
  assertEquals(new TextDecoder().decode(options.get(24)), "\x03lab\x04test\0");
  const only = gotOf(ask([11, 1, 2, 3, 0, 6, 0, 2, 0, 24]));
  assertEquals([...dhcp6Options(only.subarray(48)).keys()], [2, 24]);
  const refused = [
    [1, 1, 2, 3, ...clientId],
    [11, 1, 2, 3, 0, 3, 0, 1, 0],
    [11, 1, 2, 3, 0, 2, 0, 1, 0],
    [11, 1, 2, 3, 0, 1, 0, 9],
    [11, 1],
  ];
  for (const message of refused) assertEquals(ask(message).reason, "dhcp");
  assertEquals(ask([11, 1, 2, 3], GUEST6).reason, "dhcp");
});
