import { assert, assertEquals } from "@std/assert";
import { Block, BlockPool, Checksum, Segment } from "../block.ts";
import { udpPacket } from "../../tests/kit/ip/ip_fixture.ts";
import { cutFrame, finishFrame, isUnfinished } from "./frame.ts";

const pool = new BlockPool();
const LINK = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0);

/** A frame of UDP over IPv4 with `length` bytes, to be cut to `size`; 0: it only owes its checksum. */
function owing(length: number, size: number): Block {
  const packet = udpPacket({ payload: Uint8Array.from({ length }, (_, i) => i) });
  const block = Block.from(new Uint8Array([...LINK, ...packet]));
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp + 34;
  block.checksumField = block.rp + 40;
  const segment = size === 0 ? Segment.None : Segment.Udp;
  return Object.assign(block, { segment, segmentSize: size, segmentHeaderLen: 28 });
}

Deno.test("cutFrame() gives each piece the link header, and finishFrame() leaves nothing to finish", () => {
  assertEquals(cutFrame(owing(250, 100), pool)!.map(({ length }) => length), [142, 142, 92]);
  const frames = finishFrame(owing(250, 100), pool);
  assertEquals(frames.map(({ length }) => length), [142, 142, 92]);
  for (const frame of frames) {
    assertEquals([frame.bytes().slice(0, 14), isUnfinished(frame)], [LINK, false]);
    assert(frame.buf[frame.checksumField] !== 0);
  }
});

Deno.test("finishFrame() finishes a frame in one piece where it is, borrowed bytes included", () => {
  const frame = owing(100, 0);
  const bytes = frame.bytes().slice();
  frame.extents = [bytes.slice(80)];
  frame.wp = frame.rp + 80;
  assert(isUnfinished(frame));
  const [whole, ...more] = finishFrame(frame, pool);
  assertEquals([whole === frame, more.length, isUnfinished(frame), frame.length], [true, 0, false, bytes.length]);
});

Deno.test("finishFrame() drops a frame whose metadata do not fit; cutFrame() refuses one without a packet", () => {
  const lying = owing(100, 0);
  lying.checksumField = lying.wp;
  assertEquals(finishFrame(lying, pool), []);
  const tagged = owing(250, 100);
  tagged.buf[tagged.rp + 14] = 0;
  assertEquals([cutFrame(tagged.clone(), pool), finishFrame(tagged, pool)], [null, []]);
});
