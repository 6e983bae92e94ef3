/** Guests of IPv6, which have their addresses from no lease: whose an address is, and how many a station may have. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block } from "../../kernel/block.ts";
import { ETHERTYPE_IPV6 } from "../../kernel/wire/ethernet.ts";
import { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { fuzzSteps, sequences } from "../../tests/kit/check/fuzz.ts";
import { ip, udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { error6Packet } from "../../tests/kit/ip/story6.ts";
import { assertCaps } from "../../tests/kit/nat/hostile.ts";
import { framed, natKit, natKit6, nd6, REMOTE6, ROUTER6, sentOf, udp6 } from "../../tests/kit/nat/steps.ts";
import { STATION_GUESTS_MAX } from "./guest_table.ts";

Deno.test("akaros 17: without v6 a guest's IPv6 is refused and counted", () => {
  const kit = natKit();
  const frame = natKit6();
  assertEquals(frame.out(udp6()).reason, "none");
  const block = Block.from(udp6());
  const at = block.push(14);
  block.buf.set([0, 1, 2, 3, 4, 10, 0, 1, 2, 3, 4, 11, 0x86, 0xdd], at);
  assertEquals(kit.frame(block).reason, "ipv6");
  assertEquals(kit.frame(framed(udpPacket(), { type: ETHERTYPE_IPV6 })).reason, "ipv6");
  assertEquals(kit.refused("ipv6"), 2);
});

Deno.test("Two addresses whose last words are alike are two guests", () => {
  const kit = natKit6();
  const one = sentOf(kit.out(udp6({ src: "fd00:0:0:2:1::15" }))).map;
  const two = sentOf(kit.out(udp6({ src: "fd00:0:0:2:2::15" }))).map;
  assertEquals([`${one.guest.addr}`, `${two.guest.addr}`], ["fd00::2:1:0:0:15", "fd00::2:2:0:0:15"]);
});

Deno.test("An address is of who uses it: another station is refused while it has maps, and has it afterwards", () => {
  const kit = natKit6();
  const other = new MacAddr(0x5254, 7);
  sentOf(kit.out(udp6()));
  assertEquals(kit.out(udp6({ srcPort: 1 }), { src: other }).reason, "spoofed");
  kit.nat.expire(1e6);
  kit.now = 1e6;
  assertEquals(kit.out(udp6({ srcPort: 1 }), { src: other }).reason, "none");
});

Deno.test("A station has a share of addresses; an idle one is forgotten for a new one", () => {
  const kit = natKit6();
  const at = (i: number) => udp6({ src: `fd00:0:0:2::${(100 + i).toString(16)}`, srcPort: 2000 + i });
  for (let i = 0; i < STATION_GUESTS_MAX; i++) sentOf(kit.out(at(i)));
  assertEquals(kit.out(at(STATION_GUESTS_MAX)).reason, "guests");
  assertEquals(sentOf(kit.out(udp6({ src: "fd00:0:0:2::64", srcPort: 9 }))).map.guestPort, 9);
  kit.nat.expire(1e6);
  kit.now = 1e6;
  assertEquals(kit.out(at(STATION_GUESTS_MAX)).reason, "none");
  assert([...kit.nat.table.guests].length <= STATION_GUESTS_MAX + 2);
});

Deno.test("A station that takes over another's idle address gives up an idle one of its own, or is refused", () => {
  const kit = natKit6();
  const other = new MacAddr(0x5254, 7);
  const at = (i: number) => udp6({ src: `fd00:0:0:2::${(100 + i).toString(16)}`, srcPort: 2000 + i });
  const owned = () => [...kit.nat.table.guests].filter(({ addr, mac }) => !addr.isV4 && !mac!.equals(other)).length;
  sentOf(kit.out(at(99), { src: other }));
  for (const now of [1e6, 2e6]) {
    kit.nat.expire(now);
    kit.now = now;
    // With all of its addresses in use it is refused; at the second time they are idle but one.
    if (now === 1e6) { for (let i = 0; i < STATION_GUESTS_MAX; i++) sentOf(kit.out(at(i))); }
    assertEquals(kit.out(at(99)).reason, now === 1e6 ? "guests" : "none");
    assertEquals(owned(), STATION_GUESTS_MAX);
  }
});

Deno.test("IPv4 finds no map of an IPv6 guest by the host's address", () => {
  const kit = natKit6({ filtering: "endpoint" });
  const { map } = sentOf(kit.out(udp6()));
  assertEquals(kit.nat.table.findByHost(0, map.hostPort), map);
  const fresh = natKit6({ filtering: "endpoint", policy: { host: false } });
  sentOf(fresh.out(udp6()));
  assertEquals(fresh.out(v4To(map.hostPort)).reason, "policy-host");
});

/** A datagram of IPv4 to the host. */
function v4To(dstPort: number): Uint8Array {
  return udpPacket({ src: "10.0.2.15", dst: "10.0.0.1", srcPort: 5, dstPort });
}

const GUEST_CAPS = { udp: 9, tcp: 9, icmp: 4 };
const TOTAL_CAPS = { udp: 20, tcp: 20, icmp: 9 };

Deno.test("No station passes its share of addresses, whichever station had them before", () => {
  // Few addresses and much time between: they are idle soon, and change hands.
  const hands = fc.record({
    mac: fc.constantFrom(0, 0, 0, 1),
    addr: fc.nat(23),
    what: fc.constantFrom("udp", "error", "solicit", "advert"),
    wait: fc.constantFrom(0, 0, 0, 100_000, 400_000),
  });
  fc.assert(
    fc.property(sequences(hands), (steps) => {
      const kit = natKit6({ guestCaps: GUEST_CAPS, totalCaps: TOTAL_CAPS });
      for (const { mac, addr, what, wait } of steps) {
        kit.now += wait;
        kit.nat.expire(kit.now);
        const src = `fd00:0:0:2::${(addr + 0x100).toString(16)}`;
        const station = { src: new MacAddr(0x5254, mac) };
        const group = "ff02::1:ff00:2";
        if (what === "udp") kit.out(udp6({ src }), station);
        else if (what === "error") {
          kit.out(
            error6Packet({ type: 1, code: 0, packet: udp6({ src: REMOTE6, dst: src }) }, { src, dst: REMOTE6 }),
            station,
          );
        } else if (what === "solicit") {
          kit.out(nd6({ type: 135, target: ip(ROUTER6), sourceMac: null }, { src, dst: group }), station);
        } else {
          const message = { type: 136, target: ip(src), isRouter: false, solicited: false, override: true } as const;
          kit.out(nd6({ ...message, targetMac: null }, { src, dst: "ff02::1" }), station);
        }
        assertCaps(kit, GUEST_CAPS, TOTAL_CAPS);
      }
    }),
    fuzzSteps(3000),
  );
});
