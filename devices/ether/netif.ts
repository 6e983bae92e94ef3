/**
 * Netif: the files of a NIC, their records, and the texts that they show (Akaros `netif`).
 *
 * Path: dev_ether → netif → ether, ether_conv.
 *
 * ```
 *   #ether.N/etherN/clone            opening it reserves a conversation and becomes its ctl
 *                   addr             twelve hex digits
 *                   stats ifstats    counters of the NIC
 *                   0 … 7/data       frames
 *                         ctl        commands, see netif_ctl; reads as the conversation's number
 *                         stats      counters of the NIC, then of the conversation
 *                         type       the ethertype it is connected to
 *                         ifstats
 * ```
 *
 * A file's qid path is its kind and, shifted left by 5, the number of its conversation plus 1 (Akaros).
 *
 * @module
 */

import { makeDir } from "../../kernel/dev.ts";
import { TapEvent } from "../../kernel/fd_tap.ts";
import type { PortOffloads } from "../../kernel/host.ts";
import { type Dir, DirMode } from "../../kernel/qid.ts";
import type { EtherController } from "./ether.ts";
import type { EtherConv } from "./ether_conv.ts";

/** Kinds of files; numbers are Akaros'. */
export const NetifKind = {
  Root: 0,
  Clone: 1,
  Addr: 2,
  Nic: 3,
  Conv: 4,
  Data: 5,
  Ctl: 6,
  Stats: 7,
  Type: 8,
  IfStats: 9,
} as const;

const KIND_BITS = 5;

/** The qid path of a file; `id` is the number of its conversation, -1 for the NIC's own files. */
export function netifPath(kind: number, id = -1): number {
  return kind | ((id + 1) << KIND_BITS);
}

/** The kind of the file with that qid path. */
export function netifKind(path: number): number {
  return path & ((1 << KIND_BITS) - 1);
}

/** The conversation of the file with that qid path, by number; -1: it is the NIC's own. */
function netifId(path: number): number {
  return (path >>> KIND_BITS) - 1;
}

/** The conversation of the file with that qid path, or null. */
export function netifConv(nic: EtherController, path: number): EtherConv | null {
  return nic.convs[netifId(path)] ?? null;
}

/** The record of the file with that qid path. */
export function netifStat(nic: EtherController, path: number): Dir {
  const conv = netifConv(nic, path);
  switch (netifKind(path)) {
    case NetifKind.Root:
      return makeDir(path, "#ether", { dir: true });
    case NetifKind.Nic:
      return makeDir(path, `ether${nic.number}`, { dir: true });
    case NetifKind.Conv:
      return makeDir(path, `${netifId(path)}`, { dir: true, ...ownerOf(conv) });
    case NetifKind.Clone:
      return makeDir(path, "clone");
    case NetifKind.Addr:
      return makeDir(path, "addr");
    case NetifKind.Data:
      return dataDir(path, conv);
    case NetifKind.Ctl:
      return makeDir(path, "ctl", { mode: conv?.perm ?? 0, ...ownerOf(conv) });
    case NetifKind.Type:
      return makeDir(path, "type", { mode: 0o444, ...ownerOf(conv) });
    case NetifKind.Stats:
      return makeDir(path, "stats", { mode: 0o444, ...ownerOf(conv) });
    default:
      return makeDir(path, "ifstats", { mode: 0o444, ...ownerOf(conv) });
  }
}

function ownerOf(conv: EtherConv | null): { uid?: string } {
  return conv === null || conv.owner === "" ? {} : { uid: conv.owner };
}

/** The record of the data file: bytes that wait to be read, and whether a read or a write would not wait. */
function dataDir(path: number, conv: EtherConv | null): Dir {
  if (conv === null) return makeDir(path, "data", { mode: 0 });
  const { level } = conv;
  const readable = (level & (TapEvent.Readable | TapEvent.Hangup)) !== 0 ? DirMode.Readable : 0;
  const writable = (level & TapEvent.Writable) !== 0 ? DirMode.Writable : 0;
  return makeDir(path, "data", {
    mode: conv.perm | readable | writable,
    length: conv.queue.length,
    ...ownerOf(conv),
  });
}

/** The entries of the directory with that qid path, in Akaros' order. */
export function netifList(nic: EtherController, path: number): Dir[] {
  switch (netifKind(path)) {
    case NetifKind.Root:
      return [netifStat(nic, NetifKind.Nic)];
    case NetifKind.Nic: {
      const own = [NetifKind.Clone, NetifKind.Addr, NetifKind.Stats, NetifKind.IfStats];
      const convs = nic.convs.filter((conv) => conv !== null);
      return [...own, ...convs.map((conv) => netifPath(NetifKind.Conv, conv.number))].map((at) => netifStat(nic, at));
    }
    default: {
      const kinds = [NetifKind.Data, NetifKind.Ctl, NetifKind.Stats, NetifKind.Type, NetifKind.IfStats];
      return kinds.map((kind) => netifStat(nic, netifPath(kind, netifId(path))));
    }
  }
}

/** The entry `name` of the directory with that qid path, or null. */
export function netifLookup(nic: EtherController, path: number, name: string): Dir | null {
  if (name === "..") return netifStat(nic, netifKind(path) === NetifKind.Conv ? NetifKind.Nic : NetifKind.Root);
  return netifList(nic, path).find((entry) => entry.name === name) ?? null;
}

/** The contents of the text file with that qid path. */
export function netifText(nic: EtherController, path: number): string {
  const conv = netifConv(nic, path);
  switch (netifKind(path)) {
    case NetifKind.Addr:
      return nic.mac.toHex();
    case NetifKind.Ctl:
      return `${netifId(path)}`;
    case NetifKind.Type:
      return `${conv?.type ?? 0}`;
    case NetifKind.Stats:
      return statsText(nic) + (conv === null ? "" : convText(conv));
    default:
      return ifstatsText(nic);
  }
}

/** Akaros' lines of `stats`, and the MTU (ours): most bytes of payload in a frame. */
function statsText(nic: EtherController): string {
  const { counters, port } = nic;
  const features = featureWords(port.offloads);
  return lines([
    ["driver", port.name],
    ["in", counters.inFrames],
    ["link", nic.gone === null && port.link ? 1 : 0],
    ["out", counters.outFrames],
    ["crc errs", 0],
    ["overflows", 0],
    ["soft overflows", counters.softOverflows],
    ["framing errs", counters.lengthErrors],
    ["buffer errs", counters.loopOverflows],
    ["output errs", counters.outputErrors],
    ["prom", nic.promiscuous],
    ["mbps", port.mbps],
    ["addr", nic.mac.toHex()],
    ["feat", features],
    ["hw_features", features],
    ["mtu", port.mtu],
  ]);
}

/** Ours: the counters of one conversation. */
function convText(conv: EtherConv): string {
  return lines([
    ["conv in", conv.received],
    ["conv soft overflows", conv.overflows],
    ["conv queued", conv.queue.length],
  ]);
}

/** Counters under Linux' names where it has one. */
function ifstatsText(nic: EtherController): string {
  const { counters } = nic;
  return lines([
    ["rx_packets", counters.inFrames],
    ["rx_bytes", counters.inBytes],
    ["rx_length_errors", counters.lengthErrors],
    ["rx_filtered", counters.filtered],
    ["rx_nohandler", counters.unclaimed],
    ["rx_dropped", counters.softOverflows],
    ["tx_packets", counters.outFrames],
    ["tx_bytes", counters.outBytes],
    ["tx_errors", counters.outputErrors],
    ["tx_looped", counters.looped],
    ["loop_dropped", counters.loopOverflows],
  ]);
}

/** Akaros' words for the offloads of a port. */
function featureWords(offloads: PortOffloads): string {
  const words: string[] = [];
  if (offloads.checksum) words.push("udpck", "tcpck");
  if (offloads.tcpSegment) words.push("tso");
  if (offloads.udpSegment) words.push("uso");
  return words.join(" ");
}

function lines(entries: readonly (readonly [name: string, value: string | number])[]): string {
  return entries.map(([name, value]) => `${name}: ${value}\n`).join("");
}
