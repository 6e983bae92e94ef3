import { assertEquals } from "@std/assert";
import { Block, BlockPool, Checksum, Segment } from "../../kernel/block.ts";
import { NO_OFFLOADS } from "../../kernel/host.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { checksum } from "../../kernel/wire/checksum.ts";
import { ALL_OFFLOADS, frame } from "../../tests/kit/ip/ether.ts";
import { cutToFrames, makePlain, portCuts } from "./offload.ts";

/** A frame whose checksum is owed from byte 34 on, in the field at 40; the field holds `pseudo`. */
function owed(pseudo = 0x1234, fill = 7): Block {
  const block = Block.from(frame({ fill }));
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + 34;
  block.checksumField = block.rp + 40;
  block.buf[block.checksumField] = pseudo >> 8;
  block.buf[block.checksumField + 1] = pseudo & 0xff;
  return block;
}

Deno.test("finishChecksum() makes the sum over the owed part and the pseudo-header come out as zero", () => {
  const block = owed();
  finishChecksum(block);
  assertEquals(block.checksum, Checksum.None);
  assertEquals(checksum(block.buf, block.rp + 34, block.wp, 0x1234), 0);
});

Deno.test("finishChecksum() writes a sum of zero as 0xffff, since zero means none to UDP", () => {
  const block = owed(0xffff, 0);
  finishChecksum(block);
  assertEquals([...block.bytes().subarray(40, 42)], [0xff, 0xff]);
});

Deno.test("finishChecksum() sums borrowed extents, too", () => {
  const whole = owed();
  const parts = owed();
  parts.extents = [parts.bytes().slice(45)];
  parts.wp = parts.rp + 45;
  finishChecksum(whole);
  finishChecksum(parts);
  assertEquals(parts.bytes(), whole.bytes());
});

Deno.test("makePlain() finishes the checksum and forgets the rest", () => {
  const block = owed();
  block.segment = Segment.Tcp4;
  makePlain(block);
  assertEquals([block.checksum, block.segment], [Checksum.None, Segment.None]);
  assertEquals(checksum(block.buf, block.rp + 34, block.wp, 0x1234), 0);
});

Deno.test("cutToFrames() returns no frame if the segment is no IP packet or its pieces would be too long", () => {
  const segment = (size: number) => {
    const block = owed();
    block.segment = Segment.Tcp4;
    block.segmentSize = size;
    block.segmentHeaderLen = 40;
    return block;
  };
  assertEquals(cutToFrames(segment(5), 1514, new BlockPool()), []);
  assertEquals(cutToFrames(segment(1461), 1514, new BlockPool()), []);
});

Deno.test("portCuts() asks for the offload that fits the segment", () => {
  const block = Block.from(frame());
  const answers = (segment: Segment) => {
    block.segment = segment;
    const tcp = portCuts(block, { ...NO_OFFLOADS, tcpSegment: true });
    return [portCuts(block, NO_OFFLOADS), tcp, portCuts(block, ALL_OFFLOADS)];
  };
  assertEquals(answers(Segment.None), [false, false, false]);
  assertEquals(answers(Segment.Tcp4), [false, true, true]);
  assertEquals(answers(Segment.Tcp6), [false, true, true]);
  assertEquals(answers(Segment.Udp), [false, false, true]);
});
