/**
 * ICMP for IPv4 (RFC 792, RFC 1122 3.2.2).
 *
 * Path: ip_input → icmp → ip_output (echo), conv.rq | bypass (replies), proto.advise (errors).
 *
 * A conversation is an echo identifier: `connect host!x [id]` (x means nothing) or `announce id`. What is written has
 * room for an IP header (20 bytes, not looked at) and then the message; the kernel fills in identifier and checksum.
 * What is read is the whole packet. The kernel answers echo requests itself, unless the identifier is bypassed; never
 * those to a broadcast or multicast address (RFC 1122 3.2.2.6 lets us be silent, and amplifiers are worse than
 * silence).
 *
 * A bypassed identifier takes requests and replies that carry it. `bypass-echo replies` leaves the requests to the
 * kernel: what a NAT wants, since anybody may ping us with an identifier that is its by chance.
 *
 * Redirects are counted and ignored: routes are set by people and programs, not by the network (RFC 1812 5.2.7.2 is for
 * hosts that trust their link).
 *
 * @module
 */

import { type Block, Checksum } from "../../kernel/block.ts";
import { shown } from "../../kernel/ctl.ts";
import type { OrWait } from "../../kernel/dev.ts";
import { KernelError } from "../../kernel/error.ts";
import { get16, put16 } from "../../kernel/wire/bytes.ts";
import {
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMP_HEADER_LEN,
  ICMP_PARAMETER_PROBLEM,
  ICMP_TIME_EXCEEDED,
  ICMP_TIMESTAMP_REPLY,
  ICMP_TIMESTAMP_REQUEST,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE_TOO_BIG,
  icmpChecksumOk,
  icmpEchoId,
  icmpNextHopMtu,
  icmpType,
  parseIcmpQuote,
  setIcmpChecksum,
  setIcmpType,
} from "../../kernel/wire/icmp.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP } from "../../kernel/wire/ip_proto.ts";
import { IPV4_HEADER_LEN, IPV4_TOTAL_MAX, ipv4Tos } from "../../kernel/wire/ipv4.ts";
import { adviseConv } from "./advice.ts";
import { deliverBypass } from "./bypass.ts";
import { type Conv, TTL_DEFAULT } from "./conv.ts";
import type { ConvSpace } from "./conv_space.ts";
import { sendPacket, sourceFor } from "./ip_output.ts";
import type { IpStack } from "./ip_stack.ts";
import { LogFlag } from "./netlog.ts";
import type { InputPacket } from "./packet.ts";
import type { Advice, BypassRules, Proto } from "./proto.ts";

/** Bytes that wait for a reader of one conversation (Akaros). */
export const ICMP_QUEUE_LIMIT = 64 << 10;
/** Types that have a line in `stats`: 0 to 18 (Akaros). */
const TYPES_COUNTED = 19;

const TYPE_NAMES: Readonly<Record<number, string>> = {
  0: "EchoReply",
  3: "Unreachable",
  4: "SrcQuench",
  5: "Redirect",
  8: "EchoRequest",
  11: "TimeExceed",
  12: "InParmProblem",
  13: "Timestamp",
  14: "TimestampReply",
  15: "InfoRequest",
  16: "InfoReply",
  17: "AddrMaskRequest",
  18: "AddrMaskReply",
};

/** What happened, by code of ICMP_UNREACHABLE. */
const UNREACHABLE_TEXTS: readonly string[] = [
  "Network unreachable",
  "Host unreachable",
  "Protocol unreachable",
  "Connection refused: port unreachable",
  "Fragmentation needed and DF set",
  "Source route failed",
];
const HARD_CODES: ReadonlySet<number> = new Set([2, 3, 9, 10, 13]);

/** What icmp keeps of a conversation. */
interface IcmpPriv {
  /** A bypassed identifier leaves echo requests to the kernel. */
  repliesOnly: boolean;
}

/** Identifier of a message that has one and that a user may send; -1: none. */
function idOf(buf: Uint8Array, at: number, end: number): number {
  return end - at >= ICMP_HEADER_LEN && hasId(icmpType(buf, at)) ? icmpEchoId(buf, at) : -1;
}

function hasId(type: number): boolean {
  return type === ICMP_ECHO_REQUEST || type === ICMP_ECHO_REPLY || type === ICMP_TIMESTAMP_REQUEST ||
    type === ICMP_TIMESTAMP_REPLY;
}

/** ICMP of one stack. */
export class IcmpProto implements Proto {
  readonly name = "icmp";
  readonly index = 3;
  readonly ipProtocols: readonly number[] = [IP_PROTO_ICMP];
  readonly convsMax = 128;
  readonly bypassable = true;
  readonly anyRemotePort = true;
  readonly bypass: BypassRules = { sourcePort: idOf, destPort: idOf };
  inMsgs = 0;
  outMsgs = 0;
  /** Messages dropped, by reason. */
  csumErrs = 0;
  lenErrs = 0;
  /** Errors whose quote is malformed, or about a packet that we did not send. */
  hlenErrs = 0;
  /** Echo requests to a group. */
  groupEchos = 0;
  queueFull = 0;
  /** Messages of types that nobody here takes: redirects, timestamps, router advertisements. */
  ignored = 0;
  /** Replies that nobody waits for. */
  noConv = 0;
  readonly #in: number[] = new Array<number>(TYPES_COUNTED).fill(0);
  readonly #out: number[] = new Array<number>(TYPES_COUNTED).fill(0);
  #space: ConvSpace | null = null;

  constructor(readonly stack: IpStack) {}

  get space(): ConvSpace {
    return this.#space ??= this.stack.space(this);
  }

  create(conv: Conv): void {
    conv.rq = conv.makeDataQueue({ limit: ICMP_QUEUE_LIMIT, message: true });
    conv.priv = { repliesOnly: false } satisfies IcmpPriv;
  }

  connect(conv: Conv): void {
    conv.connected();
  }

  announce(conv: Conv): void {
    conv.announced();
  }

  ctl(conv: Conv, words: readonly string[]): boolean {
    if (words[0] !== "bypass-echo") return false;
    if (words.length !== 2 || (words[1] !== "all" && words[1] !== "replies")) {
      throw new KernelError("EINVAL", `Cannot run ${shown(words.join(" "))}: want bypass-echo all|replies`);
    }
    (conv.priv as IcmpPriv).repliesOnly = words[1] === "replies";
    return true;
  }

  close(_conv: Conv): void {}

  // --- output
  // ---------------------------------------------------------------------------------------------------------

  output(conv: Conv, block: Block): OrWait<number> {
    if (conv.rq.closed && conv.rq.reason !== "") throw new KernelError("EPIPE", conv.rq.reason);
    const length = block.wp - block.rp;
    if (length < IPV4_HEADER_LEN + ICMP_HEADER_LEN) {
      throw new KernelError(
        "EINVAL",
        `Cannot send ${length} bytes: room for an IP header and a message are 28 at least`,
      );
    }
    if (length > IPV4_TOTAL_MAX) {
      throw new KernelError("EMSGSIZE", `Cannot send ${length} bytes: the limit is 65535`, { length: IPV4_TOTAL_MAX });
    }
    const { raddr } = conv;
    if (raddr.isUnspecified) throw new KernelError("ENOTCONN", `Cannot write ${conv}: it has no peer`);
    const type = icmpType(block.buf, block.rp + IPV4_HEADER_LEN);
    if (!hasId(type)) throw new KernelError("EPERM", `Cannot send ICMP type ${type}: only messages with an identifier`);
    const src = conv.laddr.isUnspecified ? sourceFor(this.stack, raddr) : conv.laddr;
    if (src === null) throw noRoute(raddr);
    this.#send(conv, block, src, type);
    return length;
  }

  #send(conv: Conv, block: Block, src: IpAddr, type: number): void {
    block.pull(IPV4_HEADER_LEN);
    block.clearOffload();
    const [keptSum, keptId] = [get16(block.buf, block.rp + 2), get16(block.buf, block.rp + 4)];
    put16(block.buf, block.rp + 4, conv.lport);
    setIcmpChecksum(block.buf, block.rp, block.wp);
    const { raddr, ttl, tos } = conv;
    const result = sendPacket(this.stack, block, { src, dst: raddr, protocol: IP_PROTO_ICMP, ttl, tos });
    if (result === "sent" || result === "dropped") return this.#countOut(type);
    put16(block.buf, block.rp + 2, keptSum);
    put16(block.buf, block.rp + 4, keptId);
    block.push(IPV4_HEADER_LEN);
    if (result === "noRoute") throw noRoute(raddr);
    throw new KernelError("EMSGSIZE", `Cannot send to ${raddr}: too big`);
  }

  // --- input
  // ----------------------------------------------------------------------------------------------------------

  input(packet: InputPacket): void {
    const { block } = packet;
    const { buf } = block;
    const at = block.rp + packet.headerLen;
    this.inMsgs++;
    if (block.wp - at < ICMP_HEADER_LEN) {
      this.lenErrs++;
      return block.free();
    }
    if (block.checksum === Checksum.None && !icmpChecksumOk(buf, at, block.wp)) {
      this.csumErrs++;
      return block.free();
    }
    const type = icmpType(buf, at);
    if (type < TYPES_COUNTED) this.#in[type]!++;
    if (type === ICMP_ECHO_REQUEST) this.#request(packet, at);
    else if (hasId(type)) this.#toConv(packet, this.space.table.find(packet.src, 0, packet.dst, icmpEchoId(buf, at)));
    else if (type === ICMP_UNREACHABLE || type === ICMP_TIME_EXCEEDED || type === ICMP_PARAMETER_PROBLEM) {
      this.#error(packet, at, type);
    } else {
      this.ignored++;
      block.free();
    }
  }

  /** An echo request: answered here, unless its identifier is bypassed. */
  #request(packet: InputPacket, at: number): void {
    const { block, src, dst, cast } = packet;
    const holder = this.space.table.findLocal(dst, icmpEchoId(block.buf, at));
    if (holder !== null && holder.bypass !== null && !(holder.priv as IcmpPriv).repliesOnly) {
      return deliverBypass(holder, block);
    }
    if (cast !== "unicast") {
      this.groupEchos++;
      return block.free();
    }
    const tos = ipv4Tos(block.buf, block.rp);
    block.pull(packet.headerLen);
    setIcmpType(block.buf, at, ICMP_ECHO_REPLY);
    block.clearOffload();
    const result = sendPacket(this.stack, block, {
      src: dst,
      dst: src,
      protocol: IP_PROTO_ICMP,
      ttl: TTL_DEFAULT,
      tos,
    });
    if (result === "sent" || result === "dropped") this.#countOut(ICMP_ECHO_REPLY);
    else block.free();
  }

  #toConv(packet: InputPacket, conv: Conv | null): void {
    const { block } = packet;
    if (conv === null) {
      this.noConv++;
      return block.free();
    }
    if (conv.bypass !== null) return deliverBypass(conv, block);
    block.clearOffload();
    if (conv.rq.pass(block) !== "ok") this.queueFull++;
  }

  /** An error: whoever sent the quoted packet is told. */
  #error(packet: InputPacket, at: number, type: number): void {
    const advice = this.#adviceOf(packet, at, type);
    const proto = advice === null ? null : this.stack.protocolFor(advice.protocol);
    if (advice === null) this.hlenErrs++;
    else if (proto?.advise !== undefined) proto.advise(advice);
    if (advice !== null && this.stack.log.wants(LogFlag.Icmp, advice.raddr)) {
      this.stack.log.line(LogFlag.Icmp, `icmp in ${advice.text} about ${advice.raddr}`, advice.raddr);
    }
    packet.block.free();
  }

  /** What the message says, if it quotes a packet of ours (RFC 5927 4: a forger must at least know that). */
  #adviceOf(packet: InputPacket, at: number, type: number): Advice | null {
    const { block } = packet;
    const { buf } = block;
    const quote = parseIcmpQuote(buf, at, block.wp);
    if (quote === null || !this.stack.self.isLocal(quote.ip.src)) return null;
    const code = buf[at + 1]!;
    const unreachable = type === ICMP_UNREACHABLE;
    const isIcmp = quote.ip.protocol === IP_PROTO_ICMP;
    return {
      text: textOf(type, code),
      version: 4,
      type,
      code,
      mtu: unreachable && code === ICMP_UNREACHABLE_TOO_BIG ? icmpNextHopMtu(buf, at) : 0,
      hard: unreachable && HARD_CODES.has(code),
      protocol: quote.ip.protocol,
      laddr: quote.ip.src,
      raddr: quote.ip.dst,
      lport: isIcmp ? Math.max(0, idOf(buf, quote.transportAt, quote.end)) : get16(buf, quote.transportAt),
      rport: isIcmp ? 0 : get16(buf, quote.transportAt + 2),
      block,
      quotedAt: quote.ipAt,
      transportAt: quote.transportAt,
    };
  }

  advise(advice: Advice): void {
    const conv = this.space.table.find(advice.raddr, 0, advice.laddr, advice.lport);
    if (conv !== null) adviseConv(conv, advice);
  }

  #countOut(type: number): void {
    this.outMsgs++;
    if (type < TYPES_COUNTED) this.#out[type]!++;
  }

  // --- files
  // ----------------------------------------------------------------------------------------------------------

  status(conv: Conv): string {
    return `Datagram qin ${conv.rq.length} qout 0 drops ${conv.rq.drops}\n`;
  }

  stats(): string {
    const { icmpErrors } = this.stack;
    const lines: readonly [string, number | string][] = [
      ["InMsgs", this.inMsgs],
      ["InErrors", this.csumErrs + this.lenErrs + this.hlenErrs],
      ["OutMsgs", this.outMsgs + icmpErrors.sent],
      ["CsumErrs", this.csumErrs],
      ["LenErrs", this.lenErrs],
      ["HlenErrs", this.hlenErrs],
      ["GroupEchos", this.groupEchos],
      ["NoConv", this.noConv],
      ["QueueFull", this.queueFull],
      ["Ignored", this.ignored],
      ["OutErrors", icmpErrors.sent],
      ["OutSuppressed", icmpErrors.suppressed],
    ];
    const types = this.#in.map((count, type) =>
      [TYPE_NAMES[type] ?? `${type}`, `${count} ${this.#out[type]! + (icmpErrors.sentByType[type] ?? 0)}`] as const
    );
    return [...lines, ...types].map(([name, value]) => `${name}: ${value}\n`).join("");
  }
}

function textOf(type: number, code: number): string {
  if (type === ICMP_TIME_EXCEEDED) return code === 0 ? "Time to live exceeded" : "Reassembly time exceeded";
  if (type === ICMP_PARAMETER_PROBLEM) return "Parameter problem";
  return UNREACHABLE_TEXTS[code] ?? `Destination unreachable (code ${code})`;
}

function noRoute(raddr: IpAddr): KernelError {
  return new KernelError("EHOSTUNREACH", `Cannot send to ${raddr}: no route`);
}
