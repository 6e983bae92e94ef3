import { assertEquals, assertThrows } from "@std/assert";
import { Block, BLOCK_MAX, BlockPool } from "./block.ts";
import { TapEvent } from "./fd_tap.ts";
import { Queue, QUEUE_BLOCKS_MAX, type QueueOptions } from "./queue.ts";

const { Readable, Writable, Hangup } = TapEvent;
const pool = new BlockPool();

function block(...bytes: number[]): Block {
  return Block.from(Uint8Array.from(bytes));
}

/** A queue, and the edges it tells. */
function observed(options: QueueOptions): { queue: Queue; edges: number[] } {
  const queue = new Queue(options);
  const edges: number[] = [];
  queue.onEdge = (events) => edges.push(events);
  return { queue, edges };
}

/** One read of at most `max` bytes. */
function readOf(queue: Queue, max = 100): number[] | "empty" | "closed" {
  const buf = new Uint8Array(max);
  const count = queue.read(buf);
  return typeof count === "string" ? count : [...buf.subarray(0, count)];
}

function breadOf(queue: Queue, max?: number): number[] | "empty" | "closed" {
  const answer = queue.bread(max);
  return typeof answer === "string" ? answer : [...answer.bytes()];
}

Deno.test("a message queue keeps each block whole, and a short read loses the rest of its message", () => {
  const queue = new Queue({ limit: 100, message: true });
  queue.bwrite(block(1, 2, 3));
  queue.bwrite(block(4, 5));
  assertEquals(readOf(queue, 2), [1, 2]);
  assertEquals([queue.headLength(), queue.length, queue.blocks], [2, 2, 1]);
  assertEquals(breadOf(queue, 1), [4, 5]);
  assertEquals(breadOf(queue), "empty");
});

Deno.test("a byte queue gives whole blocks as they fit, and splits only the first", () => {
  const queue = new Queue({ limit: 100 });
  for (const one of [block(1, 2), block(3, 4), block(5, 6)]) queue.bwrite(one);
  assertEquals(readOf(queue, 5), [1, 2, 3, 4]);
  assertEquals(readOf(queue, 1), [5]);
  queue.bwrite(block(7, 8, 9));
  assertEquals(breadOf(queue), [6]);
  assertEquals(breadOf(queue, 2), [7, 8]);
  assertEquals(breadOf(queue, 2), [9]);
});

Deno.test("a message of no bytes is a message, unless the queue coalesces", () => {
  const plain = new Queue({ limit: 100, message: true });
  plain.bwrite(block());
  assertEquals([plain.canRead, plain.level & Readable, plain.headLength()], [true, Readable, 0]);
  assertEquals(breadOf(plain), []);
  assertEquals(breadOf(plain), "empty");

  const { queue, edges } = observed({ limit: 100, message: true, coalesce: true });
  assertEquals(queue.bwrite(block()), "ok");
  assertEquals([queue.canRead, queue.blocks, edges], [false, 0, []]);
  queue.bwrite(block(1));
  queue.bwrite(block());
  queue.bwrite(block(2));
  assertEquals([breadOf(queue), breadOf(queue), breadOf(queue)], [[1], [2], "empty"]);
});

Deno.test("the limit is looked at before adding: one write may overshoot it, the next does not fit", () => {
  const { queue, edges } = observed({ limit: 4, message: true });
  assertEquals(queue.bwrite(block(1, 2, 3)), "ok");
  assertEquals(queue.bwrite(block(4, 5, 6)), "ok");
  const refused = block(7);
  assertEquals([queue.bwrite(refused), queue.length, queue.canWrite], ["full", 6, false]);
  assertEquals(refused.length, 1, "on full the block is still the caller's");
  assertEquals(readOf(queue), [1, 2, 3]);
  assertEquals(edges, [Readable, Writable]);
});

Deno.test("pass() drops and counts what does not fit", () => {
  const queue = new Queue({ limit: 2, message: true });
  assertEquals([queue.pass(block(1, 2)), queue.pass(block(3))], ["ok", "full"]);
  assertEquals([queue.drops, queue.blocksIn], [1, 1]);
  queue.hangup();
  assertEquals([queue.pass(block(4)), queue.drops], ["closed", 1]);
});

Deno.test("a drop-on-overflow queue takes everything and keeps what fits, however long the write", () => {
  const queue = new Queue({ limit: 2, dropOverflow: true });
  assertEquals([queue.bwrite(block(1, 2)), queue.bwrite(block(3))], ["ok", "ok"]);
  assertEquals([queue.length, queue.drops], [2, 1]);
  const long = new Uint8Array(3 * BLOCK_MAX);
  assertEquals(queue.write(long, pool), long.length);
  assertEquals([queue.length, queue.drops], [2, 2]);
  queue.hangup();
  assertEquals(queue.bwrite(block(4)), "closed");
});

Deno.test("the number of blocks is limited too, so that empty messages cost no unbounded memory", () => {
  const queue = new Queue({ limit: 100, message: true, limitBlocks: 2 });
  assertEquals([queue.bwrite(block()), queue.bwrite(block()), queue.bwrite(block())], ["ok", "ok", "full"]);
  const many = new Queue({ limit: 0, message: true });
  while (many.pass(block()) === "ok");
  assertEquals(many.blocks, QUEUE_BLOCKS_MAX);
});

Deno.test("a limit of 0 is no limit", () => {
  const queue = new Queue({ limit: 0 });
  for (let i = 0; i < 100; i++) assertEquals(queue.write(new Uint8Array(50_000), pool), 50_000);
  assertEquals([queue.length, queue.canWrite], [5_000_000, true]);
});

Deno.test("write() admits bytes whole, in chunks of BLOCK_MAX, when there is room at all", () => {
  const queue = new Queue({ limit: 10 });
  assertEquals(queue.write(new Uint8Array(BLOCK_MAX + 5), pool), BLOCK_MAX + 5);
  assertEquals([queue.blocks, queue.headLength(), queue.length], [2, BLOCK_MAX, BLOCK_MAX + 5]);
  assertEquals(queue.write(new Uint8Array(1), pool), "full");
});

Deno.test("write() of more than BLOCK_MAX to a message queue takes one message and says so", () => {
  const queue = new Queue({ limit: 10, message: true });
  assertEquals(queue.write(new Uint8Array(BLOCK_MAX + 5), pool), BLOCK_MAX);
  assertEquals([queue.blocks, queue.length], [1, BLOCK_MAX]);
});

Deno.test("a bypass queue calls its function with every block and stores none, however long the write", () => {
  const got: number[] = [];
  const queue = new Queue({ limit: 0, bypass: (one) => got.push(one.length) });
  assertEquals(queue.bwrite(block(1, 2)), "ok");
  assertEquals(queue.pass(block(3)), "ok");
  assertEquals(queue.write(new Uint8Array(BLOCK_MAX + 5), pool), BLOCK_MAX);
  assertEquals([got, queue.length, queue.blocks], [[2, 1, BLOCK_MAX], 0, 0]);
  queue.hangup();
  assertEquals([queue.bwrite(block(1)), got.length], ["closed", 3]);
});

Deno.test("what the function of a bypass queue throws reaches the writer", () => {
  const queue = new Queue({
    limit: 0,
    bypass: () => {
      throw new Error("no route");
    },
  });
  assertThrows(() => queue.bwrite(block(1)), Error, "no route");
  assertThrows(() => queue.write(Uint8Array.of(1), pool), Error, "no route");
});

Deno.test("kick is called after each block that is added", () => {
  const lengths: number[] = [];
  const queue: Queue = new Queue({ limit: 2, kick: () => lengths.push(queue.length) });
  queue.bwrite(block(1));
  queue.bwrite(block(2, 3));
  queue.bwrite(block(4));
  assertEquals(lengths, [1, 3]);
});

Deno.test("a kick may take the block away at once", () => {
  const { queue, edges } = observed({
    limit: 2,
    message: true,
    kick: () => {
      queue.bread();
    },
  });
  assertEquals([queue.bwrite(block(1, 2, 3)), queue.bwrite(block(4))], ["ok", "ok"]);
  assertEquals([queue.blocks, queue.length], [0, 0]);
  assertEquals(edges, [Readable, Writable, Readable]);
});

Deno.test("a borrowed block is copied when it is queued", () => {
  const memory = Uint8Array.of(2, 3);
  const one = block(1);
  one.extents = [memory];
  const queue = new Queue({ limit: 100 });
  queue.bwrite(one);
  memory.fill(0);
  assertEquals([queue.length, readOf(queue)], [3, [1, 2, 3]]);
});

Deno.test("after hangup() what is queued can be read, then closed is the answer; close() discards", () => {
  const { queue, edges } = observed({ limit: 100 });
  queue.bwrite(block(1));
  queue.hangup("reset");
  assertEquals([queue.closed, queue.reason, queue.canRead], [true, "reset", true]);
  assertEquals([queue.bwrite(block(2)), queue.write(Uint8Array.of(2), pool)], ["closed", "closed"]);
  assertEquals([readOf(queue), readOf(queue)], [[1], "closed"]);
  queue.close();
  assertEquals([queue.reason, edges], ["", [Readable, Hangup]]);

  const other = observed({ limit: 1 });
  other.queue.bwrite(block(1, 2));
  other.queue.close();
  assertEquals([readOf(other.queue), other.queue.length, other.edges], ["closed", 0, [Readable, Hangup]]);
});

Deno.test("a queue that was hung up reports no room to its writers", () => {
  const { queue, edges } = observed({ limit: 1 });
  queue.bwrite(block(1, 2));
  queue.hangup();
  assertEquals([readOf(queue), edges], [[1, 2], [Readable, Hangup]]);
});

Deno.test("reopen() makes a closed queue like new", () => {
  const { queue, edges } = observed({ limit: 1 });
  queue.setLimit(5);
  queue.bwrite(block(1));
  queue.hangup("reset");
  queue.reopen();
  assertEquals([queue.closed, queue.reason, queue.length, queue.limit], [false, "", 0, 1]);
  queue.bwrite(block(1));
  assertEquals(edges, [Readable, Hangup, Readable]);
});

Deno.test("edges: readable when the first block comes, writable when a read, a flush or a limit makes room", () => {
  const { queue, edges } = observed({ limit: 2 });
  queue.bwrite(block(1));
  queue.bwrite(block(2, 3));
  assertEquals(edges, [Readable]);
  readOf(queue, 1);
  assertEquals(edges, [Readable], "still full");
  readOf(queue, 1);
  assertEquals(edges, [Readable, Writable]);
  queue.bwrite(block(4));
  queue.flush();
  assertEquals(edges, [Readable, Writable, Writable]);
  queue.bwrite(block(5, 6));
  queue.setLimit(3);
  assertEquals(edges.slice(3), [Readable, Writable]);
});

Deno.test("sleepers: readers are woken by the first block, writers by room, both by the end", async () => {
  const queue = new Queue({ limit: 1 });
  const reader = queue.readable.sleep();
  queue.bwrite(block(1, 2));
  await reader.done;
  const writer = queue.writable.sleep();
  readOf(queue);
  await writer.done;
  const both = [queue.readable.sleep(), queue.writable.sleep()];
  queue.hangup();
  await Promise.all(both.map((sleeper) => sleeper.done));
});

Deno.test("discard() and peek() see the queue as a stream and never kick", () => {
  let kicks = 0;
  const { queue, edges } = observed({ limit: 4, kick: () => kicks++ });
  for (const one of [block(1, 2), block(3), block(4, 5, 6)]) queue.bwrite(one);
  const buf = new Uint8Array(3);
  assertEquals([queue.peek(buf, 1), [...buf]], [3, [2, 3, 4]]);
  assertEquals([queue.peek(buf, 5), buf[0]], [1, 6]);
  assertEquals([queue.peek(buf, 6), queue.peek(buf, 99)], [0, 0]);
  assertEquals([queue.discard(4), queue.length, queue.peek(buf)], [4, 2, 2]);
  assertEquals([queue.discard(99), queue.discard(1), kicks], [2, 0, 3]);
  assertEquals(edges, [Readable, Writable]);
});
