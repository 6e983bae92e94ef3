/** Fragments for a link: counted, with checksums finished and segments cut first. */

import { assert, assertEquals } from "@std/assert";
import { Block, Checksum, Segment } from "../../../kernel/block.ts";
import { fragmentsFor } from "./fragment.ts";
import { headerOf, ipPacket, pattern } from "../../../tests/kit/ip/packets.ts";
import { TestHost } from "../../../tests/kit/ip/link.ts";

Deno.test("fragmentsFor() finishes an owed checksum first, and counts", () => {
  const { stack } = new TestHost();
  const block = Block.from(ipPacket({ payload: 100 }));
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + 20;
  block.checksumField = block.rp + 26;
  const pieces = fragmentsFor(stack, block, 60);
  assertEquals(pieces.length, 3);
  assert(pieces[0]!.bytes()[26] !== pattern(8)[6], "The checksum was written");
  assertEquals([stack.stats.fragOks, stack.stats.fragCreates, stack.stats.fragFails], [1, 3, 0]);
});

Deno.test("fragmentsFor() cuts segments before it fragments them, and counts what cannot be done", () => {
  const { stack } = new TestHost();
  const block = Block.from(ipPacket({ payload: 8 + 200 }));
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + 20;
  block.checksumField = block.rp + 26;
  block.segment = Segment.Udp;
  block.segmentHeaderLen = 28;
  block.segmentSize = 100;
  const offsets = fragmentsFor(stack, block, 84).map((piece) => headerOf(piece.bytes()).fragOffset);
  assertEquals(offsets, [0, 64, 0, 64]);
  assertEquals(fragmentsFor(stack, Block.from(ipPacket({ payload: 100 })), 20), []);
  assertEquals(stack.stats.fragFails, 1);
});
