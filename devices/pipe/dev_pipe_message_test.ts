/** A pipe of messages: `oneblock`, and what was set before it. */

import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { Block, BLOCK_MAX } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import { TapEvent } from "../../kernel/fd_tap.ts";
import { Rendez } from "../../kernel/rendez.ts";
import { now, readText, refusal, refusalCode, wakes, watch, writeText } from "../../tests/kit/host/dev.ts";
import { PIPE_BLOCKS, PIPE_BYTES } from "./dev_pipe.ts";
import { bread, bwrite, Hangup, newPipe, RdHup, Readable, type TestPipe, Writable } from "../../tests/kit/host/pipe.ts";

const ALL = Readable | Writable | Hangup | TapEvent.Error | RdHup;

/** A pipe that keeps blocks whole. */
function newMessagePipe(): TestPipe {
  const pipe = newPipe();
  writeText(pipe.ctl, "oneblock");
  return pipe;
}

Deno.test("#pipe: oneblock keeps messages apart; one without bytes is never seen (section 13 line 16)", () => {
  const { data, data1 } = newMessagePipe();
  for (const text of ["12345", "", "1234567"]) writeText(data, text);
  bwrite(data, 0);
  assertEquals([readText(data1, 100), readText(data1, 100)], ["12345", "1234567"]);
  assertInstanceOf(data1.dev.read(data1, new Uint8Array(9), 0), Rendez);
  writeText(data1, "123");
  writeText(data1, "45");
  assertEquals([readText(data, 2), readText(data)], ["12", "45"], "a short read loses the rest");
});

Deno.test("#pipe: a block longer than the reader takes stays queued: EMSGSIZE with its length", () => {
  const { data, data1 } = newMessagePipe();
  bwrite(data, 1500);
  bwrite(data, 3);
  for (let i = 0; i < 2; i++) {
    try {
      data1.dev.bread(data1, 1499);
    } catch (error) {
      assertInstanceOf(error, KernelError);
      assertEquals([error.code, error.length], ["EMSGSIZE", 1500]);
    }
  }
  assertEquals([bread(data1, 1500), bread(data1)], [1500, 3]);
});

Deno.test("#pipe: a message pipe refuses a block that it can never take, and leaves it to the writer", () => {
  const { data, data1 } = newMessagePipe();
  const block = Block.from(new Uint8Array(BLOCK_MAX + 1));
  assertEquals(refusalCode(() => data.dev.bwrite(data, block)), "EMSGSIZE");
  assertEquals(block.length, BLOCK_MAX + 1);
  block.trim(BLOCK_MAX);
  assertEquals([data.dev.bwrite(data, block), bread(data1)], [BLOCK_MAX, BLOCK_MAX]);
  assertEquals(writeText(data, new Uint8Array(BLOCK_MAX + 1)), BLOCK_MAX, "bytes: the true partial count");
  assertEquals([bread(data1), bread(data1)], [BLOCK_MAX, "wait"]);
});

Deno.test("#pipe: a block is taken whole or waits", async () => {
  const { data, data1 } = newMessagePipe();
  assertEquals(bwrite(data, PIPE_BYTES - 1), PIPE_BYTES - 1);
  assertEquals(bwrite(data, 9000), 9000);
  const rendez = bwrite(data, 1);
  assertInstanceOf(rendez, Rendez);
  assert(await wakes(rendez, () => bread(data1)));
  assertEquals([bwrite(data, 1), bread(data1), bread(data1), bread(data1)], [1, 9000, 1, "wait"]);
});

Deno.test("#pipe: a block with borrowed memory is copied before bwrite returns", () => {
  const { data, data1 } = newMessagePipe();
  const memory = Uint8Array.of(1, 2, 3);
  const block = Block.alloc(0);
  block.extents = [memory];
  data.dev.bwrite(data, block);
  memory.fill(0);
  assertEquals(now(data1.dev.bread(data1, 10))?.bytes(), Uint8Array.of(1, 2, 3));
});

Deno.test("#pipe: ctl knows oneblock, and refuses anything else with EFAIL", () => {
  const { ctl } = newPipe();
  assertEquals(refusal(() => writeText(ctl, "twoblock")), 'EFAIL: Cannot run "twoblock": no such command');
  assertEquals(refusalCode(() => writeText(ctl, "")), "EFAIL");
  assertEquals(refusalCode(() => writeText(ctl, "oneblock 1")), "EINVAL");
  assertEquals(writeText(ctl, "oneblock\n"), 9);
  assertEquals(writeText(ctl, "oneblock"), 8, "again does nothing");
});

Deno.test("#pipe: oneblock on a filled pipe keeps what is queued, each block a message, however much it is", () => {
  const { ctl, data, data1 } = newPipe();
  writeText(data, "12345");
  writeText(data, new Uint8Array(3 * PIPE_BYTES));
  writeText(data1, "back");
  assertEquals(readText(data1, 2), "12");
  writeText(ctl, "oneblock");
  assertInstanceOf(bwrite(data, 1), Rendez);
  assertEquals([readText(data1), bread(data1), bread(data1), bread(data1)], ["345", 65536, 32768, "wait"]);
  assertEquals(readText(data), "back");
  assertEquals(bwrite(data, PIPE_BYTES), PIPE_BYTES);
  assertInstanceOf(bwrite(data, 1), Rendez, "the limit holds as before");
});

Deno.test("#pipe: oneblock is EBUSY while more blocks are queued than a message pipe holds", () => {
  const { ctl, data, data1 } = newPipe();
  writeText(data, new Uint8Array((PIPE_BLOCKS + 1) * BLOCK_MAX));
  assertEquals(refusalCode(() => writeText(ctl, "oneblock")), "EBUSY");
  bread(data1);
  writeText(ctl, "oneblock");
  for (let i = 0; i < PIPE_BLOCKS; i++) assertEquals(bread(data1), BLOCK_MAX);
  assertEquals(bread(data1), "wait");
});

Deno.test("#pipe: taps and sleepers from before oneblock work after it", async () => {
  const { ctl, data, data1 } = newPipe();
  const tap = watch(data1, ALL);
  const sleeping = data1.dev.read(data1, new Uint8Array(9), 0) as Rendez;
  assert(await wakes(sleeping, () => writeText(ctl, "oneblock")), "a sleeper looks again, at the new queue");
  assertEquals(tap.take(), []);
  writeText(data, "x");
  assertEquals([tap.take(), readText(data1)], [[Readable], "x"]);
  writeText(data1, new Uint8Array(PIPE_BYTES));
  bread(data);
  assertEquals(tap.take(), [Writable]);
});

Deno.test("#pipe: a hangup from before oneblock is still one after it", () => {
  const { ctl, data, data1 } = newPipe();
  writeText(data, "last");
  data.release();
  writeText(ctl, "oneblock");
  assertEquals([readText(data1), readText(data1)], ["last", ""]);
  assertEquals(refusalCode(() => writeText(data1, "x")), "EPIPE");

  const other = newPipe();
  other.data.release();
  assertEquals([readText(other.data1), readText(other.data1)], ["", ""]);
  writeText(other.ctl, "oneblock");
  assertEquals(readText(other.data1), "", "the third end of the file");
  assertEquals(refusalCode(() => readText(other.data1)), "EPIPE");
});
