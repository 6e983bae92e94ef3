/**
 * ICMP for IPv6 (RFC 4443), and the entry of neighbour discovery (RFC 4861).
 *
 * Path: icmp_base → icmp6 → nd, ra6, mld.
 *
 * Conversations are echo identifiers: see echo_convs; the room before a message has 40 bytes, and after `headers` its
 * source and destination are looked at, where an IPv6 header has them (Akaros). The kernel answers echo requests
 * itself, unless the identifier is bypassed; never those to a group.
 *
 * "Packet too big" is remembered for its destination if it quotes a packet that we really sent. Messages of neighbour
 * discovery count only from the link (hop limit 255). Redirects are counted and ignored, as in IPv4.
 *
 * @module
 */

import { KernelError } from "../../../kernel/error.ts";
import { icmpCode } from "../../../kernel/wire/icmp.ts";
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
  parseIcmp6,
  parseIcmp6Quote,
  setIcmp6Checksum,
  setIcmp6Type,
} from "../../../kernel/wire/icmp6.ts";
import { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP6 } from "../../../kernel/wire/ip_proto.ts";
import { IPV6_HEADER_LEN, IPV6_TOTAL_MAX, ipv6HopLimit, ipv6TrafficClass } from "../../../kernel/wire/ipv6.ts";
import { ICMP6_MLD_QUERY, MLD_HOP_LIMIT, mldQueryDelayMs } from "../../../kernel/wire/mld.ts";
import { ND_HOP_LIMIT, type NdMessage, parseNd } from "../../../kernel/wire/nd.ts";
import { solicitedNode } from "../../../kernel/inet/addr6.ts";
import type { Conv } from "../conv/conv.ts";
import { IcmpBase, type IcmpForm, type Meaning, type Quote } from "./icmp_base.ts";
import type { IcmpCounts } from "../env/icmp_counts.ts";
import type { NdLink } from "../link/ifc.ts";
import type { Mld } from "../neighbor/mld.ts";
import type { NdTable } from "../neighbor/nd.ts";
import type { ProtoContext } from "../network/context.ts";
import type { RouterAdverts } from "../neighbor/ra6.ts";
import type { InputPacket } from "../packet/packet.ts";
import type { Advice } from "../conv/proto.ts";

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

const FORM: IcmpForm = {
  headerLen: ICMP6_HEADER_LEN,
  echoRequest: ICMP6_ECHO_REQUEST,
  echoReply: ICMP6_ECHO_REPLY,
  room: IPV6_HEADER_LEN,
  max: IPV6_TOTAL_MAX,
  protocol: IP_PROTO_ICMP6,
  hasId: (type) => type === ICMP6_ECHO_REQUEST || type === ICMP6_ECHO_REPLY,
  quotes: (type) => type >= ICMP6_UNREACHABLE && type <= ICMP6_PARAMETER_PROBLEM,
  checksumOk: icmp6ChecksumOk,
  setChecksum: setIcmp6Checksum,
  setType: setIcmp6Type,
  tos: ipv6TrafficClass,
};

/** What ICMPv6 needs of its stack: it brings neighbour discovery its messages. */
interface Icmp6Context extends ProtoContext {
  readonly nd: NdTable;
  readonly mld: Mld;
  readonly adverts: RouterAdverts;
}

/** ICMPv6 of one stack. */
export class Icmp6Proto extends IcmpBase<Icmp6Context> {
  override readonly name = "icmpv6";
  override readonly index = 4;
  override readonly ipProtocols: readonly number[] = [IP_PROTO_ICMP6];
  override readonly form: IcmpForm = FORM;
  protected override readonly version = 6;
  /** Of neighbour discovery: from beyond the link; of a code but 0; about a group; with options that do not fit. */
  hoplimErrs = 0;
  icmpCodeErrs = 0;
  targetErrs = 0;
  optlenErrs = 0;
  /** From or to addresses that such a message may not have. */
  addrmxpErrs = 0;
  /** A router that is not on the link. */
  routerAddrErrs = 0;

  protected override get counts(): IcmpCounts {
    return this.stack.icmp6;
  }

  override ctl(conv: Conv, words: readonly string[]): boolean {
    if (words[0] !== "headers") return super.ctl(conv, words);
    if (words.length !== 1) throw new KernelError("EINVAL", 'Cannot run "headers": it takes no arguments');
    this.useHeaders(conv);
    return true;
  }

  protected override other(packet: InputPacket, at: number, type: number): boolean {
    if (type >= ICMP6_ROUTER_SOLICIT && type <= ICMP6_NEIGHBOR_ADVERT) this.#discovery(packet, at);
    else if (type === ICMP6_MLD_QUERY) this.#query(packet, at);
    else return false;
    return true;
  }

  /** A router asks for our groups (RFC 3810 6.2: only one on the link may). */
  #query({ block, ifc, src }: InputPacket, at: number): void {
    const { buf, rp, wp } = block;
    const delayMs = mldQueryDelayMs(buf, at, wp);
    if (ipv6HopLimit(buf, rp) !== MLD_HOP_LIMIT || !src.isLinkLocal) this.hoplimErrs++;
    else if (delayMs >= 0 && ifc.link?.ndLink !== undefined) this.stack.mld.queried(ifc, delayMs);
    block.free();
  }

  // --- errors

  protected override confirmed({ raddr, mtu }: Advice): void {
    if (mtu > 0) this.stack.pathMtus.learn(raddr, mtu);
  }

  protected override quoteOf(buf: Uint8Array, at: number, end: number): Quote | null {
    const quote = parseIcmp6Quote(buf, at, end);
    if (quote === null) return null;
    const { protocol, ipAt, transportAt } = quote;
    return { src: quote.ip.src, dst: quote.ip.dst, protocol, ipAt, transportAt, end: quote.end };
  }

  protected override meaningOf(buf: Uint8Array, at: number, end: number): Meaning {
    const { type, code, rest } = parseIcmp6(buf, at, end)!;
    const noProtocol = type === ICMP6_PARAMETER_PROBLEM && code === ICMP6_PARAMETER_NEXT_HEADER;
    return {
      text: textOf(type, code),
      code,
      mtu: type === ICMP6_PACKET_TOO_BIG ? rest : 0,
      unreachable: type === ICMP6_UNREACHABLE || noProtocol,
      hard: noProtocol || (type === ICMP6_UNREACHABLE && HARD_CODES.has(code)),
      refused: type === ICMP6_UNREACHABLE && code === ICMP6_UNREACHABLE_PORT,
    };
  }

  // --- neighbour discovery

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
    if (icmpCode(buf, at) !== 0) {
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
        // Only routers that advertise answer: that is for a user program.
        this.ignored++;
    }
  }

  override stats(): string {
    const more: readonly (readonly [string, number])[] = [
      ["HoplimErrs", this.hoplimErrs],
      ["IcmpCodeErrs", this.icmpCodeErrs],
      ["TargetErrs", this.targetErrs],
      ["OptlenErrs", this.optlenErrs],
      ["AddrmxpErrs", this.addrmxpErrs],
      ["RouterAddrErrs", this.routerAddrErrs],
    ];
    return this.format(more, this.counts.types(TYPE_NAMES).map((type) => [type, TYPE_NAMES[type] ?? `${type}`]));
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
