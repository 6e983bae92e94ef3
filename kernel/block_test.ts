import { assert, assertEquals, assertNotStrictEquals, assertStrictEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { fuzz } from "../tests/kit/check/fuzz.ts";
import { Block, BLOCK_HEADROOM, BLOCK_MAX, BlockPool, Checksum, Segment } from "./block.ts";

/** `count` bytes 1, 2, 3 … */
function counted(count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, i) => (i + 1) & 255);
}

Deno.test("Block.from() copies the bytes and leaves head room", () => {
  const bytes = counted(4);
  const block = Block.from(bytes);
  bytes[0] = 99;
  assertEquals(block.bytes(), Uint8Array.of(1, 2, 3, 4));
  assertEquals([block.length, block.headroom, block.tailroom], [4, BLOCK_HEADROOM, 0]);
});

Deno.test("Block.push() takes head room and grows when there is none left", () => {
  const block = Block.from(counted(2), 4);
  const buf = block.buf;
  block.push(4);
  assertStrictEquals(block.buf, buf);
  assertEquals([block.length, block.headroom], [6, 0]);
  block.bytes().set([9, 8, 7, 6]);
  block.push(1);
  assertNotStrictEquals(block.buf, buf);
  assertEquals(block.bytes().subarray(1), Uint8Array.of(9, 8, 7, 6, 1, 2));
  assertEquals(block.headroom, BLOCK_HEADROOM);
});

Deno.test("Block.pull() drops the front, and asserts that it stays inside", () => {
  const block = Block.from(counted(4));
  block.pull(3);
  assertEquals(block.bytes(), Uint8Array.of(4));
  assertThrows(() => block.pull(2), Error, "pull stays inside");
  assertThrows(() => block.pull(-1), Error, "pull stays inside");
  block.pull(1);
  assertEquals(block.length, 0);
});

Deno.test("Block.trim() cuts the tail and keeps a shorter block", () => {
  const block = Block.from(counted(4));
  block.trim(7);
  assertEquals(block.length, 4);
  block.trim(2);
  assertEquals(block.bytes(), Uint8Array.of(1, 2));
});

Deno.test("Block.trim() below zero empties the block (Akaros walks off the end of the chain)", () => {
  for (const block of [Block.from(counted(4)), borrowed(counted(4), 2)]) {
    block.trim(-1);
    assertEquals([block.length, block.wp], [0, block.rp]);
  }
});

/** A block whose bytes after the first `own` lie in two extents. */
function borrowed(bytes: Uint8Array, own: number): Block {
  const block = Block.from(bytes.subarray(0, own));
  const half = own + ((bytes.length - own) >> 1);
  block.extents = [bytes.subarray(own, half), bytes.subarray(half)];
  return block;
}

Deno.test("Block.own() copies the extents, so that the memory they were in may change", () => {
  const memory = counted(6);
  const block = borrowed(memory, 2);
  assertEquals(block.length, 6);
  block.own();
  memory.fill(0);
  assertEquals([block.extents, block.bytes()], [null, counted(6)]);
});

Deno.test("Block.trim() with extents keeps their first bytes", () => {
  const block = borrowed(counted(8), 2);
  block.trim(5);
  assertEquals(block.bytes(), counted(5));
});

Deno.test("Block.clone() has bytes, metadata and memory of its own", () => {
  const block = borrowed(counted(8), 4);
  Object.assign(block, {
    checksum: Checksum.Owed,
    checksumStart: block.rp + 1,
    checksumField: block.rp + 3,
    segment: Segment.Tcp6,
    segmentSize: 1440,
    segmentHeaderLen: 60,
  });
  const copy = block.clone();
  block.bytes().fill(0);
  assertEquals(copy.bytes(), counted(8));
  assertEquals([copy.checksum, copy.checksumStart - copy.rp, copy.checksumField - copy.rp], [Checksum.Owed, 1, 3]);
  assertEquals([copy.segment, copy.segmentSize, copy.segmentHeaderLen], [Segment.Tcp6, 1440, 60]);
  assertEquals(copy.headroom, block.headroom);
  copy.clearOffload();
  assertEquals([copy.checksum, copy.segment, copy.segmentSize, copy.segmentHeaderLen], [0, 0, 0, 0]);
});

Deno.test("Block.push() past the head room moves the owed checksum with its bytes", () => {
  const block = Block.from(counted(4), 0);
  block.checksum = Checksum.Owed;
  block.checksumStart = block.rp;
  block.checksumField = block.rp + 2;
  block.push(14);
  assertEquals([block.checksumStart - block.rp, block.checksumField - block.rp], [14, 16]);
  assertEquals(block.buf[block.checksumField], 3);
});

Deno.test("BlockPool gives a freed buffer out again, with clean metadata", () => {
  const pool = new BlockPool();
  const first = pool.from(counted(64));
  const { buf } = first;
  first.checksum = Checksum.Owed;
  first.free();
  const second = pool.alloc(1500);
  assertStrictEquals(second.buf, buf);
  assertEquals([second.length, second.headroom, second.checksum], [0, BLOCK_HEADROOM, Checksum.None]);
});

Deno.test("BlockPool does not take the same buffer back twice", () => {
  const pool = new BlockPool();
  const block = pool.alloc(64);
  block.free();
  block.free();
  assertNotStrictEquals(pool.alloc(64).buf, pool.alloc(64).buf);
});

Deno.test("BlockPool serves every size up to BLOCK_MAX from a pooled buffer, and larger ones without", () => {
  const pool = new BlockPool();
  for (const size of [0, 1, 1920, 1921, 9000, 10112, 10113, BLOCK_MAX]) {
    const block = pool.alloc(size);
    assert(block.tailroom >= size);
    assertStrictEquals(block.pool, pool);
  }
  const large = pool.alloc(1 << 20);
  assertEquals([large.tailroom, large.pool], [1 << 20, null]);
});

Deno.test("BlockPool keeps no more than 4 MiB of each size", () => {
  const pool = new BlockPool();
  const blocks = Array.from({ length: 3000 }, () => pool.alloc(64));
  const freed = new Set(blocks.map((block) => block.buf));
  for (const block of blocks) block.free();
  let reused = 0;
  for (let i = 0; i < 3000; i++) if (freed.has(pool.alloc(64).buf)) reused++;
  assertEquals(reused, (1 << 22) / 2048);
});

/** A block beside an array of what must be in it. */
interface Model {
  bytes: number[];
  /** Where the owed checksum's field is, from the first byte. */
  field: number;
}

type Step = (block: Block, model: Model) => Block;

const pushStep = fc.uint8Array({ maxLength: 200 }).map((bytes): Step => (block, model) => {
  block.push(bytes.length);
  block.buf.set(bytes, block.rp);
  model.bytes.unshift(...bytes);
  model.field += bytes.length;
  return block;
});
const appendStep = fc.uint8Array({ maxLength: 200 }).map((bytes): Step => (block, model) => {
  model.bytes.push(...bytes);
  return block.append(bytes);
});
const borrowStep = fc.uint8Array({ maxLength: 100 }).map((bytes): Step => (block, model) => {
  block.extents = [...block.extents ?? [], bytes];
  model.bytes.push(...bytes);
  return block;
});
const pullStep = fc.nat(100).map((count): Step => (block, model) => {
  const pulled = Math.min(count, block.wp - block.rp);
  block.pull(pulled);
  model.bytes.splice(0, pulled);
  model.field -= pulled;
  return block;
});
const trimStep = fc.integer({ min: -5, max: 300 }).map((length): Step => (block, model) => {
  block.trim(length);
  model.bytes.splice(Math.max(0, length));
  return block;
});
const copyStep = fc.constantFrom<Step>(
  (block) => block.own(),
  (block) => block.clone(),
  (block) => {
    const copy = block.clone();
    block.free();
    return copy;
  },
);

Deno.test("property: whatever is done to a block, its bytes and the meaning of its metadata are kept", () => {
  const steps = fc.array(fc.oneof(pushStep, appendStep, borrowStep, pullStep, trimStep, copyStep), { maxLength: 20 });
  fc.assert(
    fc.property(steps, fc.nat(200), fc.boolean(), (todo, headroom, pooled) => {
      let block = pooled ? new BlockPool().from(counted(8), headroom) : Block.from(counted(8), headroom);
      const model: Model = { bytes: [...counted(8)], field: 4 };
      block.checksum = Checksum.Owed;
      block.checksumField = block.rp + model.field;
      block.checksumStart = block.rp + model.field - 2;
      for (const step of todo) {
        block = step(block, model);
        assertEquals(block.length, model.bytes.length);
        assert(0 <= block.rp && block.rp <= block.wp && block.wp <= block.buf.length);
        assertEquals(block.checksumField - block.rp, model.field);
        assertEquals(block.checksumStart - block.rp, model.field - 2);
      }
      assertEquals([...block.clone().bytes()], model.bytes);
      assertEquals([...block.bytes()], model.bytes);
    }),
    fuzz(500),
  );
});

Deno.test("A block of a pool that outgrows its buffer takes one of the pool, and gives both back", () => {
  const pool = new BlockPool();
  const large = pool.alloc(60_000);
  const { buf } = large;
  large.free();
  const block = pool.from(new Uint8Array([1, 2, 3]));
  const small = block.buf;
  block.append(new Uint8Array(30_000).fill(4));
  assert(block.buf === buf);
  assertEquals([block.length, ...block.bytes().subarray(0, 4)], [30_003, 1, 2, 3, 4]);
  assert(pool.alloc(100).buf === small);
  block.free();
  assert(pool.alloc(60_000).buf === buf);
});
