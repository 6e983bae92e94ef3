import { assert, assertEquals } from "@std/assert";
import { Block } from "../../kernel/block.ts";
import { parseIpv6Fragment } from "../../kernel/wire/ipv6.ts";
import { pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { header6 } from "../../tests/kit/ip/story6.ts";
import { sentOf } from "../../tests/kit/nat/steps.ts";
import { cutPacket6 } from "./fragments.ts";
import { assertSound, HOST6, natKit6, REMOTE6, udp6 } from "../../tests/kit/nat/steps.ts";

/** A guest's datagram in pieces for a link of 1280 bytes. */
function pieces(data: Uint8Array, id = 7): Uint8Array[] {
  return cutPacket6(Block.from(udp6({ payload: data, trafficClass: 2 })), 1280, id)!.map((one) => one.bytes().slice());
}

Deno.test("A guest's fragments go on as one datagram that may be cut, in whatever order they came", () => {
  const data = pattern(4000);
  for (const order of [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]]) {
    const kit = natKit6();
    const all = pieces(data);
    assertEquals(all.length, 4);
    const outcomes = order.map((i) => kit.out(all[i]!));
    assertEquals(outcomes.slice(0, 3).map(({ kind }) => kind), [4, 4, 4]);
    const { packet } = sentOf(outcomes[3]!);
    assertEquals([`${header6(packet).src}`, `${header6(packet).dst}`, header6(packet).trafficClass], [
      HOST6,
      REMOTE6,
      2,
    ]);
    assertEquals(parseIpv6Fragment(packet, 40, packet.length), {
      nextHeader: 17,
      fragOffset: 0,
      moreFragments: false,
      id: 7,
    });
    assertSound(packet);
    assertEquals(packet.slice(56), data);
    assertEquals(kit.nat.reassembler.bytes, 0);
  }
});

Deno.test("Fragments of 65519 bytes of data pass; what leaves no room for a fragment header does not", () => {
  const kit = natKit6();
  const last = (data: Uint8Array) => pieces(data).map((piece) => kit.out(piece)).at(-1)!;
  assertSound(sentOf(last(pattern(65519))).packet);
  assertEquals(last(pattern(65520)).reason, "fragment");
});

Deno.test("Overlaps end their datagram, a mark on a piece marks it, two datagrams stay apart, time ends it", () => {
  const kit = natKit6();
  const all = pieces(pattern(3000));
  kit.out(all[0]!);
  const overlap = all[1]!.slice();
  overlap[43]! -= 8;
  assertEquals(kit.out(overlap).reason, "fragment");
  const marked = pieces(pattern(3000), 8);
  marked[1]![1]! |= 0x30;
  for (const piece of pieces(pattern(3000), 9).slice(1)) kit.out(piece);
  const { packet } = sentOf(marked.map((piece) => kit.out(piece)).at(-1)!);
  assertEquals(header6(packet).trafficClass & 3, 3);
  kit.nat.expire(60_000);
  assert(kit.refused("fragment-timeout") > 0);
  assertEquals(kit.nat.reassembler.length, 0);
});

Deno.test("A station that is no guest has no fragments, and another's address none of its", () => {
  const kit = natKit6();
  const [first] = pieces(pattern(3000));
  first!.set([0xfd, 0, 0, 0, 0, 0, 0, 3], 8);
  assertEquals(kit.out(first!).reason, "source");
  assertEquals(kit.nat.reassembler.length, 0);
});

Deno.test("cutPacket6() keeps hop-by-hop options before the fragment header of each piece", () => {
  const udp = udp6({ payload: pattern(2000) });
  const payload = new Uint8Array([17, 0, 1, 4, 0, 0, 0, 0, ...udp.subarray(40)]);
  const packet = new Uint8Array([...udp.subarray(0, 40), ...payload]);
  packet[6] = 0;
  packet.set([payload.length >> 8, payload.length & 255], 4);
  const cut = cutPacket6(Block.from(packet), 1280, 1)!.map((one) => one.bytes());
  assertEquals(cut.map((piece) => [piece[6], piece[40], piece[48]]), [[0, 44, 17], [0, 44, 17]]);
  for (const piece of cut) assertSound(piece);
  assertEquals(cut.reduce((sum, piece) => sum + piece.length - 56, 0), 2008);
});
