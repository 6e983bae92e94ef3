import { assert, assertEquals } from "@std/assert";
import { Block, Checksum } from "../../../kernel/block.ts";
import { get16, put16 } from "../../../kernel/wire/bytes.ts";
import { sum } from "../../../kernel/wire/checksum.ts";
import { RX, WRITE } from "../../../tests/kit/vmm/hostile_driver.ts";
import { testFrame } from "../../../tests/kit/vmm/net_rig.ts";
import { HERE, OFFLOADS, taggedFrame, tcpBlock, upRig } from "../../../tests/kit/vmm/net_up.ts";

const MRG_RXBUF = 1 << 15;

// --- receive ---

Deno.test("VirtioNet.receive() writes header and frame, and tells their length", () => {
  const { rig, driver } = upRig(0, { buffers: 2 });
  const frame = testFrame(61);
  assert(rig.receive(frame));
  assertEquals([driver.used(RX), rig.interrupts], [[{ id: 0, len: 73 }], 1]);
  assertEquals(driver.load(HERE, 12), Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0));
  assertEquals(driver.load(HERE + 12, 61), frame);
});

Deno.test("VirtioNet.receive() takes a header split over descriptors of one byte (akaros.md 11.37)", () => {
  const { rig, driver } = upRig();
  const pieces = Array.from({ length: 20 }, (_, i) => ({ addr: HERE + 100 * i, len: 1, flags: WRITE }));
  driver.chain(RX, 0, [...pieces, { addr: HERE + 4096, len: 100, flags: WRITE }]);
  driver.offer(RX, 0);
  const frame = testFrame(60);
  assert(rig.receive(frame));
  assertEquals(driver.used(RX), [{ id: 0, len: 72 }]);
  const got = [...pieces.map(({ addr }) => driver.load(addr, 1)[0]!), ...driver.load(HERE + 4096, 52)];
  assertEquals(got, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, ...frame]);
});

Deno.test("VirtioNet.receive() spreads a frame over mergeable buffers and reports over how many", () => {
  const { rig, driver } = upRig(MRG_RXBUF, { buffers: 4, bytes: 100 });
  const block = Block.from(testFrame(40));
  block.extents = [testFrame(100), testFrame(110)];
  assert(rig.net.receive(block));
  assertEquals(driver.used(RX).map(({ id, len }) => [id, len]), [[0, 100], [1, 100], [2, 62]]);
  assertEquals(driver.load(HERE + 10, 2), Uint8Array.of(3, 0));
  assertEquals(driver.load(HERE + 12, 250), new Uint8Array([...testFrame(40), ...testFrame(100), ...testFrame(110)]));
});

Deno.test("VirtioNet.receive() refuses for lack of buffers, takes none then, and reports when there is room", () => {
  let room = 0;
  const { rig, driver } = upRig(MRG_RXBUF, { buffers: 2, bytes: 100, onRoom: () => room++ });
  rig.run();
  assertEquals(room, 1, "A driver that is ready has room");
  room = 0;
  const frame = testFrame(250);
  const block = Block.from(frame);
  assertEquals([rig.net.receive(block), rig.net.refusal], [false, "no-buffers"]);
  assertEquals([driver.used(RX), block.bytes()], [[], frame], "The block is still the caller's");
  driver.describe(RX, 2, { addr: HERE + 200, len: 100, flags: WRITE });
  driver.offer(RX, 2);
  driver.kick(RX);
  rig.run();
  assertEquals([room, rig.net.receive(block), driver.used(RX).length], [1, true, 3]);
  driver.kick(RX);
  rig.run();
  assertEquals([room, rig.net.counters.rxNoBuffers], [1, 1]);
  assertEquals(rig.net.receive(Block.from(frame)), false);
  driver.bringUp();
  rig.run();
  room = 0;
  driver.kick(RX);
  rig.run();
  assertEquals(room, 0, "A reset forgets that there was too little");
});

Deno.test("VirtioNet.receive() refuses a frame longer than the one buffer it may use, which stays for the next", () => {
  const { rig, driver } = upRig(0, { buffers: 1, bytes: 1000 });
  assertEquals([rig.receive(testFrame(989)), rig.net.refusal], [false, "too-long"]);
  assert(rig.receive(testFrame(988)));
  assertEquals([driver.used(RX), rig.net.counters.rxLong], [[{ id: 0, len: 1000 }], 1]);
});

Deno.test("VirtioNet.receive() refuses a frame longer than all mergeable buffers of the queue together", () => {
  const { rig } = upRig(MRG_RXBUF, { buffers: 8, bytes: 100, size: 8 });
  assertEquals([rig.receive(testFrame(900)), rig.net.refusal], [false, "too-long"]);
  assert(rig.receive(testFrame(700)));
});

Deno.test("VirtioNet.receive() finishes a checksum for a guest without GUEST_CSUM", () => {
  const { rig, driver } = upRig(0, { buffers: 1 });
  const block = tcpBlock(101);
  put16(block.buf, block.checksumField, 0x1234); // The sum of the pseudo-header.
  assert(rig.net.receive(block));
  const got = driver.load(HERE, 12 + 155);
  assertEquals([got[0], sum(got, 12 + 34, got.length, 0x1234), rig.net.counters.rxChecksums], [0, 0xffff, 1]);
});

Deno.test("VirtioNet.receive() finishes a UDP checksum of zero as 0xffff (RFC 768), borrowed bytes too", () => {
  const { rig, driver } = upRig(0, { buffers: 2 });
  for (const last of [0, 1]) {
    const block = Block.from(testFrame(42));
    block.buf.fill(0, block.rp + 34, block.wp);
    block.extents = [Uint8Array.of(0xff, 0xff, 0, last)];
    block.checksum = Checksum.Owed;
    block.checksumStart = block.rp + 34;
    block.checksumField = block.rp + 40;
    assert(rig.net.receive(block));
    assertEquals(get16(driver.load(HERE + last * 2048 + 12 + 40, 2), 0), last === 0 ? 0xffff : 0xfffe);
  }
});

Deno.test("VirtioNet.receive() leaves a checksum owed to a guest with GUEST_CSUM", () => {
  const { rig, driver } = upRig(OFFLOADS, { buffers: 1 });
  const block = tcpBlock(100);
  const before = get16(block.buf, block.checksumField);
  assert(rig.net.receive(block));
  assertEquals(driver.load(HERE, 12), Uint8Array.of(1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 1, 0));
  assertEquals(get16(driver.load(HERE + 12 + 50, 2), 0), before);
});

Deno.test("VirtioNet.receive() passes a segment whole to a guest with GUEST_TSO4, and to no other", () => {
  const { rig, driver } = upRig(OFFLOADS | MRG_RXBUF, { buffers: 40 });
  assert(rig.net.receive(tcpBlock(60000, 1448)));
  assertEquals(driver.used(RX).length, 30);
  assertEquals(driver.load(HERE, 12), Uint8Array.of(1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0, 30, 0));
  const without = upRig(2 | MRG_RXBUF, { buffers: 40 });
  assertEquals([without.rig.net.receive(tcpBlock(60000, 1448)), without.rig.net.refusal], [false, "must-cut"]);
  assertEquals([without.rig.net.counters.rxMustCut, without.driver.used(RX)], [1, []]);
  assert(without.rig.net.receive(tcpBlock(1400, 1448)), "It is one piece as it is");
  assertEquals([rig.net.offloads.checksum, without.rig.net.offloads], [
    true,
    { checksum: true, tcpSegment: false, udpSegment: false },
  ]);
});

Deno.test("VirtioNet.receive() refuses what is no frame, is longer than the MTU, or has wrong metadata", () => {
  const { rig, driver } = upRig(OFFLOADS, { buffers: 4, bytes: 4096 });
  assertEquals([rig.net.receive(Block.from(new Uint8Array(13))), rig.net.refusal], [false, "bad-frame"]);
  for (const frame of [testFrame(1515), taggedFrame(1519)]) {
    assertEquals([rig.receive(frame), rig.net.refusal], [false, "too-long"]);
  }
  const lies: ((block: Block) => void)[] = [
    (block) => block.checksumField = block.wp - 1,
    (block) => block.checksumStart = block.rp - 1,
    (block) => block.checksumField = block.checksumStart - 2,
    (block) => block.segmentSize = 0,
    (block) => block.segmentHeaderLen = 0,
  ];
  for (const lie of lies) {
    const block = tcpBlock(200, 100);
    lie(block);
    assertEquals([rig.net.receive(block), rig.net.refusal], [false, "bad-frame"]);
  }
  assertEquals([rig.net.counters.rxBadFrame, driver.used(RX)], [1 + lies.length, []]);
});

Deno.test("VirtioNet.receive() with more notifies the guest once, by flush or by the next without", () => {
  const { rig, driver } = upRig(0, { buffers: 4 });
  const receive = (more: boolean) => rig.net.receive(Block.from(testFrame(60)), more);
  receive(true);
  receive(true);
  assertEquals([driver.used(RX).length, rig.interrupts], [0, 0]);
  receive(false);
  assertEquals([driver.used(RX).length, rig.interrupts], [3, 1]);
  receive(true);
  rig.net.flush();
  rig.net.flush();
  assertEquals([driver.used(RX).length, rig.interrupts], [1, 2]);
});
