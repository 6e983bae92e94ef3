import { assertEquals, assertLessOrEqual } from "@std/assert";
import { Block } from "../../../kernel/block.ts";
import { QUEUE_BLOCK_COST } from "../../../kernel/block_chain.ts";
import { Queue } from "../../../kernel/queue.ts";
import { MemoryAccount, QUEUE_SHARE } from "./memory.ts";

/** A block with one byte in a buffer of `size`. */
function block(size: number): Block {
  return new Block(new Uint8Array(size), 0, 1);
}

const SMALL = QUEUE_SHARE - QUEUE_BLOCK_COST;

Deno.test("MemoryAccount counts buffers, not the bytes in them, and gives them back however they leave", () => {
  const account = new MemoryAccount(1 << 20, 2);
  const queue = new Queue({ limit: 0, account });
  const fill = () => {
    for (let i = 0; i < 4; i++) queue.pass(block(1000));
    assertEquals({ all: account.bytes, own: queue.memory }, {
      all: 4 * (1000 + QUEUE_BLOCK_COST),
      own: 4 * (1000 + QUEUE_BLOCK_COST),
    });
  };
  const leave = [
    () => {
      while (queue.length > 0) queue.bread();
    },
    () => queue.read(new Uint8Array(10)),
    () => queue.discard(4),
    () => queue.flush(),
    () => queue.close(),
  ];
  for (const go of leave) {
    fill();
    go();
    assertEquals({ all: account.bytes, own: queue.memory }, { all: 0, own: 0 });
  }
});

Deno.test("MemoryAccount keeps one small buffer for every queue, and exceeds its limit by less than a block", () => {
  const queues = 10;
  const account = new MemoryAccount(100 * QUEUE_SHARE, queues);
  const greedy = new Queue({ limit: 0, account });
  while (greedy.pass(block(SMALL)) === "ok");
  assertLessOrEqual(account.shared, account.bytes);
  for (let i = 1; i < queues; i++) {
    const queue = new Queue({ limit: 0, account });
    assertEquals([queue.pass(block(SMALL)), queue.pass(block(SMALL))], ["ok", "full"]);
  }
  assertLessOrEqual(account.bytes, account.max);
  const huge = new Queue({ limit: 0, account });
  huge.pass(block(1 << 16));
  assertEquals(new Queue({ limit: 0, account }).pass(block(SMALL)), "full", "at the limit there is no reserve either");
});

Deno.test("MemoryAccount.room() leaves something for the next queue", () => {
  const account = new MemoryAccount(64 << 20, 8192);
  const first = account.room(0);
  account.bytes += first;
  const second = account.room(0);
  assertEquals({ first: first / account.shared, second: second / account.shared }, { first: 1 / 2, second: 1 / 4 });
  assertEquals(account.room(first), 0, "it has as much as is left");
  account.bytes = account.shared;
  assertEquals({ empty: account.room(0), served: account.room(QUEUE_SHARE) }, { empty: QUEUE_SHARE, served: 0 });
  account.bytes = account.max;
  assertEquals(account.room(0), 0);
});
