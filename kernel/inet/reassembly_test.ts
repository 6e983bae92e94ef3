/** One datagram from its fragments, in both versions. */

import { assert, assertEquals } from "@std/assert";
import { Block, BlockPool } from "../block.ts";
import { IPV6_FRAGMENT_LEN, IPV6_HEADER_LEN, parseIpv6Fragment } from "../wire/ipv6.ts";
import { ip6Packet, ipPacket, pattern } from "../../tests/kit/ip/packets.ts";
import { fragment4 } from "./fragment4.ts";
import { fragment6 } from "./fragment6.ts";
import { FRAGMENT_FORMATS, type FragmentPlace, fragmentPlace4, fragmentPlace6 } from "./fragment_format.ts";
import { type Fragment, FRAGMENTS_MAX, isSoundFragment, PartialDatagram } from "./reassembly.ts";

const pool = new BlockPool();

interface Piece extends Fragment {
  readonly place: FragmentPlace;
}

/** What differs between the versions: the whole packet, and its pieces for a link of 100 bytes. */
const VERSIONS = [
  {
    version: 4,
    whole: (size: number, tos = 0) => ipPacket({ id: 7, payload: pattern(size), tos }),
    pieces: (packet: Uint8Array): Piece[] =>
      fragment4(Block.from(packet), 100, pool)!.map((block) => ({
        block,
        headerLen: 20,
        place: fragmentPlace4(block),
      })),
  },
  {
    version: 6,
    whole: (size: number, tos = 0) => ip6Packet({ payload: pattern(size), trafficClass: tos }),
    pieces: (packet: Uint8Array): Piece[] =>
      fragment6(Block.from(packet), 100, 7, pool)!.map((block) => {
        const place = fragmentPlace6(parseIpv6Fragment(block.buf, block.rp + IPV6_HEADER_LEN, block.wp)!);
        return { block, headerLen: IPV6_HEADER_LEN + IPV6_FRAGMENT_LEN, place };
      }),
  },
] as const;

for (const { version, whole, pieces } of VERSIONS) {
  const format = FRAGMENT_FORMATS[version];
  const begin = () => new PartialDatagram(format, pool, 0);
  const add = (datagram: PartialDatagram, piece: Piece) => datagram.add(piece, piece.place);

  Deno.test(`IPv${version}: a datagram is complete with its last missing fragment, in any order`, () => {
    const packet = whole(500);
    const [first, ...others] = pieces(packet);
    for (const order of [[first!, ...others], [...others, first!], [...others.toReversed(), others[0]!, first!]]) {
      const datagram = begin();
      order.forEach((piece, i) => {
        assertEquals(add(datagram, piece), null);
        assertEquals(datagram.isComplete, i === order.length - 1);
      });
      const block = datagram.finish()!;
      assertEquals({ bytes: block.bytes(), largest: block.fragmentMax }, {
        bytes: packet,
        largest: first!.block.length,
      });
    }
  });

  Deno.test(`IPv${version}: fragments that overlap, or contradict each other about the end, end their datagram`, () => {
    const all = pieces(whole(200));
    const [first, second] = all as [Piece, Piece];
    const last = all.at(-1)!;
    const datagram = begin();
    add(datagram, first);
    const overlapping = { ...second, place: { ...second.place, offset: second.place.offset - 8 } };
    assertEquals(add(datagram, overlapping), "overlap");
    const changed = Block.from(first.block.bytes());
    changed.buf[changed.wp - 1]! ^= 1;
    assertEquals(add(datagram, { ...first, block: changed }), "overlap");
    add(datagram, last);
    assertEquals(add(datagram, { ...second, place: { ...second.place, more: false } }), "inconsistent");
    assertEquals(
      add(datagram, { ...last, place: { ...last.place, offset: last.place.offset + 8 } }),
      "inconsistent",
    );
  });

  Deno.test(`IPv${version}: one marked fragment marks the whole (RFC 3168 5.3); a mark without ECT refuses it`, () => {
    for (const tos of [2, 0]) {
      const datagram = begin();
      const [first, second] = pieces(whole(90, tos)) as [Piece, Piece];
      format.setTos(second.block.buf, second.block.rp, 3);
      add(datagram, first);
      add(datagram, second);
      const block = datagram.finish();
      assertEquals(block && format.tos(block.buf, block.rp), tos === 2 ? 3 : null);
    }
  });

  Deno.test(`IPv${version}: the first fragment is quoted as it came, if it came`, () => {
    const [first, second] = pieces(whole(120)) as [Piece, Piece];
    const datagram = begin();
    add(datagram, second);
    assertEquals(datagram.firstFragment(), null);
    add(datagram, first);
    assertEquals(datagram.firstFragment()!.bytes(), first.block.bytes());
  });

  Deno.test(`IPv${version}: a fragment of no bytes, of odd length before others, or too far out is not sound`, () => {
    const [first] = pieces(whole(120)) as [Piece];
    const { place } = first;
    const sound = (piece: Fragment, change: Partial<FragmentPlace>) =>
      isSoundFragment(piece, { ...place, ...change }, format);
    const short = Block.from(first.block.bytes());
    short.wp--;
    const empty = Block.from(first.block.bytes().subarray(0, first.headerLen));
    assertEquals(
      {
        whole: sound(first, {}),
        empty: sound({ ...first, block: empty }, {}),
        odd: sound({ ...first, block: short }, {}),
        oddLast: sound({ ...first, block: short }, { more: false }),
        far: sound(first, { offset: 65528 }),
        header: sound({ ...first, headerLen: format.headerMax + 8 }, {}),
      },
      { whole: true, empty: false, odd: false, oddLast: true, far: false, header: false },
    );
  });
}

Deno.test("a datagram takes no more fragments than the largest one has at the smallest MTU", () => {
  const datagram = new PartialDatagram(FRAGMENT_FORMATS[4], pool, 0);
  const block = Block.from(ipPacket({ payload: 8 }));
  for (let i = 0; i < FRAGMENTS_MAX; i++) {
    const place = { id: 1, offset: i * 16, more: true, dontFragment: false };
    assertEquals(datagram.add({ block, headerLen: 20 }, place), null);
  }
  const place = { id: 1, offset: FRAGMENTS_MAX * 16, more: true, dontFragment: false };
  assertEquals(datagram.add({ block, headerLen: 20 }, place), "tooMany");
  assert(datagram.bytes >= FRAGMENTS_MAX * 16);
});
