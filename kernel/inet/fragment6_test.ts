/** Cutting IPv6 packets. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, BlockPool } from "../block.ts";
import { concatBytes } from "../wire/bytes.ts";
import { type Ipv6Walk, parseIpv6, parseIpv6Fragment, walkIpv6 } from "../wire/ipv6.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { ip6Packet, pattern } from "../../tests/kit/ip/packets.ts";
import { dropFragmentHeader, fragment6 } from "./fragment6.ts";

const pool = new BlockPool();

function cut(packet: Uint8Array, mtu: number, id = 7): Uint8Array[] | null {
  return fragment6(Block.from(packet), mtu, id, pool)?.map((piece) => piece.bytes().slice()) ?? null;
}

/** The fragment header of a piece, where it is, and the payload length of the piece. */
function read(piece: Uint8Array) {
  const walk = walkIpv6(piece, 0, piece.length)!;
  return { ...parseIpv6Fragment(piece, walk.fragmentAt, piece.length)!, at: walk.fragmentAt };
}

Deno.test("fragment6() cuts at multiples of 8 and says which piece is the last (RFC 8200 4.5)", () => {
  const pieces = cut(ip6Packet({ payload: pattern(100), hopLimit: 9, trafficClass: 3 }), 90)!;
  const common = { nextHeader: 17, id: 7, at: 40 };
  assertEquals(pieces.map(read), [
    { ...common, fragOffset: 0, moreFragments: true },
    { ...common, fragOffset: 40, moreFragments: true },
    { ...common, fragOffset: 80, moreFragments: false },
  ]);
  for (const piece of pieces) {
    const { hopLimit, trafficClass, payloadLen } = parseIpv6(piece, 0, piece.length)!;
    assertEquals({ hopLimit, trafficClass, payloadLen }, {
      hopLimit: 9,
      trafficClass: 3,
      payloadLen: piece.length - 40,
    });
  }
});

Deno.test("fragment6() repeats hop-by-hop and routing headers in each piece, and cuts what is behind them", () => {
  const hops = Uint8Array.of(43, 0, 1, 4, 0, 0, 0, 0);
  const routing = Uint8Array.of(60, 0, 4, 0, 0, 0, 0, 0);
  const destination = Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0);
  const pieces = cut(
    ip6Packet({ nextHeader: 0, payload: concatBytes([hops, routing, destination, pattern(60)]) }),
    104,
  )!;
  assertEquals(pieces.map(read).map(({ at, nextHeader, fragOffset }) => ({ at, nextHeader, fragOffset })), [
    { at: 56, nextHeader: 60, fragOffset: 0 },
    { at: 56, nextHeader: 60, fragOffset: 40 },
  ]);
  assertEquals(pieces[0]!.subarray(64, 72), destination);
});

Deno.test("fragment6() refuses an MTU without room for 8 bytes, and what is no packet", () => {
  assertEquals(cut(ip6Packet({ payload: 100 }), 55), null);
  assertEquals(cut(new Uint8Array(39), 1280), null);
});

Deno.test("fragment6() pieces fit the MTU, and their payloads make up the packet", () => {
  const cases = fc.record({ length: fc.integer({ min: 1, max: 5000 }), mtu: fc.integer({ min: 56, max: 1500 }) });
  fc.assert(
    fc.property(cases, ({ length, mtu }) => {
      const joined = new Uint8Array(length);
      const pieces = cut(ip6Packet({ payload: pattern(length) }), mtu)!;
      for (const piece of pieces) {
        assert(piece.length <= mtu);
        joined.set(piece.subarray(48), read(piece).fragOffset);
      }
      assertEquals(joined, pattern(length));
      assertEquals(pieces.filter((piece) => !read(piece).moreFragments).length, 1);
    }),
    fuzz(100),
  );
});

Deno.test("dropFragmentHeader() undoes fragment6() of a packet that fits", () => {
  const packet = ip6Packet({
    nextHeader: 0,
    payload: concatBytes([Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0), pattern(50)]),
  });
  const [piece] = fragment6(Block.from(packet), 1280, 7, pool)!;
  const walk: Ipv6Walk = walkIpv6(piece!.buf, piece!.rp, piece!.wp)!;
  dropFragmentHeader(piece!, walk);
  assertEquals(piece!.bytes(), packet);
});
