/**
 * #srv: a board where a process posts an open descriptor under a name, and others open the very same one.
 *
 * Path: dev → dev_srv (an opened chan is then the caller's).
 *
 * ```
 * #srv          0777
 *   NAME        0770   create it, write the decimal number of one of your descriptors, once
 * ```
 *
 * Opening a name yields that chan itself: all openers share offset and flags. Before the post it is EFAIL. With
 * O_REMCLO the name is removed when its creator's descriptor is closed; chans that were opened by it stay open.
 *
 * @module
 */

import { Chan, type CreateOptions } from "../../kernel/chan.ts";
import { ctlText, parseNumber, shown, splitWords } from "../../kernel/ctl.ts";
import { Dev, makeDir } from "../../kernel/dev.ts";
import { KernelError } from "../../kernel/error.ts";
import { type Dir, DirMode, EVE, Open, QidType } from "../../kernel/qid.ts";

/** Most names: far more than services, and few enough to list quickly. */
export const SRV_NAMES_MAX = 1024;
/** Longest name in characters: it must fit a directory entry. */
const SRV_NAME_MAX = 128;

/** Looks up descriptors. */
interface FdSource {
  /** The chan of descriptor `fd` of the process whose system call is running; EBADF if it has none. */
  chanOfFd(fd: number): Chan;
}

const ROOT_PATH = 0;

/** A name on the board. */
interface Post {
  readonly path: number;
  readonly name: string;
  readonly owner: string;
  /** The posted chan; null before. */
  chan: Chan | null;
}

/** The device `#srv`; every spec names the same instance. */
export class SrvDev extends Dev {
  override readonly name = "srv";
  readonly #fds: FdSource;
  readonly #posts = new Map<string, Post>();
  #nextPath = ROOT_PATH + 1;

  constructor(fds: FdSource) {
    super();
    this.#fds = fds;
  }

  override attach(_spec: string, _user: string): Chan {
    return new Chan(this, { path: ROOT_PATH, vers: 0, type: QidType.Dir });
  }

  override lookup(_dir: Chan, name: string): Dir | null {
    if (name === "..") return rootDir();
    const post = this.#posts.get(name);
    return post === undefined ? null : dirOf(post);
  }

  override list(_dir: Chan): Dir[] {
    return [...this.#posts.values()].map(dirOf);
  }

  override stat(chan: Chan): Dir {
    return chan.isDir ? rootDir() : dirOf(this.#postOf(chan));
  }

  override create(dir: Chan, name: string, { flags, mode, user }: CreateOptions): Chan {
    if (!dir.isDir) throw new KernelError("ENOTDIR", `Cannot create "${name}": "${dir.path}" is not a directory`);
    if ((mode & DirMode.Dir) !== 0) throw new KernelError("EPERM", `Cannot create "${name}": #srv has no directories`);
    if (name === "" || name === "." || name === ".." || name.includes("/") || name.length > SRV_NAME_MAX) {
      throw new KernelError("EINVAL", `Cannot create ${shown(name)} in "${dir.path}": not a name`);
    }
    if (this.#posts.has(name)) throw new KernelError("EEXIST", `Cannot create "${name}": it exists`);
    if (this.#posts.size >= SRV_NAMES_MAX) {
      throw new KernelError("ENOSPC", `Cannot create "${name}": there are ${SRV_NAMES_MAX} names already`);
    }
    const post: Post = { path: this.#nextPath++, name, owner: user, chan: null };
    this.#posts.set(name, post);
    const qid = { path: post.path, vers: 0, type: QidType.File };
    return this.markOpen(new Chan(this, qid, { path: `${dir.path}/${name}` }), flags);
  }

  /** Returns the posted chan, retained for the caller; with O_PATH the name itself. */
  override open(chan: Chan, flags: number, user: string): Chan {
    if (chan.isDir) return super.open(chan, flags, user) as Chan;
    const post = this.#postOf(chan);
    if ((flags & Open.Path) !== 0) return this.markOpen(chan, flags & ~Open.RemoveOnClose);
    this.checkPermission(dirOf(post), flags, user);
    const posted = post.chan;
    if (posted === null) throw new KernelError("EFAIL", `Cannot open "${chan.path}": nothing is posted yet`);
    if ((flags & Open.AccessMask & ~posted.mode) !== 0) {
      throw new KernelError("EACCES", `Cannot open "${chan.path}": the posted chan was opened with less access`);
    }
    return posted.retain();
  }

  override close(chan: Chan): void {
    if (!chan.opened || (chan.flags & Open.RemoveOnClose) === 0) return;
    const post = this.#find(chan.qid.path);
    if (post !== null) this.#unpost(post);
  }

  override read(chan: Chan, _buf: Uint8Array, _offset: number): number {
    throw new KernelError("EPERM", `Cannot read "${chan.path}": it was created to post a descriptor`);
  }

  override write(chan: Chan, bytes: Uint8Array, _offset: number): number {
    const post = this.#postOf(chan);
    const words = splitWords(ctlText(bytes));
    if (words.length !== 1) throw new KernelError("EINVAL", `Cannot post ${shown(words.join(" "))}: write one number`);
    const posted = this.#fds.chanOfFd(parseNumber(words[0]!, { max: 0x7fff_ffff }));
    if (post.chan !== null) throw new KernelError("EFAIL", `Cannot post twice under "${post.name}"`);
    // A name posted under itself, or the board, would keep itself alive for ever.
    if (posted.dev === this) throw new KernelError("EINVAL", `Cannot post a file of #srv under "${post.name}"`);
    post.chan = posted.retain();
    return bytes.length;
  }

  override remove(chan: Chan, user: string): void {
    if (chan.isDir) super.remove(chan, user);
    const post = this.#postOf(chan);
    if (user !== post.owner && user !== EVE) {
      throw new KernelError("EPERM", `Cannot remove "${post.name}": it belongs to ${post.owner}`);
    }
    this.#unpost(post);
  }

  #unpost(post: Post): void {
    this.#posts.delete(post.name);
    post.chan?.release();
  }

  /** The post of `chan`; ENOENT if it was removed since. */
  #postOf(chan: Chan): Post {
    const post = this.#find(chan.qid.path);
    if (post === null) throw new KernelError("ENOENT", `Cannot use "${chan.path}": it was removed`);
    return post;
  }

  #find(path: number): Post | null {
    for (const post of this.#posts.values()) if (post.path === path) return post;
    return null;
  }
}

function rootDir(): Dir {
  return makeDir(ROOT_PATH, "#srv", { dir: true, mode: 0o777 });
}

function dirOf(post: Post): Dir {
  return makeDir(post.path, post.name, { mode: 0o770, uid: post.owner });
}
