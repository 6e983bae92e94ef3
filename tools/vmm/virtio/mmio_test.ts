import { assert, assertEquals } from "@std/assert";
import { NetRig, testFrame } from "../../../tests/kit/vmm/net_rig.ts";
import { BUFFERS, RAM_BASE, RX, TX, WRITE } from "../../../tests/kit/vmm/hostile_driver.ts";
import { Feature, Features, Reg, Status } from "./ids.ts";

Deno.test("VirtioMmio shows magic, version, device and vendor as akaros.md 10.1 lists them", () => {
  const { mmio } = new NetRig().net;
  assertEquals([0x000, 0x004, 0x008, 0x00c].map((at) => mmio.read(at)), [0x74726976, 2, 1, 0x52414b41]);
  mmio.write(Reg.DeviceFeaturesSel, 1);
  assertEquals(mmio.read(Reg.DeviceFeatures) & 1, 1, "VERSION_1");
  mmio.write(Reg.DeviceFeaturesSel, 2);
  assertEquals(mmio.read(Reg.DeviceFeatures), 0);
  for (const [queue, size] of [[0, 256], [1, 256], [2, 64], [3, 0], [0xffffffff, 0]]) {
    mmio.write(Reg.QueueSel, queue!);
    assertEquals(mmio.read(Reg.QueueNumMax), size);
  }
  for (const at of [0x0b0, 0x0b4, 0x0b8, 0x0bc]) assertEquals(mmio.read(at), 0xffffffff, "No shared memory");
});

Deno.test("VirtioMmio ignores and counts what is no register, not aligned, not so wide, or not for that", () => {
  const { mmio } = new NetRig().net;
  const reads: [number, number][] = [[1, 4], [0, 2], [0, 8], [0x0f0, 4], [Reg.QueueNum, 4], [-4, 4], [NaN, 4], [
    0.5,
    4,
  ]];
  for (const [at, size] of reads) assertEquals(mmio.read(at, size), 0);
  assertEquals(mmio.counters.badAccesses, reads.length);
  const writes: [number, number][] = [[0, 4], [2, 4], [Reg.Status, 1], [0x100, 4], [0x0f8, 4], [Reg.QueueReset, 4], [
    -8,
    4,
  ]];
  for (const [at, size] of writes) mmio.write(at, 1, size);
  assertEquals(mmio.counters.badAccesses, reads.length + writes.length);
  assertEquals([mmio.read(Reg.Status), mmio.read(0)], [0, 0x74726976]);
});

Deno.test("VirtioMmio reads the configuration space in 1, 2 and 4 bytes, aligned and inside", () => {
  const { mmio } = new NetRig({ mtu: 1280 }).net;
  assertEquals([0, 1, 2, 3, 4, 5].map((at) => mmio.read(0x100 + at, 1)), [0x52, 0x54, 0, 0, 0, 1]);
  assertEquals([mmio.read(0x100), mmio.read(0x106, 2), mmio.read(0x108, 2), mmio.read(0x10a, 2)], [0x5452, 1, 1, 1280]);
  for (const [at, size] of [[0x101, 2], [0x102, 4], [0x10c, 1], [0x10c, 4], [0x100, 3], [256.5, 1], [1e18, 4]]) {
    assertEquals(mmio.read(at!, size), 0);
  }
  assertEquals(mmio.counters.badAccesses, 7);
});

Deno.test("VirtioMmio lets a driver write back NEEDS_RESET and bits that mean nothing, as Linux' does", () => {
  const { mmio } = new NetRig().net;
  mmio.write(Reg.Status, 1 | 16 | 32 | 64);
  mmio.write(Reg.Status, 3);
  mmio.write(Reg.Status, 3 | Status.Failed);
  assertEquals([mmio.read(Reg.Status), mmio.lastFault], [3 | Status.Failed, null]);
});

Deno.test("VirtioMmio keeps the features of FEATURES_OK: later writes are ignored", () => {
  const rig = new NetRig();
  const driver = rig.hostile();
  assert(driver.agree([1 << 5, 1]));
  driver.choose([0xffffffff, 0xffffffff]);
  assertEquals([rig.net.mmio.features.low, rig.net.mmio.features.high], [1 << 5, 1]);
});

Deno.test("VirtioMmio acknowledges interrupts bit by bit, and a reset takes them all back", () => {
  const rig = new NetRig();
  const driver = rig.hostile();
  driver.bringUp();
  driver.send(testFrame(60));
  rig.run();
  rig.net.link = false;
  assertEquals([driver.page.read(0x060), rig.interrupts, rig.net.mmio.interruptPending], [3, 2, true]);
  driver.page.write(0x064, 1);
  assertEquals(driver.page.read(0x060), 2);
  driver.page.write(0x064, 0xffffffff);
  assertEquals([driver.page.read(0x060), rig.net.mmio.interruptPending], [0, false]);
  rig.net.link = true;
  driver.status = 0;
  assertEquals(driver.page.read(0x060), 0);
});

Deno.test("VirtioMmio keeps an interrupt that comes before another's acknowledgement (akaros.md 11.34)", () => {
  const rig = new NetRig();
  const driver = rig.hostile();
  driver.bringUp();
  driver.send(testFrame(60));
  rig.run();
  const seen = driver.page.read(0x060);
  rig.net.link = false;
  driver.page.write(0x064, seen);
  assertEquals([seen, driver.page.read(0x060), rig.net.mmio.interruptPending], [1, 2, true]);
});

Deno.test("VirtioMmio moves the configuration's generation with each change, with or without an interrupt", () => {
  const rig = new NetRig();
  const before = rig.net.mmio.read(Reg.ConfigGeneration);
  rig.net.link = false;
  rig.net.link = false;
  rig.net.link = true;
  assertEquals([rig.net.mmio.read(Reg.ConfigGeneration), rig.interrupts], [before + 2, 0]);
});

Deno.test("VirtioMmio.reset() leaves a device as at power on, with queues running (akaros.md 11.34)", () => {
  const rig = new NetRig();
  const driver = rig.hostile();
  driver.bringUp({ count: 3, features: [1 << 17, 1] });
  driver.describe(RX, 0, { addr: RAM_BASE + BUFFERS, len: 2000, flags: WRITE });
  driver.offer(RX, 0);
  driver.send(testFrame(60));
  driver.status = 0;
  rig.run();
  assertEquals([rig.frames.length, rig.receive(testFrame(60)), rig.net.refusal], [0, false, "not-ready"]);
  assertEquals(driver.used(RX), []);
  for (const queue of [RX, TX, 2]) {
    driver.page.write(0x030, queue);
    assertEquals(driver.page.read(0x044), 0);
  }
  assertEquals([driver.status, rig.net.mmio.features.low, rig.net.mmio.features.high], [0, 0, 0]);
});

Deno.test("VirtioMmio.reset() forgets what the driver chose: features, and which word and queue it looked at", () => {
  const rig = new NetRig();
  const { page } = rig.hostile();
  const status = (...values: number[]) => values.forEach((value) => page.write(0x070, value));
  for (const [word, value] of [[0, 1], [1, 1], [7, 1]]) {
    page.write(0x024, word!);
    page.write(0x020, value!);
  }
  page.write(0x014, 1);
  page.write(0x030, 2);
  const offered = page.read(0x010);
  status(0);
  assertEquals([page.read(0x010) === offered, page.read(0x034)], [false, 256]);
  status(1, 3, 11);
  assertEquals(page.read(0x070), 3, "VERSION_1 is not chosen any more");
  // The first word is selected again, and nothing beyond the second is chosen.
  page.write(0x020, 2);
  page.write(0x024, 1);
  page.write(0x020, 1);
  status(11);
  assertEquals([page.read(0x070), rig.net.mmio.features.low], [11, 2]);
});

Deno.test("VirtioMmio keeps the first reason to ask for a reset, and tells it once", () => {
  const rig = new NetRig();
  const driver = rig.hostile();
  driver.bringUp();
  driver.page.write(0x030, TX);
  driver.page.write(0x038, 8);
  driver.status = 1;
  assertEquals([rig.net.mmio.lastFault, rig.net.mmio.counters.faults, rig.interrupts], ["queue-order", 1, 1]);
});

Deno.test("VirtioMmio takes ring addresses from two halves, in any order", () => {
  const rig = new NetRig();
  const { mmio } = rig.net;
  mmio.write(Reg.QueueSel, 1);
  mmio.write(Reg.QueueDeviceHigh, 0x12);
  mmio.write(Reg.QueueDeviceLow, 0xfffffffc);
  mmio.write(Reg.QueueDriverLow, 0x80000000);
  mmio.write(Reg.QueueDriverHigh, 1);
  mmio.write(Reg.QueueDescLow, 16);
  const { descAddr, availAddr, usedAddr } = mmio.queues[1]!;
  assertEquals([descAddr, availAddr, usedAddr], [16, 0x1_8000_0000, 0x12_ffff_fffc]);
});

Deno.test("Features is a set over two words", () => {
  const some = Features.of([Feature.Csum, 31, Feature.Version1, 63]);
  assertEquals([some.low, some.high], [0x80000001, 0x80000001]);
  assertEquals([0, 1, 31, 32, 33, 63].map((bit) => some.has(bit)), [true, false, true, true, false, true]);
  assertEquals(Features.of([31, 32]).isSubsetOf(some), true);
  assertEquals(Features.of([30]).isSubsetOf(some), false);
});
