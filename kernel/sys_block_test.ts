/** System calls on whole blocks, and calls that sleep, through both faces. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type MemDev, testKernel } from "../tests/kit/host/test_kernel.ts";
import { Block } from "./block.ts";
import { KernelError } from "./error.ts";
import { Job } from "./job.ts";
import type { Proc } from "./proc.ts";
import { Open } from "./qid.ts";
import { AGAIN } from "./sys.ts";
import { Fcntl } from "./syscall_table.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (s: string) => new TextEncoder().encode(s);

function errnoOf(work: () => unknown): string {
  return assertThrows(work, KernelError).code;
}

async function errnoOfAsync(work: Promise<unknown>): Promise<string> {
  return (await assertRejects(() => work, KernelError)).code;
}

function proc(): Proc {
  return testKernel().spawn("test");
}

Deno.test("where the sleeping face waits, sys answers AGAIN and an O_NONBLOCK descriptor EAGAIN", async () => {
  const p = proc();
  const fd = p.sys.open("#mem/q", Open.ReadWrite) as number;
  assertEquals(p.sys.blockread(fd), AGAIN);
  const waiting = p.blockread(fd);
  p.sys.blockwrite(fd, bytes("wake"));
  assertEquals(text((await waiting)!.bytes()), "wake");
  p.sys.fcntl(fd, Fcntl.SetFl, Open.NonBlock);
  assertEquals(await errnoOfAsync(p.blockread(fd)), "EAGAIN");
});

Deno.test("blockread keeps a message that is longer than asked for, and EMSGSIZE carries its length", () => {
  const { sys } = proc();
  const fd = sys.open("#mem/q", Open.ReadWrite) as number;
  sys.blockwrite(fd, new Uint8Array(46));
  const error = assertThrows(() => sys.blockread(fd, 10), KernelError);
  assertEquals([error.code, error.length], ["EMSGSIZE", 46]);
  assertEquals((sys.blockread(fd, 46) as Block).length, 46);
});

Deno.test("blockread gives a message of no bytes as a block; null is the end", () => {
  const { sys } = proc();
  const fd = sys.open("#mem/q", Open.ReadWrite) as number;
  sys.blockwrite(fd, new Uint8Array(0));
  assertEquals((sys.blockread(fd) as Block).length, 0);
  sys.write(sys.open("#mem/hangup", Open.Write) as number, bytes("x"));
  assertEquals(sys.blockread(fd), null);
});

Deno.test("blockwrite takes all or nothing: without room it answers AGAIN and the block stays the caller's", () => {
  const { sys } = proc();
  const fd = sys.open("#mem/q", Open.ReadWrite) as number;
  assertEquals(sys.blockwrite(fd, new Uint8Array(100)), 100);
  const block = Block.from(new Uint8Array(60));
  assertEquals(sys.blockwrite(fd, block), AGAIN);
  assertEquals(block.length, 60);
  sys.blockread(fd);
  assertEquals(sys.blockwrite(fd, block), 60);
});

Deno.test("blockreadv returns the blocks that are there up to a count, blockwritev reports how many it took", () => {
  const { sys } = proc();
  const fd = sys.open("#mem/q", Open.ReadWrite) as number;
  const three = [new Uint8Array(40), new Uint8Array(60), new Uint8Array(10)];
  assertEquals(sys.blockwritev(fd, three), 2);
  assertEquals(sys.blockwritev(fd, three), AGAIN);
  assertEquals((sys.blockreadv(fd, 9) as Block[]).map((block) => block.length), [40, 60]);
  assertEquals(sys.blockreadv(fd, 9), AGAIN);
  assertEquals(errnoOf(() => sys.blockreadv(fd, 0)), "EINVAL");
});

Deno.test("blockreadv stops before a message that is too long, and the next call reports it", () => {
  const { sys } = proc();
  const fd = sys.open("#mem/q", Open.ReadWrite) as number;
  sys.blockwritev(fd, [new Uint8Array(5), new Uint8Array(50)]);
  assertEquals((sys.blockreadv(fd, 9, 10) as Block[]).length, 1);
  assertEquals(errnoOf(() => sys.blockreadv(fd, 9, 10)), "EMSGSIZE");
  assertEquals((sys.blockread(fd) as Block).length, 50);
});

Deno.test("block calls on a file without a queue fall back to one read or write a block", () => {
  const { sys } = proc();
  const fd = sys.open("#mem/a", Open.ReadWrite) as number;
  assertEquals(sys.blockwrite(fd, bytes("whole")), 5);
  sys.llseek(fd, 0);
  assertEquals(text((sys.blockread(fd) as Block).bytes()), "whole");
  assertEquals(sys.blockread(fd), null);
});

Deno.test("a sleeping system call ends with EINTR when aborted, with EBADF when its fd is closed", async () => {
  const p = proc();
  const fd = p.sys.open("#mem/q", Open.ReadWrite) as number;
  const aborted = errnoOfAsync(p.blockread(fd));
  assertEquals(p.sys.abortFd(fd), 1);
  assertEquals(await aborted, "EINTR");
  const closed = errnoOfAsync(p.read(fd, new Uint8Array(1)));
  p.sys.close(fd);
  assertEquals(await closed, "EBADF");
});

Deno.test("exit ends sleeping calls and closes every descriptor", async () => {
  const kernel = testKernel();
  const p = kernel.spawn("leaver");
  const fd = p.sys.open("#mem/q", Open.ReadWrite) as number;
  const sleeping = errnoOfAsync(p.blockread(fd));
  p.exit();
  assertEquals(await sleeping, "EINTR");
  assertEquals([p.fds.size, kernel.procs.size], [0, 0]);
});

Deno.test("blocks iterates until the end of the file", async () => {
  const p = proc();
  const fd = p.sys.open("#mem/q", Open.ReadWrite) as number;
  p.sys.blockwritev(fd, [bytes("1"), bytes("22")]);
  p.sys.write(p.sys.open("#mem/hangup", Open.Write) as number, bytes("x"));
  const seen: string[] = [];
  for await (const block of p.blocks(fd)) seen.push(text(block.bytes()));
  assertEquals(seen, ["1", "22"]);
});

Deno.test("a call whose own jobs bring what it waits for is woken by them", async () => {
  const kernel = testKernel();
  const p = kernel.spawn("sleeper");
  const fd = p.sys.open("#mem/q", Open.ReadWrite) as number;
  const mem = kernel.devices.get("mem") as MemDev;
  new Job(kernel.clock.jobs, () => void mem.queue.pass(Block.from(bytes("late")))).wake();
  assertEquals(text((await p.blockread(fd))!.bytes()), "late");
});

Deno.test("blocks ends without an error when its process ends, or its descriptor is closed", async () => {
  for (const end of [(p: Proc) => p.exit(), (p: Proc, fd: number) => p.sys.close(fd)]) {
    const p = proc();
    const fd = p.sys.open("#mem/q", Open.ReadWrite) as number;
    const reading = Array.fromAsync(p.blocks(fd));
    await Promise.resolve();
    end(p, fd);
    assertEquals(await reading, []);
  }
});

Deno.test("blocks ends when its descriptor is closed and the number is another file's by then", async () => {
  const p = proc();
  const fd = await p.open("#mem/q", Open.Read);
  const blocks = p.blocks(fd);
  const next = blocks.next();
  p.sys.close(fd);
  assertEquals(p.sys.open("#mem/a", Open.Read), fd);
  assertEquals((await next).done, true);
});

Deno.test("a process that has ended opens nothing", async () => {
  const p = proc();
  p.exit();
  assertEquals(errnoOf(() => p.sys.open("#mem/a")), "EINTR");
  assertEquals(await errnoOfAsync(p.open("#mem/a")), "EINTR");
  assertEquals(p.fds.size, 0);
});
