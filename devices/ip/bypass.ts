/**
 * Bypass: a conversation that holds a {protocol, port} (or a range of ports) and moves whole IP packets.
 *
 * Path: protocol input → bypass → conv.rq → blockread; blockwrite → bypass (the check) → ip_output.
 *
 * One way: from `bypass` on ctl until the last close the data file carries packets in wire form, one a block; then the
 * conversation's own queues come back. Input is what IP validated, trimmed and reassembled, untouched. Output is
 * trusted in nothing:
 *
 * - a whole packet: version, header length, a total length that is the block's (neither more nor less), a TTL above 0,
 *   no routing or authentication header;
 * - of the conversation's protocol, from the conversation's address or, where it has none, one of ours;
 * - from a port (ICMP: an echo identifier) of the claim. Besides, an ICMP error about a packet that came to the claim:
 *   a NAT must be able to say "port unreachable";
 * - no fragment. The kernel fragments what is too large, so nobody needs to; and only a datagram's first piece shows
 *   its port. With `bypass-header kernel` a first piece is taken as the whole datagram, as in Akaros. An IPv6 packet
 *   larger than its way takes is refused, as a router would, unless a fragment header says that it is the whole of a
 *   datagram (RFC 6946): then the kernel may cut it.
 *
 * What does not hold is EINVAL (not a packet) or EPERM (not yours to send), a counter, and nothing sent.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../../kernel/block.ts";
import { type ErrnoName, KernelError } from "../../kernel/error.ts";
import { TapEvent } from "../../kernel/fd_tap.ts";
import { cutSegments, finishChecksum } from "../../kernel/inet/segment.ts";
import type { Queue } from "../../kernel/queue.ts";
import { ICMP_HEADER_LEN, ICMP_QUOTE_TRANSPORT_MIN } from "../../kernel/wire/icmp.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP, IP_PROTO_ICMP6, IP_PROTO_TCP, IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import type { Conv } from "./conv.ts";
import { IP_HEADERS, type IpHeader } from "./ip_header.ts";
import { sendRaw } from "./ip_output.ts";
import { type BypassRules, ConvState } from "./proto.ts";
import { routeMtu } from "./way.ts";

/** Bytes that wait for a bypass reader (Akaros): half a second at 1 Gbit/s. The queue limits the blocks too. */
export const BYPASS_QUEUE_LIMIT = 64 << 20;

/** Why a packet of a bypass writer was not sent; index of {@link REFUSALS} and of {@link Bypass.refused}. */
export const Refusal = {
  None: 0,
  Short: 1,
  Version: 2,
  Header: 3,
  Length: 4,
  Ttl: 5,
  Offload: 6,
  Fragment: 7,
  Protocol: 8,
  Source: 9,
  Port: 10,
  NoRoute: 11,
  TooBig: 12,
} as const;
export type Refusal = typeof Refusal[keyof typeof Refusal];

/** Counter name, errno and reason of each {@link Refusal}. */
const REFUSALS: readonly { readonly name: string; readonly errno: ErrnoName; readonly why: string }[] = [
  { name: "none", errno: "EFAIL", why: "nothing" },
  { name: "short", errno: "EINVAL", why: "shorter than an IP header" },
  { name: "version", errno: "EINVAL", why: "its first nibble is no IP version we have" },
  { name: "header", errno: "EINVAL", why: "its header length is wrong, or a header may not be sent" },
  { name: "length", errno: "EINVAL", why: "its total length is not the block's" },
  { name: "ttl", errno: "EINVAL", why: "its TTL is 0" },
  { name: "offload", errno: "EINVAL", why: "its checksum or segment metadata do not fit it" },
  { name: "fragment", errno: "EPERM", why: "a fragment: write the whole datagram" },
  { name: "protocol", errno: "EPERM", why: "its protocol is not the conversation's" },
  { name: "source", errno: "EPERM", why: "its source address is not the conversation's" },
  { name: "port", errno: "EPERM", why: "its source port is not the conversation's" },
  { name: "noroute", errno: "EHOSTUNREACH", why: "no route" },
  { name: "toobig", errno: "EMSGSIZE", why: "larger than the next hop takes, and not to be fragmented" },
];

/** Counter names of the `status` line. */
export const REFUSAL_NAMES: readonly string[] = REFUSALS.slice(1).map(({ name }) => name);

const KEEP_HEADER = { kernelHeader: false } as const;
const KERNEL_HEADER = { kernelHeader: true } as const;

/** The claim of one conversation, and what came of it. */
export class Bypass {
  /** Packets sent. */
  packetsOut = 0;
  /** Packets not sent, by {@link Refusal}. */
  readonly refused: number[] = REFUSALS.map(() => 0);
  /** The protocol number its packets have; -1: any that its rules take (raw). */
  readonly protocol: number;
  readonly rules: BypassRules;

  constructor(readonly conv: Conv, rules: BypassRules, readonly savedRq: Queue, readonly savedWq: Queue | null) {
    this.rules = rules;
    this.protocol = conv.proto.ipProtocols[0] ?? -1;
  }

  /** Whether `port` is in the claim. */
  holds(port: number): boolean {
    return port >= this.conv.lport && port <= this.conv.lportEnd;
  }
}

/** Exchanges the queues of `conv`, whose ends are claimed; taps stay, and sleepers on the old queues look again. */
export function startBypass(conv: Conv): void {
  const rules = conv.proto.bypass;
  if (rules === undefined) throw new KernelError("EFAIL", `Cannot bypass ${conv.proto.name}: it has no ports`);
  const { rq, wq } = conv;
  conv.bypass = new Bypass(conv, rules, rq, wq);
  conv.rq = conv.makeDataQueue({ limit: BYPASS_QUEUE_LIMIT, message: true });
  conv.wq = null;
  conv.state = ConvState.Bypass;
  try {
    conv.proto.bypassed?.(conv);
  } catch (error) {
    undoBypass(conv);
    throw error;
  }
  rq.flush();
  rq.readable.wakeup();
  wq?.writable.wakeup();
  conv.changed.wakeup();
  conv.dataTaps.fire(TapEvent.Writable);
}

/** Gives `conv` its own queues back; nothing if it is not bypassed. */
export function undoBypass(conv: Conv): void {
  const { bypass } = conv;
  if (bypass === null) return;
  conv.bypass = null;
  conv.state = ConvState.Idle;
  const { rq } = conv;
  conv.rq = bypass.savedRq;
  conv.wq = bypass.savedWq;
  rq.close();
}

/** Whether the reader of a bypassed conversation wants packets of this IP version. */
export function takesVersion(conv: Conv, version: 4 | 6): boolean {
  return conv.bypassVersion === 0 || conv.bypassVersion === version;
}

/** Gives a packet, IP header first, to the reader of a bypassed conversation; its transport checksum was looked at. */
export function deliverBypass(conv: Conv, block: Block): void {
  if (conv.offload) {
    conv.rq.pass(block);
    return;
  }
  if (block.segment !== Segment.None) {
    deliverCut(conv, block);
    return;
  }
  if (block.checksum === Checksum.Owed) finishChecksum(block);
  block.checksum = Checksum.None;
  conv.rq.pass(block);
}

/** A reader that did not ask for segments gets packets. */
function deliverCut(conv: Conv, block: Block): void {
  const pieces = cutSegments(block, conv.stack.env.blocks) ?? [];
  if (pieces.length === 0) conv.rq.drops++;
  for (const piece of pieces) {
    finishChecksum(piece);
    piece.clearOffload();
    conv.rq.pass(piece);
  }
  block.free();
}

/**
 * Sends what the user of a bypassed conversation wrote; answers its length. On an error the block is still the
 * caller's.
 */
export function sendBypass(conv: Conv, block: Block): number {
  const bypass = conv.bypass!;
  if (block.extents !== null) block.own();
  const refusal = checkPacket(conv, bypass, block);
  if (refusal !== Refusal.None) throw refuse(bypass, refusal, block);
  if (!conv.offload) block.clearOffload();
  const length = block.wp - block.rp;
  // Akaros: the first piece of a datagram is sent as the whole of one.
  if (!conv.keepHeader) IP_HEADERS[block.buf[block.rp]! >>> 4]!.makeWhole(block.buf, block.rp, block.wp);
  const result = sendRaw(conv.stack, block, conv.keepHeader ? KEEP_HEADER : KERNEL_HEADER);
  if (result === "sent" || result === "dropped") {
    bypass.packetsOut++;
    return length;
  }
  throw refuse(bypass, result === "noRoute" ? Refusal.NoRoute : Refusal.TooBig, block);
}

/** Counts the refusal and says why. */
function refuse(bypass: Bypass, refusal: Refusal, block: Block): KernelError {
  bypass.refused[refusal]!++;
  const { errno, why } = REFUSALS[refusal]!;
  const length = block.wp - block.rp;
  if (refusal !== Refusal.TooBig) return new KernelError(errno, `Cannot send ${length} bytes: ${why}`);
  const header = IP_HEADERS[block.buf[block.rp]! >>> 4]!;
  const mtu = routeMtu(bypass.conv.stack, header.dst(block.buf, block.rp));
  return new KernelError(errno, `Cannot send ${length} bytes: ${why} (MTU ${mtu})`, { length: mtu });
}

/** Whether the block is a packet that this conversation may send. Nothing is built for a good one. */
function checkPacket(conv: Conv, bypass: Bypass, block: Block): Refusal {
  const { buf, rp, wp } = block;
  if (wp === rp) return Refusal.Short;
  const header = IP_HEADERS[buf[rp]! >>> 4];
  if (header === undefined || !takesVersion(conv, header.version)) return Refusal.Version;
  if (wp - rp < header.minLen) return Refusal.Short;
  const headerLen = header.headerLen(buf, rp, wp);
  if (headerLen < 0 || !header.maySend(buf, rp, headerLen)) return Refusal.Header;
  if (header.totalLen(buf, rp) !== wp - rp) return Refusal.Length;
  if (conv.keepHeader && header.ttl(buf, rp) === 0) return Refusal.Ttl;
  if (header.isFragment(buf, rp, wp) && (conv.keepHeader || header.fragOffset(buf, rp, wp) !== 0)) {
    return Refusal.Fragment;
  }
  const at = rp + headerLen;
  const ends = checkEnds(conv, bypass, header, block, at);
  if (ends !== Refusal.None) return ends;
  return conv.offload && !offloadFits(block, at, header.protocol(buf, rp, wp)) ? Refusal.Offload : Refusal.None;
}

/** Protocol, source address and source port, `at` being where the transport header starts. */
function checkEnds(conv: Conv, bypass: Bypass, header: IpHeader, block: Block, at: number): Refusal {
  const { buf, rp, wp } = block;
  const protocol = header.protocol(buf, rp, wp);
  const own = protocol === bypass.protocol || bypass.protocol < 0;
  if (!own && protocol !== header.icmp) return Refusal.Protocol;
  const src = header.src(buf, rp);
  // In a header of IPv6 an address that maps one of IPv4 would pass for it.
  if ((header.version === 6 && src.isV4) || !mayBeSource(conv, src)) return Refusal.Source;
  // Loopback addresses never leave the machine (RFC 1122 3.2.1.3).
  if (src.isLoopback) {
    const dst = header.dst(buf, rp);
    if (!dst.isLoopback && !conv.stack.self.isLocal(dst)) return Refusal.Source;
  }
  const port = own ? bypass.rules.sourcePort(buf, at, wp, protocol) : -1;
  if (port >= 0) return bypass.holds(port) ? Refusal.None : Refusal.Port;
  return protocol === header.icmp && quotesClaim(bypass, header, buf, at, wp) ? Refusal.None : Refusal.Port;
}

/**
 * Whether packets may come from `src`: the conversation's address, or one of ours. All of 127/8 is (RFC 1122 3.2.1.3):
 * a packet to any of it is delivered, so its answer must be able to leave.
 */
function mayBeSource(conv: Conv, src: IpAddr): boolean {
  if (!conv.laddr.isUnspecified) return src.equals(conv.laddr);
  return src.isLoopback || conv.stack.self.isLocal(src);
}

/** Whether the ICMP message from `at` to `end` is an error about a packet that came to the claim. */
function quotesClaim(claim: Bypass, version: IpHeader, buf: Uint8Array, at: number, end: number): boolean {
  const quoted = at + ICMP_HEADER_LEN;
  if (quoted >= end) return false;
  if (!version.icmpQuotes(buf[at]!)) return false;
  const header = IP_HEADERS[buf[quoted]! >>> 4];
  if (header !== version || end - quoted < header.minLen) return false;
  const headerLen = header.headerLen(buf, quoted, end);
  const transport = quoted + headerLen;
  if (headerLen < 0 || end - transport < ICMP_QUOTE_TRANSPORT_MIN || header.fragOffset(buf, quoted, end) !== 0) {
    return false;
  }
  const protocol = header.protocol(buf, quoted, end);
  if (claim.protocol >= 0 && protocol !== claim.protocol) return false;
  if (!mayBeSource(claim.conv, header.dst(buf, quoted))) return false;
  return claim.holds(claim.rules.destPort(buf, transport, end, protocol));
}

/** Where the checksum of a transport header is; others may not be owed. */
const CHECKSUM_FIELD: ReadonlyMap<number, number> = new Map([
  [IP_PROTO_ICMP, 2],
  [IP_PROTO_ICMP6, 2],
  [IP_PROTO_TCP, 16],
  [IP_PROTO_UDP, 6],
]);

/**
 * Whether checksum and segment metadata of a writer that knows them fit the packet: they must not move what was
 * checked.
 */
function offloadFits(block: Block, transport: number, protocol: number): boolean {
  const { checksum, checksumStart, checksumField, wp, segment } = block;
  if (checksum === Checksum.Owed) {
    const field = CHECKSUM_FIELD.get(protocol);
    if (checksumStart !== transport || checksumField + 2 > wp) return false;
    if (field === undefined || checksumField !== transport + field) return false;
  } else if (segment !== Segment.None) {
    return false;
  }
  if (segment === Segment.None) return true;
  if (protocol !== (segment === Segment.Udp ? IP_PROTO_UDP : IP_PROTO_TCP)) return false;
  const { segmentSize, segmentHeaderLen, rp } = block;
  return segmentSize > 0 && segmentHeaderLen > transport - rp && segmentHeaderLen < wp - rp;
}

/** The `status` line: what it holds, how its header is treated, what waits, and what was refused. */
export function bypassStatus(conv: Conv): string {
  const bypass = conv.bypass!;
  const { rq } = conv;
  const refused = REFUSAL_NAMES.map((name, i) => `${name} ${bypass.refused[i + 1]}`).join(" ");
  return `Bypassed local ${localText(conv)} header ${conv.keepHeader ? "keep" : "kernel"} ` +
    `offload ${conv.offload ? "on" : "off"} qin ${rq.length} blocks ${rq.blocks} limit ${rq.limit} ` +
    `in ${rq.blocksIn} drops ${rq.drops} out ${bypass.packetsOut} refused ${refused}\n`;
}

/** `addr!port`, or `addr!lo-hi` of a range. */
export function localText(conv: Conv): string {
  const ports = conv.lportEnd === conv.lport ? `${conv.lport}` : `${conv.lport}-${conv.lportEnd}`;
  return `${conv.laddr}!${ports}`;
}
