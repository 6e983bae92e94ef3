import { assert, assertEquals, assertFalse, assertGreater } from "@std/assert";
import { Block, Checksum, Segment } from "../../kernel/block.ts";
import { Random } from "../../kernel/random.ts";
import { frame, GROUP_MAC, macBytes, OUR_MAC, PEER_MAC, refusal } from "../../tests/kit/ip/ether.ts";
import { FLIGHT_BYTES_MAX, FLIGHT_FRAMES_MAX } from "./cable.ts";
import type { CablePort } from "./cable_port.ts";
import { Wire } from "../../tests/kit/ip/cable.ts";

/** Randomness that must not be asked. */
class NoRandom extends Random {
  override u32(): number {
    throw new Error("drew a random number");
  }
}

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
