import { assertEquals, assertNotStrictEquals, assertStrictEquals } from "@std/assert";
import { now, readText, refusal, refusalCode, testEnv, walkTo, watch, writeText } from "../tests/kit/host/dev.ts";
import { Block } from "./block.ts";
import { Chan } from "./chan.ts";
import { ChanCtl, Dev, makeDir, readBytes, textOf } from "./dev.ts";
import { TapEvent } from "./fd_tap.ts";
import { type Dir, DirMode, EVE, Open, QidType } from "./qid.ts";
import { type OrWait, Rendez } from "./rendez.ts";

/** A device of two levels: `a/`, which holds `deep`, and the file `text`. */
class TestDev extends Dev {
  override readonly name = "test";
  content = "hello";
  made = 0;
  closed: Chan[] = [];
  readonly full = new Rendez();
  #root = makeDir(0, "/", { dir: true });
  #a = makeDir(1, "a", { dir: true });
  #text = makeDir(2, "text", { mode: 0o640, uid: "ann" });
  #deep = makeDir(3, "deep", { mode: 0o604 });

  override attach(): Chan {
    return new Chan(this, { path: 0, vers: 0, type: QidType.Dir });
  }
  override lookup(dir: Chan, name: string): Dir | null {
    if (name === "..") return this.#root;
    return this.list(dir).find((entry) => entry.name === name) ?? null;
  }
  override list(dir: Chan): Dir[] {
    return dir.qid.path === 0 ? [this.#a, this.#text] : [this.#deep];
  }
  override stat(chan: Chan): Dir {
    return [this.#root, this.#a, this.#text, this.#deep][chan.qid.path]!;
  }
  override read(chan: Chan, buf: Uint8Array, offset: number): OrWait<number> {
    if (this.content === "") return this.full;
    return this.readText(chan, buf, offset, () => {
      this.made++;
      return this.content;
    });
  }
  override close(chan: Chan): void {
    this.closed.push(chan);
  }
}

function setUp(): { dev: TestDev; root: Chan } {
  const dev = new TestDev();
  return { dev, root: dev.attach() };
}

Deno.test("Dev.walk() finds a path name by name and leaves the chan it started from", () => {
  const { dev, root } = setUp();
  const { found, chan } = dev.walk(root, ["a", "deep"]);
  assertEquals([found, chan?.qid.path, chan?.path, chan?.opened], [2, 3, "#test/a/deep", false]);
  assertEquals([root.qid.path, root.path], [0, "#test"]);
});

Deno.test("Dev.walk() reports how many names were found, and walks through no file", () => {
  const { dev, root } = setUp();
  assertEquals(dev.walk(root, ["a", "nothing"]), { found: 1, chan: null });
  assertEquals(dev.walk(root, ["text", "deep"]), { found: 1, chan: null });
  assertEquals(dev.walk(root, ["text", ".."]), { found: 1, chan: null });
  assertEquals(dev.walk(root, ["nothing"]), { found: 0, chan: null });
});

Deno.test("Dev.walk() of no names is a clone, and .. goes up and stops at the root", () => {
  const { dev, root } = setUp();
  const none = dev.walk(root, []).chan!;
  assertNotStrictEquals(none, root);
  assertEquals(none.sameFile(root), true);
  const up = dev.walk(root, ["a", "..", "..", "text"]).chan!;
  assertEquals([up.qid.path, up.path], [2, "#test/text"]);
});

Deno.test("Dev.open() marks the chan open and keeps the flags that are its own", () => {
  const { dev, root } = setUp();
  const chan = walkTo(root, "text");
  const opened = dev.open(chan, Open.Read | Open.NonBlock | Open.Create | Open.Trunc, "ann");
  assertStrictEquals(opened, chan);
  assertEquals([chan.opened, chan.mode, chan.flags, chan.nonBlock], [true, Open.Read, Open.NonBlock, true]);
});

Deno.test("Dev.open() asks the owner's bits of the owner, the group's of eve, and the others' of the others", () => {
  const { dev, root } = setUp();
  const opens = (path: string, flags: number, user: string) => () => dev.open(walkTo(root, path), flags, user);
  now(opens("text", Open.ReadWrite, "ann")());
  now(opens("text", Open.Read, EVE)());
  now(opens("a/deep", Open.Read, "bob")());
  assertEquals(
    refusal(opens("text", Open.Write, EVE)),
    'EACCES: Cannot open "text": eve lacks permission (mode 640)',
  );
  for (const refused of [opens("text", Open.Read, "bob"), opens("a/deep", Open.Write, "bob")]) {
    assertEquals(refusalCode(refused), "EACCES");
  }
  assertEquals(refusalCode(opens("text", Open.Exec, "ann")), "EACCES");
  assertEquals(refusalCode(opens("a/deep", Open.Read | Open.Trunc, "bob")), "EACCES");
});

Deno.test("a directory is opened for reading only", () => {
  const { dev, root } = setUp();
  assertEquals(now(dev.open(root.clone(), Open.Read, "bob")).opened, true);
  assertEquals(refusalCode(() => dev.open(root.clone(), Open.Write, "bob")), "EACCES");
  const writable = makeDir(0, "/", { dir: true, mode: 0o777 });
  dev.stat = () => writable;
  assertEquals(refusalCode(() => dev.open(root.clone(), Open.Write, "bob")), "EISDIR");
});

Deno.test("readText() makes its text once per reading, so that pages of it fit together", () => {
  const { dev, root } = setUp();
  const chan = walkTo(root, "text");
  assertEquals(readText(chan, 3), "hel");
  dev.content = "CHANGED";
  assertEquals([readText(chan, 3), readText(chan, 3)], ["lo", ""]);
  assertEquals(dev.made, 1);
  chan.offset = 0;
  assertEquals(readText(chan), "CHANGED");
});

Deno.test("readBytes() copies what lies at the offset", () => {
  const buf = new Uint8Array(3);
  const content = Uint8Array.of(1, 2, 3, 4);
  assertEquals([readBytes(content, buf, 2), [...buf]], [2, [3, 4, 0]]);
  assertEquals([readBytes(content, buf, 4), readBytes(content, buf, 1000)], [0, 0]);
  assertEquals(textOf(Uint8Array.of(0x68, 0x69)), "hi");
});

Deno.test("Dev.bread() of a device without blocks is one read; null at the end; it waits where the read does", () => {
  const { dev, root } = setUp();
  const chan = walkTo(root, "text");
  const block = now(dev.bread(chan, 3));
  assertEquals([textOf(block!.bytes()), chan.offset], ["hel", 3]);
  assertEquals(textOf(now(dev.bread(chan, 1 << 20))!.bytes()), "lo");
  assertEquals(now(dev.bread(chan, 100)), null);
  dev.content = "";
  assertStrictEquals(dev.bread(chan, 100), dev.full);
});

Deno.test("Dev.bwrite() of a device without blocks is one write; the block stays the caller's if it fails", () => {
  const { dev, root } = setUp();
  const chan = walkTo(root, "text");
  const block = testEnv().blocks.from(Uint8Array.of(1, 2));
  assertEquals(refusalCode(() => dev.bwrite(chan, block)), "EPERM");
  assertEquals(block.length, 2);
  dev.write = () => dev.full;
  assertStrictEquals(dev.bwrite(chan, block), dev.full);
  assertEquals([block.length, chan.offset], [2, 0]);
  dev.write = (_chan, bytes) => bytes.length;
  assertEquals([dev.bwrite(chan, block), block.length, chan.offset], [2, 0, 2]);
  assertEquals(dev.settle(chan, false), null);
});

Deno.test("what a device does not do is refused with the error of the original", () => {
  const { dev, root } = setUp();
  const chan = walkTo(root, "text");
  assertEquals(refusalCode(() => dev.create(root, "new", { flags: 0, mode: 0, user: EVE })), "EPERM");
  assertEquals(refusalCode(() => writeText(chan, "x")), "EPERM");
  assertEquals(refusalCode(() => dev.bwrite(chan, Block.alloc(1))), "EPERM");
  assertEquals(refusalCode(() => dev.remove(chan, EVE)), "EPERM");
  assertEquals(refusalCode(() => dev.rename(chan, "new", EVE)), "EXDEV");
  assertEquals(refusalCode(() => dev.wstat(chan, {}, EVE)), "EPERM");
  assertEquals(refusalCode(() => watch(chan, TapEvent.Readable)), "ENOSYS");
  assertEquals(refusalCode(() => dev.chanCtl(chan, ChanCtl.SetFlags, 0)), "EINVAL");
});

Deno.test("makeDir() fills in what a file or a directory usually has", () => {
  const file = makeDir(7, "file");
  assertEquals([file.mode, file.qid, file.uid, file.length], [0o666, { path: 7, vers: 0, type: 0 }, EVE, 0]);
  const dir = makeDir(8, "dir", { dir: true, vers: 3, uid: "ann", gid: "net" });
  assertEquals([dir.mode, dir.qid], [DirMode.Dir + 0o555, { path: 8, vers: 3, type: QidType.Dir }]);
  assertEquals([dir.uid, dir.gid], ["ann", "net"]);
});
