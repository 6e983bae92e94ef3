import { assert, assertEquals, assertInstanceOf, assertStrictEquals, fail } from "@std/assert";
import fc from "fast-check";
import { Block, BLOCK_MAX } from "../../kernel/block.ts";
import type { Chan } from "../../kernel/chan.ts";
import { ChanCtl } from "../../kernel/dev.ts";
import { KernelError } from "../../kernel/error.ts";
import { TapEvent } from "../../kernel/fd_tap.ts";
import { DirMode, EVE, Open } from "../../kernel/qid.ts";
import { Rendez } from "../../kernel/rendez.ts";
import {
  namesIn,
  now,
  openAt,
  readText,
  refusal,
  refusalCode,
  testEnv,
  wakes,
  walkTo,
  watch,
  writeText,
} from "../../tests/kit/host/dev.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { PIPE_BLOCKS, PIPE_BYTES, PipeDev } from "./dev_pipe.ts";

const { Readable, Writable, Hangup, RdHup, Deleted } = TapEvent;
const ALL = Readable | Writable | Hangup | TapEvent.Error | RdHup;

interface TestPipe {
  root: Chan;
  ctl: Chan;
  data: Chan;
  data1: Chan;
}

/** A pipe with both ends open. */
function newPipe(dev = new PipeDev(testEnv()), user: string = EVE): TestPipe {
  const root = dev.attach("", user);
  const open = (name: string) => openAt(root, name, Open.ReadWrite, user);
  return { root, ctl: open("ctl"), data: open("data"), data1: open("data1") };
}

/** A pipe that keeps blocks whole. */
function newMessagePipe(): TestPipe {
  const pipe = newPipe();
  writeText(pipe.ctl, "oneblock");
  return pipe;
}

function bwrite(chan: Chan, size: number): number | Rendez {
  return chan.dev.bwrite(chan, Block.from(new Uint8Array(size)));
}

/** Length of the next block; null at the end, "wait" if there is none. */
function bread(chan: Chan, max = 1 << 20): number | null | "wait" {
  const block = chan.dev.bread(chan, max);
  if (block instanceof Rendez) return "wait";
  return block === null ? null : block.length;
}

Deno.test("#pipe: every attach makes a new pipe, whose number ctl reads", () => {
  const dev = new PipeDev(testEnv());
  const first = newPipe(dev);
  const second = newPipe(dev);
  assertEquals([readText(first.ctl), readText(second.ctl)], ["0", "1"]);
  assertEquals(readText(first.ctl), "");
  assertEquals(namesIn(first.root), ["ctl", "data", "data1"]);
  assertEquals([first.data.sameFile(second.data), first.data.instance, second.data.instance], [false, 0, 1]);
  writeText(first.data, "to the first");
  assertInstanceOf(second.data1.dev.read(second.data1, new Uint8Array(9), 0), Rendez);
});

Deno.test("#pipe: data reads what data1 wrote, and the reverse", () => {
  const { data, data1 } = newPipe();
  assertEquals(writeText(data, "there"), 5);
  assertEquals(writeText(data1, "and back"), 8);
  assertEquals([readText(data1), readText(data)], ["there", "and back"]);
});

Deno.test("#pipe: the files belong to the user that attached it and to eve", () => {
  const { root } = newPipe(undefined, "ann");
  for (const name of ["ctl", "data", "data1"]) {
    const chan = walkTo(root, name);
    const { mode, uid } = root.dev.stat(chan);
    assertEquals([mode & 0o777, uid], [0o660, "ann"]);
    assertEquals(refusalCode(() => root.dev.open(chan, Open.Read, "bob")), "EACCES");
    openAt(root, name, Open.ReadWrite, EVE);
  }
});

Deno.test("#pipe: an empty pipe makes the reader wait until something is written", async () => {
  const { data, data1 } = newPipe();
  const rendez = data.dev.read(data, new Uint8Array(4), 0);
  assertInstanceOf(rendez, Rendez);
  assert(await wakes(rendez, () => writeText(data1, "x")));
});

Deno.test("#pipe: a write larger than it is admitted whole, then its writer settles (section 13 line 15)", async () => {
  const { data, data1 } = newPipe();
  const tap = watch(data, ALL);
  assertEquals(tap.level, Writable);
  assertEquals(writeText(data, new Uint8Array(40_000)), 40_000);
  const settling = data.dev.settle(data, false);
  assertInstanceOf(settling, Rendez);
  assertEquals(data.dev.settle(data, true), null, "who may not wait does not settle");
  assertStrictEquals(data.dev.write(data, Uint8Array.of(1), 0), settling, "and the next write finds no room");
  // 7232 bytes are over the limit: taking them is not enough.
  now(data1.dev.read(data1, new Uint8Array(40_000 - PIPE_BYTES), 0));
  assertEquals(tap.take(), []);
  assert(await wakes(settling, () => now(data1.dev.read(data1, new Uint8Array(1), 0))));
  assertEquals([data.dev.settle(data, false), tap.take()], [null, [Writable]]);
});

Deno.test("#pipe: a settling writer is done when the reader goes away", async () => {
  const { data, data1 } = newPipe();
  writeText(data, new Uint8Array(PIPE_BYTES));
  const settling = data.dev.settle(data, false) as Rendez;
  assert(await wakes(settling, () => data1.release()));
  assertEquals(data.dev.settle(data, false), null);
});

Deno.test("#pipe: single bytes fill it too, before they cost much memory", () => {
  const { data, data1 } = newPipe();
  for (let i = 0; i < PIPE_BLOCKS; i++) writeText(data, "x");
  assertInstanceOf(data.dev.write(data, Uint8Array.of(1), 0), Rendez);
  assertEquals(readText(data1), "x".repeat(PIPE_BLOCKS));
});

Deno.test("#pipe: blocks of a byte pipe are read one by one, and split if longer than asked", () => {
  const { data, data1 } = newPipe();
  bwrite(data, 5);
  bwrite(data, 7);
  bwrite(data, 0);
  assertEquals([bread(data1, 3), bread(data1), bread(data1), bread(data1)], [3, 2, 7, "wait"]);
});

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

Deno.test("#pipe: stat reports what can be read, and readiness in its mode bits", () => {
  const { root, data } = newPipe();
  const stat = (name: string) => {
    const { length, mode } = root.dev.stat(walkTo(root, name));
    return [length, (mode & DirMode.Readable) !== 0, (mode & DirMode.Writable) !== 0];
  };
  assertEquals([stat("data"), stat("data1")], [[0, false, true], [0, false, true]]);
  writeText(data, "123");
  assertEquals([stat("data"), stat("data1")], [[0, false, true], [3, true, true]]);
  writeText(data, new Uint8Array(PIPE_BYTES));
  assertEquals([stat("data"), stat("data1")], [[0, false, false], [PIPE_BYTES + 3, true, true]]);
  data.release();
  assertEquals(stat("data1").slice(0, 2), [PIPE_BYTES + 3, true]);
});

Deno.test("#pipe: taps fire on edges only", () => {
  const { data, data1 } = newPipe();
  const reader = watch(data1, ALL);
  const writer = watch(data, ALL);
  writeText(data, "1");
  writeText(data, "2");
  assertEquals([reader.take(), writer.take()], [[Readable], []]);
  readText(data1, 1);
  assertEquals(reader.take(), []);
  readText(data1);
  writeText(data, "3");
  assertEquals(reader.take(), [Readable]);
});

Deno.test("#pipe: adding a tap reports the level, and removing it ends its events", () => {
  const { data, data1 } = newPipe();
  writeText(data, "1");
  const tap = watch(data1, ALL);
  assertEquals([tap.level, tap.take()], [Readable | Writable, []]);
  writeText(data1, new Uint8Array(PIPE_BYTES));
  assertEquals(watch(data1, ALL).level, Readable);
  data1.dev.tapfd(data1, tap.tap, "remove");
  readText(data1);
  writeText(data, "2");
  assertEquals(tap.take(), []);
  assertEquals(refusalCode(() => watch(data1, Deleted)), "ENOSYS");
  assertEquals(refusalCode(() => watch(newPipe().ctl, Readable)), "ENOSYS");
});

Deno.test("#pipe: after the last close of one end the other reads its data and the end, and cannot write", () => {
  const { root, data, data1 } = newPipe();
  const second = openAt(root, "data");
  const tap = watch(data1, ALL);
  writeText(data, "last words");
  writeText(data1, "never read");
  data.release();
  assertEquals(tap.take(), [Readable], "one of two");
  second.release();
  assertEquals(tap.take(), [Hangup | RdHup]);
  assertEquals(watch(data1, ALL).level, Readable | Writable | Hangup | RdHup);
  assertEquals([readText(data1), readText(data1)], ["last words", ""]);
  assertEquals([bread(data1), bread(data1)], [null, null]);
  assertEquals(refusalCode(() => readText(data1)), "EPIPE");
  assertEquals(refusalCode(() => writeText(data1, "x")), "EPIPE");
  assertEquals(refusalCode(() => bwrite(data1, 1)), "EPIPE");
});

Deno.test("#pipe: sleepers of both kinds are woken by the last close of the other end", async () => {
  const { data, data1 } = newPipe();
  writeText(data1, new Uint8Array(PIPE_BYTES));
  const reader = data1.dev.read(data1, new Uint8Array(1), 0) as Rendez;
  const writer = data1.dev.write(data1, Uint8Array.of(1), 0) as Rendez;
  let writerWoken = false;
  const done = writer.sleep().done.then(() => writerWoken = true);
  assert(await wakes(reader, () => data.release()));
  await done;
  assert(writerWoken);
});

Deno.test("#pipe: when both ends are closed it is as new, and stays oneblock", () => {
  const { root, ctl, data, data1 } = newPipe();
  writeText(ctl, "oneblock");
  writeText(data, "left over");
  data.release();
  data1.release();
  const again = [openAt(root, "data"), openAt(root, "data1")] as const;
  assertInstanceOf(again[1].dev.read(again[1], new Uint8Array(9), 0), Rendez);
  writeText(again[0], "ab");
  writeText(again[0], "c");
  assertEquals([readText(again[1]), readText(again[1])], ["ab", "c"]);
});

Deno.test("#pipe: a chan that was never opened, or opened with O_PATH, keeps no end alive", () => {
  const { root, data, data1 } = newPipe();
  walkTo(root, "data").release();
  const path = openAt(root, "data", Open.Path);
  path.release();
  writeText(data1, "x");
  assertEquals(readText(data), "x");
  const other = openAt(root, "data", Open.Path);
  data.release();
  assertEquals(readText(data1), "");
  other.release();
});

Deno.test("#pipe: O_NONBLOCK can be set, other control is refused", () => {
  const { data } = newPipe();
  assertEquals(data.dev.chanCtl(data, ChanCtl.SetFlags, Open.NonBlock), 0);
  assertEquals(refusalCode(() => data.dev.chanCtl(data, ChanCtl.Sync, 0)), "EINVAL");
});

Deno.test("property: a pipe carries every byte in order, at whatever point oneblock is set", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("write" as const), size: fc.nat(20_000) }),
    fc.record({ kind: fc.constant("read" as const), size: fc.nat(20_000) }),
    fc.record({ kind: fc.constant("bread" as const), size: fc.nat(20_000) }),
    fc.record({ kind: fc.constant("oneblock" as const), size: fc.constant(0) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { ctl, data, data1 } = newPipe();
      let written = 0;
      let read = 0;
      const check = (bytes: Uint8Array) => {
        for (const byte of bytes) if (byte !== ((read++ * 7) & 255)) fail(`wrong byte ${read - 1}`);
      };
      for (const { kind, size } of steps) {
        if (kind === "oneblock") writeText(ctl, "oneblock");
        if (kind === "write") {
          const bytes = new Uint8Array(size);
          for (let i = 0; i < size; i++) bytes[i] = (written + i) * 7;
          if (data.dev.write(data, bytes, 0) === size) written += size;
        }
        if (kind === "read") {
          const buf = new Uint8Array(65536);
          const count = data1.dev.read(data1, buf, 0);
          if (typeof count === "number") check(buf.subarray(0, count));
        }
        if (kind === "bread") {
          const block = data1.dev.bread(data1, 1 << 17);
          if (block !== null && !(block instanceof Rendez)) check(block.bytes());
        }
        assertEquals(data1.dev.stat(data1).length, written - read);
        assert(written - read < PIPE_BYTES + 20_000);
      }
    }),
    fuzz(50),
  );
});
