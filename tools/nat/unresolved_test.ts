/** Guests whose hardware address is not known yet: what is asked of whom, and what becomes of packets for them. */

import { assertEquals } from "@std/assert";
import { Block } from "../../kernel/block.ts";
import { ARP_REPLY, emitArp } from "../../kernel/wire/arp.ts";
import { ETHERTYPE_ARP } from "../../kernel/wire/ethernet.ts";
import { ICMP6_NEIGHBOR_ADVERT, ICMP6_NEIGHBOR_SOLICIT, ICMP6_ROUTER_ADVERT } from "../../kernel/wire/icmp6.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { ip, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { HOST6, type NatKit, natKit6, nd6, REMOTE6, ROUTER_LL, udp6 } from "../../tests/kit/nat/steps.ts";
import type { Guest, NatMap } from "./map.ts";
import { newGuest } from "../../tests/kit/nat/guest_maps.ts";
import { framed, HOST, type Outcome, REMOTE, ROUTER } from "../../tests/kit/nat/steps.ts";
import { HELD_BYTES_MAX, HELD_BYTES_TOTAL_MAX, UnresolvedGuests } from "./unresolved.ts";

/** What the two versions of IP differ in. */
interface Family {
  readonly name: string;
  /** Two guests that have said nothing yet. */
  readonly guests: readonly [string, string];
  /** A datagram of a remote for a forward at `port` comes to the host. */
  arrive(kit: NatKit, map: NatMap, payload: string): Outcome;
  /** The guest at `addr` answers the question for its hardware address. */
  answer(kit: NatKit, addr: string, mac: MacAddr): Outcome;
  /** Which guest a frame asks for; null: it is no question. */
  askedBy(frame: Uint8Array): string | null;
}

const bytes = (text: string) => new TextEncoder().encode(text);

const FAMILIES: readonly Family[] = [
  {
    name: "ARP",
    guests: ["10.0.2.31", "10.0.2.32"],
    arrive(kit, map, payload) {
      const ends = { src: REMOTE, dst: HOST, srcPort: 9, dstPort: map.hostPort };
      return kit.back(udpPacket({ ...ends, payload: bytes(payload) }), map);
    },
    answer(kit, addr, mac) {
      const packet = new Uint8Array(28);
      emitArp({ op: ARP_REPLY, senderMac: mac, senderIp: ip(addr), targetMac: mac, targetIp: ip(ROUTER) }, packet, 0);
      return kit.frame(framed(packet, { src: mac, type: ETHERTYPE_ARP }));
    },
    askedBy: (frame) => frame[12] === 8 && frame[13] === 6 ? `${IpAddr.v4At(frame, 38)}` : null,
  },
  {
    name: "neighbour discovery",
    guests: ["fd00:0:0:2::31", "fd00:0:0:2::32"],
    arrive(kit, map, payload) {
      const ends = { src: REMOTE6, dst: HOST6, srcPort: 9, dstPort: map.hostPort };
      return kit.back(udp6({ ...ends, payload: bytes(payload) }), map);
    },
    answer(kit, addr, targetMac) {
      const flags = { isRouter: false, solicited: true, override: true };
      const advert = { type: ICMP6_NEIGHBOR_ADVERT, target: ip(addr), targetMac, ...flags } as const;
      return kit.out(nd6(advert, { src: addr, dst: ROUTER_LL }), { src: targetMac });
    },
    askedBy: (frame) => frame[12] === 0x86 && frame[54] === ICMP6_NEIGHBOR_SOLICIT ? `${IpAddr.at(frame, 62)}` : null,
  },
];

/** What `frames` say, in order: `ask ADDRESS` or a datagram's payload. The router's advertisements are left out. */
function wordsOf(family: Family, frames: readonly Uint8Array[]): string[] {
  const isAdvert = (frame: Uint8Array) => frame[12] === 0x86 && frame[54] === ICMP6_ROUTER_ADVERT;
  return frames.filter((frame) => !isAdvert(frame)).map((frame) => {
    const asked = family.askedBy(frame);
    const header = frame[12] === 8 ? 20 : 40;
    return asked === null ? new TextDecoder().decode(frame.subarray(14 + header + 8)) : `ask ${asked}`;
  });
}

for (const family of FAMILIES) {
  const [first, second] = family.guests;
  const setUp = () => {
    const kit = natKit6();
    const forward = (port: number, addr: string) => {
      const guest = addr.includes(":") ? `[${addr}]` : addr;
      return kit.nat.addForward(`udp::${port}-${guest}:7`).map;
    };
    const arrive = (map: NatMap, payload: string) => wordsOf(family, family.arrive(kit, map, payload).frames);
    /** What the passing of time sends. */
    const pass = (ms: number) => {
      kit.now += ms;
      kit.nat.expire(kit.now);
      return wordsOf(family, kit.nat.takeFrames().map((frame) => frame.bytes()));
    };
    const answer = (addr: string, lo: number) => wordsOf(family, family.answer(kit, addr, new MacAddr(2, lo)).frames);
    return { kit, a: forward(1001, first), b: forward(1002, second), arrive, pass, answer };
  };

  Deno.test(`${family.name} asks for each guest by itself, and holds the packets that asked`, () => {
    const { kit, a, b, arrive, answer } = setUp();
    assertEquals(arrive(a, "a1"), [`ask ${first}`]);
    assertEquals(arrive(b, "b1"), [`ask ${second}`]);
    assertEquals(arrive(a, "a2"), [], "within the same second nothing is asked twice");
    assertEquals(answer(second, 32), ["b1"]);
    assertEquals(answer(first, 31), ["a1", "a2"]);
    assertEquals(arrive(a, "a3"), ["a3"]);
    assertEquals({ refused: kit.refused("no-mac"), held: kit.nat.unresolved.bytes }, { refused: 0, held: 0 });
  });

  Deno.test(`${family.name} asks again each second, three times in all, and then drops what it holds`, () => {
    const { kit, a, arrive, pass } = setUp();
    assertEquals(arrive(a, "a1"), [`ask ${first}`]);
    assertEquals(kit.nat.nextDeadline, 1000);
    assertEquals(pass(999), []);
    assertEquals(pass(1), [`ask ${first}`]);
    assertEquals(pass(1000), [`ask ${first}`]);
    assertEquals(kit.refused("no-mac"), 0);
    assertEquals(pass(1000), []);
    assertEquals({ refused: kit.refused("no-mac"), held: kit.nat.unresolved.bytes }, { refused: 1, held: 0 });
    assertEquals(arrive(a, "a2"), [`ask ${first}`], "the next packet begins again");
  });
}

Deno.test("one guest's packets do not push out another's, the latest are kept, and all together are bounded", () => {
  let dropped = 0;
  const held = new UnresolvedGuests({ ask: () => {}, dropped: () => void dropped++ });
  const guests = Array.from({ length: 40 }, (_, i) => newGuest(ip(`10.0.2.${i + 1}`)));
  const packet = (first: number) => Block.from(new Uint8Array(HELD_BYTES_MAX / 4).fill(first));
  held.hold(guests[0]!, packet(99), 0);
  for (let i = 0; i < 6; i++) held.hold(guests[1]!, packet(i), 0);
  assertEquals(dropped, 2);
  for (const guest of guests.slice(2)) for (let i = 0; i < 4; i++) held.hold(guest, packet(i), 0);
  assertEquals(held.bytes, HELD_BYTES_TOTAL_MAX);
  const firsts = (guest: Guest) => held.release(guest).map((block) => block.bytes()[0]);
  assertEquals(firsts(guests[0]!), [99]);
  assertEquals(firsts(guests[1]!), [2, 3, 4, 5]);
  held.clear();
  assertEquals({ bytes: held.bytes, deadline: held.deadline }, { bytes: 0, deadline: Infinity });
});
