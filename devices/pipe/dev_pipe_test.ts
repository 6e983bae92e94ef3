import { assert, assertEquals, assertInstanceOf, assertStrictEquals, fail } from "@std/assert";
import fc from "fast-check";
import { ChanCtl } from "../../kernel/dev.ts";
import { TapEvent } from "../../kernel/fd_tap.ts";
import { DirMode, EVE, Open } from "../../kernel/qid.ts";
import { Rendez } from "../../kernel/rendez.ts";
import {
  namesIn,
  now,
  openAt,
  readText,
  refusalCode,
  testEnv,
  wakes,
  walkTo,
  watch,
  writeText,
} from "../../tests/kit/host/dev.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { PIPE_BLOCKS, PIPE_BYTES, PipeDev } from "./dev_pipe.ts";
import { bread, bwrite, Deleted, Hangup, newPipe, RdHup, Readable, Writable } from "../../tests/kit/host/pipe.ts";

const ALL = Readable | Writable | Hangup | TapEvent.Error | RdHup;

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
