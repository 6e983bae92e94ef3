import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import fc from "fast-check";
import type { Chan } from "../../kernel/chan.ts";
import { ChanCtl } from "../../kernel/dev.ts";
import { KernelError } from "../../kernel/error.ts";
import { TapEvent } from "../../kernel/fd_tap.ts";
import { DirMode, EVE, Open } from "../../kernel/qid.ts";
import { Rendez } from "../../kernel/rendez.ts";
import {
  namesIn,
  openAt,
  readText,
  refusal,
  refusalCode,
  wakes,
  walkTo,
  watch,
  writeText,
} from "../../tests/kit/host/dev.ts";
import { fuzz } from "../../tests/kit/check/fuzz.ts";
import { COUNT_MAX, EventfdDev } from "./dev_eventfd.ts";

const { Readable, Writable, Hangup } = TapEvent;

function newCounter(spec = ""): { root: Chan; ctl: Chan; efd: Chan } {
  const root = new EventfdDev().attach(spec, EVE);
  return { root, ctl: openAt(root, "ctl"), efd: openAt(root, "efd") };
}

/** Where a read, or a write of `text`, would wait. */
function waitOf(efd: Chan, text?: string): Rendez {
  const answer = text === undefined
    ? efd.dev.read(efd, new Uint8Array(32), 0)
    : efd.dev.write(efd, new TextEncoder().encode(text), 0);
  assertInstanceOf(answer, Rendez);
  return answer;
}

Deno.test("#eventfd: a read answers the sum of the writes and clears it", () => {
  const { efd } = newCounter();
  for (const text of ["1", "0x10", " 3\n", "0\0"]) assertEquals(writeText(efd, text), text.length);
  assertEquals(readText(efd), "20");
  waitOf(efd);
});

Deno.test("#eventfd: a semaphore answers 1 and takes one", () => {
  const { efd } = newCounter("sem");
  writeText(efd, "2");
  assertEquals([readText(efd), readText(efd)], ["1", "1"]);
  waitOf(efd);
});

Deno.test("#eventfd: every attach makes a new counter; ctl reports its number and mode", () => {
  const dev = new EventfdDev();
  const [a, b] = [dev.attach("", EVE), dev.attach("sem", EVE)];
  writeText(openAt(a, "efd"), "5");
  waitOf(openAt(b, "efd"));
  assertEquals([readText(openAt(a, "ctl")), readText(openAt(b, "ctl"))], ["0 count", "1 sem"]);
  assertEquals([namesIn(a), walkTo(a, "efd").sameFile(walkTo(b, "efd"))], [["ctl", "efd"], false]);
  assertEquals(readText(openAt(a, "efd")), "5", "all chans of one attach share the counter");
  assertEquals(refusalCode(() => dev.attach("semaphore", EVE)), "EINVAL");
});

Deno.test("#eventfd: a reader of zero waits for a write, a writer of too much for a read", async () => {
  const { efd } = newCounter();
  assert(await wakes(waitOf(efd), () => writeText(efd, "1")));
  assertEquals(writeText(efd, `${COUNT_MAX - 1n}`) > 0, true);
  assert(await wakes(waitOf(efd, "1"), () => readText(efd)));
  assertEquals(writeText(efd, "1"), 1);
});

Deno.test("#eventfd: the count goes up to 2^64 - 2 and no further, and nothing is added by a write that waits", () => {
  const { efd } = newCounter();
  writeText(efd, "18446744073709551614");
  waitOf(efd, "1");
  assertEquals(writeText(efd, "0"), 1);
  assertEquals(readText(efd), "18446744073709551614");
  assertEquals(refusalCode(() => writeText(efd, "18446744073709551615")), "EINVAL");
});

Deno.test("#eventfd refuses anything but one number, and a buffer too small for the count", () => {
  const { efd, ctl } = newCounter();
  for (const text of ["", "one", "1 2", "-1", "1\n2"]) assertEquals(refusalCode(() => writeText(efd, text)), "EINVAL");
  writeText(efd, "1234");
  assertEquals(refusal(() => readText(efd, 3)), "EINVAL: Cannot read a count of 4 digits into 3 bytes");
  assertEquals(readText(efd, 4), "1234");
  assertEquals(refusalCode(() => writeText(ctl, "sem")), "EFAIL");
});

Deno.test("#eventfd: taps fire when the count leaves 0, and when a read makes room that was lacking", () => {
  const { efd, ctl } = newCounter();
  const tap = watch(efd, Readable | Writable);
  assertEquals(tap.level, Writable);
  writeText(efd, "0");
  assertEquals(tap.take(), []);
  writeText(efd, "1");
  writeText(efd, "1");
  assertEquals(tap.take(), [Readable]);
  readText(efd);
  assertEquals(tap.take(), [], "there was room all the time");
  writeText(efd, `${COUNT_MAX}`);
  assertEquals([tap.take(), watch(efd, Readable).level], [[Readable], Readable]);
  readText(efd);
  assertEquals(tap.take(), [Writable]);
  writeText(efd, "5");
  waitOf(efd, `${COUNT_MAX}`);
  readText(efd);
  assertEquals(tap.take(), [Readable, Writable], "a large write had been refused");
  writeText(efd, "5");
  readText(efd);
  assertEquals(tap.take(), [Readable], "and none since");
  assertEquals(refusalCode(() => watch(efd, Hangup)), "ENOSYS");
  assertEquals(refusalCode(() => watch(ctl, Readable)), "ENOSYS");
  efd.dev.tapfd(efd, tap.tap, "remove");
  writeText(efd, "1");
  assertEquals(tap.take(), []);
});

Deno.test("#eventfd: stat reports readiness; O_NONBLOCK can be set; the block calls work", () => {
  const { root, efd } = newCounter();
  const ready = () => root.dev.stat(walkTo(root, "efd")).mode & (DirMode.Readable | DirMode.Writable);
  assertEquals(ready(), DirMode.Writable);
  writeText(efd, `${COUNT_MAX}`);
  assertEquals(ready(), DirMode.Readable);
  assertEquals(efd.dev.chanCtl(efd, ChanCtl.SetFlags, Open.NonBlock), 0);
  const block = efd.dev.bread(efd, 64);
  assert(block !== null && !(block instanceof Rendez));
  assertEquals(new TextDecoder().decode(block.bytes()), `${COUNT_MAX}`);
});

Deno.test("property: what is read is what was written, within the limit, whatever the bytes", () => {
  const number = fc.bigInt({ min: 0n, max: 2n ** 65n }).map(String);
  const junk = fc.string().filter((text) => !/[0-9]/.test(text));
  const text = fc.oneof(number, junk, fc.constantFrom("1", "0"));
  fc.assert(
    fc.property(fc.array(fc.option(text), { maxLength: 30 }), fc.constantFrom("", "sem"), (steps, spec) => {
      const { efd } = newCounter(spec);
      let count = 0n;
      for (const step of steps) {
        try {
          if (step === null) {
            const read = efd.dev.read(efd, new Uint8Array(20), 0);
            assertEquals(read instanceof Rendez, count === 0n);
            if (count > 0n) count = spec === "sem" ? count - 1n : 0n;
          } else if (!(efd.dev.write(efd, new TextEncoder().encode(step), 0) instanceof Rendez)) {
            count += BigInt(step);
          }
        } catch (error) {
          if (!(error instanceof KernelError)) throw error;
        }
        assert(count <= COUNT_MAX);
      }
    }),
    fuzz(200),
  );
});
