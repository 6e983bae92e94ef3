/** About which packets an ICMP error may be sent, in both versions, and what it quotes. */

import { assert, assertEquals, assertObjectMatch } from "@std/assert";
import { Block } from "../block.ts";
import { ICMP_HEADER_LEN, icmpChecksumOk, parseIcmp } from "../wire/icmp.ts";
import { ICMP6_QUOTE_MAX, icmp6ChecksumOk, parseIcmp6 } from "../wire/icmp6.ts";
import { ip, ip6Packet, ipPacket, pattern } from "../../tests/kit/ip/packets.ts";
import { icmpErrorMessage, mayReportError } from "./icmp_error.ts";

const fragment6 = (offset: number) =>
  Uint8Array.of(17, 0, offset >> 8, offset & 0xff, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8);

Deno.test("mayReportError() holds of a packet from one host to one host, of both versions", () => {
  const cases: readonly (readonly [name: string, packet: Uint8Array, may: boolean])[] = [
    ["UDP over IPv4", ipPacket(), true],
    ["UDP over IPv6", ip6Packet(), true],
    ["a first fragment", ipPacket({ moreFragments: true }), true],
    ["a later fragment", ipPacket({ fragOffset: 8 }), false],
    ["a first fragment of IPv6", ip6Packet({ nextHeader: 44, payload: fragment6(1) }), true],
    ["a later fragment of IPv6", ip6Packet({ nextHeader: 44, payload: fragment6(8) }), false],
    ["an echo request", ipPacket({ protocol: 1, payload: Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 0) }), true],
    ["an ICMP error", ipPacket({ protocol: 1, payload: Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0) }), false],
    ["a redirect", ipPacket({ protocol: 1, payload: Uint8Array.of(5, 0, 0, 0, 0, 0, 0, 0) }), false],
    ["ICMP without a type", ipPacket({ protocol: 1, payload: 0 }), false],
    ["an ICMPv6 echo request", ip6Packet({ nextHeader: 58, payload: Uint8Array.of(128, 0, 0, 0, 0, 0, 0, 0) }), true],
    ["an ICMPv6 error", ip6Packet({ nextHeader: 58, payload: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0) }), false],
    ["from no address", ipPacket({ src: "0.0.0.0" }), false],
    ["from no address of IPv6", ip6Packet({ src: "::" }), false],
    ["from a group", ipPacket({ src: "224.0.0.1" }), false],
    ["from a group of IPv6", ip6Packet({ src: "ff02::1" }), false],
    ["from a reserved address", ipPacket({ src: "240.0.0.1" }), false],
    ["from everybody", ipPacket({ src: "255.255.255.255" }), false],
    ["to a group", ipPacket({ dst: "224.0.0.1" }), false],
    ["to a group of IPv6", ip6Packet({ dst: "ff02::1" }), false],
    ["to everybody", ipPacket({ dst: "255.255.255.255" }), false],
    ["no packet", pattern(40).fill(0, 0, 1), false],
    ["less than a header", ipPacket().subarray(0, 19), false],
  ];
  for (const [name, packet, may] of cases) assertEquals(mayReportError(packet, 0, packet.length), may, name);
});

Deno.test("icmpErrorMessage() quotes an IPv4 packet so far that the error fits 576 bytes", () => {
  const packet = ipPacket({ payload: pattern(1400) });
  const fields = { src: ip("10.0.0.1"), dst: ip("10.0.0.2"), type: 3, code: 4, rest: 1300 };
  const message = icmpErrorMessage(Block.from(packet), fields).bytes();
  assert(icmpChecksumOk(message, 0, message.length));
  assertObjectMatch(parseIcmp(message, 0, message.length)!, { type: 3, code: 4, rest: 1300 });
  assertEquals(message.subarray(ICMP_HEADER_LEN), packet.subarray(0, 576 - 20 - ICMP_HEADER_LEN));
});

Deno.test("icmpErrorMessage() of IPv6 fits 1280 bytes, and sums a pseudo-header", () => {
  const packet = ip6Packet({ payload: pattern(1400) });
  const [src, dst] = [ip("2001:db8::1"), ip("2001:db8::2")];
  const message = icmpErrorMessage(Block.from(packet), { src, dst, type: 2, code: 0, rest: 1280 }).bytes();
  assertEquals(message.length, ICMP_HEADER_LEN + ICMP6_QUOTE_MAX);
  assert(icmp6ChecksumOk(message, 0, message.length, { src, dst }));
  assertObjectMatch(parseIcmp6(message, 0, message.length)!, { type: 2, code: 0, rest: 1280 });
  assertEquals(message.subarray(ICMP_HEADER_LEN), packet.subarray(0, ICMP6_QUOTE_MAX));
});
