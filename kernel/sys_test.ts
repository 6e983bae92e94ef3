/** System calls through both faces, over a small device of files in memory. */

import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { testKernel } from "../tests/kit/host/test_kernel.ts";
import { DIRENT_LEN } from "./dirent.ts";
import { KernelError } from "./error.ts";
import { EventQueue, TapEvent } from "./fd_tap.ts";
import type { Proc } from "./proc.ts";
import { Open } from "./qid.ts";
import { AT_CWD, Fcntl, Seek, Tap } from "./syscall_table.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (s: string) => new TextEncoder().encode(s);

function errnoOf(work: () => unknown): string {
  return assertThrows(work, KernelError).code;
}

function proc(): Proc {
  return testKernel().spawn("test");
}

Deno.test("open gives the lowest free descriptor, and close makes it free again", () => {
  const { sys } = proc();
  assertEquals([sys.open("#mem/a"), sys.open("#mem/a"), sys.open("#mem/a")], [0, 1, 2]);
  sys.close(1);
  assertEquals(sys.open("#mem/a"), 1);
  assertEquals(errnoOf(() => sys.close(7)), "EBADF");
});

Deno.test("open without an access bit neither reads nor writes, since O_RDONLY is 1", () => {
  const { sys } = proc();
  const fd = sys.open("#mem/a", 0) as number;
  assertEquals(errnoOf(() => sys.read(fd, new Uint8Array(4))), "EBADF");
  assertEquals(errnoOf(() => sys.write(fd, bytes("x"))), "EBADF");
});

Deno.test("open refuses O_PATH with access bits, and O_EXCL without O_CREATE", () => {
  const { sys } = proc();
  assertEquals(errnoOf(() => sys.open("#mem/a", Open.Path | Open.Read)), "EINVAL");
  assertEquals(errnoOf(() => sys.open("#mem/a", Open.Read | Open.Excl)), "EINVAL");
});

Deno.test("open names what it cannot find, and how a name is wrong", () => {
  const { sys } = proc();
  assertEquals(errnoOf(() => sys.open("#mem/none")), "ENOENT");
  assertEquals(errnoOf(() => sys.open("#nodev/x")), "EFAIL");
  assertEquals(errnoOf(() => sys.open("#mem/a/b")), "ENOENT");
  assertEquals(errnoOf(() => sys.open("/tmp/ä")), "EFAIL");
  assertEquals(errnoOf(() => sys.open("/" + "x".repeat(5000))), "ENAMETOOLONG");
  assertEquals(errnoOf(() => sys.open("")), "ENOENT");
  assertEquals(errnoOf(() => sys.open("#mem/a", Open.Read | Open.Directory)), "ENOTDIR");
});

Deno.test("openat starts at an O_PATH descriptor and refuses any other", () => {
  const { sys } = proc();
  const dir = sys.open("#mem", Open.Path) as number;
  const fd = sys.openat(dir, "a", Open.Read) as number;
  assertEquals(sys.fd2path(fd), "#mem/a");
  assertEquals(errnoOf(() => sys.openat(fd, "a", Open.Read)), "EINVAL");
  assertEquals(errnoOf(() => sys.read(dir, new Uint8Array(300))), "EBADF");
});

Deno.test("O_CREATE makes a file with the mask taken off its mode; O_EXCL refuses one that is there", () => {
  const { sys } = proc();
  sys.umask(0o027);
  const fd = sys.open("#mem/new", Open.ReadWrite | Open.Create, 0o666) as number;
  assertEquals(sys.fstat(fd).mode & 0o777, 0o640);
  assertEquals(errnoOf(() => sys.open("#mem/new", Open.ReadWrite | Open.Create | Open.Excl)), "EEXIST");
  sys.unlink("#mem/new");
  assertEquals(errnoOf(() => sys.stat("#mem/new")), "ENOENT");
});

Deno.test("read and write move the offset that all descriptors of a chan share; llseek sets it", () => {
  const { sys } = proc();
  const fd = sys.open("#mem/a", Open.ReadWrite) as number;
  const twin = sys.fcntl(fd, Fcntl.DupFd);
  assertEquals(sys.write(fd, bytes("hello")), 5);
  const buf = new Uint8Array(8);
  assertEquals(sys.read(twin, buf), 0);
  assertEquals(sys.llseek(fd, -4, Seek.End), 1);
  assertEquals(text(buf.subarray(0, sys.read(twin, buf) as number)), "ello");
  assertEquals(errnoOf(() => sys.llseek(fd, -1, Seek.Set)), "EINVAL");
});

/** The name in a record of a directory: NUL-terminated, from byte 18 on. */
function direntName(buf: Uint8Array): string {
  return text(buf.subarray(18, buf.indexOf(0, 18)));
}

Deno.test("reading a directory gives one record of fixed size per read, and EINVAL for a smaller buffer", () => {
  const { sys } = proc();
  const fd = sys.open("#mem") as number;
  const buf = new Uint8Array(DIRENT_LEN);
  assertEquals(errnoOf(() => sys.read(fd, new Uint8Array(DIRENT_LEN - 1))), "EINVAL");
  assertEquals(sys.read(fd, buf), DIRENT_LEN);
  assertEquals(direntName(buf), "a");
  assertEquals(errnoOf(() => sys.llseek(fd, 1)), "EISDIR");
  sys.llseek(fd, 0);
  sys.read(fd, buf);
  assertEquals(direntName(buf), "a");
  assertEquals(errnoOf(() => sys.blockread(fd)), "EISDIR");
});

Deno.test("fcntl GETFD reports what SETFD stored and SETFD succeeds (defect 9: it answered EBADF)", () => {
  const { sys } = proc();
  const fd = sys.open("#mem/q") as number;
  assertEquals(sys.fcntl(fd, Fcntl.SetFd, 1), 0);
  assertEquals(sys.fcntl(fd, Fcntl.GetFd), 1);
});

Deno.test("fcntl SETFL replaces all flags of the chan at once, but not CLOEXEC", () => {
  const { sys } = proc();
  const fd = sys.open("#mem/q", Open.ReadWrite | Open.Append) as number;
  assertEquals(sys.fcntl(fd, Fcntl.SetFl, Open.NonBlock), 0);
  assertEquals(sys.fcntl(fd, Fcntl.GetFl), Open.ReadWrite | Open.NonBlock);
  assertEquals(errnoOf(() => sys.fcntl(fd, Fcntl.SetFl, Open.CloseOnExec)), "EINVAL");
  assertEquals(errnoOf(() => sys.fcntl(fd, 77)), "EINVAL");
  assertEquals(errnoOf(() => sys.fcntl(fd, Fcntl.Advise)), "EINVAL");
});

Deno.test("a tap sends an edge once; with level it also reports current readiness", () => {
  const { sys } = proc();
  const queue = new EventQueue();
  const fd = sys.open("#mem/q", Open.ReadWrite) as number;
  const add = { fd, command: Tap.Add, filter: TapEvent.Readable, queue, id: 70000, data: "mine" };
  assertEquals(sys.tapFds([add]), 1);
  sys.blockwrite(fd, bytes("a"));
  sys.blockwrite(fd, bytes("b"));
  assertEquals(queue.poll(), { id: 70000, events: TapEvent.Readable, data: "mine" });
  assertEquals(queue.poll(), null);
  sys.tapFds([{ fd, command: Tap.Modify, filter: TapEvent.Readable | TapEvent.Writable, level: true }]);
  assertEquals(queue.poll()?.events, TapEvent.Readable | TapEvent.Writable);
});

Deno.test("tap_fds counts what it did and stops at the first refusal", () => {
  const p = proc();
  const queue = new EventQueue();
  const fd = p.sys.open("#mem/q", Open.ReadWrite) as number;
  const add = { fd, command: Tap.Add, filter: TapEvent.Readable, queue };
  assertEquals(p.sys.tapFds([add, add]), 1);
  assertEquals(p.lastError?.code, "EBUSY");
  assertEquals(errnoOf(() => p.sys.tapFds([{ fd: 99, command: Tap.Add, queue }])), "EBADF");
  const plain = p.sys.open("#mem/a") as number;
  assertEquals(errnoOf(() => p.sys.tapFds([{ fd: plain, command: Tap.Add, filter: 1, queue }])), "ENOSYS");
  p.sys.close(fd);
  assertEquals(queue.poll(), null);
});

Deno.test("removing or changing a tap that is not there is EBADF, a filter the file lacks ENOSYS", () => {
  const { sys } = proc();
  const queue = new EventQueue();
  const fd = sys.open("#mem/q", Open.ReadWrite) as number;
  assertEquals(errnoOf(() => sys.tapFds([{ fd, command: Tap.Remove }])), "EBADF");
  assertEquals(errnoOf(() => sys.tapFds([{ fd, command: Tap.Modify }])), "EBADF");
  assertEquals(errnoOf(() => sys.tapFds([{ fd, command: Tap.Add, filter: TapEvent.Rename, queue }])), "ENOSYS");
  assertEquals(errnoOf(() => sys.tapFds([{ fd, command: Tap.Add, filter: 1 }])), "EINVAL");
  assertEquals(errnoOf(() => sys.tapFds([{ fd, command: 9 }])), "ENOSYS");
});

Deno.test("dup_fds_to gives a child descriptors, never over one it has", () => {
  const kernel = testKernel();
  const parent = kernel.spawn("parent");
  const child = kernel.spawn("child", { parent });
  const fd = parent.sys.open("#mem/q", Open.ReadWrite) as number;
  assertEquals(parent.sys.dupFdsTo(child.pid, [{ fd, childFd: 3 }, { fd, childFd: 3 }, { fd: 50, childFd: 4 }]), 1);
  parent.sys.close(fd);
  assertEquals(child.sys.blockwrite(3, bytes("still open")), 10);
});

Deno.test("calls that no device here has are refused with Akaros' errno", () => {
  const { sys } = proc();
  assertEquals(errnoOf(() => sys.link("#mem/a", "#mem/b")), "ENOSYS");
  assertEquals(errnoOf(() => sys.symlink("#mem/a", "#mem/b")), "EPERM");
  assertEquals(errnoOf(() => sys.readlink("#mem/a")), "EINVAL");
  assertEquals(errnoOf(() => sys.nmount(0, "/net", 0)), "ENOSYS");
});

Deno.test("a trace has one line a call, with number, arguments, result or errno, and virtual time", async () => {
  const lines: string[] = [];
  const kernel = testKernel();
  const p = kernel.spawn("tracee", { trace: (line) => lines.push(line) });
  const fd = p.sys.open("#mem/q", Open.ReadWrite) as number;
  p.sys.blockread(fd);
  await p.blockwrite(fd, bytes("abc"));
  assertThrows(() => p.sys.close(9), KernelError);
  assertEquals(lines, [
    `0.000000 ${p.pid} tracee 102 openat(${AT_CWD}, "#mem/q", 3, 432) = 0`,
    `0.000000 ${p.pid} tracee 127 blockread(0, 131072) = -1 EAGAIN`,
    `0.000000 ${p.pid} tracee 128 blockwrite(0, bytes[3]) = 3`,
    `0.000000 ${p.pid} tracee 103 close(9) = -1 EBADF Bad file descriptor 9`,
  ]);
});

Deno.test("a user without permission gets EACCES, and access() predicts it", () => {
  const kernel = testKernel();
  const { sys } = kernel.spawn("mallory", { user: "mallory" });
  assertEquals(errnoOf(() => sys.open("#mem/secret", Open.Read)), "EACCES");
  assertEquals(errnoOf(() => sys.access("#mem/secret", 4)), "EACCES");
  kernel.spawn("eve").sys.access("#mem/secret", 4);
});

Deno.test("chdir makes relative names start there, and .. leaves the way one came in", () => {
  const { sys } = proc();
  sys.nbind("#mem", "/net", 0);
  sys.chdir("/net/dir");
  assertEquals(sys.getcwd(), "/net/dir");
  assertEquals(sys.stat("inner").name, "inner");
  sys.chdir("..");
  assertEquals(sys.getcwd(), "/net");
  assertEquals(errnoOf(() => sys.chdir("a")), "ENOTDIR");
  assertInstanceOf(sys.list("/"), Array);
  assert(sys.list("/").some((dir) => dir.name === "net"));
});
