/**
 * Network namespaces: made, visited and removed as `ip netns` does it, without the `ip` command.
 *
 * Path: tun, link_watch, linux_socket → netns → libc, netdev.
 *
 * A namespace belongs to a thread. A visit is therefore synchronous: this thread enters, works, and returns before
 * anything else can run on it. A TAP or socket opened inside keeps working from outside. A thread started during a
 * visit would inherit the namespace, so a visit starts none: it makes no `nonblocking` call and awaits nothing.
 *
 * A namespace with a name is held by a bind mount at `/run/netns/NAME`, so that other programs can enter it: `ip netns
 * exec NAME ping …`, `nsenter --net=/run/netns/NAME ping …`. A program that is killed leaves the mount behind; `ip
 * netns delete NAME` removes it. One without a name is held by a descriptor, and ends with the program in any case:
 * `nsenter --net=/proc/PID/fd/N`. Both need CAP_SYS_ADMIN.
 *
 * @module
 */

import { call, cString, EACCES, EEXIST, EINVAL, ENOENT, EPERM, HostError, lastErrno, libc, withLibc } from "./libc.ts";
import { NetDevice } from "./netdev.ts";

/** Where named namespaces are mounted. */
const NETNS_DIR = "/run/netns";

/** The namespace of the thread that opens it. */
const OWN_NETNS = "/proc/thread-self/ns/net";

const CLONE_NEWNET = 0x4000_0000;
const MS_BIND = 0x1000n;
const MS_REC = 0x4000n;
const MS_SHARED = 0x10_0000n;
const MNT_DETACH = 2;
const O_RDONLY_CLOEXEC = 0x8_0000;
const O_CREAT_EXCL = 0xc0;
/** Longest file name (NAME_MAX). */
const NETNS_NAME_MAX = 255;

const NEEDS_SYS_ADMIN: Readonly<Record<number, string>> = {
  [EPERM]: "needs root or CAP_SYS_ADMIN",
  [EACCES]: "needs root or CAP_SYS_ADMIN",
};

/** A network namespace with a name. `close` removes one that was created here, and leaves one that was only opened. */
export class Netns {
  /** Its name, or its path if it was opened by one. */
  readonly name: string;
  /** A file that other programs can enter it by. */
  readonly path: string;
  #release: (() => void) | null;

  /** For {@link createNetns}, {@link holdNetns} and {@link openNetns}; `release` drops what holds it. */
  constructor(name: string, path: string, release: (() => void) | null) {
    this.name = name;
    this.path = path;
    this.#release = release;
  }

  /**
   * Runs `work` with this thread inside; it must not await. Throws {@link HostError} if the namespace cannot be
   * entered.
   */
  run<T>(work: () => T): T {
    return withLibc(() => this.#run(work));
  }

  #run<T>(work: () => T): T {
    const target = openFile(`Cannot open network namespace "${this.name}"`, this.path, {
      [ENOENT]: "there is no such namespace",
    });
    try {
      return visit(() => {
        // Safe because `visit` always brings the thread back.
        call(`Cannot enter network namespace "${this.name}"`, libc().setns(target, CLONE_NEWNET), NEEDS_SYS_ADMIN);
        return work();
      });
    } finally {
      libc().close(target);
    }
  }

  /** Releases a namespace that was created here; it ends with the last program or device in it. */
  close(): void {
    const release = this.#release;
    this.#release = null;
    if (release !== null) withLibc(release);
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Makes the namespace `name`, its loopback interface up. Throws {@link HostError}: EEXIST, EPERM. */
export function createNetns(name: string): Netns {
  const attempt = `Cannot create network namespace "${name}"`;
  if (!/^[\w.%+-]+$/.test(name) || /^\.\.?$/.test(name) || name.length > NETNS_NAME_MAX) {
    throw new HostError(attempt, EINVAL, { reason: `a name of letters, digits and _.%+- is needed` });
  }
  const path = `${NETNS_DIR}/${name}`;
  withLibc(() => mountNew(attempt, path));
  return new Netns(name, path, () => unmount(name, path));
}

/**
 * Makes a namespace without a name, its loopback interface up; it ends with this program. Throws {@link HostError}:
 * EPERM.
 */
export function holdNetns(): Netns {
  const fd = withLibc(() =>
    visit(() => {
      makeHere("Cannot create a network namespace");
      return openFile("Cannot hold a network namespace", OWN_NETNS);
    })
  );
  return new Netns(`akarino-${Deno.pid}-${fd}`, `/proc/${Deno.pid}/fd/${fd}`, () => libc().close(fd));
}

/** Makes a namespace and its file; neither is left if it fails. */
function mountNew(attempt: string, path: string): void {
  shareNetnsDir();
  const hints = { ...NEEDS_SYS_ADMIN, [EEXIST]: "the name is taken" };
  const file = cString(path);
  const fd = call(attempt, libc().open(file, O_RDONLY_CLOEXEC | O_CREAT_EXCL, 0), hints);
  libc().close(fd);
  try {
    visit(() => {
      makeHere(attempt);
      bindMount(attempt, OWN_NETNS, path, MS_BIND);
    });
  } catch (error) {
    libc().umount2(file, MNT_DETACH);
    libc().unlink(file);
    throw error;
  }
}

/** Takes this thread to a new namespace, and brings up its loopback interface. */
function makeHere(attempt: string): void {
  call(attempt, libc().unshare(CLONE_NEWNET), NEEDS_SYS_ADMIN);
  const loopback = new NetDevice("lo");
  try {
    loopback.up = true;
  } finally {
    loopback.close();
  }
}

/** Removes the file of a namespace. */
function unmount(name: string, path: string): void {
  const file = cString(path);
  const attempt = `Cannot remove network namespace "${name}"`;
  // The mount may have been removed already: then only the file is left.
  const result = libc().umount2(file, MNT_DETACH);
  if (result < 0 && lastErrno() !== EINVAL && lastErrno() !== ENOENT) call(attempt, result, NEEDS_SYS_ADMIN);
  if (libc().unlink(file) < 0 && lastErrno() !== ENOENT) call(attempt, -1, NEEDS_SYS_ADMIN);
}

/** An existing namespace: a name of `ip netns`, or a path such as `/proc/123/ns/net`. Close leaves it alone. */
export function openNetns(nameOrPath: string): Netns {
  return new Netns(nameOrPath, nameOrPath.includes("/") ? nameOrPath : `${NETNS_DIR}/${nameOrPath}`, null);
}

/** Throws HostError if there is no such file, with `hint`; a lack of permission to open it does not count. */
export function requireFile(attempt: string, path: string, hint: string): void {
  withLibc(() => {
    const fd = libc().open(cString(path), O_RDONLY_CLOEXEC, 0);
    if (fd >= 0) libc().close(fd);
    else if (lastErrno() === ENOENT) throw new HostError(attempt, ENOENT, { hint });
  });
}

/** Runs `work`, which takes this thread to another namespace, and brings the thread back. */
function visit<T>(work: () => T): T {
  const home = openFile("Cannot open this thread's network namespace", OWN_NETNS);
  try {
    return work();
  } finally {
    goHome(home);
  }
}

/** Puts this thread back into the namespace `home`, a no-op if it never left. Closes `home`. */
function goHome(home: number): void {
  const result = libc().setns(home, CLONE_NEWNET);
  const errno = lastErrno();
  libc().close(home);
  // An unprivileged thread cannot have left, and may not call setns.
  if (result < 0 && errno !== EPERM) throw new HostError("Cannot leave the network namespace", errno);
}

/** Makes /run/netns a shared mount, as `ip netns add` does: later mount namespaces see the mounts in it, too. */
function shareNetnsDir(): void {
  const attempt = `Cannot prepare ${NETNS_DIR}`;
  const dir = cString(NETNS_DIR);
  if (libc().mkdir(dir, 0o755) < 0 && lastErrno() !== EEXIST) call(attempt, -1, NEEDS_SYS_ADMIN);
  if (libc().mount(cString("none"), dir, cString("none"), MS_SHARED | MS_REC, null) >= 0) return;
  if (lastErrno() !== EINVAL) call(attempt, -1, NEEDS_SYS_ADMIN);
  // Not yet a mount point: mount it on itself, once.
  bindMount(attempt, NETNS_DIR, NETNS_DIR, MS_BIND | MS_REC);
  bindMount(attempt, "none", NETNS_DIR, MS_SHARED | MS_REC);
}

/** mount(2) without data. Safe because all strings end with NUL and C only reads them. */
function bindMount(attempt: string, source: string, target: string, flags: bigint): void {
  const strings = [cString(source), cString(target), cString("none")] as const;
  call(attempt, libc().mount(strings[0], strings[1], strings[2], flags, null), NEEDS_SYS_ADMIN);
}

function openFile(attempt: string, path: string, hints: Readonly<Record<number, string>> = {}): number {
  const file = cString(path);
  return call(attempt, libc().open(file, O_RDONLY_CLOEXEC, 0), hints);
}
