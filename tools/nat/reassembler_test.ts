/** Putting datagrams together and cutting them: any order, duplicates, overlaps, limits. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block } from "../../kernel/block.ts";
import { FRAGMENTS_MAX } from "../../kernel/inet/reassembly.ts";
import { ipv4ChecksumOk, ipv4Tos, parseIpv4 } from "../../kernel/wire/ipv4.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { ipPacket, pattern } from "../../tests/kit/ip/ip_fixture.ts";
import { Reason } from "./counters.ts";
import { FAMILY4 } from "./family4.ts";
import { cutPacket4 } from "./fragments.ts";
import { BYTES_MAX, DATAGRAMS_MAX, Reassembler, REASSEMBLY_MS } from "./reassembler.ts";
import { assertSound } from "../../tests/kit/nat/steps.ts";
import { NatPacket } from "./packet.ts";

/** Adds a packet as `nat/outbound` does. */
function add(reassembler: Reassembler, packet: Uint8Array, now = 0): Block | null | number {
  const read = new NatPacket(FAMILY4);
  assertEquals(read.read(Block.from(packet)), Reason.None);
  return reassembler.take(read, now);
}

const piece = (fragOffset: number, payload: Uint8Array, moreFragments: boolean, fields = {}) =>
  ipPacket({ id: 7, fragOffset, payload, moreFragments, ...fields });

Deno.test("What was cut is put together again, in any order and with pieces twice", () => {
  const arbitrary = fc.record({
    size: fc.integer({ min: 0, max: 9000 }),
    mtu: fc.integer({ min: 68, max: 2000 }),
    order: fc.array(fc.nat(), { minLength: 40, maxLength: 40 }),
    again: fc.nat(5),
  });
  fc.assert(
    fc.property(arbitrary, ({ size, mtu, order, again }) => {
      const options = new Uint8Array([0x94, 4, 0, 0]);
      const whole = ipPacket({ id: 9, ttl: 33, tos: 2, options, payload: pattern(size) });
      if (whole.length <= mtu || whole.length > 40 * (mtu - 32)) return;
      const pieces = cutPacket4(Block.from(whole), mtu)!.map((one) => one.bytes().slice());
      for (const one of pieces) {
        assert(one.length <= mtu);
        assertSound(one);
      }
      const shuffled = pieces.map((one, i) => ({ one, key: order[i]! })).sort((a, b) => a.key - b.key).map(({ one }) =>
        one
      );
      const reassembler = new Reassembler();
      let result: Block | null | number = null;
      for (const [i, one] of shuffled.entries()) {
        if (i === again && i < shuffled.length - 1) add(reassembler, one);
        result = add(reassembler, one);
        if (i < shuffled.length - 1) assertEquals(result, null);
      }
      assertEquals((result as Block).bytes().slice(), whole);
      assertEquals([reassembler.length, reassembler.bytes], [0, 0]);
    }),
    fuzz(200),
  );
});

Deno.test("Pieces that overlap, contradict, or end too late are refused with their datagram (RFC 5722)", () => {
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

Deno.test("A mark of congestion on any piece is on the datagram (RFC 3168 5.3)", () => {
  const reassembler = new Reassembler();
  add(reassembler, piece(0, pattern(8), true, { tos: 2 }));
  const whole = add(reassembler, piece(8, pattern(8), false, { tos: 3 })) as Block;
  assertEquals([ipv4Tos(whole.buf, whole.rp), ipv4ChecksumOk(whole.buf, whole.rp)], [3, true]);
});

Deno.test("Datagrams differ by id, ends and protocol", () => {
  const reassembler = new Reassembler();
  add(reassembler, piece(0, pattern(8), true));
  for (const other of [{ id: 8 }, { src: "10.9.9.9" }, { dst: "10.9.9.9" }, { protocol: 6 }]) {
    assertEquals(add(reassembler, piece(8, pattern(8), false, other)), null);
  }
  assertEquals(reassembler.length, 5);
});

Deno.test("Limits: datagrams, bytes, holes and time", () => {
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

Deno.test("What cannot be cut is null: no room for eight bytes", () => {
  assertEquals(cutPacket4(Block.from(ipPacket({ payload: pattern(100) })), 24), null);
  const [first] = cutPacket4(Block.from(ipPacket({ payload: pattern(100), dontFragment: true })), 28)!;
  assertEquals(parseIpv4(first!.buf, first!.rp, first!.wp)?.dontFragment, false);
});
