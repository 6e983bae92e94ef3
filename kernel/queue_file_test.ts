import { assertEquals, assertInstanceOf, assertStrictEquals } from "@std/assert";
import { refusal } from "../tests/kit/host/dev.ts";
import { Block, BlockPool } from "./block.ts";
import { KernelError } from "./error.ts";
import { Queue } from "./queue.ts";
import { breadQueue, bwriteQueue, EOF_READS_MAX, readQueue, writeQueue } from "./queue_file.ts";

const pool = new BlockPool();

Deno.test("readQueue() and breadQueue() of an empty queue answer where to wait", () => {
  const queue = new Queue({ limit: 10 });
  assertStrictEquals(readQueue(queue, new Uint8Array(4)), queue.readable);
  assertStrictEquals(breadQueue(queue, 4), queue.readable);
});

Deno.test("writeQueue() and bwriteQueue() of a full queue answer where to wait and take nothing", () => {
  const queue = new Queue({ limit: 2 });
  assertEquals(writeQueue(queue, Uint8Array.of(1, 2, 3), pool), 3);
  const block = Block.from(Uint8Array.of(4));
  assertStrictEquals(writeQueue(queue, Uint8Array.of(4), pool), queue.writable);
  assertStrictEquals(bwriteQueue(queue, block), queue.writable);
  assertEquals([queue.length, block.length], [3, 1]);
  queue.flush();
  assertEquals(bwriteQueue(queue, block), 1);
});

Deno.test("a queue that ended reads 0 three times, and then EPIPE (section 13 line 14)", () => {
  const queue = new Queue({ limit: 10 });
  writeQueue(queue, Uint8Array.of(1), pool);
  queue.hangup();
  const buf = new Uint8Array(4);
  assertEquals(readQueue(queue, buf), 1);
  for (let i = 0; i < EOF_READS_MAX; i++) assertEquals(readQueue(queue, buf), 0);
  assertEquals(refusal(() => readQueue(queue, buf)), "EPIPE: Hangup");
  queue.reopen();
  queue.hangup();
  assertEquals(readQueue(queue, buf), 0, "a queue that was opened again has its three");
});

Deno.test("breadQueue() at the end is null, as often as a read is 0", () => {
  const queue = new Queue({ limit: 10, message: true });
  queue.hangup();
  for (let i = 0; i < EOF_READS_MAX; i++) assertEquals(breadQueue(queue, 10), null);
  assertEquals(refusal(() => breadQueue(queue, 10)), "EPIPE: Hangup");
});

Deno.test("a queue hung up for a reason gives its data, and then EPIPE with the reason", () => {
  const queue = new Queue({ limit: 10 });
  writeQueue(queue, Uint8Array.of(1), pool);
  queue.hangup("Connection reset");
  assertEquals(readQueue(queue, new Uint8Array(4)), 1);
  for (
    const call of [
      () => readQueue(queue, new Uint8Array(4)),
      () => breadQueue(queue, 4),
      () => writeQueue(queue, Uint8Array.of(1), pool),
      () => bwriteQueue(queue, Block.from(Uint8Array.of(1))),
    ]
  ) assertEquals(refusal(call), "EPIPE: Connection reset");
});

Deno.test("breadQueue() leaves a message that is too long and reports its length", () => {
  const queue = new Queue({ limit: 100, message: true });
  bwriteQueue(queue, Block.from(new Uint8Array(60)));
  try {
    breadQueue(queue, 59);
  } catch (error) {
    assertInstanceOf(error, KernelError);
    assertEquals([error.code, error.length], ["EMSGSIZE", 60]);
  }
  assertEquals([queue.blocks, (breadQueue(queue, 60) as Block).length], [1, 60]);
});

Deno.test("breadQueue() gives a message of no bytes, which is not the end", () => {
  const queue = new Queue({ limit: 100, message: true });
  bwriteQueue(queue, Block.from(new Uint8Array(0)));
  assertEquals((breadQueue(queue, 0) as Block).length, 0);
});

Deno.test("breadQueue() of a stream gives the block at the head, or what a read left of it, or its first bytes", () => {
  const queue = new Queue({ limit: 100 });
  bwriteQueue(queue, Block.from(Uint8Array.of(1, 2, 3, 4, 5)));
  bwriteQueue(queue, Block.from(Uint8Array.of(6)));
  readQueue(queue, new Uint8Array(1));
  assertEquals((breadQueue(queue, 2) as Block).bytes(), Uint8Array.of(2, 3));
  assertEquals((breadQueue(queue, 100) as Block).bytes(), Uint8Array.of(4, 5));
});
