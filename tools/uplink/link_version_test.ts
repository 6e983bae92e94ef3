/** Tests of what differs between the two versions of IP on the uplink's link. */

import { assertEquals } from "@std/assert";
import { Block } from "../../kernel/block.ts";
import { emitIpv6Fragment } from "../../kernel/wire/ipv6.ts";
import { ip, pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { packet6 } from "../../tests/kit/ip/story6.ts";
import { datagramWorld } from "../../tests/kit/uplink/datagram_world.ts";
import { LINKS } from "../../tests/kit/uplink/link_families.ts";
import { linkVersion, versionOf, versionOfPacket } from "./link_version.ts";

Deno.test("a version is found by its number, by an address, and by a packet's first byte", () => {
  for (const { version, near, udp } of LINKS) {
    const found = [linkVersion(version), versionOf(ip(near)), versionOfPacket(udp()[0]!)];
    assertEquals(found.map((one) => one!.version), [version, version, version]);
  }
  assertEquals([0x00, 0x50, 0xff].map(versionOfPacket), [null, null, null]);
});

/** A datagram with the fragment header of a whole packet before it, as near sends what it has put together. */
function reassembled(): Uint8Array {
  const [, link] = LINKS;
  const plain = link!.udp({ payload: pattern(30) });
  const payload = new Uint8Array(8 + plain.length - 40);
  emitIpv6Fragment({ nextHeader: 17, fragOffset: 0, moreFragments: false, id: 7 }, payload, 0);
  payload.set(plain.subarray(40), 8);
  return packet6({ src: link!.near, dst: link!.remote, nextHeader: 44, payload });
}

Deno.test("IPv6: a whole packet may not be cut, one that came in fragments may; IPv4 has a bit for it", () => {
  const isWhole = (packet: Uint8Array, fragmentMax = 0) =>
    versionOfPacket(packet[0]!)!.dontFragment(Object.assign(Block.from(packet), { fragmentMax }));
  assertEquals([isWhole(LINKS[0]!.udp()), isWhole(LINKS[0]!.udp({ isWhole: true }))], [false, true]);
  assertEquals([isWhole(LINKS[1]!.udp()), isWhole(LINKS[1]!.udp(), 1400)], [true, false]);
  assertEquals(isWhole(reassembled()), false);
  // Another extension header changes nothing: destination options of eight bytes.
  const options = packet6({ nextHeader: 60, payload: Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0, ...pattern(8)) });
  assertEquals(isWhole(options), true);
});

Deno.test("IPv6: a datagram that near put together goes out whole, and may be fragmented", () => {
  const world = datagramWorld();
  world.udp(reassembled());
  assertEquals(world.fake.sent.map(({ payload, dontFragment }) => [payload, dontFragment]), [[pattern(30), false]]);
  world.end();
});

Deno.test("the rest of 'too big' holds the MTU, of IPv4 in sixteen bits", () => {
  assertEquals([1400, 70_000].map((mtu) => [linkVersion(4).mtuRest(mtu), linkVersion(6).mtuRest(mtu)]), [
    [1400, 1400],
    [65_535, 70_000],
  ]);
});
