import { assert, assertEquals, assertFalse, assertGreater, assertLess } from "@std/assert";
import fc from "fast-check";
import { Block, Checksum, Segment } from "../../kernel/block.ts";
import { Random, SeededRandom } from "../../kernel/random.ts";
import { VirtualClock } from "../../kernel/time.ts";
import { checksum } from "../../kernel/wire/checksum.ts";
import { frame, GROUP_MAC, macBytes, OUR_MAC, PEER_MAC, refusal } from "../../tests/kit/ip/ether.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { Cable, type CableOptions, FLIGHT_BYTES_MAX, FLIGHT_FRAMES_MAX } from "./cable.ts";
import type { CableFaults } from "./cable_faults.ts";
import type { CablePort } from "./cable_port.ts";

/** What reached an end, and when. */
interface Arrival {
  port: string;
  ms: number;
  bytes: Uint8Array;
}

/** A cable with two ends, `a` and `b`, and what reached them. */
class Wire {
  readonly clock = new VirtualClock();
  readonly cable: Cable;
  readonly a: CablePort;
  readonly b: CablePort;
  readonly arrivals: Arrival[] = [];

  constructor(options: CableOptions = {}, random: Random = new SeededRandom(1)) {
    this.cable = new Cable(this.clock, random, options);
    this.a = this.attach("a", macBytes(OUR_MAC));
    this.b = this.attach("b", macBytes(PEER_MAC));
  }

  attach(name: string, mac: Uint8Array, mtu = 1500): CablePort {
    const port = this.cable.attach({ name, mac, mtu });
    port.receive = (block) => this.arrivals.push({ port: name, ms: this.clock.now(), bytes: block.bytes().slice() });
    return port;
  }

  /** Sends frames that are numbered by their first byte of payload. */
  sendNumbered(count: number, length = 100): void {
    for (let i = 0; i < count; i++) this.a.transmit(Block.from(frame({ length: length - 14, fill: i & 0xff })));
  }

  get numbers(): number[] {
    return this.arrivals.map(({ bytes }) => bytes[14]!);
  }
}

/** Randomness that must not be asked. */
class NoRandom extends Random {
  override u32(): number {
    throw new Error("drew a random number");
  }
}

const COUNTED: (keyof CableFaults)[] = ["loss", "duplicate", "reorder", "corrupt"];

Deno.test("Cable delivers a frame whole, through a job and never inside transmit", () => {
  const wire = new Wire();
  const sent = frame({ length: 300 });
  assert(wire.a.transmit(Block.from(sent)));
  assertEquals(wire.arrivals, []);
  assertEquals(wire.cable.inFlight, 1);
  wire.clock.jobs.run();
  assertEquals(wire.arrivals, [{ port: "b", ms: 0, bytes: sent }]);
  assertEquals([wire.a.counters.sent, wire.a.counters.delivered, wire.cable.inFlight], [1, 1, 0]);
});

Deno.test("Cable lets two ends answer each other without recursion, one job each", () => {
  const wire = new Wire();
  let depth = 0;
  let rounds = 0;
  const echo = (port: CablePort) => (block: Block) => {
    assertEquals(++depth, 1);
    if (++rounds < 10_000) port.transmit(block);
    depth--;
  };
  wire.a.receive = echo(wire.a);
  wire.b.receive = echo(wire.b);
  wire.sendNumbered(1);
  wire.clock.jobs.run();
  assertEquals(rounds, 10_000);
});

Deno.test("Cable without faults draws no random number and keeps the order", () => {
  const wire = new Wire({ rateBps: 1e6, delayMs: 3 }, new NoRandom());
  wire.sendNumbered(50);
  wire.clock.advance(1000);
  assertEquals(wire.numbers, Array.from({ length: 50 }, (_, i) => i));
});

Deno.test("Cable of 1 Mbit/s and 5 ms delivers frames of 125 bytes one ms apart, at exact times", () => {
  const wire = new Wire({ rateBps: 1_000_000, delayMs: 5 });
  wire.sendNumbered(3, 125);
  wire.clock.advance(5.999);
  assertEquals(wire.arrivals.length, 0);
  wire.clock.advance(100);
  assertEquals(wire.arrivals.map(({ ms }) => ms), [6, 7, 8]);
  wire.arrivals.length = 0;
  wire.sendNumbered(1, 250);
  wire.clock.advance(100);
  assertEquals(wire.arrivals.map(({ ms }) => ms), [105.999 + 2 + 5]);
});

Deno.test("Cable arms one timer, however many frames fly", () => {
  const wire = new Wire({ delayMs: 5 });
  wire.sendNumbered(100);
  assertEquals([wire.clock.timerCount, wire.cable.inFlight], [1, 100]);
  wire.clock.advance(5);
  assertEquals([wire.clock.timerCount, wire.cable.inFlight, wire.arrivals.length], [0, 0, 100]);
});

Deno.test("Cable keeps the order of a direction when jitter is drawn or the delay is lowered", () => {
  const wire = new Wire({ delayMs: 1, jitterMs: 50 });
  wire.sendNumbered(100);
  wire.cable.set({ delayMs: 0, jitterMs: 0 });
  wire.a.transmit(Block.from(frame({ fill: 100 })));
  wire.clock.advance(100);
  assertEquals(wire.numbers, Array.from({ length: 101 }, (_, i) => i));
  assert(wire.arrivals.every(({ ms }) => ms >= 1 && ms < 51));
  assertGreater(new Set(wire.arrivals.map(({ ms }) => ms)).size, 1);
});

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

Deno.test("Cable drops at the tail of the queue, by frames and by bytes, and notifies the sender", () => {
  const wire = new Wire({ rateBps: 800_000, queueFrames: 3 });
  const answers = (count: number) =>
    Array.from({ length: count }, () => wire.a.transmit(Block.from(frame({ length: 86 }))));
  assertEquals(answers(5), [true, true, true, false, false]);
  wire.clock.advance(1);
  assertEquals(answers(2), [true, false]);
  wire.clock.advance(100);
  wire.cable.set({ queueFrames: 0, queueBytes: 250 });
  assertEquals(answers(3), [true, true, false]);
  wire.clock.advance(100);
  wire.cable.set({ queueBytes: 1 });
  assertEquals(answers(2), [true, false]);
  wire.clock.advance(100);
  assertEquals([wire.a.counters.overflow, wire.arrivals.length], [5, 7]);
});

Deno.test("Cable bounds its frames in flight", () => {
  const wire = new Wire({ delayMs: 1e9 });
  const bytes = frame({ length: 0 });
  for (let i = 0; i < FLIGHT_FRAMES_MAX + 10; i++) wire.a.transmit(new Block(bytes, 0, bytes.length));
  assertEquals([wire.cable.inFlight, wire.a.counters.overflow], [FLIGHT_FRAMES_MAX, 10]);
});

Deno.test("Cable bounds the bytes on their way", () => {
  const wire = new Wire({ delayMs: 1e9 });
  const jumbo = wire.attach("jumbo", macBytes(OUR_MAC), 65536);
  const bytes = frame({ length: 65522 });
  for (let i = 0; i < FLIGHT_BYTES_MAX / 65536 + 10; i++) jumbo.transmit(new Block(bytes, 0, 65536));
  assertEquals([jumbo.flyingBytes, jumbo.counters.overflow], [FLIGHT_BYTES_MAX, 11 - 1]);
});

Deno.test("Cable delivers in order also what is sent, faster, at the very time an earlier frame is due", () => {
  const wire = new Wire({ delayMs: 1 });
  wire.clock.timer(() => {
    wire.cable.set({ delayMs: 0, loss: 1e-9 });
    wire.a.transmit(Block.from(frame({ fill: 1 })));
    wire.clock.jobs.run();
  }).arm(1);
  wire.sendNumbered(1);
  wire.clock.advance(2);
  assertEquals(wire.numbers, [0, 1]);
});

Deno.test("Cable delivers what is sent during a delivery later, not in the same turn", () => {
  const wire = new Wire({ reorder: 1, reorderMs: 1000 });
  wire.sendNumbered(1);
  wire.cable.set({ reorder: 0 });
  let rounds = 0;
  for (const port of [wire.a, wire.b]) port.receive = (block) => void (++rounds < 100 && port.transmit(block));
  wire.sendNumbered(1);
  wire.clock.expire();
  assertEquals(rounds, 1);
});

Deno.test("Cable refuses runts and giants, and a wire of lower MTU swallows what it does not carry", () => {
  const wire = new Wire();
  assertFalse(wire.a.transmit(Block.from(new Uint8Array(13))));
  assertFalse(wire.a.transmit(Block.from(frame({ length: 1505 }))));
  assert(wire.a.transmit(Block.from(frame({ length: 1504 }))), "room for a VLAN tag");
  wire.cable.set({ mtu: 1000 });
  assert(wire.a.transmit(Block.from(frame({ length: 1400 }))));
  assert(wire.a.transmit(Block.from(frame({ length: 1000 }))));
  wire.clock.advance(1);
  assertEquals([wire.arrivals.length, wire.a.counters.refused], [2, 3]);
});

Deno.test("Cable drops for a receiver of lower MTU what it cannot take", () => {
  const wire = new Wire();
  const small = wire.attach("small", macBytes(OUR_MAC), 576);
  wire.a.transmit(Block.from(frame({ length: 1000 })));
  wire.clock.advance(1);
  assertEquals(wire.arrivals.map(({ port }) => port), ["b"]);
  wire.b.close();
  wire.a.transmit(Block.from(frame({ length: 1000 })));
  wire.clock.advance(1);
  assertEquals([wire.arrivals.length, wire.a.counters.refused, small.link], [1, 1, true]);
});

Deno.test("Cable with three ends delivers to all but the sender, each its own copy", () => {
  const wire = new Wire();
  const c = wire.attach("c", macBytes(PEER_MAC));
  const blocks: Block[] = [];
  c.receive = (block) => void blocks.push(block);
  wire.b.receive = (block) => void blocks.push(block);
  wire.a.transmit(Block.from(frame({ dst: GROUP_MAC })));
  wire.clock.advance(1);
  assertEquals(blocks.length, 2);
  blocks[0]!.buf.fill(0);
  assertEquals(blocks[1]!.bytes(), frame({ dst: GROUP_MAC }));
  assertEquals(wire.a.counters.delivered, 2);
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

Deno.test("Cable that is pulled out loses frames in flight and notifies senders; put back, it carries again", () => {
  const wire = new Wire({ delayMs: 1 });
  wire.sendNumbered(1);
  wire.cable.link = false;
  assertEquals([wire.a.link, wire.b.link], [false, false]);
  assertFalse(wire.a.transmit(Block.from(frame())));
  wire.clock.advance(5);
  assertEquals([wire.a.counters.unplugged, wire.arrivals.length], [2, 0]);
  wire.cable.link = true;
  wire.a.transmit(Block.from(frame()));
  wire.b.up = false;
  wire.clock.advance(5);
  assertEquals([wire.a.counters.unplugged, wire.arrivals.length], [3, 0]);
  assertEquals([wire.a.link, wire.b.link], [false, false]);
  wire.b.up = true;
  assert(wire.a.transmit(Block.from(frame())));
  wire.clock.advance(5);
  assertEquals(wire.arrivals.length, 1);
});

Deno.test("Cable end that closes gets nothing more, and leaves no timer behind", () => {
  const wire = new Wire({ delayMs: 1 });
  wire.sendNumbered(2);
  wire.b.close();
  assertFalse(wire.b.transmit(Block.from(frame())));
  wire.clock.advance(5);
  assertEquals([wire.arrivals.length, wire.a.counters.unplugged, wire.clock.timerCount], [0, 2, 0]);
  assertEquals([wire.cable.ports.length, wire.a.link], [1, false]);
});

Deno.test("Cable end that is closed by what another did with the same frame does not get it", () => {
  const wire = new Wire();
  const c = wire.attach("c", macBytes(PEER_MAC));
  wire.b.receive = () => c.close();
  wire.sendNumbered(1);
  wire.clock.advance(1);
  assertEquals([wire.arrivals.length, wire.a.counters.delivered, wire.a.counters.unplugged], [0, 1, 1]);
});

Deno.test("Cable without offloads makes blocks plain; with them they travel whole with their metadata", () => {
  for (const offloads of [false, true]) {
    const wire = new Wire({ offloads });
    assertEquals(wire.a.offloads.tcpSegment, offloads);
    const got: Block[] = [];
    wire.b.receive = (block) => void got.push(block);
    const block = Block.from(frame({ length: 40_000 }));
    block.segment = Segment.Tcp4;
    block.segmentSize = 1448;
    assertEquals(wire.a.transmit(block), offloads);
    const owed = Block.from(frame());
    owed.checksum = Checksum.Owed;
    wire.a.transmit(owed);
    wire.clock.advance(1);
    assertEquals(got.map((one) => [one.length, one.checksum, one.segmentSize]), [
      ...(offloads ? [[40_014, Checksum.None, 1448]] : []),
      [64, offloads ? Checksum.Owed : Checksum.None, 0],
    ]);
  }
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

Deno.test("Cable keeps no borrowed bytes", () => {
  const wire = new Wire();
  const bytes = frame();
  const payload = bytes.slice(14);
  const block = Block.from(bytes.subarray(0, 14));
  block.extents = [payload];
  wire.a.transmit(block);
  payload.fill(0);
  wire.clock.advance(1);
  assertEquals(wire.arrivals[0]!.bytes, bytes);
});

Deno.test("Cable.onFrame sees each frame leave one end and reach the other", () => {
  const wire = new Wire({ delayMs: 2 });
  const seen: [string, string, number, number][] = [];
  wire.cable.onFrame = (port, direction, block, nowMs) => seen.push([port.name, direction, block.length, nowMs]);
  wire.a.transmit(Block.from(frame()));
  wire.clock.advance(5);
  assertEquals(seen, [["a", "out", 64, 0], ["b", "in", 64, 2]]);
});

Deno.test("Cable.attach() refuses an address that is not of one interface, and an MTU of 0", () => {
  const { cable } = new Wire();
  assertEquals(refusal(() => cable.attach({ name: "x", mac: new Uint8Array(5) })), "EINVAL");
  assertEquals(refusal(() => cable.attach({ name: "x", mac: macBytes(GROUP_MAC) })), "EINVAL");
  assertEquals(refusal(() => cable.attach({ name: "x", mac: macBytes(OUR_MAC), mtu: 0 })), "EINVAL");
  assertEquals(refusal(() => cable.set({ loss: 7 })), "EINVAL");
});

Deno.test("CablePort.mbps is the rate's unless the cable says otherwise", () => {
  assertEquals(new Wire().a.mbps, 10_000);
  assertEquals(new Wire({ rateBps: 1e8 }).a.mbps, 100);
  assertEquals(new Wire({ rateBps: 56_000 }).a.mbps, 1);
  assertEquals(new Wire({ rateBps: 56_000, mbps: 1000 }).a.mbps, 1000);
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
