/**
 * A cable with faults: loss, duplicates, reordering, corruption, by direction, as often as asked, and the same again
 * from the same seed.
 *
 * @module
 */

import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import fc from "fast-check";
import { Block, Checksum } from "../../kernel/block.ts";
import { SeededRandom } from "../../kernel/random.ts";
import { checksum } from "../../kernel/wire/checksum.ts";
import { frame } from "../../tests/kit/ip/ether.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import type { CableFaults } from "./cable_faults.ts";
import { Wire } from "../../tests/kit/ip/cable.ts";

const COUNTED: (keyof CableFaults)[] = ["loss", "duplicate", "reorder", "corrupt"];

Deno.test("Cable loses every frame at loss 1 and does not notify the sender", () => {
  const wire = new Wire({ loss: 1 });
  assert(wire.a.transmit(Block.from(frame())));
  wire.clock.advance(10);
  assertEquals([wire.a.counters.lost, wire.arrivals.length], [1, 0]);
});

Deno.test("Cable duplicates a frame into two equal ones", () => {
  const wire = new Wire({ duplicate: 1 });
  wire.sendNumbered(2);
  wire.clock.advance(10);
  assertEquals(wire.numbers, [0, 0, 1, 1]);
  assertEquals([wire.a.counters.duplicated, wire.a.counters.delivered], [2, 4]);
});

Deno.test("Cable holds a reordered frame back so that later ones overtake it", () => {
  const wire = new Wire({ reorderMs: 2 });
  wire.cable.set({ reorder: 1 });
  wire.sendNumbered(1);
  wire.cable.set({ reorder: 0 });
  wire.a.transmit(Block.from(frame({ fill: 1 })));
  wire.clock.advance(1.9);
  assertEquals(wire.numbers, [1]);
  wire.clock.advance(0.1);
  assertEquals(wire.numbers, [1, 0]);
  assertEquals(wire.a.counters.reordered, 1);
});

Deno.test("Cable corrupts exactly one bit", () => {
  const wire = new Wire({ corrupt: 1 });
  const sent = frame();
  wire.a.transmit(Block.from(sent));
  wire.clock.advance(1);
  const flipped = wire.arrivals[0]!.bytes.map((byte, i) => byte ^ sent[i]!).filter((byte) => byte !== 0);
  assertEquals(flipped.length, 1);
  assertEquals(flipped[0]! & (flipped[0]! - 1), 0);
  assertEquals(wire.a.counters.corrupted, 1);
});

Deno.test("Cable faults may differ by direction", () => {
  const wire = new Wire();
  wire.cable.set({ loss: 1 }, wire.a);
  wire.a.transmit(Block.from(frame()));
  wire.b.transmit(Block.from(frame()));
  wire.clock.advance(1);
  assertEquals(wire.arrivals.map(({ port }) => port), ["a"]);
  wire.cable.set({ loss: 0 });
  wire.a.transmit(Block.from(frame()));
  wire.clock.advance(1);
  assertEquals(wire.arrivals.map(({ port }) => port), ["a", "b"]);
});

Deno.test("Cable that corrupts a frame with an owed checksum lets the receiver find out", () => {
  for (let seed = 1; seed < 50; seed++) {
    const wire = new Wire({ offloads: true, corrupt: 1 }, new SeededRandom(seed));
    const block = Block.from(frame({ length: 20 }));
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + 14;
    block.checksumField = block.rp + 20;
    block.buf.fill(0, block.checksumField, block.checksumField + 2);
    let got: Block | null = null;
    wire.b.receive = (one) => void (got = one);
    wire.a.transmit(block);
    wire.clock.advance(1);
    assertEquals(got!.checksum, Checksum.None);
    const inHeader = got!.bytes().subarray(0, 14).some((byte: number, i: number) => byte !== frame()[i]);
    assertEquals(checksum(got!.buf, got!.rp + 14, got!.wp) === 0, inHeader);
  }
});

const chance = fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, noNaN: true }));
const faultsArb = fc.record({
  rateBps: fc.constantFrom(0, 1e5, 1e7),
  delayMs: fc.constantFrom(0, 3),
  jitterMs: fc.constantFrom(0, 5),
  loss: chance,
  duplicate: chance,
  reorder: chance,
  corrupt: chance,
  queueFrames: fc.integer({ min: 0, max: 20 }),
  queueBytes: fc.constantFrom(0, 1000),
});

/** Sends frames over a faulty wire and tells all that happened. */
function story(faults: Partial<CableFaults>, seed: number): { wire: Wire; text: string } {
  const wire = new Wire(faults, new SeededRandom(seed));
  for (let i = 0; i < 40; i++) {
    wire.a.transmit(Block.from(frame({ length: 50 + i, fill: i })));
    if (i % 3 === 0) wire.b.transmit(Block.from(frame({ length: 20, fill: i })));
    if (i % 5 === 0) wire.clock.advance(1);
  }
  wire.clock.advance(1e6);
  return { wire, text: JSON.stringify([wire.arrivals, wire.a.counters, wire.b.counters]) };
}

Deno.test("Cable is a pure function of its seed", () => {
  fc.assert(
    fc.property(
      faultsArb,
      fc.nat(),
      (faults, seed) => assertEquals(story(faults, seed).text, story(faults, seed).text),
    ),
    fuzz(50),
  );
  const faults = { loss: 0.3, duplicate: 0.3, jitterMs: 4 };
  assert(story(faults, 1).text !== story(faults, 2).text);
});

Deno.test("Cable counts each frame and each duplicate exactly once", () => {
  fc.assert(
    fc.property(faultsArb, fc.nat(), (faults, seed) => {
      const { wire } = story(faults, seed);
      for (const { counters } of [wire.a, wire.b]) {
        const { sent, duplicated, delivered, lost, overflow, refused, unplugged } = counters;
        assertEquals(sent + duplicated, delivered + lost + overflow + refused + unplugged);
      }
      assertEquals([wire.cable.inFlight, wire.clock.timerCount], [0, 0]);
      assertEquals(wire.cable.counters().delivered, wire.arrivals.length);
    }),
    fuzz(50),
  );
});

Deno.test("Cable faults happen about as often as they should", () => {
  for (const name of COUNTED) {
    const wire = new Wire({ [name]: 0.2 });
    for (let i = 0; i < 100; i++) {
      wire.sendNumbered(50);
      wire.clock.advance(5);
    }
    const { lost, duplicated, reordered, corrupted } = wire.a.counters;
    const count = lost + duplicated + reordered + corrupted;
    assertGreater(count, 850, name);
    assertLess(count, 1150, name);
  }
});
