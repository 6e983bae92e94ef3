/** A network card under any driver: whatever it writes and however memory changes, nothing throws. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../../../tests/kit/check/fuzz.ts";
import {
  BUFFERS,
  type HostileDriver,
  NEXT,
  PLAIN,
  RAM_BASE,
  RX,
  TX,
  WRITE,
} from "../../../tests/kit/vmm/hostile_driver.ts";
import { assertWorks, NetRig, testFrame } from "../../../tests/kit/vmm/net_rig.ts";
import { shiftingBytes } from "../../../tests/kit/vmm/shifting_bytes.ts";

/** Values that driver mistakes are made of. */
const values = fc.oneof(
  fc.constantFrom(0, 1, 2, 3, 4, 7, 8, 11, 15, 16, 17, 255, 256, 65535, RAM_BASE, RAM_BASE + BUFFERS, 0xffffffff),
  fc.nat(0xffffffff),
);
const registers = fc.oneof(
  fc.constantFrom(
    0x14,
    0x20,
    0x24,
    0x30,
    0x38,
    0x44,
    0x50,
    0x64,
    0x70,
    0x80,
    0x84,
    0x90,
    0x94,
    0xa0,
    0xa4,
    0xc0,
    0x100,
  ),
  fc.integer({ min: -8, max: 0x200 }),
);
/** One thing that a guest, or the world, does. */
const deeds = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(fc.constant("write"), registers, values) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("kick"), fc.nat(3), fc.constant(0)) },
  { weight: 5, arbitrary: fc.tuple(fc.constant("poke"), fc.nat(0xc000 / 2 - 1), values) },
  { weight: 3, arbitrary: fc.tuple(fc.constant("desc"), fc.nat(47), values) },
  { weight: 3, arbitrary: fc.tuple(fc.constant("offer"), fc.nat(2), fc.nat(20)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("receive"), fc.nat(3000), fc.constant(0)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("run"), fc.constant(0), fc.constant(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("link"), fc.nat(1), fc.constant(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("up"), fc.nat(1), fc.constant(0)) },
);

function doDeed(rig: NetRig, driver: HostileDriver, [what, at, value]: [string, number, number]): void {
  switch (what) {
    case "write":
      return driver.page.write(at, value);
    case "kick":
      return driver.kick(at);
    case "poke":
      driver.ram[2 * at] = value;
      driver.ram[2 * at + 1] = value >>> 8;
      return;
    case "desc": {
      const addr = (value & 1) === 0 ? RAM_BASE + BUFFERS + (value % 5000) : value;
      return driver.describe(at >> 4, at & 15, { addr, len: value % 3000, flags: (value >> 3) & 7, next: value % 17 });
    }
    case "offer":
      return driver.offer(at, value);
    case "receive":
      rig.receive(testFrame(at));
      return;
    case "run":
      return rig.run();
    case "link":
      rig.net.link = at === 1;
      return;
    default:
      driver.bringUp({ features: at === 0 ? PLAIN : [offered(driver, 0), offered(driver, 1)], count: 3 });
  }
}

function offered(driver: HostileDriver, word: number): number {
  driver.page.write(0x014, word);
  return driver.page.read(0x010);
}

Deno.test("VirtioNet never throws whatever is in rings and registers, and works after a reset", () => {
  fc.assert(
    fc.property(fc.array(deeds, { maxLength: 60 }), fc.boolean(), (todo, up) => {
      const rig = new NetRig();
      const driver = rig.hostile();
      if (up) doDeed(rig, driver, ["up", 1, 0]);
      for (const one of todo) doDeed(rig, driver, one);
      rig.run();
      for (let at = -4; at < 0x120; at++) for (const size of [1, 2, 4, 8]) driver.page.read(at, size);
      rig.net.link = true;
      assertWorks(rig, driver);
    }),
    fuzz(300),
  );
});

Deno.test("VirtioNet never throws when the memory changes under any of its reads (TOCTOU)", () => {
  const changes = fc.array(fc.tuple(fc.nat(400), fc.nat(0xbfff), fc.nat(255)), { maxLength: 8 });
  fc.assert(
    fc.property(fc.array(deeds, { maxLength: 20 }), changes, (todo, changed) => {
      const plain = new Uint8Array(0x80000);
      let reads = -1;
      const ram = shiftingBytes(plain, () => {
        if (reads < 0) return;
        reads++;
        for (const [when, at, value] of changed) if (when === reads) plain[at] = value;
      });
      const rig = new NetRig({ ram });
      const driver = rig.hostile();
      driver.bringUp({ features: [offered(driver, 0), offered(driver, 1)], count: 3 });
      for (let i = 0; i < 8; i++) {
        driver.chain(TX, 2 * i, [{ addr: RAM_BASE + BUFFERS, len: 40 }, { addr: RAM_BASE + BUFFERS, len: 2500 }]);
        driver.describe(RX, i, { addr: RAM_BASE + BUFFERS + 4096, len: 512, flags: WRITE });
        driver.offer(RX, i);
        driver.offer(TX, 2 * i);
      }
      reads = 0;
      driver.kick(TX);
      rig.run();
      for (const one of todo) doDeed(rig, driver, one);
      rig.receive(testFrame(1200));
      rig.run();
      reads = -1;
      rig.net.link = true;
      assertWorks(rig, driver);
    }),
    fuzz(100),
  );
});

Deno.test("VirtioNet gives frames back byte for byte however both sides cut them (akaros.md 11.37)", () => {
  const cuts = fc.array(fc.nat(4000), { maxLength: 10 });
  fc.assert(
    fc.property(
      fc.integer({ min: 14, max: 1514 }),
      fc.record({ tx: cuts, rx: cuts, indirect: fc.boolean(), merge: fc.boolean(), start: fc.nat(40) }),
      (length, { tx, rx, indirect, merge, start }) => {
        const rig = new NetRig();
        const driver = rig.hostile();
        driver.bringUp({ features: [(merge ? 1 << 15 : 0) | (1 << 28), 1], size: 32 });
        // Turn the rings, so that chains and indices wrap.
        for (let i = 0; i < start; i++) {
          driver.send(testFrame(60));
          rig.run();
        }
        rig.frames.length = 0;
        driver.used(TX);
        const frame = testFrame(length, { seed: start });
        const bytes = new Uint8Array([...new Uint8Array(12), ...frame]);
        const at = driver.store(BUFFERS, bytes);
        const pieces = piecesOf(bytes.length, tx).map(([from, len]) => ({ addr: at + from, len }));
        if (indirect) driver.indirect(TX, 31, at + 0x4000, pieces);
        else driver.chain(TX, 3, pieces);
        driver.offer(TX, indirect ? 31 : 3);
        driver.kick(TX);
        rig.run();
        assertEquals(rig.frames, [frame]);
        assertEquals(receivedIn(driver, rig, { frame, cuts: rx, merge }), frame);
      },
    ),
    fuzz(300),
  );
});

/** `length` bytes cut at those of `cuts` that are inside: [from, length] of each piece, none of them empty. */
function piecesOf(length: number, cuts: readonly number[]): [from: number, length: number][] {
  const ends = [...new Set([...cuts.map((cut) => 1 + cut % length), length])].sort((a, b) => a - b);
  return ends.map((end, i) => [ends[i - 1] ?? 0, end - (ends[i - 1] ?? 0)]);
}

/** Receives `frame` into 1600 bytes cut at `cuts`: one chain, or with `merge` a chain of each piece; what came. */
function receivedIn(
  driver: HostileDriver,
  rig: NetRig,
  { frame, cuts, merge }: { frame: Uint8Array; cuts: readonly number[]; merge: boolean },
): Uint8Array {
  const start = RAM_BASE + BUFFERS + 0x8000;
  // A buffer that may be a frame's first holds its header.
  const pieces = piecesOf(1600, merge ? cuts.map((cut) => 12 * (1 + cut % 132) - 1) : cuts);
  pieces.forEach(([from, len], i) => {
    const next = merge || i === pieces.length - 1 ? 0 : NEXT;
    driver.describe(RX, i, { addr: start + from, len, flags: WRITE | next, next: i + 1 });
    if (merge) driver.offer(RX, i);
  });
  if (!merge) driver.offer(RX, 0);
  assert(rig.receive(frame), rig.net.refusal ?? "");
  const used = driver.used(RX);
  const count = driver.load(start + 10, 1)[0]!;
  assertEquals(count, used.length);
  assertEquals(used.reduce((sum, { len }) => sum + len, 0), frame.length + 12);
  used.forEach(({ id, len }, i) => {
    assertEquals(id, i);
    if (merge && i < used.length - 1) assertEquals(len, pieces[i]![1]);
  });
  return driver.load(start + 12, frame.length);
}
