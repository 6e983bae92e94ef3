/** Ways round the policy, and round the other guests' addresses, that a guest may try: each is refused and counted. */

import { assertEquals } from "@std/assert";
import { ARP_REPLY, emitArp } from "../../../kernel/wire/arp.ts";
import { emitEthernet, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from "../../../kernel/wire/ethernet.ts";
import { MAC_BROADCAST, MAC_ZERO, type MacAddr } from "../../../kernel/wire/mac_addr.ts";
import { HOST_MAC } from "../../../tools/nat/config.ts";
import { ip, ipPacket, pattern, udpPacket } from "../../kit/ip/ip_fixture.ts";
import { advance, mac } from "../../kit/ip/story.ts";
import {
  askDhcp,
  type FakeGuest,
  GUEST,
  HOST,
  must,
  type NatStory,
  REMOTE,
  ROUTER,
  tellNat,
} from "../../kit/nat/nat.ts";

const THIEF = mac("000102030499");

const udp = (options: Parameters<typeof udpPacket>[0] = {}) =>
  udpPacket({ src: GUEST, dst: REMOTE, srcPort: 4000, dstPort: 7, ttl: 64, ...options });

/** What reached the host's side of a story, in packets. */
const sent = (story: NatStory) => story.stat("sent");

/** A frame as it is. */
function frame(type: number, dst: MacAddr, src: MacAddr, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(Math.max(60, 14 + payload.length));
  emitEthernet({ dst, src, etherType: type }, bytes, 0);
  bytes.set(payload, 14);
  return bytes;
}

Deno.test("A source route, which would pass by the policy, is refused: whole, in pieces, inbound", async () => {
  await using story = await tellNat({ nat: { policy: { private: false } } });
  for (const kind of [131, 137]) {
    const options = new Uint8Array([1, kind, 7, 4, 127, 0, 0, 1]);
    const ends = { src: GUEST, dst: "192.0.2.1", options };
    assertEquals(story.guest.ask(udp({ ...ends, payload: pattern(9) })), []);
    story.guest.ask(ipPacket({ ...ends, moreFragments: true, payload: udp().slice(20) }));
    story.guest.ask(ipPacket({ ...ends, fragOffset: 8, payload: pattern(9) }));
  }
  assertEquals([sent(story), story.stat("refused-source-route")], [0, 6]);
  // An option that runs out of its header hides what is behind it.
  story.guest.ask(udp({ options: new Uint8Array([7, 90, 4, 0]) }));
  assertEquals([sent(story), story.stat("refused-bad-ip")], [0, 1]);
  story.program.command("add udp:8053:53");
  const { map } = must(story.program.nat.forwards.list[0]);
  const { translateInbound } = await import("../../../tools/nat/nat.ts");
  const { Block } = await import("../../../kernel/block.ts");
  const options = new Uint8Array([131, 7, 4, 10, 0, 2, 15, 0]);
  const inward = udpPacket({ src: REMOTE, dst: HOST, dstPort: 8053, options });
  assertEquals(translateInbound(story.program.nat, Block.from(inward), map, 0).kind, 0);
  assertEquals(story.guest.packets(), []);
});

Deno.test("Frames for groups, for others, or from no station carry nothing out", async () => {
  await using story = await tellNat();
  const { guest } = story;
  const tries: [string, Uint8Array][] = [
    ["link-broadcast", frame(ETHERTYPE_IPV4, MAC_BROADCAST, guest.mac, udp())],
    ["link-broadcast", frame(ETHERTYPE_IPV4, mac("01005e0000fb"), guest.mac, udp())],
    ["other-mac", frame(ETHERTYPE_IPV4, mac("020000000077"), guest.mac, udp())],
    ["source", frame(ETHERTYPE_IPV4, HOST_MAC, MAC_ZERO, udp())],
    ["source", frame(ETHERTYPE_IPV4, HOST_MAC, MAC_BROADCAST, udp())],
    ["source", frame(ETHERTYPE_IPV4, HOST_MAC, guest.mac, udp({ src: "10.0.3.15" }))],
    ["source", frame(ETHERTYPE_IPV4, HOST_MAC, guest.mac, udp({ src: ROUTER }))],
    ["source", frame(ETHERTYPE_IPV4, HOST_MAC, guest.mac, udp({ src: HOST }))],
    ["on-link", frame(ETHERTYPE_IPV4, HOST_MAC, guest.mac, udp({ dst: "10.0.2.99" }))],
    ["ethertype", frame(0x8100, HOST_MAC, guest.mac, udp())],
  ];
  for (const [reason, bytes] of tries) {
    const before = story.stat(`refused-${reason}`);
    guest.sendFrame(bytes);
    assertEquals([reason, story.stat(`refused-${reason}`) - before, sent(story)], [reason, 1, 0]);
  }
});

Deno.test("akaros 23: IPv6 frames are dropped and counted, whatever is in them, and end nothing", async () => {
  await using story = await tellNat();
  const { guest } = story;
  for (const length of [0, 1, 39, 40, 60, 1500]) {
    guest.sendFrame(frame(ETHERTYPE_IPV6, HOST_MAC, guest.mac, pattern(length)));
    guest.sendFrame(frame(ETHERTYPE_IPV6, mac("333300000001"), guest.mac, pattern(length)));
    // And IPv6 that says to be IPv4.
    guest.sendFrame(frame(ETHERTYPE_IPV4, HOST_MAC, guest.mac, new Uint8Array(length).fill(0x60)));
  }
  assertEquals([guest.frames(), sent(story)], [[], 0]);
  assertEquals([story.stat("refused-ipv6") >= 15, story.stat("guestFrames")], [true, 18]);
  assertEquals(guest.askOne(udp({ dstPort: 99 }))[20], 3);
});

/** Gives `guest` its address by DHCP. */
function lease(guest: FakeGuest, addr = GUEST): void {
  assertEquals(askDhcp(guest, 3, { requested: addr })?.type, 5);
}

Deno.test("An address is its leaseholder's: no other station sends from it or gets what is for it", async () => {
  await using story = await tellNat();
  const conv = story.there.conv("udp", "announce 7", "headers");
  lease(story.guest);
  const thief = story.addGuest(THIEF);
  story.guest.ask(udp());
  // By IP, by ARP's sender, and by ARP in the leaseholder's name.
  thief.send(udp({ payload: pattern(9) }));
  const arp = (senderMac: MacAddr, src: MacAddr) => {
    const addrs = { senderIp: ip(GUEST), targetIp: ip(ROUTER), senderMac, targetMac: HOST_MAC };
    const packet = new Uint8Array(28);
    emitArp({ op: ARP_REPLY, ...addrs }, packet, 0);
    thief.sendFrame(frame(ETHERTYPE_ARP, HOST_MAC, src, packet));
  };
  arp(THIEF, THIEF);
  arp(story.guest.mac, THIEF);
  assertEquals([sent(story), story.stat("refused-spoofed")], [1, 3]);
  conv.bwrite(must(conv.bread()).bytes().slice());
  advance(story.host, 20);
  assertEquals([story.guest.packets().length, thief.frames()], [1, []]);
  // Nor is the lease given back, or taken, by another.
  for (const type of [7, 4, 3]) {
    assertEquals(askDhcp(thief, type, { chaddr: story.guest.mac, ciaddr: GUEST, requested: GUEST }), null);
    assertEquals(story.command("leases").includes(`${GUEST} ${story.guest.mac} leased`), true);
  }
  assertEquals(story.guest.packets(), []);
  assertEquals(askDhcp(thief, 3, { requested: GUEST })?.type, 6);
  // An address of its own is free to use without a lease.
  thief.send(udp({ src: "10.0.2.40" }));
  assertEquals(sent(story), 2);
});

Deno.test("When the lease is over or given back, the address is free for who comes", async () => {
  await using story = await tellNat({ nat: { leaseSeconds: 60 } });
  lease(story.guest);
  const next = story.addGuest(THIEF);
  advance(story.host, 59_999);
  next.send(udp());
  assertEquals(sent(story), 0);
  advance(story.host, 1);
  next.send(udp());
  assertEquals(sent(story), 1);
  // While it is in use no other guest gets it.
  assertEquals(askDhcp(story.guest, 3, { requested: GUEST })?.type, 6);
  advance(story.host, 300_000);
  lease(story.guest);
  askDhcp(story.guest, 7, { ciaddr: GUEST });
  next.send(udp());
  assertEquals(sent(story), 2);
});

Deno.test("DHCP gives no other guest an address in use without a lease; an offer reserves nothing", async () => {
  await using story = await tellNat({ forwards: ["udp:8053:53"] });
  const next = story.addGuest(THIEF);
  // Offered while it was unused: until it is leased, any guest may take it.
  assertEquals(`${askDhcp(next, 1)?.message.yiaddr}`, GUEST);
  story.there.conv("udp", `connect ${HOST}!8053`).bwrite(pattern(3));
  advance(story.host, 20);
  assertEquals([story.guest.packets().length, next.packets()], [1, []]);
  const third = story.addGuest(mac("000102030498"));
  third.send(udp());
  assertEquals(sent(story), 1);
  assertEquals(askDhcp(next, 3, { requested: GUEST })?.type, 6);
  assertEquals(`${askDhcp(next, 1)?.message.yiaddr}`, "10.0.2.16");
  // Its user may lease it, and so may another guest once it is unused.
  lease(third);
  askDhcp(third, 7, { ciaddr: GUEST });
  advance(story.host, 300_000);
  lease(next);
});

Deno.test("An address that is reserved for one station goes to no other, lease or not", async () => {
  await using story = await tellNat({ nat: { reservations: { "00:01:02:03:04:99": "10.0.2.50" } } });
  story.guest.send(udp({ src: "10.0.2.50" }));
  assertEquals([sent(story), story.stat("refused-spoofed")], [0, 1]);
  story.addGuest(THIEF).send(udp({ src: "10.0.2.50" }));
  assertEquals(sent(story), 1);
});
