/** Names, binds and unions. */

import { assertEquals, assertThrows } from "@std/assert";
import { testKernel } from "../tests/kit/host/test_kernel.ts";
import { KernelError } from "./error.ts";
import { Mount } from "./namespace.ts";
import { Open } from "./qid.ts";

const bytes = (s: string) => new TextEncoder().encode(s);

function setUp() {
  const kernel = testKernel();
  const { sys } = kernel.spawn("binder");
  const names = (path: string) => sys.list(path).map((dir) => dir.name);
  const errno = (work: () => unknown) => assertThrows(work, KernelError).code;
  return { kernel, sys, names, errno };
}

Deno.test("bind with MREPL shows the source in place of the target, unmount takes it off again", () => {
  const { sys, names, errno } = setUp();
  const id = sys.nbind("#mem", "/net", Mount.Replace);
  assertEquals(id > 0, true);
  assertEquals(names("/net"), ["a", "secret", "q", "hangup", "dir"]);
  sys.nunmount(null, "/net");
  assertEquals(names("/net"), []);
  assertEquals(errno(() => sys.nunmount(null, "/net")), "ENOENT");
});

Deno.test("a path that starts with # never crosses a mount point", () => {
  const { sys, names } = setUp();
  sys.nbind("#mem", "#root/net", Mount.Replace);
  assertEquals(names("#root/net"), []);
  assertEquals(names("/net").length, 5);
});

Deno.test("a union looks in its members in order, lists them all, and creates in the first with MCREATE", () => {
  const { sys, names, errno } = setUp();
  sys.nbind("#mem", "/net", Mount.Replace);
  sys.nbind("#mem2", "/net", Mount.Before | Mount.Create);
  assertEquals(names("/net").length, 10);
  sys.write(sys.open("#mem2/a", Open.Write) as number, bytes("second"));
  assertEquals(sys.stat("/net/a").length, 6);
  sys.close(sys.open("/net/new", Open.ReadWrite | Open.Create) as number);
  assertEquals(sys.stat("#mem2/new").name, "new");
  assertEquals(errno(() => sys.stat("#mem/new")), "ENOENT");
});

Deno.test("a union of which no member takes new files answers EPERM", () => {
  const { sys, errno } = setUp();
  sys.nbind("#mem", "/net", Mount.Replace);
  sys.nbind("#mem2", "/net", Mount.Before);
  assertEquals(errno(() => sys.open("/net/new", Open.ReadWrite | Open.Create)), "EPERM");
});

Deno.test("unmount with a source takes one member off a union, ENOENT if it is none", () => {
  const { sys, names, errno } = setUp();
  sys.nbind("#mem", "/net", Mount.After);
  sys.nbind("#mem2", "/net", Mount.After);
  sys.nunmount("#mem", "/net");
  assertEquals(names("/net").length, 5);
  assertEquals(errno(() => sys.nunmount("#mem", "/net")), "ENOENT");
});

Deno.test("bind refuses bad flags, a file onto a directory, and a union of files", () => {
  const { sys, errno } = setUp();
  assertEquals(errno(() => sys.nbind("#mem", "/net", 3)), "EINVAL");
  assertEquals(errno(() => sys.nbind("#mem", "/net", 0x18)), "EINVAL");
  assertEquals(errno(() => sys.nbind("#mem/a", "/net", 0)), "EINVAL");
  assertEquals(errno(() => sys.nbind("#mem/a", "#mem2/a", Mount.Before)), "EINVAL");
});

Deno.test("a file can be bound onto a file", () => {
  const { sys } = setUp();
  sys.nbind("#mem", "/net", Mount.Replace);
  sys.nbind("#mem2/q", "/net/a", Mount.Replace);
  const fd = sys.open("/net/a", Open.ReadWrite) as number;
  sys.blockwrite(fd, new Uint8Array(7));
  assertEquals(sys.stat("/net/a").name, "q");
});

Deno.test("names are cleaned in the text: . and doubled slashes vanish, .. never leaves the root", () => {
  const { sys } = setUp();
  sys.nbind("#mem", "/net", Mount.Replace);
  for (const name of ["/net//a", "/net/./a", "/../net/a", "/net/dir/../a", "/tmp/../net/dir/../a"]) {
    assertEquals(sys.stat(name).name, "a");
  }
});

Deno.test("a trailing slash demands a directory", () => {
  const { sys, errno } = setUp();
  assertEquals(sys.stat("#mem/dir/").name, "dir");
  assertEquals(errno(() => sys.stat("#mem/a/")), "ENOTDIR");
});

Deno.test("a child shares its parent's namespace: a bind in one is seen in the other", () => {
  const { kernel, sys } = setUp();
  const parent = kernel.spawn("parent");
  const child = kernel.spawn("child", { parent });
  child.sys.nbind("#mem", "/srv", Mount.Replace);
  assertEquals(parent.sys.stat("/srv/a").name, "a");
  assertEquals(sys.stat("/srv/a").name, "a");
});
