/** Putting datagrams of both versions together and cutting them: any order, duplicates, overlaps, limits. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block } from "../../kernel/block.ts";
import { FRAGMENT_FORMATS } from "../../kernel/inet/fragment_format.ts";
import { FRAGMENTS_MAX } from "../../kernel/inet/reassembly.ts";
import { concatBytes, put16 } from "../../kernel/wire/bytes.ts";
import { ipv4ChecksumOk, parseIpv4 } from "../../kernel/wire/ipv4.ts";
import { emitIpv6Fragment } from "../../kernel/wire/ipv6.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { ipPacket, pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { ip6Packet } from "../../tests/kit/ip/packets.ts";
import { assertSound } from "../../tests/kit/nat/steps.ts";
import { Reason } from "./counters.ts";
import { FAMILY4 } from "./family4.ts";
import { FAMILY6 } from "./family6.ts";
import { cutPacket4, cutPacket6 } from "./fragments.ts";
import { NatPacket } from "./packet.ts";
import { BYTES_MAX, DATAGRAMS_MAX, Reassembler, REASSEMBLY_MS } from "./reassembler.ts";

const ID = 7;

/** What tells a fragment's datagram from others, and its mark. */
interface PieceFields {
  id?: number;
  src?: string;
  dst?: string;
  protocol?: number;
  tos?: number;
}

function fragmentHeader(fragOffset: number, moreFragments: boolean, id: number): Uint8Array {
  const header = new Uint8Array(8);
  emitIpv6Fragment({ nextHeader: 17, fragOffset, moreFragments, id }, header, 0);
  return header;
}

const VERSIONS = [
  {
    name: "IPv4",
    family: FAMILY4,
    piece: (fragOffset: number, payload: Uint8Array, moreFragments: boolean, fields: PieceFields = {}) =>
      ipPacket({ id: ID, fragOffset, payload, moreFragments, ...fields }),
    /** A packet with options, and what its fragments become. */
    whole: (size: number) =>
      ipPacket({ id: ID, ttl: 33, tos: 2, options: new Uint8Array([0x94, 4, 0, 0]), payload: pattern(size) }),
    joined: (whole: Uint8Array) => whole,
    others: [{ id: 8 }, { src: "10.9.9.9" }, { dst: "10.9.9.9" }, { protocol: 6 }] as PieceFields[],
  },
  {
    name: "IPv6",
    family: FAMILY6,
    piece: (offset: number, payload: Uint8Array, more: boolean, { id = ID, tos = 0, ...fields }: PieceFields = {}) =>
      ip6Packet({
        ...fields,
        trafficClass: tos,
        nextHeader: 44,
        payload: concatBytes([fragmentHeader(offset, more, id), payload]),
      }),
    whole: (size: number) =>
      ip6Packet({
        nextHeader: 0,
        hopLimit: 33,
        trafficClass: 2,
        payload: concatBytes([Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0), pattern(size)]),
      }),
    /** It keeps a fragment header, behind its hop-by-hop options. */
    joined: (whole: Uint8Array) => {
      const joined = concatBytes([whole.subarray(0, 48), fragmentHeader(0, false, ID), whole.subarray(48)]);
      joined[40] = 44;
      put16(joined, 4, joined.length - 40);
      return joined;
    },
    others: [{ id: 8 }, { src: "2001:db8::9" }, { dst: "2001:db8::9" }] as PieceFields[],
  },
];

for (const { name, family, piece, whole: wholeOf, joined, others } of VERSIONS) {
  /** Adds a packet as nat/outbound does. */
  const add = (reassembler: Reassembler, packet: Uint8Array, now = 0): Block | null | number => {
    const read = new NatPacket(family);
    assertEquals(read.read(Block.from(packet)), Reason.None);
    return reassembler.take(read, now);
  };

  Deno.test(`${name}: what was cut is put together again, in any order and with pieces twice`, () => {
    const arbitrary = fc.record({
      size: fc.integer({ min: 0, max: 9000 }),
      mtu: fc.integer({ min: 68, max: 2000 }),
      order: fc.array(fc.nat(), { minLength: 40, maxLength: 40 }),
      again: fc.nat(5),
    });
    fc.assert(
      fc.property(arbitrary, ({ size, mtu, order, again }) => {
        const whole = wholeOf(size);
        if (whole.length <= mtu) return;
        const pieces = family.cut(Block.from(whole), mtu, ID)!.map((one) => one.bytes().slice());
        if (pieces.length > order.length) return;
        for (const one of pieces) {
          assert(one.length <= mtu);
          assertSound(one);
        }
        const shuffled = pieces.map((one, i) => ({ one, key: order[i]! })).sort((a, b) => a.key - b.key).map((
          { one },
        ) => one);
        const reassembler = new Reassembler();
        let result: Block | null | number = null;
        for (const [i, one] of shuffled.entries()) {
          if (i === again && i < shuffled.length - 1) add(reassembler, one);
          result = add(reassembler, one);
          if (i < shuffled.length - 1) assertEquals(result, null);
        }
        assertEquals((result as Block).bytes().slice(), joined(whole));
        assertEquals([reassembler.length, reassembler.bytes], [0, 0]);
      }),
      fuzz(200),
    );
  });

  Deno.test(`${name}: pieces that overlap, contradict or end too late end their datagram (RFC 5722)`, () => {
    const cases: [string, Uint8Array[]][] = [
      ["overlap", [piece(0, pattern(16), true), piece(8, pattern(16), true)]],
      ["other content", [piece(0, pattern(16), true), piece(0, pattern(16, 1), true)]],
      ["two ends", [piece(16, pattern(8), false), piece(24, pattern(8), false)]],
      ["end before a piece", [piece(32, pattern(8), true), piece(16, pattern(8), false)]],
      ["piece behind the end", [piece(16, pattern(8), false), piece(24, pattern(8), true)]],
      ["around", [piece(8, pattern(8), true), piece(0, pattern(24), true)]],
      ["into the next", [piece(0, pattern(8), true), piece(16, pattern(8), true), piece(8, pattern(16), true)]],
      ["odd length", [piece(0, pattern(9), true)]],
      ["empty", [piece(8, new Uint8Array(0), false)]],
      ["too long", [piece(65528, pattern(16), false)]],
    ];
    for (const [name, pieces] of cases) {
      const reassembler = new Reassembler();
      const results = pieces.map((one) => add(reassembler, one));
      assertEquals([name, results.at(-1), reassembler.length], [name, Reason.Fragment, 0]);
    }
  });

  Deno.test(`${name}: a mark of congestion on any piece is on the datagram (RFC 3168 5.3)`, () => {
    const reassembler = new Reassembler();
    add(reassembler, piece(0, pattern(8), true, { tos: 2 }));
    const whole = add(reassembler, piece(8, pattern(8), false, { tos: 3 })) as Block;
    assertEquals(FRAGMENT_FORMATS[family.version].tos(whole.buf, whole.rp), 3);
    assert(family.version === 6 || ipv4ChecksumOk(whole.buf, whole.rp));
  });

  Deno.test(`${name}: datagrams differ by id, ends and protocol`, () => {
    const reassembler = new Reassembler();
    add(reassembler, piece(0, pattern(8), true));
    for (const other of others) {
      assertEquals(add(reassembler, piece(8, pattern(8), false, other)), null);
    }
    assertEquals(reassembler.length, 1 + others.length);
  });

  Deno.test(`${name}: limits: datagrams, bytes, holes and time`, () => {
    const reassembler = new Reassembler();
    for (let id = 0; id < 3 * DATAGRAMS_MAX; id++) add(reassembler, piece(65000, pattern(8), true, { id }), id);
    assert(reassembler.length <= DATAGRAMS_MAX && reassembler.bytes <= BYTES_MAX);
    const first = reassembler.nextExpiry();
    assertEquals(reassembler.expire(first - 1), 0);
    assert(reassembler.expire(first + REASSEMBLY_MS) > 0);
    assertEquals([reassembler.length, reassembler.bytes, reassembler.nextExpiry()], [0, 0, Infinity]);
    // Small ones are limited by their number; the oldest goes.
    for (let id = 0; id < DATAGRAMS_MAX + 9; id++) add(reassembler, piece(0, pattern(8), true, { id }), id);
    assertEquals([reassembler.length, reassembler.nextExpiry()], [DATAGRAMS_MAX, 9 + REASSEMBLY_MS]);
    reassembler.expire(Infinity);
    const holes = Array.from(
      { length: FRAGMENTS_MAX + 1 },
      (_, i) => add(reassembler, piece(16 * i + 8, pattern(8), true)),
    );
    assertEquals([holes.at(-2), holes.at(-1), reassembler.length], [null, Reason.Fragment, 0]);
  });
}

Deno.test("What cannot be cut is null: no room for eight bytes", () => {
  assertEquals(cutPacket4(Block.from(ipPacket({ payload: pattern(100) })), 24), null);
  const [first] = cutPacket4(Block.from(ipPacket({ payload: pattern(100), dontFragment: true })), 28)!;
  assertEquals(parseIpv4(first!.buf, first!.rp, first!.wp)?.dontFragment, false);
});

Deno.test("cutPacket6() takes a header of a whole datagram out: its pieces have one each", () => {
  const [packet] = VERSIONS.filter(({ name }) => name === "IPv6").map(({ joined, whole }) => joined(whole(3000)));
  const pieces = cutPacket6(Block.from(packet!), 1280, 9)!.map((one) => one.bytes());
  assertEquals(pieces.map((one) => [one[6], one[40], one[48], one[55]]), pieces.map(() => [0, 44, 17, 9]));
  assertEquals(pieces.reduce((sum, one) => sum + one.length - 56, 0), 3000);
});
