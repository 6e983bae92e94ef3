import { assert, assertEquals, assertInstanceOf, assertStrictEquals } from "@std/assert";
import type { Chan } from "../../kernel/chan.ts";
import { ChanCtl } from "../../kernel/dev.ts";
import { TapEvent } from "../../kernel/fd_tap.ts";
import { DirMode, EVE, Open } from "../../kernel/qid.ts";
import { Queue } from "../../kernel/queue.ts";
import { Rendez } from "../../kernel/rendez.ts";
import { VIRTUAL_EPOCH_MS } from "../../kernel/time.ts";
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
import { ConsDev, type ConsOptions, SYSNAME_MAX } from "./dev_cons.ts";

const { Readable, Writable, Hangup } = TapEvent;

function setUp(options: ConsOptions = {}) {
  const env = testEnv();
  const dev = new ConsDev(env, options);
  const root = dev.attach("", EVE);
  return { env, dev, root, text: (name: string) => readText(openAt(root, name, Open.Read)) };
}

/** A sink that keeps what was written, as text. */
function newSink(): { texts: string[]; write(bytes: Uint8Array): void } {
  const texts: string[] = [];
  return { texts, write: (bytes) => texts.push(new TextDecoder().decode(bytes)) };
}

function type(dev: ConsDev, text: string): void {
  dev.input.write(new TextEncoder().encode(text), testEnv().blocks);
}

Deno.test("#cons lists the files a program needs, sorted, and each can be opened as its mode allows", () => {
  const { dev, root } = setUp();
  const names = namesIn(root);
  assertEquals(
    names,
    ("bintime cons drivers hostowner klog kmesg null osversion pgrpid pid ppid random stderr stdin stdout sysname " +
      "sysstat time user zero").split(" "),
  );
  for (const name of names) {
    const { mode } = dev.stat(walkTo(root, name));
    const flags = ((mode & 0o400) !== 0 ? Open.Read : 0) | ((mode & 0o200) !== 0 ? Open.Write : 0);
    assertEquals(openAt(root, name, flags).opened, true);
  }
});

Deno.test("#cons: stdout, stderr and cons write to their sinks", () => {
  const [stdout, stderr] = [newSink(), newSink()];
  const { root } = setUp({ stdout, stderr });
  assertEquals(writeText(openAt(root, "stdout", Open.Write), "out"), 3);
  assertEquals(writeText(openAt(root, "stderr", Open.Write), "err"), 3);
  assertEquals(writeText(openAt(root, "cons", Open.Write), "cons"), 4);
  assertEquals([stdout.texts, stderr.texts], [["out", "cons"], ["err"]]);
  assertEquals(refusalCode(() => openAt(root, "stdout", Open.Read)), "EACCES");
});

Deno.test("#cons: output without a sink is taken and lost", () => {
  const { root } = setUp();
  assertEquals(writeText(openAt(root, "stdout", Open.Write), "out"), 3);
});

Deno.test("#cons: stdin reads what was typed, waits for more, and ends when it is hung up", async () => {
  const { dev, root } = setUp();
  const stdin = openAt(root, "stdin", Open.Read);
  const rendez = dev.read(stdin, new Uint8Array(9), 0) as Rendez;
  assert(await wakes(rendez, () => type(dev, "hello\n")));
  assertEquals(dev.stat(walkTo(root, "stdin")).length, 6);
  assertEquals([readText(stdin, 2), now(dev.bread(openAt(root, "cons"), 100))?.length], ["he", 4]);
  dev.input.hangup();
  assertEquals([readText(stdin), now(dev.bread(stdin, 9))], ["", null]);
  assertEquals((dev.stat(stdin).mode & DirMode.Readable) !== 0, true);
});

Deno.test("#cons: stdin may be a queue that the host made", () => {
  const input = new Queue({ limit: 10 });
  const { dev, root } = setUp({ input });
  assertStrictEquals(dev.input, input);
  type(dev, "x");
  assertEquals(readText(openAt(root, "stdin", Open.Read)), "x");
});

Deno.test("#cons: taps on stdin report input and its end, and nothing else", () => {
  const { dev, root } = setUp();
  const stdin = openAt(root, "stdin", Open.Read);
  const tap = watch(stdin, Readable | Hangup);
  type(dev, "a");
  type(dev, "b");
  assertEquals([tap.level, tap.take(), watch(stdin, Readable).level], [0, [Readable], Readable]);
  dev.input.hangup();
  assertEquals(tap.take(), [Hangup]);
  assertEquals(refusalCode(() => watch(stdin, Writable)), "ENOSYS");
  assertEquals(refusalCode(() => watch(openAt(root, "pid", Open.Read), Readable)), "ENOSYS");
});

Deno.test("#cons: null is empty, takes everything, and takes taps that never fire", () => {
  const { root } = setUp();
  const chan = openAt(root, "null");
  const tap = watch(chan, Readable | Writable | Hangup);
  assertEquals([readText(chan), writeText(chan, "x".repeat(1000))], ["", 1000]);
  assertEquals([tap.level, tap.take()], [Readable | Writable, []]);
});

Deno.test("#cons: zero and random fill the whole buffer", () => {
  const { root } = setUp();
  assertEquals(readText(openAt(root, "zero", Open.Read), 100), "\0".repeat(100));
  const buf = new Uint8Array(1000);
  const chan = openAt(root, "random", Open.Read);
  assertEquals(now(chan.dev.read(chan, buf, 0)), 1000);
  assert(new Set(buf).size > 200);
  assertEquals(refusalCode(() => openAt(root, "random", Open.Write)), "EACCES");
});

Deno.test("#cons: time and bintime tell the clock's time", () => {
  const { env, root, text } = setUp();
  env.clock.advance(1500.25);
  assertEquals(text("time"), "1767225601 1767225601500250000 1500250000 1000000000");
  const chan = openAt(root, "bintime", Open.Read);
  const buf = new Uint8Array(30);
  assertEquals(now(chan.dev.read(chan, buf, 0)), 24);
  const view = new DataView(buf.buffer);
  assertEquals(view.getBigUint64(0), BigInt(VIRTUAL_EPOCH_MS) * 1_000_000n + 1_500_250_000n);
  assertEquals([view.getBigUint64(8), view.getBigUint64(16)], [1_500_250_000n, 1_000_000_000n]);
  assertEquals(now(chan.dev.read(chan, new Uint8Array(8), 24)), 8);
  assertEquals(refusalCode(() => chan.dev.read(chan, new Uint8Array(7), 0)), "EINVAL");
});

Deno.test("#cons: pid, ppid, pgrpid and user report the process that reads", () => {
  let pid = 7;
  const { text } = setUp({ proc: () => ({ pid, ppid: 3, pgrpid: 2, user: "ann" }) });
  assertEquals(["pid", "ppid", "pgrpid", "user"].map(text), ["7", "3", "2", "ann"]);
  pid = 8;
  assertEquals(text("pid"), "8");
  const kernel = setUp();
  assertEquals(["pid", "user"].map(kernel.text), ["0", EVE]);
});

Deno.test("#cons: drivers, hostowner, osversion and sysstat", () => {
  const { env, text } = setUp({ devices: () => ["ip", "pipe"], stats: () => "Procs: 4\n" });
  const timer = env.clock.timer(() => {});
  timer.arm(100);
  env.clock.advance(10.9);
  assertEquals([text("drivers"), text("hostowner"), text("osversion")], ["#ip\n#pipe\n", EVE, "akarino"]);
  assertEquals(text("sysstat"), "UptimeMs: 10\nTimers: 1\nProcs: 4\n");
  timer.disarm();
  assertEquals(setUp().text("drivers"), "");
});

Deno.test("#cons: sysname can be read by all and written by eve", () => {
  const { root, text } = setUp({ sysname: "host" });
  const chan = openAt(root, "sysname");
  assertEquals([text("sysname"), writeText(chan, "other\n"), text("sysname")], ["host", 6, "other"]);
  for (const bad of ["", "two words", "x".repeat(SYSNAME_MAX + 1), "é", "'a b'"]) {
    assertEquals(refusalCode(() => writeText(chan, bad)), "EINVAL");
  }
  assertEquals(refusalCode(() => openAt(root, "sysname", Open.Write, "bob")), "EACCES");
});

Deno.test("#cons: kmesg gives the log as it was when reading began, in pages", () => {
  const { dev, root } = setUp();
  dev.log("first");
  const chan = openAt(root, "kmesg", Open.Read);
  assertEquals(readText(chan, 3), "fir");
  dev.log("second");
  assertEquals([readText(chan), readText(chan)], ["st\n", ""]);
  assertEquals(readText(openAt(root, "kmesg", Open.Read)), "first\nsecond\n");
});

Deno.test("#cons: klog gives each reader the whole log, then waits for more", async () => {
  const { dev, root } = setUp();
  dev.log("first");
  const [a, b] = [openAt(root, "klog", Open.Read), openAt(root, "klog", Open.Read)] as [Chan, Chan];
  assertEquals([readText(a), readText(b, 3)], ["first\n", "fir"]);
  const rendez = dev.read(a, new Uint8Array(9), 0);
  assertInstanceOf(rendez, Rendez);
  const tap = watch(a, Readable);
  assert(await wakes(rendez, () => dev.log("second")));
  assertEquals([tap.level, tap.take(), readText(a), readText(b)], [0, [Readable], "second\n", "st\nsecond\n"]);
  dev.log("third");
  assertEquals(watch(b, Readable).level, Readable);
});

Deno.test("#cons: klog gives a slow reader the lines that are kept, and its memory stays bounded", () => {
  const { dev, root } = setUp();
  const chan = openAt(root, "klog", Open.Read);
  for (let i = 0; i < 10_000; i++) dev.log(`line ${i}`);
  const text = readText(chan);
  assert(text.length <= 16384 && text.startsWith("line ") && text.endsWith("line 9999\n"));
});

Deno.test("#cons: files of one fact are not written, O_NONBLOCK can be set, .. is the root", () => {
  const { dev, root } = setUp();
  assertEquals(refusalCode(() => writeText(walkTo(root, "pid"), "1")), "EPERM");
  const stdin = openAt(root, "stdin", Open.Read);
  assertEquals(dev.chanCtl(stdin, ChanCtl.SetFlags, Open.NonBlock), 0);
  assertEquals(refusalCode(() => dev.chanCtl(stdin, ChanCtl.Debug, 0)), "EINVAL");
  assertEquals(walkTo(root, "..").sameFile(root), true);
  assertEquals(refusalCode(() => dev.read(root, new Uint8Array(9), 0)), "EISDIR");
});
