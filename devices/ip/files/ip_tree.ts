/**
 * The file tree of `#ip`: which files there are, their qids and their directory records.
 *
 * Path: dev_ip → ip_tree → conv, ip_stack, dev, fd_tap.
 *
 *     arp ndb iproute ipselftab log        one of each
 *     tcp udp ipifc icmp icmpv6 raw        protocol directories: clone stats 0 1 2 …
 *     udp/0                                ctl data err listen local remote status (ipifc: snoop)
 *
 * A qid path is kind (5 bits) | conversation << 5 (12 bits) | protocol << 17 (8 bits), Akaros' numbers; above them four
 * bits more of the conversation. Akaros also has `iprouter`, a queue that nothing feeds; we have no such file.
 *
 * @module
 */

import { makeDir } from "../../../kernel/dev.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { type Dir, DirMode, EVE, QidType } from "../../../kernel/qid.ts";
import { type Conv, NETWORK_USER, type Proto } from "../conv/conv.ts";
import type { IpStack } from "../ip_stack.ts";

/** Kinds of file, Akaros' numbers. */
export const Kind = {
  Root: 1,
  Arp: 2,
  Ndb: 3,
  IpRoute: 4,
  IpSelfTab: 6,
  Log: 7,
  ProtoDir: 8,
  Clone: 9,
  Stats: 10,
  ConvDir: 11,
  Ctl: 12,
  Data: 13,
  Err: 14,
  Listen: 15,
  Local: 16,
  Remote: 17,
  Status: 18,
  Snoop: 19,
} as const;

interface File {
  readonly name: string;
  readonly kind: number;
  /** Permission bits; those of ctl, data, err and listen are the conversation's. */
  readonly mode: number;
}

/** Every user may read; what changes the whole stack is eve's. (Akaros lets every user write arp and iproute.) */
const ROOT_FILES: readonly File[] = [
  { name: "arp", kind: Kind.Arp, mode: 0o664 },
  { name: "ndb", kind: Kind.Ndb, mode: 0o664 },
  { name: "iproute", kind: Kind.IpRoute, mode: 0o664 },
  { name: "ipselftab", kind: Kind.IpSelfTab, mode: 0o444 },
  { name: "log", kind: Kind.Log, mode: 0o664 },
];

const CONV_FILES: readonly File[] = [
  { name: "ctl", kind: Kind.Ctl, mode: 0 },
  { name: "data", kind: Kind.Data, mode: 0 },
  { name: "err", kind: Kind.Err, mode: 0 },
  { name: "listen", kind: Kind.Listen, mode: 0 },
  { name: "local", kind: Kind.Local, mode: 0o444 },
  { name: "remote", kind: Kind.Remote, mode: 0o444 },
  { name: "status", kind: Kind.Status, mode: 0o444 },
  { name: "snoop", kind: Kind.Snoop, mode: 0o440 },
];

/** The qid path of a file. */
export function pathOf(kind: number, proto = 0, conv = 0): number {
  return kind | (conv & 0xfff) << 5 | proto << 17 | conv >>> 12 << 25;
}

export function kindOf(path: number): number {
  return path & 0x1f;
}

function convOf(path: number): number {
  return (path >>> 5) & 0xfff | (path >>> 25) << 12;
}

function protoOf(path: number): number {
  return (path >>> 17) & 0xff;
}

/** The protocol that a qid path is under, or null. */
export function protoAt(stack: IpStack, path: number): Proto | null {
  const index = protoOf(path);
  return stack.protos.find((proto) => proto.index === index) ?? null;
}

/** The conversation that a qid path is under, or null. */
export function convAt(stack: IpStack, path: number): Conv | null {
  const proto = protoAt(stack, path);
  return proto === null ? null : stack.space(proto).convs[convOf(path)] ?? null;
}

/** Entries of the directory at `path`, in listing order. */
export function listDir(stack: IpStack, path: number): Dir[] {
  const kind = kindOf(path);
  if (kind === Kind.Root) {
    return [...stack.protos.map(protoDir), ...ROOT_FILES.map((file) => rootFile(stack, file))];
  }
  const proto = protoAt(stack, path);
  if (proto === null) return [];
  if (kind === Kind.ProtoDir) return [...stack.space(proto).convs.map(convDir), cloneFile(proto), statsFile(proto)];
  const conv = kind === Kind.ConvDir ? convAt(stack, path) : null;
  return conv === null ? [] : filesOf(conv).map((file) => convFile(conv, file));
}

/** The entry `name` of the directory at `path`, or null. */
export function lookupName(stack: IpStack, path: number, name: string): Dir | null {
  const kind = kindOf(path);
  if (kind === Kind.Root) {
    if (name === "..") return rootDir();
    const proto = stack.protoNamed(name);
    if (proto !== null) return protoDir(proto);
    const file = ROOT_FILES.find((one) => one.name === name);
    return file === undefined ? null : rootFile(stack, file);
  }
  const proto = protoAt(stack, path);
  if (proto === null) return null;
  if (kind === Kind.ProtoDir) return lookupInProto(stack, proto, name);
  if (kind !== Kind.ConvDir) return null;
  if (name === "..") return protoDir(proto);
  const conv = convAt(stack, path);
  const file = conv === null ? undefined : filesOf(conv).find((one) => one.name === name);
  return conv === null || file === undefined ? null : convFile(conv, file);
}

function lookupInProto(stack: IpStack, proto: Proto, name: string): Dir | null {
  if (name === "..") return rootDir();
  if (name === "clone") return cloneFile(proto);
  if (name === "stats") return statsFile(proto);
  if (!/^(0|[1-9]\d{0,3})$/.test(name)) return null;
  const conv = stack.space(proto).convs[Number(name)];
  return conv === undefined ? null : convDir(conv);
}

/** The record of the file at `path`, which was walked to. */
export function statPath(stack: IpStack, path: number): Dir {
  const kind = kindOf(path);
  const root = ROOT_FILES.find((one) => one.kind === kind);
  if (root !== undefined) return rootFile(stack, root);
  const proto = protoAt(stack, path);
  if (proto === null) return rootDir();
  if (kind === Kind.ProtoDir) return protoDir(proto);
  if (kind === Kind.Clone) return cloneFile(proto);
  if (kind === Kind.Stats) return statsFile(proto);
  const conv = convAt(stack, path);
  const file = CONV_FILES.find((one) => one.kind === kind);
  if (conv === null) return protoDir(proto);
  return file === undefined ? convDir(conv) : convFile(conv, file);
}

function rootDir(): Dir {
  return makeDir(pathOf(Kind.Root), "#ip", { dir: true, uid: NETWORK_USER });
}

function rootFile(stack: IpStack, { name, kind, mode }: File): Dir {
  const dir = makeDir(pathOf(kind), name, { mode, uid: NETWORK_USER });
  if (kind === Kind.Log) return { ...dir, length: stack.log.length, mode: ready(mode, stack.log.length > 0, false) };
  if (kind !== Kind.Ndb) return dir;
  const { bytes, version, mtimeMs } = stack.ndb;
  return { ...dir, qid: { ...dir.qid, vers: version }, length: bytes.length, mtimeMs };
}

function protoDir(proto: Proto): Dir {
  return makeDir(pathOf(Kind.ProtoDir, proto.index), proto.name, { dir: true, uid: NETWORK_USER });
}

function cloneFile(proto: Proto): Dir {
  const mode = proto.adminOnly === true ? 0o660 : 0o666;
  return makeDir(pathOf(Kind.Clone, proto.index), "clone", { mode, uid: NETWORK_USER });
}

function statsFile(proto: Proto): Dir {
  return makeDir(pathOf(Kind.Stats, proto.index), "stats", { mode: 0o444, uid: NETWORK_USER });
}

function convDir(conv: Conv): Dir {
  return makeDir(pathOf(Kind.ConvDir, conv.proto.index, conv.number), `${conv.number}`, { dir: true, uid: conv.owner });
}

/** `snoop` is there where the protocol has a queue for it. */
function filesOf(conv: Conv): readonly File[] {
  return conv.sq === null ? CONV_FILES.slice(0, -1) : CONV_FILES;
}

/** Readiness is reported in every state of the conversation (Akaros forgot Bypass and headers mode). */
function convFile(conv: Conv, { name, kind, mode }: File): Dir {
  const perm = mode === 0 ? conv.perm : mode;
  const { length, level } = readiness(conv, kind);
  return {
    qid: { path: pathOf(kind, conv.proto.index, conv.number), vers: 0, type: QidType.File },
    name,
    mode: ready(perm, (level & (TapEvent.Readable | TapEvent.Hangup)) !== 0, (level & TapEvent.Writable) !== 0),
    length,
    uid: conv.owner,
    gid: EVE,
    atimeMs: 0,
    mtimeMs: 0,
  };
}

/** Bytes that wait behind a file of a conversation, and its level in bits of TapEvent. */
function readiness(conv: Conv, kind: number): { length: number; level: number } {
  if (kind === Kind.Data) return { length: conv.rq.length, level: levelOf(conv, Kind.Data) };
  if (kind === Kind.Err) return { length: conv.eq.length, level: levelOf(conv, Kind.Err) };
  if (kind === Kind.Listen) return { length: conv.callCount, level: levelOf(conv, Kind.Listen) };
  if (kind === Kind.Snoop) return { length: conv.sq?.length ?? 0, level: (conv.sq?.level ?? 0) & ~TapEvent.Writable };
  return { length: 0, level: 0 };
}

/** What a tap on the file would find now: bits of TapEvent. */
export function levelOf(conv: Conv, kind: number): number {
  const called = conv.callCount > 0 ? TapEvent.Readable : 0;
  if (kind === Kind.Data) return conv.dataLevel | called;
  if (kind === Kind.Err) return conv.eq.level & ~TapEvent.Writable;
  return called;
}

function ready(mode: number, readable: boolean, writable: boolean): number {
  return (mode | (readable ? DirMode.Readable : 0) | (writable ? DirMode.Writable : 0)) >>> 0;
}
