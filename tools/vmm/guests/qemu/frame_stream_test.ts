import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { Block } from "../../../../kernel/block.ts";
import { put32 } from "../../../../kernel/wire/bytes.ts";
import { fuzz } from "../../../../tests/kit/check/fuzz.ts";
import { FRAME_MAX, FrameReader, FrameWriter, MALFORMED, PREFIX_LEN, WAITING_MAX } from "./frame_stream.ts";

/** Frames as they are on the stream. */
function encoded(frames: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(frames.flatMap((frame) => {
    const prefix = new Uint8Array(PREFIX_LEN);
    put32(prefix, 0, frame.length);
    return [...prefix, ...frame];
  }));
}

/** A reader, and copies of all it hands on. */
function collector(): { reader: FrameReader; frames: Uint8Array[] } {
  const frames: Uint8Array[] = [];
  return { reader: new FrameReader((frame) => frames.push(frame.slice())), frames };
}

/** Gives `bytes` to the reader as they fit, `step` at most at a time; the last answer. */
function feed(reader: FrameReader, bytes: Uint8Array, step = Infinity): number {
  let answer = 0;
  for (let at = 0; at < bytes.length && answer !== MALFORMED;) {
    const room = reader.room();
    assert(room.length > 0, "there is always room");
    const part = bytes.subarray(at, at + Math.min(step, room.length));
    room.set(part);
    at += part.length;
    answer = reader.take(part.length);
  }
  return answer;
}

const sized = (length: number, fill = length) => new Uint8Array(length).fill(fill);

Deno.test("FrameReader: frames cut anywhere come out whole, empty ones included", () => {
  const frames = fc.array(fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.nat(3000).map((length) => sized(length))), {
    maxLength: 20,
  });
  fc.assert(
    fc.property(frames, fc.integer({ min: 1, max: 5000 }), (sent, step) => {
      const { reader, frames } = collector();
      feed(reader, encoded(sent), step);
      assertEquals(frames, sent);
    }),
    fuzz(200),
  );
});

Deno.test("FrameReader: a prefix that comes byte by byte", () => {
  const { reader, frames } = collector();
  feed(reader, encoded([sized(300), sized(0), sized(14)]), 1);
  assertEquals(frames.map((frame) => frame.length), [300, 0, 14]);
});

Deno.test("FrameReader: the longest frame fits behind anything, a longer one is malformed", () => {
  const { reader, frames } = collector();
  feed(reader, encoded([sized(1), sized(FRAME_MAX), sized(2), sized(FRAME_MAX)]), 4099);
  assertEquals(frames.map((frame) => frame.length), [1, FRAME_MAX, 2, FRAME_MAX]);
  for (const length of [FRAME_MAX + 1, 0x7fffffff, 0x80000000, 0xffffffff]) {
    const bytes = encoded([sized(20), sized(0)]);
    put32(bytes, 24, length);
    const other = collector();
    assertEquals(feed(other.reader, bytes), MALFORMED);
    assertEquals(other.frames.length, 1, "what came before it is good");
    other.reader.reset();
    assertEquals(feed(other.reader, encoded([sized(5)])), 1, "a new stream begins afresh");
  }
});

Deno.test("FrameReader: its callback may reset it", () => {
  const seen: number[] = [];
  const reader = new FrameReader((frame) => {
    seen.push(frame.length);
    reader.reset();
  });
  assertEquals(feed(reader, encoded([sized(20), sized(30)])), 1);
  assertEquals(feed(reader, encoded([sized(40)])), 1);
  assertEquals(seen, [20, 40]);
});

Deno.test("FrameReader: no bytes make it throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 1, max: 9 }), (bytes, step) => {
      feed(collector().reader, bytes, step);
    }),
    fuzz(300),
  );
});

Deno.test("FrameWriter: what is written in any parts is what was put, extents included", () => {
  const frames = fc.array(fc.uint8Array({ minLength: 1, maxLength: 4000 }), { maxLength: 30 });
  fc.assert(
    fc.property(frames, fc.integer({ min: 1, max: 9000 }), fc.nat(3), (sent, step, every) => {
      const writer = new FrameWriter();
      const out: number[] = [];
      const write = () => {
        const part = writer.waiting.slice(0, step);
        out.push(...part);
        writer.written(part.length);
      };
      sent.forEach((frame, i) => {
        const block = Block.from(frame.subarray(0, frame.length >> 1));
        block.extents = [frame.subarray(frame.length >> 1)];
        assert(writer.put(block, frame.length));
        if (i % (every + 1) === 0) write();
      });
      while (writer.length > 0) write();
      assertEquals(new Uint8Array(out), encoded(sent));
    }),
    fuzz(60),
  );
});

Deno.test("FrameWriter: what has no room is refused whole, and room comes back as it is written", () => {
  const writer = new FrameWriter();
  const put = (length: number) => writer.put(Block.from(sized(length)), length);
  while (put(1514));
  assert(writer.length <= WAITING_MAX && writer.length > WAITING_MAX - 1518);
  const full = writer.length;
  assertEquals(put(1514), false);
  assertEquals(writer.length, full);
  writer.written(10);
  assertEquals(put(WAITING_MAX - full + 11 - PREFIX_LEN), false);
  assertEquals(put(WAITING_MAX - full + 10 - PREFIX_LEN), true);
  assertEquals(writer.waiting.length, WAITING_MAX);
  writer.written(WAITING_MAX);
  assertEquals(writer.length, 0);
  assertEquals(put(FRAME_MAX), true);
  writer.reset();
  assertEquals(writer.waiting.length, 0);
});
