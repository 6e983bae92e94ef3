/**
 * Bypass: a conversation that holds a {protocol, port} (or a range of ports) and moves whole IP packets.
 *
 * Path: dev_ip, echo_convs, raw → bypass → ip_output, conv, segment, bypass_claim.
 *
 * One way: from `bypass` on ctl until the last close the data file carries packets in wire form, one a block. What the
 * protocol had made for the conversation goes (Akaros keeps it and puts it back: a NAT has thousands of conversations,
 * and TCP's part is the larger); the slot's next user gets new queues like every other. Input is the packet that IP
 * validated, trimmed and reassembled, unchanged. Nothing of output is trusted:
 *
 * - a whole packet: version, header length, a total length that is the block's (neither more nor less), a TTL above 0,
 *   no routing or authentication header;
 * - of the conversation's protocol, from the conversation's address or, where it has none, one of ours;
 * - from a port (ICMP: an echo identifier) of the claim. Besides, an ICMP error about a packet that came to the claim:
 *   a NAT must be able to say "port unreachable";
 * - no fragment. The kernel fragments what is too large, so a program need not; and only a datagram's first piece shows
 *   its port. With `bypass-header kernel` a first piece is taken as the whole datagram, as in Akaros. An IPv6 packet
 *   larger than its path takes is refused, as a router would, unless a fragment header says that it is the whole of a
 *   datagram (RFC 6946): then the kernel may cut it.
 *
 * A packet that breaks a rule is EINVAL (not a packet) or EPERM (not yours to send); it is counted and not sent.
 *
 * @module
 */

import { type Block, Checksum, Segment } from "../../../kernel/block.ts";
import { KernelError } from "../../../kernel/error.ts";
import { settleOffload } from "../../../kernel/inet/offload.ts";
import { cutSegments, finishChecksum } from "../../../kernel/inet/segment.ts";
import { ICMP_HEADER_LEN, ICMP_QUOTE_TRANSPORT_MIN } from "../../../kernel/wire/icmp.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { type Bypass, Refusal, REFUSAL_NAMES, REFUSALS } from "../conv/bypass_claim.ts";
import type { Conv } from "../conv/conv.ts";
import { IP_HEADERS, type IpHeader } from "../../../kernel/inet/ip_header.ts";
import { sendRaw } from "./ip_output.ts";
import type { NetContext } from "./context.ts";
import { routeMtu } from "../route/egress.ts";

const KEEP_HEADER = { kernelHeader: false } as const;
const KERNEL_HEADER = { kernelHeader: true } as const;

/** Whether the reader of a bypassed conversation wants packets of this IP version. */
export function takesVersion(conv: Conv, version: 4 | 6): boolean {
  return conv.bypassVersion === 0 || conv.bypassVersion === version;
}

/**
 * Delivers a packet, IP header first, to the reader of a bypassed conversation; its transport checksum was looked at.
 */
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
  const pieces = cutSegments(block, conv.space.blocks) ?? [];
  if (pieces.length === 0) conv.rq.drops++;
  for (const piece of pieces) {
    finishChecksum(piece);
    piece.clearOffload();
    conv.rq.pass(piece);
  }
  block.free();
}

/**
 * Sends what the user of a bypassed conversation wrote, and returns its length. On an error the block is still the
 * caller's.
 */
export function sendBypass(stack: NetContext, conv: Conv, block: Block): number {
  const bypass = conv.bypass!;
  if (block.extents !== null) block.own();
  const refusal = checkPacket(stack, conv, block);
  if (refusal !== Refusal.None) throw refuse(stack, bypass, refusal, block);
  if (!conv.offload) block.clearOffload();
  const length = block.wp - block.rp;
  // Akaros: the first piece of a datagram is sent as the whole of one.
  if (!conv.keepHeader) IP_HEADERS[block.buf[block.rp]! >>> 4]!.makeWhole(block.buf, block.rp, block.wp);
  const result = sendRaw(stack, block, conv.keepHeader ? KEEP_HEADER : KERNEL_HEADER);
  if (result === "sent") {
    bypass.packetsOut++;
    return length;
  }
  throw refuse(stack, bypass, result === "noRoute" ? Refusal.NoRoute : Refusal.TooBig, block);
}

/** Counts the refusal and says why. */
function refuse(stack: NetContext, bypass: Bypass, refusal: Refusal, block: Block): KernelError {
  const counts = bypass.refused ??= REFUSALS.map(() => 0);
  counts[refusal]!++;
  const { errno, why } = REFUSALS[refusal]!;
  const length = block.wp - block.rp;
  if (refusal !== Refusal.TooBig) return new KernelError(errno, `Cannot send ${length} bytes: ${why}`);
  const header = IP_HEADERS[block.buf[block.rp]! >>> 4]!;
  const mtu = routeMtu(stack, header.dst(block.buf, block.rp));
  return new KernelError(errno, `Cannot send ${length} bytes: ${why} (MTU ${mtu})`, { length: mtu });
}

/** Whether the block is a packet that this conversation may send. Nothing is built for a good one. */
function checkPacket(stack: NetContext, conv: Conv, block: Block): Refusal {
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
  const ends = checkEnds(stack, conv, { header, block, at });
  if (ends !== Refusal.None) return ends;
  return conv.offload && !settleOffload(block, at, header.protocol(buf, rp, wp)) ? Refusal.Offload : Refusal.None;
}

/** A packet whose header was checked, and the index of its transport header. */
interface CheckedPacket {
  readonly header: IpHeader;
  readonly block: Block;
  readonly at: number;
}

/** Whether `port` is in the claim of `conv`. */
function holds(conv: Conv, port: number): boolean {
  return port >= conv.lport && port <= conv.lportEnd;
}

/** Protocol, source address and source port, `at` being where the transport header starts. */
function checkEnds(stack: NetContext, conv: Conv, { header, block, at }: CheckedPacket): Refusal {
  const { buf, rp, wp } = block;
  const bypass = conv.bypass!;
  const protocol = header.protocol(buf, rp, wp);
  const own = protocol === bypass.protocol || bypass.protocol < 0;
  if (!own && protocol !== header.icmp) return Refusal.Protocol;
  const src = header.src(buf, rp);
  // In a header of IPv6 an address that maps one of IPv4 would pass for it.
  if ((header.version === 6 && src.isV4) || !mayBeSource(stack, conv, src)) return Refusal.Source;
  // Loopback addresses never leave the machine (RFC 1122 3.2.1.3).
  if (src.isLoopback) {
    const dst = header.dst(buf, rp);
    if (!dst.isLoopback && !stack.self.isLocal(dst)) return Refusal.Source;
  }
  const port = own ? bypass.rules.sourcePort(buf, at, wp, protocol) : -1;
  if (port >= 0) return holds(conv, port) ? Refusal.None : Refusal.Port;
  return protocol === header.icmp && quotesClaim(stack, conv, { header, block, at }) ? Refusal.None : Refusal.Port;
}

/**
 * Whether packets may come from `src`: the conversation's address, or one of ours. All of 127/8 is (RFC 1122 3.2.1.3):
 * a packet to any of it is delivered, so its answer must be able to leave.
 */
function mayBeSource(stack: NetContext, conv: Conv, src: IpAddr): boolean {
  if (!conv.laddr.isUnspecified) return src.equals(conv.laddr);
  return src.isLoopback || stack.self.isLocal(src);
}

/** Whether the ICMP message from `at` to `end` is an error about a packet that came to the claim. */
function quotesClaim(stack: NetContext, conv: Conv, { header: version, block, at }: CheckedPacket): boolean {
  const { buf, wp: end } = block;
  const claim = conv.bypass!;
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
  if (!mayBeSource(stack, conv, header.dst(buf, quoted))) return false;
  return holds(conv, claim.rules.destPort(buf, transport, end, protocol));
}

/** The `status` line: what it holds, how its header is treated, what waits, and what was refused. */
export function bypassStatus(conv: Conv): string {
  const bypass = conv.bypass!;
  const { rq } = conv;
  const refused = REFUSAL_NAMES.map((name, i) => `${name} ${bypass.refused?.[i + 1] ?? 0}`).join(" ");
  return `Bypassed local ${localText(conv)} header ${conv.keepHeader ? "keep" : "kernel"} ` +
    `offload ${conv.offload ? "on" : "off"} qin ${rq.length} blocks ${rq.blocks} limit ${rq.limit} ` +
    `in ${rq.blocksIn} drops ${rq.drops} out ${bypass.packetsOut} refused ${refused}\n`;
}

/** `addr!port`, or `addr!lo-hi` of a range. */
export function localText(conv: Conv): string {
  const ports = conv.lportEnd === conv.lport ? `${conv.lport}` : `${conv.lport}-${conv.lportEnd}`;
  return `${conv.laddr}!${ports}`;
}
