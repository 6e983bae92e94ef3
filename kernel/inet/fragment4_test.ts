/** Cutting IPv4 packets. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, BlockPool } from "../block.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { fragment4 } from "./fragment4.ts";
import { headerOf, ipPacket, type PacketFields, pattern } from "../../tests/kit/ip/packets.ts";

const pool = new BlockPool();

/** Copied (0x80 set) and not copied options: router alert, record route, end. */
const OPTIONS = Uint8Array.of(0x94, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0);

function cut(fields: PacketFields, mtu: number): Uint8Array[] {
  return fragment4(Block.from(ipPacket(fields)), mtu, pool)!.map((piece) => piece.bytes().slice());
}

Deno.test("fragment4() cuts at multiples of 8 and says which piece is the last (RFC 791 3.2)", () => {
  const pieces = cut({ id: 77, payload: 100, tos: 3, ttl: 9 }, 60);
  const headers = pieces.map(headerOf);
  assertEquals(headers.map((one) => [one.fragOffset, one.payloadLen, one.moreFragments]), [
    [0, 40, true],
    [40, 40, true],
    [80, 20, false],
  ]);
  assert(headers.every((one) => one.id === 77 && one.tos === 3 && one.ttl === 9 && !one.dontFragment));
});

Deno.test("fragment4() copies to later fragments only the options with the copied flag", () => {
  const headers = cut({ payload: 100, options: OPTIONS }, 72).map(headerOf);
  assertEquals(headers.map((one) => [...one.options]), [[...OPTIONS], [0x94, 4, 0, 0], [0x94, 4, 0, 0]]);
  assertEquals(headers.map((one) => [one.fragOffset, one.payloadLen]), [[0, 40], [40, 48], [88, 12]]);
});

Deno.test("fragment4() of a fragment goes on from its place and keeps its MF", () => {
  const middle = cut({ id: 5, payload: 64, fragOffset: 800, moreFragments: true }, 52).map(headerOf);
  assertEquals(middle.map((one) => [one.fragOffset, one.moreFragments]), [[800, true], [832, true]]);
  const last = cut({ id: 5, payload: 60, fragOffset: 800 }, 52).map(headerOf);
  assertEquals(last.map((one) => [one.fragOffset, one.moreFragments]), [[800, true], [832, false]]);
});

Deno.test("fragment4() refuses an MTU without room for 8 bytes, and what is no packet", () => {
  assertEquals(fragment4(Block.from(ipPacket({ payload: 100 })), 27, pool), null);
  assertEquals(fragment4(Block.from(ipPacket({ payload: 100, options: OPTIONS })), 39, pool), null);
  assertEquals(fragment4(Block.from(new Uint8Array(10)), 576, pool), null);
});

Deno.test("fragment4() pieces fit the MTU, and their payloads make up the packet", () => {
  const cases = fc.record({ length: fc.integer({ min: 1, max: 5000 }), mtu: fc.integer({ min: 40, max: 1500 }) });
  fc.assert(
    fc.property(cases, ({ length, mtu }) => {
      const pieces = cut({ payload: length }, mtu);
      const joined = new Uint8Array(length);
      for (const piece of pieces) {
        assert(piece.length <= mtu);
        joined.set(piece.subarray(20), headerOf(piece).fragOffset);
      }
      assertEquals(joined, pattern(length));
      assertEquals(pieces.filter((piece) => !headerOf(piece).moreFragments).length, 1);
    }),
    fuzz(100),
  );
});
