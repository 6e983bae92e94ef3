import { assertEquals } from "@std/assert";
import { EVE, Open } from "../../kernel/qid.ts";
import { namesIn, now, refusalCode, walkTo } from "../../tests/kit/host/dev.ts";
import { ROOT_NAMES, RootDev } from "./dev_root.ts";

Deno.test("#root lists the directories to bind onto, and they are empty", () => {
  const root = new RootDev().attach("", EVE);
  assertEquals(namesIn(root), ["bin", "dev", "env", "mnt", "net", "proc", "srv", "tmp"]);
  for (const name of ROOT_NAMES) {
    const dir = walkTo(root, name);
    assertEquals([dir.isDir, namesIn(dir), dir.dev.stat(dir).name], [true, [], name]);
  }
});

Deno.test("#root takes other names, each a file of its own", () => {
  const root = new RootDev(["a", "b"]).attach("", EVE);
  assertEquals(namesIn(root), ["a", "b"]);
  assertEquals(walkTo(root, "a").sameFile(walkTo(root, "b")), false);
  assertEquals(walkTo(root, "a").sameFile(root), false);
});

Deno.test("in #root .. leads to the root, from everywhere", () => {
  const root = new RootDev().attach("", EVE);
  for (const path of ["..", "net/..", "net/../.."]) assertEquals(walkTo(root, path).sameFile(root), true);
  assertEquals(walkTo(root, "net/../tmp").sameFile(walkTo(root, "tmp")), true);
});

Deno.test("#root can be opened, but neither written nor changed", () => {
  const root = new RootDev().attach("", EVE);
  const { dev } = root;
  assertEquals(now(dev.open(walkTo(root, "net"), Open.Read, "bob")).opened, true);
  assertEquals(refusalCode(() => dev.open(root.clone(), Open.Write, EVE)), "EACCES");
  assertEquals(refusalCode(() => dev.create(root, "new", { flags: Open.Write, mode: 0o660, user: EVE })), "EPERM");
  assertEquals(refusalCode(() => dev.remove(walkTo(root, "net"), EVE)), "EPERM");
  assertEquals(refusalCode(() => dev.read(root, new Uint8Array(10), 0)), "EISDIR");
  assertEquals(refusalCode(() => walkTo(root, "nothing")), "ENOENT");
});
