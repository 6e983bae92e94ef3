import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block, BlockPool } from "../../../kernel/block.ts";
import { ICMP_TIME_EXCEEDED } from "../../../kernel/wire/icmp.ts";
import { ipv4ChecksumOk } from "../../../kernel/wire/ipv4.ts";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import { fragment4 } from "../../../kernel/inet/fragment4.ts";
import { ipPacket, type PacketFields, pattern } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";
import { FRAGMENTS_MAX } from "../../../kernel/inet/reassembly.ts";
import { REASSEMBLY_BYTES_MAX, REASSEMBLY_DATAGRAMS_MAX } from "./reassembly.ts";
import { REASSEMBLY_TIMEOUT_S } from "../env/stats.ts";

const pool = new BlockPool();

function host(): TestHost {
  const made = new TestHost();
  made.etherIfc();
  made.knowPeer();
  return made;
}

/** The fragments of one packet. */
function fragments(fields: PacketFields, mtu = 60): Uint8Array[] {
  return fragment4(Block.from(ipPacket(fields)), mtu, pool)!.map((piece) => piece.bytes().slice());
}

function receive(at: TestHost, ...packets: Uint8Array[]): void {
  for (const packet of packets) at.receiveIp(packet);
}

Deno.test("a reassembled datagram is one message with one contiguous block (defect 3)", () => {
  const at = host();
  receive(at, ...fragments({ id: 1, payload: 3000, ttl: 7 }, 572));
  assertEquals(at.received.length, 1);
  const { bytes, header, block } = at.received[0]!;
  assertEquals(block.extents, null);
  assertEquals(block.next, null);
  assertEquals(bytes.subarray(20), pattern(3000));
  assert(ipv4ChecksumOk(bytes, 0));
  assertEquals([header.ttl, header.fragOffset, header.moreFragments, header.totalLen], [7, 0, false, 3020]);
  assertEquals([at.stack.stats.reasmReqds, at.stack.stats.reasmOks, at.stack.stats.reasmFails], [6, 1, 0]);
  assertEquals([at.stack.reassembly.size, at.stack.reassembly.bytes], [0, 0]);
});

Deno.test("Reassembly of fragments in any order, with duplicates, is the identity", () => {
  const cases = fc.record({
    length: fc.integer({ min: 50, max: 4000 }),
    mtu: fc.integer({ min: 60, max: 600 }),
    order: fc.infiniteStream(fc.nat()),
    hasOptions: fc.boolean(),
  });
  fc.assert(
    fc.property(cases, ({ length, mtu, order, hasOptions }) => {
      const at = host();
      const options = hasOptions ? Uint8Array.of(0x94, 4, 0, 0, 7, 4, 4, 0) : new Uint8Array(0);
      const whole = ipPacket({ id: 9, payload: length, options });
      const pieces = whole.length <= mtu ? [whole] : fragments({ id: 9, payload: length, options }, mtu);
      const shuffled = pieces.map((piece) => ({ piece, key: order.next().value })).sort((a, b) => a.key - b.key);
      for (const [i, { piece }] of shuffled.entries()) {
        receive(at, piece);
        // Again, but not the last: it would begin a new datagram.
        if (i < shuffled.length - 1 && order.next().value % 3 === 0) receive(at, piece);
      }
      assertEquals(at.received.length, 1);
      assertEquals(at.received[0]!.bytes, whole);
    }),
    fuzz(60),
  );
});

Deno.test("A reassembled datagram says how long its largest fragment was; one that came whole does not", () => {
  const at = host();
  receive(at, ...fragments({ id: 1, payload: 3000 }, 572).reverse(), ipPacket({ id: 2, payload: 900 }));
  assertEquals(at.received.map(({ block }) => block.fragmentMax), [572, 0]);
});

Deno.test("Reassembly keeps datagrams apart by source, destination, id and protocol", () => {
  const at = host();
  const [a1, a2] = fragments({ id: 1, payload: 48 }, 52);
  const [b1, b2] = fragments({ id: 2, payload: 48 }, 52);
  const [c1, c2] = fragments({ id: 1, payload: 48, src: "10.0.0.3" }, 52);
  const [d1] = fragments({ id: 1, payload: 48, protocol: 99 }, 52);
  receive(at, d1!, a1!, b1!, c1!, c2!, b2!, a2!);
  assertEquals(at.received.map(({ header }) => `${header.src} ${header.id}`), [
    "10.0.0.3 1",
    "10.0.0.2 2",
    "10.0.0.2 1",
  ]);
  assertEquals(at.stack.reassembly.size, 1);
});

Deno.test("Reassembly gives a datagram up when fragments overlap (RFC 5722), but not for a copy", () => {
  const at = host();
  const [first, second] = fragments({ id: 1, payload: 64 }, 52);
  const overlapping = ipPacket({ id: 1, payload: 32, fragOffset: 24, moreFragments: true });
  receive(at, first!, first!, overlapping);
  assertEquals([at.stack.stats.reasmOverlap, at.stack.reassembly.size], [1, 0]);
  const changed = first!.slice();
  changed[25]! ^= 1;
  receive(at, first!, changed);
  assertEquals([at.stack.stats.reasmOverlap, at.stack.reassembly.size], [2, 0]);
  receive(at, second!, overlapping);
  assertEquals([at.stack.stats.reasmOverlap, at.received.length], [3, 0]);
});

Deno.test("Reassembly gives a datagram up when its fragments disagree about its end", () => {
  const at = host();
  const last = (fragOffset: number) => ipPacket({ id: 1, payload: 8, fragOffset });
  const more = (fragOffset: number) => ipPacket({ id: 1, payload: 8, fragOffset, moreFragments: true });
  receive(at, last(80), last(160));
  assertEquals(at.stack.stats.reasmInconsistent, 1);
  receive(at, last(80), more(88));
  assertEquals(at.stack.stats.reasmInconsistent, 2);
  receive(at, more(160), last(80));
  assertEquals([at.stack.stats.reasmInconsistent, at.stack.reassembly.size], [3, 0]);
});

Deno.test("Reassembly refuses fragments that are empty, uneven or reach beyond 65535 (defect 13: size cap)", () => {
  const at = host();
  receive(
    at,
    ipPacket({ id: 1, payload: 0, fragOffset: 8 }),
    ipPacket({ id: 1, payload: 12, moreFragments: true }),
    ipPacket({ id: 1, payload: 1000, fragOffset: 65528 }),
  );
  assertEquals([at.stack.stats.inBadFragment, at.stack.reassembly.size], [3, 0]);
  // Each fragment alone is fine; with the first one's longer header the whole is too long.
  const options = new Uint8Array(40).fill(1);
  receive(at, ...fragments({ id: 2, payload: 65504 }, 1500).slice(1));
  receive(at, ipPacket({ id: 2, payload: 1480, options, moreFragments: true }));
  assertEquals([at.stack.stats.reasmInconsistent, at.received.length], [1, 0]);
});

Deno.test("Reassembly takes the largest datagram there is", () => {
  const at = host();
  receive(at, ...fragments({ id: 2, payload: 65515 }, 68));
  assertEquals(at.received[0]!.bytes.length, 65535);
});

Deno.test("Reassembly joins ECN marks (RFC 3168 5.3), and refuses a mark on what was not capable", () => {
  const at = host();
  const part = (fragOffset: number, tos: number) =>
    ipPacket({ id: 1, payload: 8, fragOffset, tos, moreFragments: fragOffset < 8 });
  receive(at, part(0, 0x22), part(8, 0x23));
  assertEquals(at.received[0]!.header.tos, 0x23);
  receive(at, part(0, 0x20), part(8, 0x23));
  assertEquals([at.received.length, at.stack.stats.reasmInconsistent], [1, 1]);
});

Deno.test("Reassembly keeps DF only if every fragment has it", () => {
  const at = host();
  const part = (fragOffset: number, dontFragment: boolean) =>
    ipPacket({ id: 1, payload: 8, fragOffset, dontFragment, moreFragments: fragOffset < 8 });
  receive(at, part(0, true), part(8, true), part(0, true), part(8, false));
  assertEquals(at.received.map(({ header }) => header.dontFragment), [true, false]);
});

Deno.test("Reassembly ends after 30 s without more traffic, and tells the sender (defect 13: real timers)", () => {
  const at = host();
  const [first, second] = fragments({ id: 1, payload: 64 }, 52);
  receive(at, first!);
  at.clock.advance(REASSEMBLY_TIMEOUT_S * 1000 - 1);
  assertEquals(at.stack.reassembly.size, 1);
  at.clock.advance(1);
  assertEquals([at.stack.reassembly.size, at.stack.stats.reasmTimedOut], [0, 1]);
  const errors = at.takePackets();
  assertEquals(errors.length, 1);
  assertEquals([errors[0]![20], errors[0]![21]], [ICMP_TIME_EXCEEDED, 1]);
  assertEquals(errors[0]!.subarray(28, 28 + 52), first!);
  assertEquals(at.clock.timerCount, 0);
  // Without the first fragment there is nothing to quote (RFC 792).
  receive(at, second!);
  at.clock.advance(REASSEMBLY_TIMEOUT_S * 1000);
  assertEquals([at.takePackets().length, at.stack.stats.reasmTimedOut], [0, 2]);
});

Deno.test("Reassembly never holds more datagrams, bytes or fragments than its limits: the oldest gives way", () => {
  const at = host();
  for (let id = 0; id < REASSEMBLY_DATAGRAMS_MAX + 5; id++) {
    receive(at, ipPacket({ id, payload: 8, moreFragments: true }));
    assert(at.stack.reassembly.size <= REASSEMBLY_DATAGRAMS_MAX);
  }
  assertEquals(at.stack.stats.reasmEvicted, 5);
  at.stack.reassembly.clear();
  for (let id = 0; id < REASSEMBLY_DATAGRAMS_MAX; id++) {
    receive(at, ipPacket({ id, payload: 8, fragOffset: 65000 }));
    assert(at.stack.reassembly.bytes <= REASSEMBLY_BYTES_MAX);
  }
  assert(at.stack.stats.reasmEvicted > 5);
  at.stack.reassembly.clear();
  for (let i = 0; i <= FRAGMENTS_MAX; i++) {
    receive(at, ipPacket({ id: 1, payload: 8, fragOffset: i * 16, moreFragments: true }));
  }
  assertEquals([at.stack.stats.reasmTooMany, at.stack.reassembly.size, at.stack.reassembly.bytes], [1, 0, 0]);
});

Deno.test("Reassembly of random fragments never throws and delivers only whole datagrams", () => {
  const fragment = fc.record({
    id: fc.integer({ min: 1, max: 3 }),
    src: fc.constantFrom("10.0.0.2", "10.0.0.3"),
    fragOffset: fc.integer({ min: 0, max: 12 }).map((n) => n * 8),
    payload: fc.constantFrom(0, 3, 8, 8, 16, 24, 24),
    moreFragments: fc.boolean(),
    tos: fc.integer({ min: 0, max: 3 }),
  });
  fc.assert(
    fc.property(fc.array(fragment, { maxLength: 60 }), (list) => {
      const at = host();
      for (const one of list) receive(at, ipPacket(one));
      for (const { header } of at.received) assert(header.fragOffset === 0 && !header.moreFragments);
      const { reassembly } = at.stack;
      assert(reassembly.size <= 6);
      assertEquals(reassembly.size === 0, reassembly.bytes === 0);
      reassembly.clear();
      assertEquals(at.clock.timerCount, 0);
    }),
    fuzz(150),
  );
});
