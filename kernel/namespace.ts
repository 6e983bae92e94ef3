/**
 * Namespace: names to chans; binds, unions and mounts. Children of a process share its namespace (Plan 9's Pgrp).
 *
 * Path: proc_state, kernel → namespace → chan.
 *
 * A name is `/…` (from the root), `#device.spec/…` (a device's own tree; such a path never crosses a mount point), or
 * relative to the working directory. `.` and `..` of the first two kinds are resolved in the text, so that `..` leaves
 * a mounted tree by the path that entered it.
 *
 * @module
 */

import type { Chan } from "./chan.ts";
import type { Dev } from "./dev.ts";
import { KernelError } from "./error.ts";

/** Longest path in bytes. */
const PATH_MAX = 4096;

/** Flags of bind and mount, Plan 9's numbers. */
export const Mount = { Replace: 0, Before: 1, After: 2, Create: 4, Cache: 0x10 } as const;
const MOUNT_FLAGS_MAX = 0x17;
const MOUNT_ORDER = 3;
/** A path from the root in which every name stands for itself: what programs mostly write. */
const PLAIN = /^(?:\/[^/.][^/]*)+$/;

interface Member {
  readonly chan: Chan;
  readonly id: number;
  readonly create: boolean;
}

interface MountPoint {
  readonly target: Chan;
  members: Member[];
}

/** The mounts of a group of processes, and how names are resolved with them. */
export class Namespace {
  #points: MountPoint[] = [];
  #nextId = 1;

  /** A name space without mounts over a table of devices, whose `/` is `root`. */
  constructor(readonly devices: ReadonlyMap<string, Dev>, readonly root: Chan) {}

  /** How many mount points there are: what tests count. */
  get size(): number {
    return this.#points.length;
  }

  /** Puts `source` onto `target`; returns the mount id. */
  bind(source: Chan, target: Chan, flags: number): number {
    const order = flags & MOUNT_ORDER;
    if (flags < 0 || flags > MOUNT_FLAGS_MAX || order === MOUNT_ORDER) {
      throw new KernelError("EINVAL", `Cannot bind with flags 0x${flags.toString(16)}`);
    }
    if (source.isDir !== target.isDir) {
      throw new KernelError("EINVAL", `Cannot bind "${source.path}" onto "${target.path}": one is a directory`);
    }
    if (order !== Mount.Replace && !target.isDir) {
      throw new KernelError("EINVAL", `Cannot make a union of "${target.path}": it is not a directory`);
    }
    const id = this.#nextId++;
    const create = (flags & Mount.Create) !== 0;
    const added = this.#membersOf(source).map((member) => ({ ...member, chan: member.chan.retain(), id, create }));
    const point = this.#point(target);
    const old = point?.members ?? [{ chan: target.clone(), id: 0, create: true }];
    if (point === undefined) this.#points.push({ target: target.clone(), members: this.#ordered(order, added, old) });
    else point.members = this.#ordered(order, added, old);
    return id;
  }

  #ordered(order: number, added: Member[], old: Member[]): Member[] {
    if (order === Mount.Before) return [...added, ...old];
    if (order === Mount.After) return [...old, ...added];
    for (const member of old) if (member.id !== 0) member.chan.release();
    return added;
  }

  /** Members of a union, or the chan alone. */
  #membersOf(chan: Chan): Member[] {
    return this.#point(chan)?.members ?? [{ chan, id: 0, create: true }];
  }

  /** Takes `source` (or, if null, everything) off `target`; ENOENT if it is not there. */
  unmount(source: Chan | null, target: Chan): void {
    const point = this.#point(target);
    const isGone = (member: Member) => member.id !== 0 && (source === null || member.chan.sameFile(source));
    const gone = point?.members.filter(isGone) ?? [];
    if (point === undefined || gone.length === 0) {
      throw new KernelError("ENOENT", `Cannot unmount "${target.path}": nothing is mounted there`);
    }
    point.members = point.members.filter((member) => !gone.includes(member));
    for (const member of gone) member.chan.release();
    if (point.members.every((member) => member.id === 0)) {
      this.#points = this.#points.filter((other) => other !== point);
    }
  }

  #point(chan: Chan): MountPoint | undefined {
    for (const point of this.#points) if (point.target.sameFile(chan)) return point;
    return undefined;
  }

  /** The file `path` names, crossing mounts; `cwd` is the absolute text of the working directory. */
  walk(path: string, cwd: string, user: string): Chan {
    const found = this.#walkTo(this.absolute(path, cwd), user);
    if (path.endsWith("/") && !found.isDir) throw new KernelError("ENOTDIR", `Cannot open "${path}": not a directory`);
    return found;
  }

  /** The file to mount onto: as {@link walk}, but a mount point itself is not crossed. */
  mountTarget(path: string, cwd: string, user: string): Chan {
    return this.#walkTo(this.absolute(path, cwd), user, false);
  }

  /** Where `path` would be created: the directories to try, best first, and the new name. */
  createIn(path: string, cwd: string, user: string): { dir: Chan; name: string } {
    const text = this.absolute(path, cwd);
    const slash = text.lastIndexOf("/");
    const parent = this.#walkTo(slash <= 0 && !text.startsWith("#") ? "/" : text.slice(0, slash), user, false);
    const name = text.slice(slash + 1);
    if (slash < 0 || name === "") throw new KernelError("EINVAL", `Cannot create "${path}": no name`);
    if (!parent.isDir) throw new KernelError("ENOTDIR", `Cannot create "${path}": "${parent.path}" is not a directory`);
    const member = this.#membersOf(parent).find((candidate) => candidate.create);
    if (member === undefined) {
      throw new KernelError("EPERM", `Cannot create "${path}": no member of the union takes new files`);
    }
    return { dir: text.startsWith("#") ? parent : member.chan, name };
  }

  /** The text of `path` seen from `cwd`: absolute, without `.`, `..` and doubled slashes. */
  absolute(path: string, cwd: string): string {
    checkName(path);
    if (path.startsWith("#") || PLAIN.test(path)) return path;
    const joined = path.startsWith("/") ? path : `${cwd}/${path}`;
    const device = joined.startsWith("#") ? joined.slice(0, (joined + "/").indexOf("/")) : "";
    const names: string[] = [];
    for (const name of joined.slice(device.length).split("/")) {
      if (name === "..") names.pop();
      else if (name !== "" && name !== ".") names.push(name);
    }
    return device === "" ? `/${names.join("/")}` : [device, ...names].join("/");
  }

  #walkTo(text: string, user: string, crossLast = true): Chan {
    if (text.startsWith("#")) return this.#walkDevice(text, user);
    let at = this.root.clone();
    for (const name of text.split("/")) if (name !== "") at = this.#step(at, name, text);
    at.path = text;
    return crossLast ? this.#crossed(at) : at;
  }

  /** Walks one name further, across mounts; `at` is the caller's own, and may be moved. */
  #step(at: Chan, name: string, text: string): Chan {
    const point = this.#point(at);
    if (point === undefined) {
      if (at.dev.enter(at, name)) return at;
    } else {
      for (const { chan } of point.members) {
        const next = chan.clone();
        if (next.dev.enter(next, name)) return next;
      }
    }
    throw new KernelError(at.isDir ? "ENOENT" : "ENOTDIR", `Cannot find "${text}": no "${name}"`);
  }

  /** The file at a mount point: its first member, with the whole union if it is a directory. */
  #crossed(at: Chan): Chan {
    const point = this.#point(at);
    if (point === undefined) return at;
    const first = point.members[0]!.chan.clone();
    first.path = at.path;
    if (at.isDir && point.members.length > 1) first.union = point.members.map((member) => member.chan);
    return first;
  }

  #walkDevice(text: string, user: string): Chan {
    const slash = (text + "/").indexOf("/");
    const first = text.slice(1, slash);
    const dot = (first + ".").indexOf(".");
    const name = first.slice(0, dot);
    const dev = this.devices.get(name);
    if (dev === undefined) throw new KernelError("EFAIL", `Cannot attach "#${first}": no such device`);
    const root = dev.attach(first.slice(dot + 1), user);
    const names = text.slice(slash).split("/").filter((part) => part !== "" && part !== ".");
    const walked = dev.walk(root, names);
    if (walked.chan === null) throw new KernelError("ENOENT", `Cannot find "${text}": no "${names[walked.found]}"`);
    return walked.chan;
  }
}

/** Names are printable ASCII and at most {@link PATH_MAX} long. */
function checkName(path: string): void {
  if (path === "") throw new KernelError("ENOENT", "Cannot open a file without a name");
  if (path.length > PATH_MAX) throw new KernelError("ENAMETOOLONG", `Cannot open a name of ${path.length} characters`);
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code < 0x20 || code >= 0x7f) {
      throw new KernelError("EFAIL", `Cannot open a name with the character 0x${code.toString(16)}`);
    }
  }
}
