/**
 * The machine's resolv.conf files: read at start, and followed while netd runs.
 *
 * Path: netd (start), daemon (while it runs) → resolv_files → resolv_conf.
 *
 * Once a second each file's device, inode, time and size are checked (6 µs), through symbolic links: this detects a
 * file that is rewritten, renamed into place, or behind another link. While a file is missing, or names no server, its
 * former contents count: it is being written.
 *
 * @module
 */

import { KernelError } from "../../kernel/error.ts";
import { mergeResolvConfs, NO_RESOLV_CONF, parseResolvConf, type ResolvConf } from "./resolv_conf.ts";

/** The second names the servers of systemd-resolved, which itself listens on the machine's loopback only. */
const RESOLV_CONFS = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"] as const;
/** How often they are checked. */
const LOOK_MS = 1000;
/** Longest file: glibc takes three servers, and reads 256 characters of a line at most. */
const SIZE_MAX = 64 * 1024;

/** The files, and their contents when they were last read. */
export class ResolvFiles {
  readonly #paths: readonly string[];
  readonly #said = new Map<string, { stamp: string; conf: ResolvConf }>();

  constructor(paths: readonly string[] = RESOLV_CONFS) {
    this.#paths = paths;
  }

  /** The machine's configuration. Throws KernelError: a file exists, and cannot be read. */
  read(): ResolvConf {
    for (const path of this.#paths) {
      const stamp = stampOf(path);
      this.#said.set(path, { stamp, conf: stamp === "" ? NO_RESOLV_CONF : readConf(path) });
    }
    return this.#merged();
  }

  /** The new configuration, if it has changed; null: it has not, or it cannot be read now. */
  changed(): ResolvConf | null {
    let isNew = false;
    for (const path of this.#paths) {
      try {
        const stamp = stampOf(path);
        const old = this.#said.get(path);
        if (stamp === "" || stamp === old?.stamp) continue;
        const conf = readConf(path);
        // It may still be being written: the next check reads more.
        if (conf.nameServers.length === 0) continue;
        this.#said.set(path, { stamp, conf });
        isNew = true;
      } catch (error) {
        // The file may be in any state for a moment. At start that is an error; now the old servers are kept.
        if (!(error instanceof KernelError)) throw error;
      }
    }
    return isNew ? this.#merged() : null;
  }

  #merged(): ResolvConf {
    return mergeResolvConfs([...this.#said.values()].map(({ conf }) => conf));
  }
}

/** Calls `heard` when the configuration changes. Returns a function that stops that. */
export function followResolvConf(files: ResolvFiles, heard: (conf: ResolvConf) => void): () => void {
  const timer = setInterval(() => {
    const conf = files.changed();
    if (conf !== null) heard(conf);
  }, LOOK_MS);
  return () => clearInterval(timer);
}

/** Identifies a state of a file; empty: there is no file, or no permission to look. */
function stampOf(path: string): string {
  const stat = guarded(path, () => Deno.statSync(path));
  if (stat === null) return "";
  if (!stat.isFile) throw unreadable(path, stat.isDirectory ? "it is a directory" : "it is no file");
  if (stat.size > SIZE_MAX) throw unreadable(path, `it is longer than ${SIZE_MAX} bytes`);
  return `${stat.dev} ${stat.ino} ${stat.mtime?.getTime()} ${stat.ctime?.getTime()} ${stat.size}`;
}

function readConf(path: string): ResolvConf {
  const text = guarded(path, () => Deno.readTextFileSync(path));
  return text === null ? NO_RESOLV_CONF : parseResolvConf(text, path);
}

function guarded<T>(path: string, look: () => T): T | null {
  try {
    return look();
  } catch (error) {
    // Without the file, or the permission to read it, other servers are used.
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable) return null;
    throw unreadable(path, error instanceof Error ? error.message : `${error}`);
  }
}

function unreadable(path: string, why: string): KernelError {
  return new KernelError("EFAIL", `Cannot read the machine's name servers from ${path}: ${why} (--dns names others)`);
}
