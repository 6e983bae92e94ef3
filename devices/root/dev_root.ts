/**
 * #root: the directory that names start from: empty directories to bind other devices onto.
 *
 * Path: dev → dev_root (the namespace resolves mounts on its directories).
 *
 * ```
 * /  bin dev env mnt net proc srv tmp      0555, eve
 * ```
 *
 * @module
 */

import { Chan } from "../../kernel/chan.ts";
import { Dev, makeDir } from "../../kernel/dev.ts";
import { KernelError } from "../../kernel/error.ts";
import { type Dir, QidType } from "../../kernel/qid.ts";

/** The default directories. */
export const ROOT_NAMES: readonly string[] = ["bin", "dev", "env", "mnt", "net", "proc", "srv", "tmp"];

const ROOT_PATH = 0;

/** The device `#root`; every spec names the same instance. */
export class RootDev extends Dev {
  override readonly name = "root";
  readonly #entries: readonly Dir[];

  constructor(names: readonly string[] = ROOT_NAMES) {
    super();
    this.#entries = names.map((name, i) => makeDir(i + 1, name, { dir: true }));
  }

  override attach(_spec: string, _user: string): Chan {
    return new Chan(this, { path: ROOT_PATH, vers: 0, type: QidType.Dir });
  }

  override lookup(dir: Chan, name: string): Dir | null {
    if (name === "..") return this.#root();
    return this.list(dir).find((entry) => entry.name === name) ?? null;
  }

  override list(dir: Chan): Dir[] {
    return dir.qid.path === ROOT_PATH ? [...this.#entries] : [];
  }

  override stat(chan: Chan): Dir {
    return this.#entries[chan.qid.path - 1] ?? this.#root();
  }

  override read(chan: Chan, _buf: Uint8Array, _offset: number): number {
    throw new KernelError("EISDIR", `Cannot read "${chan.path}": it is a directory`);
  }

  #root(): Dir {
    return makeDir(ROOT_PATH, "/", { dir: true });
  }
}
