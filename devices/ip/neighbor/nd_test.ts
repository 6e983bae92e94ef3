/** Who answers for an IPv6 address, who is believed, and what becomes of packets meanwhile. */

import { assertEquals } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { etherDst } from "../../../kernel/wire/ethernet.ts";
import { ICMP6_NEIGHBOR_ADVERT, ICMP6_NEIGHBOR_SOLICIT, ICMP6_ROUTER_SOLICIT } from "../../../kernel/wire/icmp6.ts";
import { IPV6_HEADER_LEN, ipv6Dst, ipv6HopLimit, ipv6Src } from "../../../kernel/wire/ipv6.ts";
import type { NdMessage, NeighborAdvert } from "../../../kernel/wire/nd.ts";
import { refusalCode } from "../../../tests/kit/host/dev.ts";
import { runArpCtl } from "./arp_ctl.ts";
import { sendPacket } from "../network/ip_output.ts";
import {
  icmp6Packet,
  ip,
  mac,
  ndPacket,
  NO_MAC,
  type Packet6Fields,
  pattern,
  PEER_MAC,
} from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";
import { ND_DELAY_MS, ND_REACHABLE_MS, ND_STALE_MS } from "./nd.ts";
import { NEIGHBOR_HOLD_MAX, NEIGHBOR_RETRY_MS, NEIGHBOR_TRIES } from "./neighbor_table.ts";
import { sendRouterSolicit } from "./nd_send.ts";
import { NEIGHBORS_MAX } from "./neighbor_store.ts";

const PEER = "2001:db8::2";
const OTHER_MAC = mac("02:00:00:00:00:77");

function host(): TestHost {
  const at = new TestHost();
  at.ether6Ifc();
  return at;
}

function send(at: TestHost, dst = PEER, length = 8): string {
  const options = { src: ip("2001:db8::1"), dst: ip(dst), protocol: 17, ttl: 64, tos: 0 };
  const result = sendPacket(at.stack, Block.from(pattern(length)), options);
  at.run();
  return result;
}

/** The peer answers, or says something else. */
function advert(at: TestHost, change: Partial<NeighborAdvert> = {}, fields: Packet6Fields = {}): void {
  const message: NdMessage = {
    type: ICMP6_NEIGHBOR_ADVERT,
    target: ip(PEER),
    isRouter: false,
    solicited: true,
    override: true,
    targetMac: PEER_MAC,
    ...change,
  };
  at.receive6(ndPacket(message, { src: PEER, dst: "2001:db8::1", ...fields }));
}

function solicit(
  at: TestHost,
  target: string,
  fields: Packet6Fields = {},
  sourceMac: typeof PEER_MAC | null = PEER_MAC,
): void {
  const message: NdMessage = { type: ICMP6_NEIGHBOR_SOLICIT, target: ip(target), sourceMac };
  at.receive6(ndPacket(message, { src: PEER, dst: "ff02::1:ff00:1", ...fields }));
}

/** State, address and hardware address of every IPv6 neighbour, as the `arp` file shows them. */
function table(at: TestHost): string {
  return at.stack.nd.format();
}

Deno.test("nd asks the group of the address, holds packets, and sends them when the answer comes", () => {
  const at = host();
  for (let i = 0; i < 3; i++) assertEquals(send(at), "sent");
  const frames = at.takeFrames();
  assertEquals(frames.map((frame) => `${etherDst(frame, 0)}`), ["33:33:ff:00:00:02"]);
  const question = frames[0]!.subarray(14);
  assertEquals([`${ipv6Src(question, 0)}`, `${ipv6Dst(question, 0)}`], ["2001:db8::1", "ff02::1:ff00:2"]);
  assertEquals(ipv6HopLimit(question, 0), 255);
  assertEquals(table(at), `ether WAIT ${PEER} ${NO_MAC.toHex()}\n`);
  advert(at);
  assertEquals(at.takeFrames().map((frame) => `${etherDst(frame, 0)}`), Array(3).fill(`${PEER_MAC}`));
  assertEquals(table(at), `ether OK ${PEER} ${PEER_MAC.toHex()}\n`);
});

Deno.test("nd asks three times, then tells the senders that the address is unreachable (RFC 4861 7.2.2)", () => {
  const at = host();
  send(at);
  for (let i = 1; i < NEIGHBOR_TRIES; i++) at.clock.advance(NEIGHBOR_RETRY_MS);
  assertEquals(at.takeNd().length, NEIGHBOR_TRIES);
  at.clock.advance(NEIGHBOR_RETRY_MS);
  assertEquals([at.takeNd().length, at.stack.nd.size, at.stack.stats.ndUnresolved], [0, 0, 1]);
  assertEquals(at.stack.icmpErrors.v6.byType[1], 1);
  assertEquals(at.clock.timerCount, 0);
});

Deno.test("nd probes a neighbour that is used after it went stale, and forgets one that does not answer", () => {
  const at = host();
  send(at);
  advert(at);
  at.takeFrames();
  at.clock.advance(ND_REACHABLE_MS);
  assertEquals(table(at).split(" ")[1], "STALE");
  send(at);
  assertEquals([table(at).split(" ")[1], at.take6().length], ["DELAY", 1]);
  at.clock.advance(ND_DELAY_MS);
  const [probe] = at.takeFrames();
  assertEquals([table(at).split(" ")[1], `${etherDst(probe!, 0)}`], ["PROBE", `${PEER_MAC}`]);
  assertEquals(`${ipv6Dst(probe!, 14)}`, PEER);
  advert(at);
  assertEquals(table(at).split(" ")[1], "OK");
  at.clock.advance(ND_REACHABLE_MS);
  send(at);
  at.clock.advance(ND_DELAY_MS + NEIGHBOR_TRIES * NEIGHBOR_RETRY_MS);
  assertEquals(at.stack.nd.size, 0);
  // One that is not used goes without a question.
  send(at);
  advert(at);
  at.takeFrames();
  at.clock.advance(ND_REACHABLE_MS + ND_STALE_MS);
  assertEquals([at.stack.nd.size, at.takeNd()], [0, []]);
});

Deno.test("nd answers for our addresses only, and says so to everybody when one is only tried", () => {
  const at = host();
  solicit(at, "2001:db8::1");
  const [answer] = at.takeFrames();
  assertEquals([`${etherDst(answer!, 0)}`, `${ipv6Dst(answer!, 14)}`], [`${PEER_MAC}`, PEER]);
  solicit(at, "2001:db8::99");
  assertEquals(at.takeNd(), []);
  solicit(at, "2001:db8::1", { src: "::" }, null);
  const answers = at.take6();
  assertEquals(answers.map((packet) => [`${ipv6Dst(packet, 0)}`, packet[44]]), [["ff02::1", 0x20]]);
  assertEquals(table(at), `ether DELAY ${PEER} ${PEER_MAC.toHex()}\n`);
});

Deno.test("nd drops messages that came over a router, are malformed, or are from no host", () => {
  const at = host();
  solicit(at, "2001:db8::1", { hopLimit: 254 });
  solicit(at, "ff02::9");
  solicit(at, "2001:db8::1", { src: "::" });
  solicit(at, "2001:db8::1", { src: "::", dst: "ff02::1" }, null);
  const cut = ndPacket({ type: ICMP6_NEIGHBOR_SOLICIT, target: ip("2001:db8::1"), sourceMac: PEER_MAC });
  at.receive6(icmp6Packet(cut.slice(40, 60), { hopLimit: 255 }));
  const coded = cut.slice(40);
  coded[1] = 1;
  at.receive6(icmp6Packet(coded, { hopLimit: 255 }));
  advert(at, {}, { dst: "ff02::1" });
  const { hoplimErrs, targetErrs, addrmxpErrs, optlenErrs, icmpCodeErrs } = at.icmp6;
  assertEquals([hoplimErrs, targetErrs, addrmxpErrs, optlenErrs, icmpCodeErrs], [1, 1, 3, 1, 1]);
  solicit(at, "2001:db8::1", {}, mac("03:00:00:00:00:01"));
  assertEquals([at.stack.stats.ndBadSender, at.takeNd(), table(at)], [1, [], ""]);
});

Deno.test("nd learns from no unsolicited advertisement, and asks again when one contradicts", () => {
  const at = host();
  advert(at);
  assertEquals([at.stack.stats.ndUnsolicited, at.stack.nd.size], [1, 0]);
  send(at);
  advert(at);
  at.takeFrames();
  advert(at, { targetMac: OTHER_MAC, solicited: false }, { dst: "ff02::1" });
  assertEquals([at.stack.stats.ndContradiction, table(at)], [1, `ether PROBE ${PEER} ${PEER_MAC.toHex()}\n`]);
  assertEquals(at.takeFrames().map((frame) => `${etherDst(frame, 0)}`), ["33:33:ff:00:00:02"]);
  advert(at, { targetMac: OTHER_MAC });
  assertEquals(table(at), `ether OK ${PEER} ${OTHER_MAC.toHex()}\n`);
  solicit(at, "2001:db8::1");
  assertEquals([at.stack.stats.ndContradiction, table(at)], [2, `ether PROBE ${PEER} ${OTHER_MAC.toHex()}\n`]);
});

Deno.test("nd defends an address of ours, not more than once in ten seconds", () => {
  const at = host();
  for (let i = 0; i < 3; i++) {
    advert(at, { target: ip("2001:db8::1"), targetMac: OTHER_MAC, solicited: false }, { dst: "ff02::1" });
  }
  assertEquals([at.stack.stats.ndConflict, at.takeNd().length], [3, 1]);
});

Deno.test("nd has limits: packets held for one neighbour, neighbours in all", () => {
  const at = host();
  for (let i = 0; i < NEIGHBOR_HOLD_MAX + 5; i++) send(at);
  assertEquals([at.stack.stats.ndHoldFull, at.stack.nd.entries()[0]!.held.length], [5, NEIGHBOR_HOLD_MAX]);
  for (let i = 16; i < 16 + NEIGHBORS_MAX + 20; i++) send(at, `2001:db8::1:${i.toString(16)}`);
  assertEquals(at.stack.nd.size, NEIGHBORS_MAX);
  // Two whose last 32 bits are the same are two.
  send(at, "2001:db8::7:0:1");
  send(at, "2001:db8::8:0:1");
  assertEquals(at.stack.nd.entries().filter(({ ip }) => ip.w3 === 1).length, 2);
});

Deno.test("the arp file takes IPv6 neighbours, too", () => {
  const at = host();
  runArpCtl(at.stack, ["add", "ether", PEER, `${PEER_MAC}`]);
  send(at);
  assertEquals(at.takeFrames().map((frame) => `${etherDst(frame, 0)}`), [`${PEER_MAC}`]);
  advert(at, { targetMac: OTHER_MAC });
  at.clock.advance(ND_STALE_MS);
  assertEquals(table(at), `ether OK ${PEER} ${PEER_MAC.toHex()}\n`);
  runArpCtl(at.stack, ["del", PEER]);
  assertEquals(refusalCode(() => runArpCtl(at.stack, ["del", PEER])), "ENOENT");
  assertEquals(refusalCode(() => runArpCtl(at.stack, ["add", "2001:db9::1", `${PEER_MAC}`])), "EHOSTUNREACH");
  assertEquals(refusalCode(() => runArpCtl(at.stack, ["add", "ff02::1", `${PEER_MAC}`])), "EINVAL");
});

Deno.test("sendRouterSolicit() asks all routers of the link, with our hardware address if it has a source", () => {
  const at = host();
  const link = at.stack.ifcs[0]!.link!.ndLink!;
  sendRouterSolicit(at.stack, link, ip("fe80::1"));
  sendRouterSolicit(at.stack, link, null);
  const packets = at.take6();
  assertEquals(packets.map((packet) => `${ipv6Src(packet, 0)} ${ipv6Dst(packet, 0)} ${packet.length}`), [
    "fe80::1 ff02::2 56",
    ":: ff02::2 48",
  ]);
  assertEquals(packets.map((packet) => packet[IPV6_HEADER_LEN]), [ICMP6_ROUTER_SOLICIT, ICMP6_ROUTER_SOLICIT]);
});
