import { assertEquals, assertStrictEquals } from "@std/assert";
import { Chan } from "../../kernel/chan.ts";
import { Dev, makeDir } from "../../kernel/dev.ts";
import { KernelError } from "../../kernel/error.ts";
import { type Dir, DirMode, EVE, Open, QidType } from "../../kernel/qid.ts";
import { namesIn, now, openAt, readText, refusal, refusalCode, walkTo, writeText } from "../../tests/kit/host/dev.ts";
import { SRV_NAMES_MAX, SrvDev } from "./dev_srv.ts";

/** A device of one file that remembers what was closed. */
class FileDev extends Dev {
  override readonly name = "file";
  closes = 0;
  override attach(): Chan {
    return new Chan(this, { path: 0, vers: 0, type: QidType.File });
  }
  override lookup() {
    return null;
  }
  override list() {
    return [];
  }
  override stat(): Dir {
    return makeDir(0, "file");
  }
  override read(chan: Chan, buf: Uint8Array, offset: number) {
    return this.readText(chan, buf, offset, () => "0123456789");
  }
  override close() {
    this.closes++;
  }
}

/** The board, and a process whose descriptor 3 is an open file. */
function setUp(flags: number = Open.ReadWrite): { dev: SrvDev; root: Chan; file: FileDev; fds: Map<number, Chan> } {
  const file = new FileDev();
  const fds = new Map<number, Chan>([[3, now(file.open(file.attach(), flags, EVE))]]);
  const chanOfFd = (fd: number): Chan => {
    const chan = fds.get(fd);
    if (chan === undefined) throw new KernelError("EBADF", `Bad file descriptor ${fd}`);
    return chan;
  };
  const dev = new SrvDev({ chanOfFd });
  return { dev, root: dev.attach("", EVE), file, fds };
}

function create(root: Chan, name: string, flags: number = Open.Write, user = "ann"): Chan {
  return root.dev.create(root, name, { flags, mode: 0o600, user });
}

Deno.test("#srv: opening a name yields the very chan that was posted: one offset for all", () => {
  const { root, fds } = setUp();
  const creator = create(root, "service");
  assertEquals(writeText(creator, "3"), 1);
  const opened = openAt(root, "service");
  const posted = fds.get(3)!;
  assertStrictEquals(opened, posted);
  assertEquals(posted.refs, 3, "the process, the board, and who opened it");
  assertEquals([readText(posted, 4), readText(opened, 4)], ["0123", "4567"]);
});

Deno.test("#srv: the posted chan outlives its descriptor, and is closed with its last holder", () => {
  const { root, dev, file, fds } = setUp();
  writeText(create(root, "service"), "3\n");
  fds.get(3)!.release();
  const opened = openAt(root, "service");
  assertEquals(file.closes, 0);
  dev.remove(walkTo(root, "service"), "ann");
  assertEquals([file.closes, namesIn(root), readText(opened, 2)], [0, [], "01"]);
  opened.release();
  assertEquals(file.closes, 1);
});

Deno.test("#srv: a name is listed with its creator and mode 0770, whatever was asked for", () => {
  const { root } = setUp();
  create(root, "b");
  create(root, "a");
  assertEquals(namesIn(root), ["b", "a"]);
  const { mode, uid } = root.dev.stat(walkTo(root, "a"));
  assertEquals([mode & 0o777, uid], [0o770, "ann"]);
});

Deno.test("#srv: opening before the post is EFAIL, a second post is EFAIL", () => {
  const { root } = setUp();
  const creator = create(root, "service");
  assertEquals(refusal(() => openAt(root, "service")), 'EFAIL: Cannot open "#srv/service": nothing is posted yet');
  writeText(creator, "3");
  assertEquals(refusal(() => writeText(creator, "3")), 'EFAIL: Cannot post twice under "service"');
});

Deno.test("#srv: a post that fails leaves the name free for another", () => {
  const { root } = setUp();
  const creator = create(root, "service");
  assertEquals(refusalCode(() => writeText(creator, "4")), "EBADF");
  for (const text of ["", "three", "3 3", "-1", "3\n3", "99999999999"]) {
    assertEquals(refusalCode(() => writeText(creator, text)), "EINVAL");
  }
  writeText(creator, "3\0");
  openAt(root, "service");
});

Deno.test("#srv: only the owner and eve open a name, and for no more than it was opened for", () => {
  const { root } = setUp(Open.Read);
  writeText(create(root, "service"), "3");
  assertEquals(refusalCode(() => openAt(root, "service", Open.Read, "bob")), "EACCES");
  assertEquals(refusalCode(() => openAt(root, "service", Open.ReadWrite, "ann")), "EACCES");
  openAt(root, "service", Open.Read, "ann");
  openAt(root, "service", Open.Read, EVE);
});

Deno.test("#srv: a file of #srv cannot be posted there: it would keep itself alive for ever", () => {
  const { root, fds } = setUp();
  const creator = create(root, "service");
  fds.set(4, creator);
  assertEquals(refusalCode(() => writeText(creator, "4")), "EINVAL");
});

Deno.test("#srv: with O_REMCLO the name goes with its creator's descriptor, without it stays", () => {
  const { root } = setUp();
  const fleeting = create(root, "fleeting", Open.Write | Open.RemoveOnClose);
  const lasting = create(root, "lasting");
  writeText(fleeting, "3");
  writeText(lasting, "3");
  const opened = openAt(root, "fleeting");
  fleeting.release();
  lasting.release();
  assertEquals([namesIn(root), readText(opened, 1)], [["lasting"], "0"]);
});

Deno.test("#srv: O_REMCLO of a name that was removed and made again leaves the new one", () => {
  const { root, dev } = setUp();
  const first = create(root, "service", Open.Write | Open.RemoveOnClose);
  dev.remove(walkTo(root, "service"), "ann");
  create(root, "service");
  first.release();
  assertEquals(namesIn(root), ["service"]);
  assertEquals(refusalCode(() => writeText(first, "3")), "ENOENT");
});

Deno.test("#srv: the owner and eve remove a name, others do not", () => {
  const { root, dev } = setUp();
  create(root, "a");
  create(root, "b");
  const b = walkTo(root, "b");
  assertEquals(refusalCode(() => dev.remove(walkTo(root, "a"), "bob")), "EPERM");
  dev.remove(walkTo(root, "a"), "ann");
  dev.remove(b, EVE);
  assertEquals(namesIn(root), []);
  for (const use of [() => dev.stat(b), () => dev.open(b, Open.Read, EVE), () => dev.remove(b, EVE)]) {
    assertEquals(refusalCode(use), "ENOENT");
  }
  assertEquals(refusalCode(() => dev.remove(root, EVE)), "EPERM");
});

Deno.test("#srv: O_PATH opens the name itself, posted or not", () => {
  const { root, dev } = setUp();
  create(root, "service");
  const chan = openAt(root, "service", Open.Path | Open.RemoveOnClose);
  assertEquals([chan.dev === dev, chan.opened], [true, true]);
  chan.release();
  assertEquals(namesIn(root), ["service"]);
});

Deno.test("#srv refuses names that exist, that are none, directories, and more than its limit", () => {
  const { root } = setUp();
  create(root, "service");
  assertEquals(refusalCode(() => create(root, "service")), "EEXIST");
  for (const name of ["", ".", "..", "a/b", "x".repeat(129)]) {
    assertEquals(refusalCode(() => create(root, name)), "EINVAL");
  }
  const asDir = () => root.dev.create(root, "dir", { flags: Open.Read, mode: DirMode.Dir + 0o777, user: EVE });
  assertEquals(refusalCode(asDir), "EPERM");
  for (let i = 1; i < SRV_NAMES_MAX; i++) create(root, `n${i}`);
  assertEquals(refusalCode(() => create(root, "more")), "ENOSPC");
});

Deno.test("#srv: what is posted cannot be read from the creator's descriptor", () => {
  const { root } = setUp();
  assertEquals(refusalCode(() => readText(create(root, "service", Open.ReadWrite))), "EPERM");
});
