/** A kernel with #root and a small device of files in memory, for tests of system calls and namespaces. */

import { RootDev } from "../../../devices/root/dev_root.ts";
import { type Block, BlockPool } from "../../../kernel/block.ts";
import { Chan, type CreateOptions } from "../../../kernel/chan.ts";
import { Dev, makeDir, readBytes } from "../../../kernel/dev.ts";
import { KernelError } from "../../../kernel/error.ts";
import { type FdTap, type TapCommand, TapEvent, TapList } from "../../../kernel/fd_tap.ts";
import { Kernel } from "../../../kernel/kernel.ts";
import { type Dir, DirMode, QidType } from "../../../kernel/qid.ts";
import { Queue } from "../../../kernel/queue.ts";
import { breadQueue, bwriteQueue, readQueue, writeQueue } from "../../../kernel/queue_file.ts";
import { SeededRandom } from "../../../kernel/random.ts";
import type { OrWait } from "../../../kernel/rendez.ts";
import { VirtualClock } from "../../../kernel/time.ts";

interface MemFile {
  dir: Dir;
  content: Uint8Array;
  children: MemFile[] | null;
}

/** `#mem`: `a` and `secret` (plain files), `q` (a message queue of 100 bytes), `hangup`, and `dir/inner`. */
export class MemDev extends Dev {
  readonly queue = new Queue({ limit: 100, message: true });
  #taps = new TapList();
  #pool = new BlockPool();
  #nextPath = 1;
  #root: MemFile;
  #parents = new Map<number, MemFile>();

  constructor(override readonly name: string) {
    super();
    this.queue.onEdge = (events) => this.#taps.fire(events);
    const file = (name: string, mode = 0o664) => this.#make(name, false, mode);
    const inner = { ...this.#make("dir", true, 0o775), children: [file("inner")] };
    this.#root = {
      ...this.#make("/", true, 0o777),
      children: [file("a"), file("secret", 0o600), file("q"), file("hangup")],
    };
    this.#root.children!.push(inner);
    for (const child of inner.children) this.#parents.set(child.dir.qid.path, inner);
  }

  #make(name: string, dir: boolean, mode: number): MemFile {
    const path = this.#nextPath++;
    return { dir: makeDir(path, name, { dir, mode }), content: new Uint8Array(0), children: dir ? [] : null };
  }

  #file(path: number, at: MemFile = this.#root): MemFile | null {
    if (at.dir.qid.path === path) return at;
    for (const child of at.children ?? []) {
      const found = this.#file(path, child);
      if (found !== null) return found;
    }
    return null;
  }

  #of(chan: Chan): MemFile {
    const file = this.#file(chan.qid.path);
    if (file === null) throw new KernelError("ENOENT", `"${chan.path}" was removed`);
    return file;
  }

  override attach(): Chan {
    return new Chan(this, this.#root.dir.qid);
  }

  override lookup(dir: Chan, name: string): Dir | null {
    if (name === "..") return this.#root.dir;
    return this.#of(dir).children?.find((child) => child.dir.name === name)?.dir ?? null;
  }

  override list(dir: Chan): Dir[] {
    return (this.#of(dir).children ?? []).map((child) => child.dir);
  }

  override stat(chan: Chan): Dir {
    const file = this.#of(chan);
    return { ...file.dir, length: file.content.length };
  }

  override create(dir: Chan, name: string, { flags, mode, user }: CreateOptions): Chan {
    const isDir = (mode & DirMode.Dir) !== 0;
    const file = this.#make(name, isDir, mode & 0o777);
    file.dir = { ...file.dir, uid: user };
    this.#of(dir).children!.push(file);
    const chan = new Chan(this, { path: file.dir.qid.path, vers: 0, type: isDir ? QidType.Dir : QidType.File });
    chan.path = `${dir.path}/${name}`;
    return this.markOpen(chan, flags);
  }

  override remove(chan: Chan): void {
    this.#root.children = this.#root.children!.filter((child) => child.dir.qid.path !== chan.qid.path);
  }

  override read(chan: Chan, buf: Uint8Array, offset: number): OrWait<number> {
    const file = this.#of(chan);
    return file.dir.name === "q" ? readQueue(this.queue, buf) : readBytes(file.content, buf, offset);
  }

  override write(chan: Chan, bytes: Uint8Array, offset: number): OrWait<number> {
    const file = this.#of(chan);
    if (file.dir.name === "q") return writeQueue(this.queue, bytes, this.#pool);
    if (file.dir.name === "hangup") this.queue.hangup();
    const grown = new Uint8Array(Math.max(file.content.length, offset + bytes.length));
    grown.set(file.content);
    grown.set(bytes, offset);
    file.content = grown;
    return bytes.length;
  }

  override bread(chan: Chan, max: number): OrWait<Block | null> {
    return this.#of(chan).dir.name === "q" ? breadQueue(this.queue, max) : super.bread(chan, max);
  }

  override bwrite(chan: Chan, block: Block): OrWait<number> {
    return this.#of(chan).dir.name === "q" ? bwriteQueue(this.queue, block) : super.bwrite(chan, block);
  }

  override tapfd(chan: Chan, tap: FdTap, command: TapCommand): number {
    if (this.#of(chan).dir.name !== "q") return super.tapfd(chan, tap, command);
    if (command !== "add") this.#taps.remove(tap);
    if (command !== "remove") this.#taps.add(tap, TapEvent.Readable | TapEvent.Writable | TapEvent.Hangup);
    return this.queue.level;
  }

  override chanCtl(): number {
    return 0;
  }
}

/** A kernel in virtual time with `#root`, `#mem` and `#mem2`. */
export function testKernel(): Kernel {
  const kernel = new Kernel({ clock: new VirtualClock(), random: new SeededRandom(1) });
  kernel.addDevice(new RootDev());
  kernel.addDevice(new MemDev("mem"));
  kernel.addDevice(new MemDev("mem2"));
  return kernel;
}
