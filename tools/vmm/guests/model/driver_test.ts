import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../../../tests/kit/check/fuzz.ts";
import { Block, BlockPool, Checksum, Segment } from "../../../../kernel/block.ts";
import { JobQueue } from "../../../../kernel/job.ts";
import { GuestMemory } from "../../virtio/guest_memory.ts";
import { GUEST_MAC, testFrame } from "../../../../tests/kit/vmm/net_rig.ts";
import { Feature, Reg } from "../../virtio/ids.ts";
import { NET_FEATURES, VirtioNet, type VirtioNetOptions } from "../../virtio/net.ts";
import { driverBytes, ModelDriver, type ModelDriverOptions } from "./driver.ts";

/** What differs from the usual. */
type RigOptions =
  & Partial<Omit<VirtioNetOptions, "memory" | "jobs" | "onInterrupt">>
  & Pick<Partial<ModelDriverOptions>, "queueSize" | "slotBytes" | "refuse">
  & { readonly driverBlocks?: BlockPool };

/** A device and a model driver that share memory and registers. */
class ModelRig {
  readonly jobs = new JobQueue();
  readonly net: VirtioNet;
  readonly driver: ModelDriver;
  /** What came out at either end. */
  readonly sent: Block[] = [];
  readonly received: Block[] = [];

  constructor(options: RigOptions = {}) {
    const { queueSize = 64, slotBytes = 2048, refuse = [], driverBlocks = new BlockPool(), ...rest } = options;
    const { jobs } = this;
    const base = 0x4000_0000;
    const at = 0x1000;
    const bytes = new Uint8Array(at + driverBytes(queueSize, slotBytes));
    this.net = new VirtioNet({
      mac: GUEST_MAC,
      onFrame: (block) => this.sent.push(block.own()),
      ...rest,
      memory: new GuestMemory([{ base, bytes }]),
      jobs,
      onInterrupt: () => this.driver.interrupt(),
    });
    const page = this.net.mmio;
    this.driver = new ModelDriver({
      ram: { bytes, base },
      at,
      page,
      jobs,
      queueSize,
      slotBytes,
      refuse,
      blocks: driverBlocks,
    });
    this.driver.receive = (block) => this.received.push(block);
    assert(this.driver.start());
    jobs.run();
  }

  /** A frame from the guest; what the host got of it. */
  out(block: Block): Block | null {
    assert(this.driver.transmit(block));
    this.jobs.run();
    return this.sent.pop() ?? null;
  }

  /** A frame to the guest; what it got. */
  in(block: Block): Block | null {
    assert(this.net.receive(block), this.net.refusal ?? "");
    this.jobs.run();
    return this.received.pop() ?? null;
  }
}

/** TCP over IPv4 or IPv6 with an owed checksum, to be cut to 1400. */
function segment(payload: number, v6 = false): Block {
  const transport = v6 ? 54 : 34;
  const bytes = testFrame(transport + 20 + payload);
  if (v6) bytes.set([0x86, 0xdd], 12);
  bytes[14] = v6 ? 0x60 : 0x45;
  bytes[transport + 12] = 0x50;
  bytes[transport + 13] = 0x10;
  const block = Block.from(bytes);
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + transport;
  block.checksumField = block.checksumStart + 16;
  block.segment = v6 ? Segment.Tcp6 : Segment.Tcp4;
  block.segmentSize = 1400;
  block.segmentHeaderLen = transport + 20 - 14;
  return block;
}

/** Bytes and metadata of a block, offsets from its start. */
function facts(block: Block | null): unknown {
  if (block === null) return null;
  const { rp, checksum, segment } = block;
  const owed = checksum === Checksum.Owed ? [block.checksumStart - rp, block.checksumField - rp] : [];
  const cut = segment !== Segment.None ? [segment, block.segmentSize, block.segmentHeaderLen] : [];
  return { bytes: block.bytes().slice(), checksum, owed, cut };
}

Deno.test("ModelDriver finds the card, its address, MTU, link and offloads", () => {
  const { driver } = new ModelRig({ mtu: 9000, slotBytes: 4096 });
  assertEquals([driver.mac, driver.mtu, driver.link], [GUEST_MAC, 9000, true]);
  assertEquals(driver.offloads, { checksum: true, tcpSegment: true, udpSegment: false });
});

Deno.test("ModelDriver and VirtioNet carry any frame both ways, byte for byte, with all or any few features", () => {
  const optional = NET_FEATURES.filter((bit) => bit !== Feature.Version1);
  fc.assert(
    fc.property(
      fc.subarray(optional),
      fc.subarray(optional),
      fc.array(fc.integer({ min: 14, max: 1514 }), { minLength: 1, maxLength: 40 }),
      (features, refuse, lengths) => {
        const rig = new ModelRig({ features, refuse, queueSize: 8 });
        lengths.forEach((length, seed) => {
          const frame = testFrame(length, { seed });
          assertEquals(rig.out(Block.from(frame))?.bytes(), frame);
          assertEquals(rig.in(Block.from(frame))?.bytes(), frame);
        });
        assertEquals([rig.driver.counters.rxBad, rig.net.mmio.counters.faults], [0, 0]);
      },
    ),
    fuzz(100),
  );
});

Deno.test("ModelDriver and VirtioNet carry 64 KiB segments both ways with their metadata, indirect or not", () => {
  for (const refuse of [[], [Feature.IndirectDesc], [Feature.EventIdx]]) {
    for (const v6 of [false, true]) {
      const rig = new ModelRig({ refuse });
      const whole = facts(segment(65000, v6));
      assertEquals(facts(rig.out(segment(65000, v6))), whole);
      assertEquals(facts(rig.in(segment(65000, v6))), whole);
      const [one, frame] = [segment(1400, v6), facts(segment(1400, v6))];
      one.segment = Segment.None;
      assertEquals({ ...(facts(rig.out(one)) as object), cut: [] }, { ...(frame as object), cut: [] });
    }
  }
});

Deno.test("ModelDriver and VirtioNet carry frames of all lengths over slots that are scattered by earlier ones", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.integer({ min: 60, max: 1500 }), fc.integer({ min: 2000, max: 40_000 })), { maxLength: 24 }),
      fc.nat(1),
      (lengths, indirect) => {
        const rig = new ModelRig({ queueSize: 32, refuse: indirect === 1 ? [] : [Feature.IndirectDesc] });
        lengths.forEach((length) => {
          const frames = [segment(length), segment(1 + (length * 7) % 9000)];
          const expected = frames.map((frame) => frame.bytes().slice());
          for (const frame of frames) assert(rig.driver.transmit(frame));
          rig.jobs.run();
          assertEquals(rig.sent.splice(0).map((frame) => frame.bytes()), expected);
          const whole = segment(length);
          const bytes = whole.bytes().slice();
          assertEquals(rig.in(whole)?.bytes(), bytes);
        });
        assertEquals([rig.driver.counters.rxBad, rig.net.mmio.counters.faults], [0, 0]);
      },
    ),
    fuzz(30),
  );
});

Deno.test("ModelDriver sends blocks with extents", () => {
  const rig = new ModelRig();
  const block = Block.from(testFrame(14));
  block.extents = [testFrame(700), testFrame(500)];
  const whole = new Uint8Array([...testFrame(14), ...testFrame(700), ...testFrame(500)]);
  assertEquals(rig.out(block)?.bytes(), whole);
});

Deno.test("ModelDriver refuses what the card cannot finish for it", () => {
  const rig = new ModelRig({ refuse: [Feature.HostTso4] });
  assertEquals([rig.driver.transmit(segment(3000)), rig.driver.offloads.tcpSegment], [false, false]);
  const plain = new ModelRig({ refuse: [Feature.Csum] });
  assertEquals([plain.driver.transmit(segment(100)), plain.driver.offloads.checksum], [false, false]);
  assertEquals(plain.driver.transmit(Block.from(new Uint8Array(70000))), false);
  assertEquals([rig.driver.counters.txRefused, plain.driver.counters.txRefused], [1, 2]);
});

Deno.test("ModelDriver drops and counts frames when the card has all its slots, until it gets some back", () => {
  const rig = new ModelRig({ queueSize: 8 });
  const results = Array.from({ length: 10 }, () => rig.driver.transmit(Block.from(testFrame(60))));
  assertEquals([results.filter((sent) => sent).length, rig.driver.counters.txFull], [8, 2]);
  rig.jobs.run();
  assertEquals([rig.sent.length, rig.driver.transmit(Block.from(testFrame(60)))], [8, true]);
});

Deno.test("ModelDriver with EVENT_IDX gets one interrupt for a burst, and notifies once", () => {
  const rig = new ModelRig();
  const { counters } = rig.driver;
  const [interrupts, kicks] = [counters.interrupts, counters.kicks];
  for (let i = 0; i < 40; i++) assert(rig.driver.transmit(Block.from(testFrame(60))));
  for (let i = 0; i < 40; i++) assert(rig.net.receive(Block.from(testFrame(60, { seed: i }))));
  rig.jobs.run();
  assertEquals([rig.sent.length, rig.received.length], [40, 40]);
  assertEquals([counters.interrupts - interrupts, counters.kicks - kicks <= 2], [1, true]);
});

Deno.test("ModelDriver and VirtioNet carry 75,000 frames each way: indices pass 65536 and back", () => {
  for (const refuse of [[], [Feature.EventIdx, Feature.IndirectDesc, Feature.MrgRxbuf]]) {
    const rig = new ModelRig({ queueSize: 16, refuse });
    let [count, sent] = [0, 0];
    rig.driver.receive = (block) => {
      count += block.buf[block.rp + 20]!;
      block.free();
    };
    for (let i = 0; i < 75_000; i++) {
      const block = Block.from(testFrame(60));
      block.buf[block.rp + 20] = 1;
      assert(rig.net.receive(block), `${i} ${rig.net.refusal}`);
      assert(rig.driver.transmit(Block.from(testFrame(60))));
      if (i % 7 === 0 || i === 74_999) {
        rig.jobs.run();
        sent += rig.sent.length;
        rig.sent.length = 0;
      }
    }
    assertEquals([count, sent, rig.driver.counters.rxBad], [75_000, 75_000, 0]);
  }
});

Deno.test("ModelDriver resets a card that asks for it, and goes on", () => {
  const rig = new ModelRig();
  rig.net.mmio.write(Reg.QueueSel, 0);
  rig.net.mmio.write(Reg.QueueNum, 3);
  assertEquals(rig.net.ready, false);
  rig.jobs.run();
  assertEquals([rig.driver.counters.restarts, rig.driver.link, rig.net.ready], [1, true, true]);
  assertEquals(rig.out(Block.from(testFrame(60)))?.length, 60);
  assertEquals(rig.in(Block.from(testFrame(60)))?.length, 60);
});

Deno.test("ModelDriver follows the cable: link down and up", () => {
  const rig = new ModelRig();
  rig.net.link = false;
  rig.jobs.run();
  assertEquals([rig.driver.link, rig.driver.transmit(Block.from(testFrame(60)))], [false, false]);
  rig.net.link = true;
  rig.jobs.run();
  assertEquals([rig.driver.link, rig.out(Block.from(testFrame(60)))?.length], [true, 60]);
});

Deno.test("ModelDriver sends commands, and the card filters", () => {
  const rig = new ModelRig();
  assertEquals(rig.driver.command(Uint8Array.of(0, 0, 0)), true);
  assertEquals(rig.driver.command(Uint8Array.of(9, 9, 0)), false);
  assertEquals(rig.in(Block.from(testFrame(60, { dst: Uint8Array.of(2, 0, 0, 0, 0, 7) }))), null);
  assertEquals(rig.in(Block.from(testFrame(60)))?.length, 60);
  assertEquals(new ModelRig({ refuse: [Feature.CtrlVq] }).driver.command(Uint8Array.of(0, 0, 0)), false);
});

Deno.test("ModelDriver.close() resets the card, may come inside receive, and nothing comes after it", () => {
  const rig = new ModelRig();
  let count = 0;
  rig.driver.receive = () => {
    count++;
    rig.driver.close();
  };
  for (let i = 0; i < 3; i++) rig.net.receive(Block.from(testFrame(60)));
  rig.jobs.run();
  assertEquals([count, rig.net.ready, rig.driver.link, rig.driver.transmit(Block.from(testFrame(60)))], [
    1,
    false,
    false,
    false,
  ]);
});

Deno.test("ModelDriver gives up on a page that is no network card", () => {
  const { driver } = new ModelRig();
  const at = (values: Record<number, number>) => ({ read: (offset: number) => values[offset] ?? 0, write: () => {} });
  const start = (values: Record<number, number>) =>
    new ModelDriver({
      ram: { bytes: new Uint8Array(driverBytes(8)), base: 0 },
      at: 0,
      page: at(values),
      jobs: new JobQueue(),
      queueSize: 8,
    }).start();
  assertEquals([start({}), start({ 0: 0x74726976, 4: 1 }), start({ 0: 0x74726976, 4: 2, 8: 2 })], [
    false,
    false,
    false,
  ]);
  assertEquals([start({ 0: 0x74726976, 4: 2, 8: 1 }), driver.link], [false, true]);
});

Deno.test("ModelDriver counts malformed data of a device, and ignores it", () => {
  const sizes: number[] = [];
  const driverBlocks = new class extends BlockPool {
    override alloc(size: number, headroom?: number): Block {
      sizes.push(size);
      return super.alloc(size, headroom);
    }
  }();
  for (const refuse of [[], [Feature.MrgRxbuf]]) {
    const rig = new ModelRig({ queueSize: 8, refuse, driverBlocks });
    const queue = rig.net.mmio.queues[0]!;
    for (const [id, len] of [[200, 100], [3, 4], [4, 70000], [5, 0xffffffff]]) {
      const before = rig.driver.counters.rxBad;
      queue.push(id!, len!);
      queue.publish();
      rig.net.mmio.interruptUsed();
      rig.jobs.run();
      assertEquals([rig.driver.counters.rxBad - before, rig.received.length], [1, 0]);
    }
  }
  assert(sizes.every((size) => size < 70_000), `${sizes}`);
});
