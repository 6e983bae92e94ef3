import { assertEquals } from "@std/assert";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { sendPacket } from "../network/ip_output.ts";
import { ip, pattern } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";
import { loopbackMedium } from "./loopback_medium.ts";
import { LOOPBACK_QUEUE_LIMIT } from "./loopback_queue.ts";

const OPTIONS = { src: ip("127.0.0.1"), dst: ip("127.0.0.1"), protocol: 17, ttl: 64, tos: 0 };

function host(): TestHost {
  const made = new TestHost();
  made.ifc("bind loopback", "add 127.0.0.1 /8");
  return made;
}

Deno.test("LoopbackQueue delivers by a job, never inside the send", () => {
  const at = host();
  sendPacket(at.stack, Block.from(pattern(10)), OPTIONS);
  assertEquals(at.received.length, 0);
  at.run();
  assertEquals(at.received.length, 1);
});

Deno.test("LoopbackQueue delivers all that waits, in order", () => {
  const at = host();
  for (let i = 0; i < 500; i++) sendPacket(at.stack, Block.from(pattern(i % 99)), OPTIONS);
  at.run();
  assertEquals(at.received.map(({ bytes }) => bytes.length - 20), Array.from({ length: 500 }, (_, i) => i % 99));
});

Deno.test("LoopbackQueue drops and counts what is beyond its limit", () => {
  const at = host();
  for (let i = 0; i < 200; i++) sendPacket(at.stack, Block.from(pattern(980)), OPTIONS);
  const held = Math.ceil(LOOPBACK_QUEUE_LIMIT / 1000);
  assertEquals(at.stack.stats.outLinkBusy, 200 - held);
  at.run();
  assertEquals(at.received.length, held);
});

Deno.test("loopback cuts merged datagrams, but finishes no checksum", () => {
  const at = host();
  const block = Block.from(new Uint8Array([...new Uint8Array(8), ...pattern(2500)]));
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp;
  block.checksumField = block.rp + 6;
  block.segment = Segment.Udp;
  block.segmentSize = 1000;
  block.segmentHeaderLen = 28;
  sendPacket(at.stack, block, OPTIONS);
  at.run();
  assertEquals(at.received.map(({ bytes }) => bytes.length), [1028, 1028, 528]);
  assertEquals(at.received.map((one) => one.block.checksum), [Checksum.Owed, Checksum.Owed, Checksum.Owed]);
});

Deno.test("loopback takes a name for people, and Akaros' MTU", () => {
  const at = new TestHost();
  const { ifc } = at.ifc("bind loopback /dev/null");
  assertEquals([ifc.medium, ifc.link!.device, ifc.mtu], [loopbackMedium, "/dev/null", 16384]);
});
