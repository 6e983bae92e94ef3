import { assert, assertEquals } from "@std/assert";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { JobQueue } from "../../../kernel/job.ts";
import { GuestMemory } from "./guest_memory.ts";
import {
  BUFFERS,
  CTRL,
  HostileDriver,
  RAM_BASE,
  RAM_BYTES,
  RX,
  TX,
  WRITE,
} from "../../../tests/kit/vmm/hostile_driver.ts";
import { GUEST_MAC, NetRig, testFrame } from "../../../tests/kit/vmm/net_rig.ts";
import { VirtioNet } from "./net.ts";
import { TX_BURST, TX_COPIED_WHOLE, TX_HEADERS_COPIED } from "./net_tx.ts";
import { HERE, OFFLOADS, taggedFrame, tcpBlock, upRig } from "../../../tests/kit/vmm/net_up.ts";

// --- transmit ---

Deno.test("VirtioNet copies a short frame whole, and of a long one the headers: the rest is borrowed", () => {
  const seen: [own: number, borrowed: number][] = [];
  const frames: Uint8Array[] = [];
  const { rig, driver } = upRig(OFFLOADS, {
    onFrame: (block) => {
      seen.push([block.wp - block.rp, block.length - (block.wp - block.rp)]);
      frames.push(block.bytes().slice());
    },
  });
  for (const length of [14, 60, 1514, TX_COPIED_WHOLE, TX_COPIED_WHOLE + 1, 65550]) {
    const frame = testFrame(length);
    driver.send(frame);
    rig.run();
    assertEquals(frames.pop(), frame);
  }
  const borrowed = (length: number): [number, number] => [TX_HEADERS_COPIED, length - TX_HEADERS_COPIED];
  const whole: [number, number][] = [[14, 0], [60, 0], [1514, 0], [TX_COPIED_WHOLE, 0]];
  assertEquals(seen, [...whole, borrowed(TX_COPIED_WHOLE + 1), borrowed(65550)]);
});

Deno.test("VirtioNet leaves room in a long frame's block for what is borrowed: to own it takes no other buffer", () => {
  const lengths: number[] = [];
  const { rig, driver } = upRig(OFFLOADS, {
    onFrame: (block) => {
      const { buf, pool } = block;
      lengths.push(block.own().wp - block.rp);
      assertEquals([block.buf === buf, block.pool === pool, pool !== null], [true, true, true]);
      block.free();
    },
  });
  for (const length of [TX_COPIED_WHOLE + 1, 65550]) {
    driver.send(testFrame(length));
    rig.run();
  }
  assertEquals(lengths, [TX_COPIED_WHOLE + 1, 65550]);
});

Deno.test("VirtioNet hands an owed checksum and a segment of 64 KiB on as metadata", () => {
  let got: Block | null = null;
  const { rig, driver } = upRig(OFFLOADS, { onFrame: (block) => got = block.clone() });
  const { buf, rp, wp } = tcpBlock(65000);
  driver.send(buf.slice(rp, wp), Uint8Array.of(1, 1, 0, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0));
  rig.run();
  const { checksum, checksumStart, checksumField, segment, segmentSize, segmentHeaderLen, length } = got! as Block;
  assertEquals([checksum, segment, segmentSize, segmentHeaderLen], [Checksum.Owed, Segment.Tcp4, 1460, 40]);
  assertEquals([checksumStart - got!.rp, checksumField - got!.rp, length], [34, 50, 65054]);
});

Deno.test("VirtioNet copies headers that lie further back than usual, so that their checksum field is its own", () => {
  let field = 0;
  const { rig, driver } = upRig(OFFLOADS, { onFrame: (block) => field = block.wp - block.checksumField });
  driver.send(testFrame(4000), Uint8Array.of(1, 0, 0, 0, 0, 0, 0xe8, 3, 16, 0, 0, 0));
  rig.run();
  assertEquals([field, rig.net.counters.txFrames], [2, 1]);
});

Deno.test("VirtioNet gives chains back after their frames were handled, with one interrupt (akaros.md 11.36)", () => {
  const used: number[] = [];
  const { rig, driver } = upRig(0, {
    onFrame: () => {
      used.push(driver.used(TX).length);
      assertEquals(driver.usedFlags(TX), 1, "Meanwhile it need not be notified");
    },
  });
  for (let i = 0; i < 20; i++) {
    driver.describe(TX, i, { addr: HERE, len: 72 });
    driver.offer(TX, i);
  }
  driver.kick(TX);
  driver.kick(TX);
  assertEquals(rig.net.counters.txFrames, 0, "A notify returns at once");
  rig.run();
  assertEquals([used.length, Math.max(...used), driver.used(TX).length, rig.interrupts], [20, 0, 20, 1]);
  assertEquals(driver.usedFlags(TX), 0, "It wants to be notified again");
});

Deno.test("VirtioNet lets others have their turn after a burst, and goes on without another notify", () => {
  const turns: number[] = [];
  const { rig, driver } = upRig(0, {
    size: 256,
    // A guest on a fast machine: each frame that goes out is followed by another.
    onFrame: () => {
      if (rig.net.counters.txFrames < 2 * TX_BURST + 10) driver.offer(TX, 0);
    },
  });
  driver.describe(TX, 0, { addr: HERE, len: 72 });
  driver.offer(TX, 0);
  driver.kick(TX);
  rig.jobs.onWork = () => turns.push(rig.net.counters.txFrames);
  rig.run();
  assertEquals([rig.net.counters.txFrames, rig.net.mmio.lastFault], [2 * TX_BURST + 10, null]);
});

Deno.test("VirtioNet drops frames longer than an MTU that was negotiated, and no others", () => {
  for (const [low, frames] of [[1 << 3, 2], [0, 4]]) {
    const { rig, driver } = upRig(low!);
    for (const tag of [0, 4]) {
      for (const length of [1514 + tag, 1515 + tag]) {
        driver.send(tag === 0 ? testFrame(length) : taggedFrame(length));
        rig.run();
      }
    }
    assertEquals([rig.net.counters.txFrames, rig.net.counters.txLong], [frames, 4 - frames!]);
  }
});

Deno.test("VirtioNet works in memory of several regions: a buffer may cross a seam, and a ring may not", () => {
  const bytes = new Uint8Array(RAM_BYTES);
  // Rings and the first buffers in one region, the rest in another that follows it, and a third with a hole before.
  const seam = BUFFERS + 0x1000;
  const regions = [[0, seam], [seam, 0x4_0000], [0x5_0000, RAM_BYTES]].map(([from, end]) => ({
    base: RAM_BASE + from!,
    bytes: bytes.subarray(from, end),
  }));
  const frames: Uint8Array[] = [];
  const jobs = new JobQueue();
  const net = new VirtioNet({
    memory: new GuestMemory(regions),
    mac: GUEST_MAC,
    jobs,
    onInterrupt: () => {},
    onFrame: (block) => frames.push(block.bytes().slice()),
  });
  const driver = new HostileDriver(bytes, net.mmio);
  assert(driver.bringUp());
  const frame = testFrame(100);
  driver.describe(RX, 0, { addr: RAM_BASE + seam - 50, len: 200, flags: WRITE });
  driver.offer(RX, 0);
  assert(net.receive(Block.from(frame)));
  assertEquals(driver.load(RAM_BASE + seam - 50 + 12, 100), frame);
  const sent = driver.store(seam - 30, new Uint8Array([...new Uint8Array(12), ...frame]));
  driver.describe(TX, 0, { addr: sent, len: 112 });
  driver.offer(TX, 0);
  driver.kick(TX);
  jobs.run();
  assertEquals(frames, [frame]);
  driver.describe(RX, 1, { addr: RAM_BASE + 0x4_0000 - 50, len: 200, flags: WRITE });
  driver.offer(RX, 1);
  assertEquals([net.receive(Block.from(frame)), net.mmio.lastFault], [false, "bad-address"]);
  driver.agree();
  driver.setUp(TX, { desc: RAM_BASE + seam - 128 });
  assertEquals(net.mmio.lastFault, "ring-address");
});

// --- link, filter, control ---

Deno.test("VirtioNet with its link down sends and receives nothing, and notifies the driver of both changes", () => {
  const { rig, driver } = upRig(1 << 16, { buffers: 1 });
  rig.net.link = false;
  assertEquals([driver.page.read(0x106, 2), driver.page.read(0x060), rig.interrupts], [0, 2, 1]);
  driver.send(testFrame(60));
  rig.run();
  assertEquals([rig.frames.length, driver.used(TX).length, rig.net.counters.txLinkDown], [0, 1, 1]);
  assertEquals([rig.receive(testFrame(60)), rig.net.refusal], [false, "link-down"]);
  rig.net.link = true;
  assertEquals([driver.page.read(0x106, 2), rig.receive(testFrame(60))], [1, true]);
});

/** Sends a command; the answer. */
function control(driver: HostileDriver, command: number, data: readonly number[]): number {
  const addr = driver.store(BUFFERS + 0x10000, Uint8Array.of(command >> 8, command & 255, ...data));
  driver.chain(CTRL, 0, [
    { addr, len: 2 },
    { addr: addr + 2, len: data.length },
    { addr: addr + 100, len: 1, flags: WRITE },
  ]);
  driver.store(BUFFERS + 0x10000 + 100, Uint8Array.of(0xff));
  driver.offer(CTRL, 0);
  driver.kick(CTRL);
  assertEquals(driver.used(CTRL), [{ id: 0, len: 1 }]);
  return driver.load(addr + 100, 1)[0]!;
}

Deno.test("VirtioNet does commands inside the notify, and filters as they say", () => {
  const { rig, driver } = upRig((1 << 17) | (1 << 18) | (1 << 23), { buffers: 4 });
  const to = (...dst: number[]) => {
    const before = rig.net.counters.rxFrames;
    assert(rig.net.receive(Block.from(testFrame(60, { dst: Uint8Array.from(dst) }))));
    return rig.net.counters.rxFrames > before;
  };
  assert(to(2, 0, 0, 0, 0, 9));
  assertEquals(control(driver, 0x0000, [0]), 0);
  assertEquals([to(2, 0, 0, 0, 0, 9), rig.net.counters.rxFiltered], [false, 1]);
  assertEquals(control(driver, 0x0101, [2, 0, 0, 0, 0, 9]), 0);
  assertEquals([to(2, 0, 0, 0, 0, 9), `${rig.net.mac}`, driver.page.read(0x105, 1)], [true, "02:00:00:00:00:09", 9]);
  assertEquals(control(driver, 0x0002, [1]), 1, "CTRL_RX_EXTRA was not agreed on");
  assertEquals([rig.net.counters.ctrlDone, rig.net.counters.ctrlRefused], [2, 1]);
  driver.status = 0;
  assertEquals(`${rig.net.mac}`, "52:54:00:00:00:01");
});

Deno.test("VirtioNet with EVENT_IDX asks for the next command after as many as the queue has", () => {
  const [eventIdx, indirect] = [2 ** 29, 2 ** 28];
  const { rig, driver } = upRig((1 << 17) | eventIdx | indirect, { size: 4 });
  for (let i = 0; i < 4; i++) {
    driver.indirect(CTRL, i, HERE + 64 * i, [
      { addr: HERE + 4096, len: 3 },
      { addr: HERE + 8192 + i, len: 1, flags: WRITE },
    ]);
  }
  driver.offer(CTRL, 0, 1, 2, 3);
  driver.kick(CTRL);
  assertEquals([driver.used(CTRL).length, driver.availEvent(CTRL)], [4, 4]);
  driver.offer(CTRL, 0);
  driver.kick(CTRL);
  assertEquals([driver.used(CTRL).length, rig.net.counters.ctrlRefused], [1, 5]);
});

Deno.test("VirtioNet shows an address that the driver set by another generation of the configuration (2.5.2)", () => {
  const { rig, driver } = upRig((1 << 17) | (1 << 23));
  const before = driver.page.read(0x0fc);
  assertEquals(control(driver, 0x0101, [2, 0, 0, 0, 0, 9]), 0);
  assertEquals([driver.page.read(0x105, 1), driver.page.read(0x0fc) - before, rig.interrupts], [9, 1, 1]);
  assertEquals(control(driver, 0x0101, [2, 0, 0, 0, 0, 9]), 0);
  assertEquals([driver.page.read(0x0fc) - before, driver.page.read(0x060)], [1, 1], "No configuration interrupt");
});

Deno.test("VirtioNet leaves nothing undone for a driver that is gone", () => {
  const { rig, driver } = upRig(OFFLOADS | (1 << 8) | (1 << 12));
  assertEquals(rig.net.offloads, { checksum: true, tcpSegment: true, udpSegment: false });
  driver.status = 0;
  assertEquals(rig.net.offloads, { checksum: false, tcpSegment: false, udpSegment: false });
});

Deno.test("VirtioNet answers a command that is too long with an error, and does not read it", () => {
  const { rig, driver } = upRig(1 << 17);
  driver.chain(CTRL, 0, [{ addr: RAM_BASE, len: 0x20000 }, { addr: HERE, len: 1, flags: WRITE }]);
  driver.offer(CTRL, 0);
  driver.kick(CTRL);
  assertEquals([driver.load(HERE, 1)[0], rig.net.counters.ctrlRefused, driver.needsReset], [1, 1, false]);
});

Deno.test("VirtioNet offers what akaros.md 11.36 misses (several queue pairs left out), and what goes with it", () => {
  const { page } = new NetRig().hostile();
  const bits = [0, 1].flatMap((word) => {
    page.write(0x014, word);
    const value = page.read(0x010);
    return Array.from({ length: 32 }, (_, i) => 32 * word + i).filter((bit) => ((value >>> (bit & 31)) & 1) === 1);
  });
  const net = [0, 1, 3, 5, 7, 8, 9, 11, 12, 13, 15, 16, 17, 18, 20, 23, 54, 55, 56];
  assertEquals(bits.toSorted((a, b) => a - b), [...net, 28, 29, 32, 40].toSorted((a, b) => a - b));
});

Deno.test("VirtioNet offers no feature without those that it needs (2.2.2)", () => {
  const low = (features: number[]) => new NetRig({ features }).hostile().page.read(0x010);
  assertEquals([low([9, 7]), low([11, 13, 8]), low([18, 20, 23])], [0, 0, 0]);
  assertEquals(low([0, 11, 13, 9]), 1 | (1 << 11) | (1 << 13));
});

Deno.test("VirtioNet offers only the features of its options, and may then have no control queue", () => {
  const rig = new NetRig({ features: [5] });
  const { page } = rig.hostile();
  assertEquals(page.read(0x010), 1 << 5);
  page.write(0x030, 2);
  assertEquals(page.read(0x034), 0);
  page.write(0x014, 1);
  assertEquals(page.read(0x010), 1);
});

Deno.test("VirtioNet keeps several cards apart (akaros.md 11.37)", () => {
  const rigs = [1, 2, 3].map(() => upRig(0, { buffers: 1 }));
  rigs[1]!.driver.status = 0;
  rigs[2]!.driver.send(testFrame(60));
  for (const { rig } of rigs) rig.run();
  assertEquals(rigs.map(({ rig }) => [rig.frames.length, rig.receive(testFrame(60))]), [
    [0, true],
    [0, false],
    [1, true],
  ]);
});
