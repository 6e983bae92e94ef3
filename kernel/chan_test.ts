import { assertEquals, assertStrictEquals } from "@std/assert";
import { Chan } from "./chan.ts";
import { Dev, makeDir } from "./dev.ts";
import { CHAN_FLAGS, DirMode, Open, QidType } from "./qid.ts";

/** A device with one file that counts closes. */
class CountingDev extends Dev {
  override readonly name = "counting";
  closes = 0;
  override attach(): Chan {
    return new Chan(this, { path: 0, vers: 0, type: QidType.File }, { aux: "mine" });
  }
  override lookup() {
    return null;
  }
  override list() {
    return [];
  }
  override stat() {
    return makeDir(0, "counting");
  }
  override read() {
    return 0;
  }
  override close() {
    this.closes++;
  }
}

Deno.test("Chan is named after its device and instance 0 by default", () => {
  const dev = new CountingDev();
  const chan = dev.attach();
  assertEquals([chan.path, chan.instance, chan.isDir, chan.opened, chan.refs], ["#counting", 0, false, false, 1]);
  const other = new Chan(dev, { path: 1, vers: 0, type: QidType.Dir }, { instance: 3, path: "#counting.3" });
  assertEquals([other.path, other.instance, other.isDir], ["#counting.3", 3, true]);
});

Deno.test("Chan.clone() is the same file, not open, at its beginning", () => {
  const dev = new CountingDev();
  const chan = dev.attach();
  Object.assign(chan, { opened: true, mode: Open.Read, flags: Open.NonBlock, offset: 9 });
  const copy = chan.clone();
  assertEquals([copy.opened, copy.mode, copy.flags, copy.offset, copy.aux], [false, 0, 0, 0, "mine"]);
  assertEquals(copy.sameFile(chan), true);
});

Deno.test("Chan.sameFile() distinguishes devices, instances and files", () => {
  const dev = new CountingDev();
  const chan = dev.attach();
  const file = (path: number, instance: number, of: Dev = dev) =>
    new Chan(of, { path, vers: 9, type: QidType.File }, { instance });
  assertEquals(chan.sameFile(file(0, 0)), true);
  assertEquals(chan.sameFile(file(1, 0)), false);
  assertEquals(chan.sameFile(file(0, 1)), false);
  assertEquals(chan.sameFile(file(0, 0, new CountingDev())), false);
});

Deno.test("Chan.release() closes the file when its last holder releases it", () => {
  const dev = new CountingDev();
  const chan = dev.attach();
  assertStrictEquals(chan.retain(), chan);
  chan.release();
  assertEquals([dev.closes, chan.refs], [0, 1]);
  chan.release();
  assertEquals([dev.closes, chan.refs], [1, 0]);
});

Deno.test("Chan.nonBlock follows the flags, which all descriptors of the chan share", () => {
  const chan = new CountingDev().attach();
  assertEquals(chan.nonBlock, false);
  chan.flags = Open.NonBlock | Open.Append;
  assertEquals(chan.nonBlock, true);
});

Deno.test("flags and mode bits have Akaros' numbers", () => {
  assertEquals([Open.Read, Open.Write, Open.Exec, Open.Create, Open.NonBlock], [1, 2, 4, 64, 2048]);
  assertEquals([Open.Path, Open.CloseOnExec, Open.RemoveOnClose], [0x8000, 0x80000, 0x100000]);
  assertEquals([DirMode.Dir, DirMode.Writable, DirMode.Readable], [0x80000000, 0x08000000, 0x04000000]);
  assertEquals(CHAN_FLAGS & (Open.Create | Open.Excl | Open.Trunc | Open.AccessMask), 0);
});
