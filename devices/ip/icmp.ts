/**
 * ICMP for IPv4 (RFC 792, RFC 1122 3.2.2).
 *
 * Path: ip_input → icmp → ip_output (echo), echo_convs (replies), proto.advise (errors).
 *
 * Conversations are echo identifiers: see echo_convs; the room before a message has 20 bytes. The kernel answers echo
 * requests itself, unless the identifier is bypassed; never those to a broadcast or multicast address (RFC 1122 3.2.2.6
 * lets us be silent, and amplifiers are worse than silence).
 *
 * A bypassed identifier takes requests and replies that carry it. `bypass-echo replies` leaves the requests to the
 * kernel: what a NAT wants, since anybody may ping us with an identifier that is its by chance.
 *
 * Redirects are counted and ignored: routes are set by people and programs, not by the network (RFC 1812 5.2.7.2 is for
 * hosts that trust their link).
 *
 * @module
 */

import { Checksum } from "../../kernel/block.ts";
import { get16 } from "../../kernel/wire/bytes.ts";
import {
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMP_HEADER_LEN,
  ICMP_PARAMETER_PROBLEM,
  ICMP_TIME_EXCEEDED,
  ICMP_TIMESTAMP_REPLY,
  ICMP_TIMESTAMP_REQUEST,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE_PORT,
  ICMP_UNREACHABLE_TOO_BIG,
  icmpChecksumOk,
  icmpNextHopMtu,
  icmpType,
  parseIcmpQuote,
  setIcmpChecksum,
  setIcmpType,
} from "../../kernel/wire/icmp.ts";
import { IP_PROTO_ICMP } from "../../kernel/wire/ip_proto.ts";
import { IPV4_HEADER_LEN, IPV4_TOTAL_MAX, ipv4Tos } from "../../kernel/wire/ipv4.ts";
import { TTL_DEFAULT } from "./conv.ts";
import { EchoConvs, type EchoForm } from "./echo_convs.ts";
import { sendPacket } from "./ip_output.ts";
import { LogFlag } from "./netlog.ts";
import type { InputPacket } from "./packet.ts";
import type { Advice } from "./proto.ts";

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

function hasId(type: number): boolean {
  return type === ICMP_ECHO_REQUEST || type === ICMP_ECHO_REPLY || type === ICMP_TIMESTAMP_REQUEST ||
    type === ICMP_TIMESTAMP_REPLY;
}

const FORM: EchoForm = {
  room: IPV4_HEADER_LEN,
  max: IPV4_TOTAL_MAX,
  protocol: IP_PROTO_ICMP,
  hasId,
  setChecksum: setIcmpChecksum,
};

/** ICMP of one stack. */
export class IcmpProto extends EchoConvs {
  override readonly name = "icmp";
  override readonly index = 3;
  override readonly ipProtocols: readonly number[] = [IP_PROTO_ICMP];
  override readonly form: EchoForm = FORM;
  inMsgs = 0;
  outMsgs = 0;
  /** Messages dropped, by reason. */
  csumErrs = 0;
  lenErrs = 0;
  /** Errors whose quote is malformed, or about a packet that we did not send. */
  hlenErrs = 0;
  /** Echo requests to a group. */
  groupEchos = 0;
  /** Messages of types that nobody here takes: redirects, timestamps, router advertisements. */
  ignored = 0;
  readonly #in: number[] = new Array<number>(TYPES_COUNTED).fill(0);
  readonly #out: number[] = new Array<number>(TYPES_COUNTED).fill(0);

  // --- input
  // ----------------------------------------------------------------------------------------------------------

  override input(packet: InputPacket): void {
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
    else if (hasId(type)) this.toConv(packet, at);
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
    if (this.bypassedRequest(packet, at)) return;
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
    if (result === "sent" || result === "dropped") this.countOut(ICMP_ECHO_REPLY);
    else block.free();
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
      unreachable: unreachable && code !== ICMP_UNREACHABLE_TOO_BIG,
      hard: unreachable && HARD_CODES.has(code),
      refused: unreachable && code === ICMP_UNREACHABLE_PORT,
      protocol: quote.ip.protocol,
      laddr: quote.ip.src,
      raddr: quote.ip.dst,
      lport: isIcmp ? Math.max(0, this.idOf(buf, quote.transportAt, quote.end)) : get16(buf, quote.transportAt),
      rport: isIcmp ? 0 : get16(buf, quote.transportAt + 2),
      block,
      quotedAt: quote.ipAt,
      transportAt: quote.transportAt,
    };
  }

  protected override countOut(type: number): void {
    this.outMsgs++;
    if (type < TYPES_COUNTED) this.#out[type]!++;
  }

  // --- files
  // ----------------------------------------------------------------------------------------------------------

  override stats(): string {
    const { icmpErrors } = this.stack;
    const lines: readonly [string, number | string][] = [
      ["InMsgs", this.inMsgs],
      ["InErrors", this.csumErrs + this.lenErrs + this.hlenErrs],
      ["OutMsgs", this.outMsgs + icmpErrors.v4.sent],
      ["CsumErrs", this.csumErrs],
      ["LenErrs", this.lenErrs],
      ["HlenErrs", this.hlenErrs],
      ["GroupEchos", this.groupEchos],
      ["NoConv", this.noConv],
      ["QueueFull", this.queueFull],
      ["Ignored", this.ignored],
      ["OutErrors", icmpErrors.v4.sent],
      ["OutSuppressed", icmpErrors.v4.suppressed],
    ];
    const types = this.#in.map((count, type) =>
      [TYPE_NAMES[type] ?? `${type}`, `${count} ${this.#out[type]! + (icmpErrors.v4.byType[type] ?? 0)}`] as const
    );
    return [...lines, ...types].map(([name, value]) => `${name}: ${value}\n`).join("");
  }
}

function textOf(type: number, code: number): string {
  if (type === ICMP_TIME_EXCEEDED) return code === 0 ? "Time to live exceeded" : "Reassembly time exceeded";
  if (type === ICMP_PARAMETER_PROBLEM) return "Parameter problem";
  return UNREACHABLE_TEXTS[code] ?? `Destination unreachable (code ${code})`;
}
