/**
 * ICMP for IPv6 (RFC 4443), and the door of neighbour discovery (RFC 4861).
 *
 * Path: ip6_input → icmp6 → ip_output (echo), echo_convs (replies), proto.advise (errors), nd, ra6 (discovery).
 *
 * Conversations are echo identifiers: see echo_convs; the room before a message has 40 bytes, and after `headers` its
 * source and destination are looked at, where an IPv6 header has them (Akaros). The kernel answers echo requests
 * itself, unless the identifier is bypassed; never those to a group.
 *
 * "Packet too big" is remembered for its destination if it quotes a packet that we really sent. Messages of neighbour
 * discovery are believed only from the link (hop limit 255). Redirects are counted and ignored, as in IPv4.
 *
 * @module
 */

import { Checksum } from "../../kernel/block.ts";
import { KernelError } from "../../kernel/error.ts";
import { get16 } from "../../kernel/wire/bytes.ts";
import {
  ICMP6_ECHO_REPLY,
  ICMP6_ECHO_REQUEST,
  ICMP6_HEADER_LEN,
  ICMP6_NEIGHBOR_ADVERT,
  ICMP6_NEIGHBOR_SOLICIT,
  ICMP6_PACKET_TOO_BIG,
  ICMP6_PARAMETER_NEXT_HEADER,
  ICMP6_PARAMETER_PROBLEM,
  ICMP6_REDIRECT,
  ICMP6_ROUTER_ADVERT,
  ICMP6_ROUTER_SOLICIT,
  ICMP6_TIME_EXCEEDED,
  ICMP6_UNREACHABLE,
  ICMP6_UNREACHABLE_PORT,
  icmp6ChecksumOk,
  icmp6Type,
  parseIcmp6,
  parseIcmp6Quote,
  setIcmp6Checksum,
  setIcmp6Type,
} from "../../kernel/wire/icmp6.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP6 } from "../../kernel/wire/ip_proto.ts";
import { IPV6_HEADER_LEN, ipv6HopLimit, ipv6TrafficClass } from "../../kernel/wire/ipv6.ts";
import { ICMP6_MLD_QUERY, MLD_HOP_LIMIT, mldQueryDelayMs } from "../../kernel/wire/mld.ts";
import { ND_HOP_LIMIT, type NdMessage, parseNd } from "../../kernel/wire/nd.ts";
import { solicitedNode } from "./addr6.ts";
import { type Conv, TTL_DEFAULT } from "./conv.ts";
import { EchoConvs, type EchoForm } from "./echo_convs.ts";
import { sendPacket } from "./ip_output.ts";
import type { NdLink } from "./ifc.ts";
import type { Mld } from "./mld.ts";
import type { NdTable } from "./nd.ts";
import type { ProtoContext } from "./net_context.ts";
import type { RouterAdverts } from "./ra6.ts";
import { LogFlag } from "./netlog.ts";
import type { InputPacket } from "./packet.ts";
import { IPV6_TOTAL_MAX } from "./packet6.ts";
import type { Advice } from "./proto.ts";

const TYPE_NAMES: Readonly<Record<number, string>> = {
  [ICMP6_UNREACHABLE]: "Unreachable",
  [ICMP6_PACKET_TOO_BIG]: "TooBig",
  [ICMP6_TIME_EXCEEDED]: "TimeExceed",
  [ICMP6_PARAMETER_PROBLEM]: "ParamProblem",
  [ICMP6_ECHO_REQUEST]: "EchoRequest",
  [ICMP6_ECHO_REPLY]: "EchoReply",
  [ICMP6_MLD_QUERY]: "GroupQuery",
  [ICMP6_ROUTER_SOLICIT]: "RouterSolicit",
  [ICMP6_ROUTER_ADVERT]: "RouterAdvert",
  [ICMP6_NEIGHBOR_SOLICIT]: "NbrSolicit",
  [ICMP6_NEIGHBOR_ADVERT]: "NbrAdvert",
  [ICMP6_REDIRECT]: "Redirect",
};

/** What happened, by code of ICMP6_UNREACHABLE. */
const UNREACHABLE_TEXTS: readonly string[] = [
  "Network unreachable",
  "Communication prohibited",
  "Beyond the scope of our address",
  "Host unreachable",
  "Connection refused: port unreachable",
  "Source address not allowed",
  "Route rejected",
];
const HARD_CODES: ReadonlySet<number> = new Set([1, 4, 5, 6]);

const FORM: EchoForm = {
  room: IPV6_HEADER_LEN,
  max: IPV6_TOTAL_MAX,
  protocol: IP_PROTO_ICMP6,
  hasId: (type) => type === ICMP6_ECHO_REQUEST || type === ICMP6_ECHO_REPLY,
  setChecksum: setIcmp6Checksum,
};

/** What ICMPv6 needs of its stack: it brings neighbour discovery its messages. */
export interface Icmp6Context extends ProtoContext {
  readonly nd: NdTable;
  readonly mld: Mld;
  readonly adverts: RouterAdverts;
}

/** ICMPv6 of one stack. */
export class Icmp6Proto extends EchoConvs<Icmp6Context> {
  override readonly name = "icmpv6";
  override readonly index = 4;
  override readonly ipProtocols: readonly number[] = [IP_PROTO_ICMP6];
  override readonly form: EchoForm = FORM;
  /** Messages dropped, by reason. */
  csumErrs = 0;
  lenErrs = 0;
  /** Errors whose quote is malformed, or about a packet that we did not send. */
  hlenErrs = 0;
  /** Of neighbour discovery: from beyond the link; of a code but 0; about a group; with options that do not fit. */
  hoplimErrs = 0;
  icmpCodeErrs = 0;
  targetErrs = 0;
  optlenErrs = 0;
  /** From or to addresses that such a message may not have. */
  addrmxpErrs = 0;
  /** A router that is not on the link. */
  routerAddrErrs = 0;
  /** Echo requests to a group. */
  groupEchos = 0;
  /** Messages of types that nobody here takes. */
  ignored = 0;

  override ctl(conv: Conv, words: readonly string[]): boolean {
    if (words[0] !== "headers") return super.ctl(conv, words);
    if (words.length !== 1) throw new KernelError("EINVAL", 'Cannot run "headers": it takes no arguments');
    this.useHeaders(conv);
    return true;
  }

  override input(packet: InputPacket): void {
    const { block, src, dst } = packet;
    const { buf } = block;
    const at = block.rp + packet.headerLen;
    if (block.wp - at < ICMP6_HEADER_LEN) {
      this.lenErrs++;
      return block.free();
    }
    if (block.checksum === Checksum.None && !icmp6ChecksumOk(buf, at, block.wp, src, dst)) {
      this.csumErrs++;
      return block.free();
    }
    const type = icmp6Type(buf, at);
    this.stack.icmp6.countIn(type);
    if (type === ICMP6_ECHO_REQUEST) this.#request(packet, at);
    else if (type === ICMP6_ECHO_REPLY) this.toConv(packet, at);
    else if (type >= ICMP6_UNREACHABLE && type <= ICMP6_PARAMETER_PROBLEM) this.#error(packet, at, type);
    else if (type >= ICMP6_ROUTER_SOLICIT && type <= ICMP6_NEIGHBOR_ADVERT) this.#discovery(packet, at);
    else if (type === ICMP6_MLD_QUERY) this.#query(packet, at);
    else {
      this.ignored++;
      block.free();
    }
  }

  /** A router asks for our groups (RFC 3810 6.2: only one on the link may). */
  #query({ block, ifc, src }: InputPacket, at: number): void {
    const { buf, rp, wp } = block;
    const delayMs = mldQueryDelayMs(buf, at, wp);
    if (ipv6HopLimit(buf, rp) !== MLD_HOP_LIMIT || !src.isLinkLocal) this.hoplimErrs++;
    else if (delayMs >= 0 && ifc.link?.ndLink !== undefined) this.stack.mld.queried(ifc, delayMs);
    block.free();
  }

  /** An echo request: answered here, unless its identifier is bypassed. */
  #request(packet: InputPacket, at: number): void {
    const { block, src, dst, cast } = packet;
    if (this.bypassedRequest(packet, at)) return;
    if (cast !== "unicast") {
      this.groupEchos++;
      return block.free();
    }
    const tos = ipv6TrafficClass(block.buf, block.rp);
    block.pull(packet.headerLen);
    // The ends change places, which the checksum does not see.
    setIcmp6Type(block.buf, at, ICMP6_ECHO_REPLY);
    block.clearOffload();
    const options = { src: dst, dst: src, protocol: IP_PROTO_ICMP6, ttl: TTL_DEFAULT, tos };
    const result = sendPacket(this.stack, block, options);
    if (result === "sent" || result === "dropped") this.countOut(ICMP6_ECHO_REPLY);
    else block.free();
  }

  // --- errors
  // ---------------------------------------------------------------------------------------------------------

  /** An error: whoever sent the quoted packet is told. */
  #error(packet: InputPacket, at: number, type: number): void {
    const { stack } = this;
    const advice = this.#adviceOf(packet, at, type);
    if (advice === null) {
      this.hlenErrs++;
    } else {
      const isOurs = stack.protocolFor(advice.protocol)?.advise?.(advice) === true;
      if (isOurs && advice.mtu > 0) stack.pathMtus.learn(advice.raddr, advice.mtu);
      if (stack.log.wants(LogFlag.Icmp, advice.raddr)) {
        stack.log.line(LogFlag.Icmp, `icmpv6 in ${advice.text} about ${advice.raddr}`, advice.raddr);
      }
    }
    packet.block.free();
  }

  /** What the message says, if it quotes a packet of ours. */
  #adviceOf(packet: InputPacket, at: number, type: number): Advice | null {
    const { block } = packet;
    const { buf } = block;
    const quote = parseIcmp6Quote(buf, at, block.wp);
    const header = parseIcmp6(buf, at, block.wp);
    if (quote === null || header === null || !this.stack.self.isLocal(quote.ip.src)) return null;
    const { code, rest } = header;
    const isIcmp = quote.protocol === IP_PROTO_ICMP6;
    const noProtocol = type === ICMP6_PARAMETER_PROBLEM && code === ICMP6_PARAMETER_NEXT_HEADER;
    const unreachable = type === ICMP6_UNREACHABLE || noProtocol;
    return {
      text: textOf(type, code),
      version: 6,
      type,
      code,
      mtu: type === ICMP6_PACKET_TOO_BIG ? rest : 0,
      unreachable,
      hard: noProtocol || (type === ICMP6_UNREACHABLE && HARD_CODES.has(code)),
      refused: type === ICMP6_UNREACHABLE && code === ICMP6_UNREACHABLE_PORT,
      protocol: quote.protocol,
      laddr: quote.ip.src,
      raddr: quote.ip.dst,
      lport: isIcmp ? Math.max(0, this.idOf(buf, quote.transportAt, quote.end)) : get16(buf, quote.transportAt),
      rport: isIcmp ? 0 : get16(buf, quote.transportAt + 2),
      block,
      quotedAt: quote.ipAt,
      transportAt: quote.transportAt,
    };
  }

  // --- neighbour discovery
  // --------------------------------------------------------------------------------------------

  /** A message of neighbour discovery: from the link, and in the form that RFC 4861 6.1 and 7.1 demand. */
  #discovery(packet: InputPacket, at: number): void {
    const { block, ifc } = packet;
    const message = this.#parse(packet, at);
    const ndLink = ifc.link?.ndLink;
    if (message !== null && ndLink !== undefined) this.#take(ndLink, packet, message);
    block.free();
  }

  #parse({ block }: InputPacket, at: number): NdMessage | null {
    const { buf, rp, wp } = block;
    if (ipv6HopLimit(buf, rp) !== ND_HOP_LIMIT) {
      this.hoplimErrs++;
      return null;
    }
    if (buf[at + 1] !== 0) {
      this.icmpCodeErrs++;
      return null;
    }
    const isNeighbor = buf[at]! >= ICMP6_NEIGHBOR_SOLICIT;
    if (isNeighbor && wp - at >= 24 && IpAddr.at(buf, at + 8).isMulticast) {
      this.targetErrs++;
      return null;
    }
    const message = parseNd(buf, at, wp);
    if (message === null) this.optlenErrs++;
    return message;
  }

  #take(link: NdLink, packet: InputPacket, message: NdMessage): void {
    const { src, dst, cast } = packet;
    const { nd } = this.stack;
    switch (message.type) {
      case ICMP6_NEIGHBOR_SOLICIT: {
        const isTrial = src.isUnspecified;
        if (isTrial && (message.sourceMac !== null || !dst.equals(solicitedNode(message.target)))) {
          this.addrmxpErrs++;
          return;
        }
        return nd.solicited(link, packet, message);
      }
      case ICMP6_NEIGHBOR_ADVERT:
        if (message.solicited && cast !== "unicast") {
          this.addrmxpErrs++;
          return;
        }
        return nd.advertised(link, message);
      case ICMP6_ROUTER_ADVERT:
        if (!src.isLinkLocal) {
          this.routerAddrErrs++;
          return;
        }
        return this.stack.adverts.advertised(link, src, message);
      case ICMP6_ROUTER_SOLICIT:
        // Only routers that advertise themselves answer; that is a user program's affair.
        this.ignored++;
    }
  }

  protected override countOut(type: number): void {
    this.stack.icmp6.countOut(type);
  }

  override stats(): string {
    const { icmp6, icmpErrors: { v6 } } = this.stack;
    const lines: readonly [string, number][] = [
      ["InMsgs", icmp6.inMsgs + this.csumErrs + this.lenErrs],
      ["InErrors", this.csumErrs + this.lenErrs + this.hlenErrs],
      ["OutMsgs", icmp6.outMsgs + v6.sent],
      ["CsumErrs", this.csumErrs],
      ["LenErrs", this.lenErrs],
      ["HlenErrs", this.hlenErrs],
      ["HoplimErrs", this.hoplimErrs],
      ["IcmpCodeErrs", this.icmpCodeErrs],
      ["TargetErrs", this.targetErrs],
      ["OptlenErrs", this.optlenErrs],
      ["AddrmxpErrs", this.addrmxpErrs],
      ["RouterAddrErrs", this.routerAddrErrs],
      ["GroupEchos", this.groupEchos],
      ["NoConv", this.noConv],
      ["QueueFull", this.queueFull],
      ["Ignored", this.ignored],
      ["OutErrors", v6.sent],
      ["OutSuppressed", v6.suppressed],
    ];
    const types = icmp6.types(TYPE_NAMES).map((type) => {
      const out = (icmp6.out[type] ?? 0) + (v6.byType[type] ?? 0);
      return `${TYPE_NAMES[type] ?? type}: ${icmp6.in[type] ?? 0} ${out}\n`;
    });
    return lines.map(([name, value]) => `${name}: ${value}\n`).join("") + types.join("");
  }
}

function textOf(type: number, code: number): string {
  if (type === ICMP6_TIME_EXCEEDED) return code === 0 ? "Time to live exceeded" : "Reassembly time exceeded";
  if (type === ICMP6_PACKET_TOO_BIG) return "Packet too big";
  if (type === ICMP6_PARAMETER_PROBLEM) {
    return code === ICMP6_PARAMETER_NEXT_HEADER ? "Protocol unreachable" : "Parameter problem";
  }
  return UNREACHABLE_TEXTS[code] ?? `Destination unreachable (code ${code})`;
}
