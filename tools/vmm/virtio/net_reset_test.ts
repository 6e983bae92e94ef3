/** A network card that its driver resets, whole or one queue, at any moment. */

import { assert, assertEquals } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { BUFFERS, CTRL, RAM_BASE, RX, TX, WRITE } from "../../../tests/kit/vmm/hostile_driver.ts";
import { NetRig, testFrame } from "../../../tests/kit/vmm/net_rig.ts";

Deno.test("VirtioNet may be reset by its driver at any moment, even while a frame is on its way out", () => {
  let during = (): void => {};
  const rig = new NetRig({ onFrame: () => during() });
  const driver = rig.hostile();
  for (const act of [() => driver.status = 0, () => driver.bringUp(), () => driver.page.write(0x044, 0)]) {
    driver.bringUp({ features: [0, 1 | (1 << 8)] });
    during = () => {
      driver.page.write(0x030, TX);
      act();
    };
    for (let i = 0; i < 3; i++) driver.describe(TX, i, { addr: RAM_BASE + BUFFERS, len: 100 });
    driver.offer(TX, 0, 1, 2);
    driver.kick(TX);
    rig.run();
    assertEquals(driver.used(TX), [], "What was reset is not touched");
    assertEquals(rig.net.mmio.lastFault, null);
  }
});

Deno.test("VirtioNet may be reset by its driver inside an interrupt, in the middle of a burst", () => {
  let resets = 0;
  const again = () => {
    if (resets++ > 0) return;
    driver.bringUp();
    driver.send(testFrame(60));
  };
  const rig = new NetRig({ onInterrupt: again });
  const driver = rig.hostile();
  driver.bringUp({ size: 256 });
  for (let i = 0; i < 200; i++) {
    driver.describe(TX, i, { addr: RAM_BASE + BUFFERS, len: 100 });
    driver.offer(TX, i);
  }
  driver.kick(TX);
  rig.run();
  assertEquals(driver.used(TX), [{ id: 0, len: 0 }], "What it sent after the reset, once");
  assertEquals([rig.net.mmio.lastFault, rig.frames.length < 200, resets], [null, true, 2]);
});

Deno.test("VirtioNet may be reset inside any other interrupt, and where it says that there is room", () => {
  let resets = 0;
  const reset = () => {
    resets++;
    driver.status = 0;
  };
  const rig = new NetRig({ onInterrupt: reset, onRoom: () => rig.net.mmio.live && armed && reset() });
  const driver = rig.hostile();
  let armed = false;
  const command = () => {
    driver.describe(CTRL, 0, { addr: RAM_BASE + BUFFERS, len: 2 });
    driver.chain(CTRL, 0, [
      { addr: RAM_BASE + BUFFERS, len: 3 },
      { addr: RAM_BASE + BUFFERS + 8, len: 1, flags: WRITE },
    ]);
    driver.offer(CTRL, 0, 0);
    driver.kick(CTRL);
  };
  const deeds: (() => void)[] = [
    () => assert(rig.receive(testFrame(60))),
    () => assert(rig.net.receive(Block.from(testFrame(60)), true) && rig.net.flush() === undefined),
    command,
    () => rig.net.link = !rig.net.link,
    () => driver.page.write(0x070, 1),
    () => armed = true,
  ];
  for (const deed of deeds) {
    rig.net.link = true;
    assert(driver.bringUp({ features: [1 << 17, 1], count: 3 }));
    driver.describe(RX, 0, { addr: RAM_BASE + BUFFERS + 4096, len: 2000, flags: WRITE });
    driver.offer(RX, 0);
    const before = resets;
    deed();
    rig.run();
    armed = false;
    assertEquals([resets - before, driver.status, rig.net.mmio.lastFault], [1, 0, null], `${deed}`);
    assertEquals([rig.receive(testFrame(60)), rig.net.refusal], [false, "not-ready"]);
  }
});

Deno.test("VirtioNet resets one queue with RING_RESET, which then starts from 0 again (akaros.md 11.34)", () => {
  const rig = new NetRig();
  const driver = rig.hostile();
  assert(driver.bringUp({ features: [0, 1 | (1 << 8)] }));
  driver.send(testFrame(60));
  rig.run();
  driver.page.write(0x030, TX);
  driver.page.write(0x0c0, 1);
  assertEquals([driver.page.read(0x0c0), driver.page.read(0x044), rig.net.ready], [0, 0, true]);
  driver.ram.fill(0, 0x4000, 0x8000);
  driver.setUp(TX);
  driver.setAvailIdx(TX, 0);
  driver.describe(TX, 5, { addr: RAM_BASE + BUFFERS, len: 72 });
  driver.ram[0x4000 + 0x2000 + 4] = 5;
  driver.setAvailIdx(TX, 1);
  driver.kick(TX);
  rig.run();
  assertEquals([rig.frames.length, driver.needsReset, driver.ram[0x4000 + 0x3000 + 4]], [2, false, 5]);
});

Deno.test("VirtioNet refuses RING_RESET that was not negotiated", () => {
  const rig = new NetRig();
  const driver = rig.hostile();
  driver.bringUp();
  driver.page.write(0x030, TX);
  driver.page.write(0x0c0, 1);
  assertEquals([driver.page.read(0x044), rig.net.mmio.counters.badAccesses], [1, 1]);
});
