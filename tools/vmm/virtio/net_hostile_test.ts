import { assert, assertEquals } from "@std/assert";
import { BUFFERS, CTRL, PLAIN, RAM_BASE, RX, TX, WRITE } from "../../../tests/kit/vmm/hostile_driver.ts";
import { HARMLESS } from "../../../tests/kit/vmm/harmless.ts";
import { MISCHIEFS, WITH_INDIRECT } from "../../../tests/kit/vmm/mischief.ts";
import { BAD_SETUPS } from "../../../tests/kit/vmm/bad_set_ups.ts";
import { assertWorks, NetRig, testFrame } from "../../../tests/kit/vmm/net_rig.ts";
import { shiftingBytes } from "../../../tests/kit/vmm/shifting_bytes.ts";

const CONFIG_INTERRUPT = 2;

for (const { name, error, features = PLAIN, act } of MISCHIEFS) {
  Deno.test(`VirtioNet asks for a reset on ${name}; other cards go on; it works after it (akaros.md 11.34)`, () => {
    const rig = new NetRig();
    const other = new NetRig();
    const driver = rig.hostile();
    const count = (features[0] & (1 << 17)) !== 0 ? 3 : 2;
    assert(driver.bringUp({ features, count }));
    act(driver);
    for (const queue of [RX, TX, CTRL]) driver.kick(queue);
    rig.run();
    rig.receive(testFrame(60));
    assertEquals(rig.net.mmio.lastFault, error);
    assert(driver.needsReset);
    assertEquals(rig.interrupts, 1);
    assertEquals(driver.page.read(0x060), CONFIG_INTERRUPT);
    assertEquals([rig.frames.length, driver.used(RX).length, driver.used(TX).length], [0, 0, 0]);
    // It stays silent until it is reset, whatever the driver does.
    driver.send(testFrame(60));
    rig.run();
    assertEquals([rig.frames.length, rig.interrupts, rig.net.ready], [0, 1, false]);
    assertWorks(other, other.hostile());
    assertWorks(rig, driver);
  });
}

for (const { name, error, act } of BAD_SETUPS) {
  Deno.test(`VirtioNet asks for a reset on ${name}, and works after it (akaros.md 11.34, 11.35)`, () => {
    const rig = new NetRig();
    const driver = rig.hostile();
    driver.agree();
    act(driver);
    assertEquals(rig.net.mmio.lastFault, error);
    assert(driver.needsReset);
    // 2.1.2: there is no driver to interrupt before DRIVER_OK.
    assertEquals(rig.interrupts, 0);
    driver.kick(TX);
    rig.run();
    assertWorks(rig, driver);
  });
}

for (const { name, badAccesses = 0, badNotifies = 0, frames = 0, act } of HARMLESS) {
  Deno.test(`VirtioNet passes over a driver that ${name}, and goes on without a reset`, () => {
    const rig = new NetRig();
    const driver = rig.hostile();
    assert(driver.bringUp({ features: WITH_INDIRECT }));
    act(driver);
    rig.run();
    const { counters, lastFault, features } = rig.net.mmio;
    assertEquals([lastFault, driver.status, [features.low, features.high]], [null, 15, WITH_INDIRECT]);
    assertEquals([counters.badAccesses, counters.badNotifies, rig.frames.length], [badAccesses, badNotifies, frames]);
    const sent = testFrame(100);
    driver.send(sent);
    rig.run();
    assertEquals(rig.frames.at(-1), sent);
    driver.describe(RX, 3, { addr: RAM_BASE + BUFFERS, len: 2000, flags: WRITE });
    driver.offer(RX, 3);
    assert(rig.receive(sent), rig.net.refusal ?? "");
    assertEquals(driver.load(RAM_BASE + BUFFERS + 12, 100), sent);
  });
}

Deno.test("VirtioNet leaves a driver that gave up (FAILED) alone until it resets, whatever else it does", () => {
  const rig = new NetRig();
  const driver = rig.hostile();
  driver.bringUp();
  driver.status = 15 | 0x80;
  const before = rig.ram.slice();
  driver.status = 15 | 0x80 | 0x40;
  driver.kick(TX);
  rig.run();
  assertEquals([rig.receive(testFrame(60)), rig.net.refusal, rig.frames.length], [false, "not-ready", 0]);
  rig.net.link = false;
  rig.net.link = true;
  assertEquals([rig.ram, rig.interrupts, rig.net.mmio.lastFault], [before, 0, null]);
  assertWorks(rig, driver);
});

Deno.test("VirtioNet sends nothing of a driver that was heard and then erred elsewhere", () => {
  const rig = new NetRig();
  const driver = rig.hostile();
  driver.bringUp();
  driver.send(testFrame(60));
  driver.page.write(0x030, RX);
  driver.page.write(0x038, 8);
  rig.run();
  assertEquals([rig.net.mmio.lastFault, rig.frames.length, driver.used(TX)], ["queue-order", 0, []]);
});

Deno.test("VirtioNet gives back what was sent before a mistake, and reports the mistake alone", () => {
  const rig = new NetRig();
  const driver = rig.hostile();
  driver.bringUp();
  driver.describe(TX, 0, { addr: RAM_BASE + BUFFERS, len: 72 });
  driver.describe(TX, 1, { addr: RAM_BASE - 1, len: 72 });
  driver.offer(TX, 0, 1);
  driver.kick(TX);
  rig.run();
  assertEquals([rig.frames.length, driver.used(TX), rig.interrupts], [1, [{ id: 0, len: 0 }], 1]);
  assertEquals(driver.page.read(0x060), CONFIG_INTERRUPT);
});

Deno.test("VirtioNet does commands that came during others in their turn, and not after a mistake", () => {
  for (const err of [false, true]) {
    let [reads, told] = [0, false];
    const plain = new Uint8Array(0x80000);
    const idxAt = 0x8000 + 0x2000 + 2;
    const ram = shiftingBytes(plain, (at) => {
      // A third command comes while the second is taken.
      if (at !== idxAt || ++reads !== 2 || told) return;
      told = true;
      plain[idxAt] = 3;
    });
    const rig = new NetRig({ ram });
    const driver = rig.hostile();
    driver.bringUp({ features: [(1 << 17) | (1 << 28), 1], count: 3, size: 2 });
    for (let i = 0; i < 2; i++) {
      driver.indirect(CTRL, i, RAM_BASE + BUFFERS + 64 * i, [
        { addr: RAM_BASE + BUFFERS + 4096, len: 3 },
        { addr: RAM_BASE + BUFFERS + 8192, len: 1, flags: WRITE },
      ]);
    }
    driver.offer(CTRL, 0, 1);
    reads = 0;
    driver.kick(CTRL);
    assertEquals([driver.used(CTRL).length, told], [2, true]);
    if (err) driver.status = 1;
    rig.run();
    assertEquals(driver.used(CTRL).length, err ? 0 : 1);
  }
});

Deno.test("VirtioNet reports at DRIVER_OK a mistake that the driver made before", () => {
  const rig = new NetRig();
  const driver = rig.hostile();
  driver.agree();
  driver.setUp(TX, { size: 3 });
  assertEquals([driver.needsReset, rig.interrupts], [true, 0]);
  driver.status = 15;
  assertEquals([driver.status, rig.interrupts, driver.page.read(0x060)], [0x4f, 1, CONFIG_INTERRUPT]);
});

Deno.test("VirtioNet withholds FEATURES_OK for what was not offered, is no version 1, or does not go together", () => {
  const driver = new NetRig({ features: [5, 0, 1, 7, 11, 13] }).hostile();
  assert(driver.agree([1 << 5, 1]));
  assert(!driver.agree([1 << 5, 0]), "no VERSION_1");
  assert(!driver.agree([1 << 15, 1]), "MRG_RXBUF was not offered");
  assert(!driver.agree([0, 1 | (1 << 31)]), "bit 63");
  assert(!driver.agree([1 << 11, 1]), "HOST_TSO4 without CSUM");
  assert(!driver.agree([1 | (1 << 13), 1]), "HOST_ECN without HOST_TSO");
  assert(!driver.agree([1 << 7, 1]), "GUEST_TSO4 without GUEST_CSUM");
  assert(driver.agree([1 | (1 << 11) | (1 << 13), 1]));
});

Deno.test("VirtioNet withholds FEATURES_OK from a driver that writes feature words beyond the second", () => {
  const driver = new NetRig().hostile();
  driver.status = 3;
  driver.choose(PLAIN);
  driver.page.write(0x024, 2);
  driver.page.write(0x020, 1);
  driver.status = 11;
  assertEquals(driver.status, 3);
});

Deno.test("VirtioNet ignores notifies of unknown and unready queues, and before DRIVER_OK (akaros.md 11.35)", () => {
  const rig = new NetRig();
  const driver = rig.hostile();
  driver.agree();
  driver.setUp(TX);
  driver.describe(TX, 0, { addr: RAM_BASE + BUFFERS, len: 100 });
  driver.offer(TX, 0);
  driver.kick(TX);
  driver.status = 15;
  for (const queue of [RX, CTRL, 3, 65535, 0xffffffff]) driver.kick(queue);
  rig.run();
  assertEquals([rig.net.mmio.counters.badNotifies, rig.frames.length, driver.needsReset], [6, 0, false]);
  driver.kick(TX);
  rig.run();
  assertEquals(rig.frames.length, 1);
});

/** A frame of TCP over IPv4 that owes its checksum, and its header; `size`: to be cut. */
function tcpFrame(payload: number, size = 0): { frame: Uint8Array; header: Uint8Array } {
  const frame = testFrame(54 + payload);
  frame[14] = 0x45;
  frame[46] = 0x50;
  const header = Uint8Array.of(1, size > 0 ? 1 : 0, 54, 0, size & 255, size >> 8, 34, 0, 16, 0, 0, 0);
  return { frame, header };
}

Deno.test("VirtioNet drops and counts frames whose header asks for what was not negotiated, or does not fit", () => {
  const rig = new NetRig();
  const driver = rig.hostile();
  const { counters } = rig.net;
  const { frame, header } = tcpFrame(100);
  const changed = (at: number, ...bytes: number[]): Uint8Array => {
    const copy = tcpFrame(100, 50).header;
    copy.set(bytes, at);
    return copy;
  };
  driver.bringUp();
  driver.send(frame, header);
  rig.run();
  assertEquals([counters.txNotNegotiated, counters.txFrames], [1, 0]);
  driver.bringUp({ features: [1 | (1 << 11), 1] });
  const bad = [
    changed(0, 0), // GSO without a checksum.
    changed(6, 255, 255), // csum_start behind the frame.
    changed(8, 255, 255), // csum_offset behind the frame.
    Uint8Array.of(1, 0, 0, 0, 0, 0, 34, 0, 119, 0, 0, 0), // One byte of the field behind the frame.
    changed(6, 2, 0), // csum_start in the Ethernet header.
    changed(6, 38, 0), // Not where the IP header ends.
    changed(8, 6, 0), // Not a TCP checksum.
    changed(1, 3), // UFO.
    changed(1, 77),
    changed(4, 0, 0), // gso_size 0.
    changed(4, 1, 0), // A thousand tiny segments.
  ];
  const send = (one: Uint8Array) => {
    driver.send(frame, one);
    rig.run();
  };
  bad.forEach(send);
  assertEquals([counters.txBadHeader, counters.txFrames], [bad.length, 0]);
  send(changed(1, 4)); // TSO6.
  send(changed(1, 0x81)); // ECN.
  send(changed(1, 5)); // USO.
  assertEquals([counters.txNotNegotiated, counters.txFrames], [4, 0]);
  driver.send(testFrame(14).subarray(0, 13));
  rig.run();
  assertEquals(counters.txShort, 1);
  driver.send(frame, header);
  rig.run();
  assertEquals([counters.txFrames, driver.needsReset], [1, false]);
});

Deno.test("VirtioNet drops a frame longer than any packet, even one that is to be cut", () => {
  const rig = new NetRig();
  const driver = rig.hostile();
  const { frame, header } = tcpFrame(100, 1000);
  driver.bringUp({ features: [1 | (1 << 11), 1] });
  driver.store(0x20000, new Uint8Array([...header, ...frame]));
  const piece = { addr: RAM_BASE + 0x20000, len: 0x60000 };
  driver.chain(TX, 0, Array.from({ length: 16 }, () => piece));
  driver.offer(TX, 0);
  driver.kick(TX);
  rig.run();
  assertEquals([rig.net.counters.txLong, driver.used(TX).length, rig.frames.length], [1, 1, 0]);
});

Deno.test("VirtioNet reads each byte of descriptor, header and packet header once (TOCTOU)", () => {
  const reads = new Map<number, number>();
  const rig = new NetRig({
    ram: shiftingBytes(new Uint8Array(0x80000), (at) => reads.set(at, (reads.get(at) ?? 0) + 1)),
  });
  const driver = rig.hostile();
  driver.bringUp({ features: [1 | (1 << 11) | (1 << 28), 1] });
  const { frame, header } = tcpFrame(20000, 1000);
  const at = driver.store(BUFFERS, new Uint8Array([...header, ...frame]));
  const table = RAM_BASE + BUFFERS - 4096;
  const cuts = [0, 7, 12, 30, 60, 200, header.length + frame.length];
  driver.indirect(TX, 0, table, cuts.slice(1).map((end, i) => ({ addr: at + cuts[i]!, len: end - cuts[i]! })));
  driver.offer(TX, 0);
  reads.clear();
  driver.kick(TX);
  rig.run();
  assertEquals(rig.frames, [frame]);
  const once = (from: number, length: number) => {
    for (let i = from; i < from + length; i++) assertEquals(reads.get(i) ?? 1, 1, `Byte ${i.toString(16)}`);
  };
  once(0x4000, 16); // The descriptor.
  once(0x4000 + 0x2000 + 4, 2); // The head in the available ring.
  once(BUFFERS - 4096, 16 * 6); // The indirect table.
  once(BUFFERS, 12 + 192); // Both headers.
  assertEquals(reads.get(BUFFERS + 5), 1);
});
