/** What the two versions of IP do to the header of a datagram that was put together. */

import { assert, assertEquals, assertObjectMatch } from "@std/assert";
import { Block } from "../block.ts";
import { concatBytes } from "../wire/bytes.ts";
import { ipv4ChecksumOk, parseIpv4 } from "../wire/ipv4.ts";
import { parseIpv6 } from "../wire/ipv6.ts";
import { ip6Packet, ipPacket, pattern } from "../../tests/kit/ip/packets.ts";
import { FRAGMENT_FORMATS } from "./fragment_format.ts";

Deno.test("makeWhole() of IPv4 writes length, offset, flags and checksum", () => {
  for (const dontFragment of [false, true]) {
    const first = ipPacket({ id: 9, moreFragments: true, fragOffset: 64, payload: 16 });
    const block = Block.from(first).append(pattern(100));
    FRAGMENT_FORMATS[4].makeWhole(block, 20, dontFragment);
    const bytes = block.bytes();
    assert(ipv4ChecksumOk(bytes, 0));
    const whole = { totalLen: 136, fragOffset: 0, moreFragments: false, dontFragment, id: 9 };
    assertObjectMatch(parseIpv4(bytes, 0, bytes.length)!, whole);
  }
});

Deno.test("makeWhole() of IPv6 takes the fragment header out, and the header before it names what followed", () => {
  const hops = Uint8Array.of(44, 0, 1, 4, 0, 0, 0, 0);
  const fragment = Uint8Array.of(17, 0, 0, 1, 0, 0, 0, 7);
  for (const before of [[], [hops]]) {
    const first = ip6Packet({ nextHeader: before.length === 0 ? 44 : 0, payload: concatBytes([...before, fragment]) });
    const block = Block.from(first).append(pattern(30));
    FRAGMENT_FORMATS[6].makeWhole(block, first.length, false);
    const options = before.map((part) => Uint8Array.of(17, ...part.subarray(1)));
    const nextHeader = before.length === 0 ? 17 : 0;
    assertEquals(block.bytes(), ip6Packet({ nextHeader, payload: concatBytes([...options, pattern(30)]) }));
  }
});

Deno.test("setTos() and tos() of both versions reach the same field, and IPv4's checksum stays right", () => {
  const packet4 = ipPacket({ tos: 1 });
  FRAGMENT_FORMATS[4].setTos(packet4, 0, 3);
  assertEquals({ tos: FRAGMENT_FORMATS[4].tos(packet4, 0), ok: ipv4ChecksumOk(packet4, 0) }, { tos: 3, ok: true });
  const packet6 = ip6Packet({ trafficClass: 0xf1 });
  FRAGMENT_FORMATS[6].setTos(packet6, 0, 0xf3);
  assertEquals(FRAGMENT_FORMATS[6].tos(packet6, 0), 0xf3);
});

Deno.test("setLength() of IPv6 makes the header fit the bytes that came; IPv4 quotes the header as it came", () => {
  const block = Block.from(ip6Packet({ payload: 8 })).append(pattern(5));
  FRAGMENT_FORMATS[6].setLength(block);
  assertEquals(parseIpv6(block.bytes(), 0, block.length)?.payloadLen, 13);
  const packet = ipPacket({ moreFragments: true, payload: 8 });
  const block4 = Block.from(packet).append(pattern(8));
  FRAGMENT_FORMATS[4].setLength(block4);
  assertEquals(block4.bytes().subarray(0, packet.length), packet);
});

Deno.test("The payload's place leaves room for the longest header and for the headers of a link", () => {
  for (const version of [4, 6] as const) {
    const { dataAt, headerMax } = FRAGMENT_FORMATS[version];
    assert(dataAt - headerMax >= 128, `${version}`);
  }
});
