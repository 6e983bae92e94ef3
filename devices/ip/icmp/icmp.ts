/**
 * ICMP for IPv4 (RFC 792, RFC 1122 3.2.2).
 *
 * Path: dev_ip → icmp/icmp → wire/icmp, icmp_base, icmp_counts, ipv4.
 *
 * Conversations are echo identifiers: see echo_convs; the room before a message has 20 bytes. The kernel answers echo
 * requests itself, unless the identifier is bypassed; never those to a broadcast or multicast address (RFC 1122 3.2.2.6
 * lets us be silent, and amplifiers are worse than silence).
 *
 * A bypassed identifier takes requests and replies that carry it. `bypass-echo replies` leaves the requests to the
 * kernel: a NAT needs that, since any host may ping us with an identifier that is its by chance.
 *
 * Redirects are counted and ignored: routes are set by people and programs, not by the network (RFC 1812 5.2.7.2 is for
 * hosts that trust their link).
 *
 * @module
 */

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
  icmpCode,
  icmpNextHopMtu,
  icmpType,
  parseIcmpQuote,
  setIcmpChecksum,
  setIcmpType,
} from "../../../kernel/wire/icmp.ts";
import { IP_PROTO_ICMP } from "../../../kernel/wire/ip_proto.ts";
import { IPV4_HEADER_LEN, IPV4_TOTAL_MAX, ipv4Tos } from "../../../kernel/wire/ipv4.ts";
import { IcmpBase, type IcmpForm, type Meaning, type Quote } from "./icmp_base.ts";
import { IcmpCounts } from "../env/icmp_counts.ts";

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

const FORM: IcmpForm = {
  headerLen: ICMP_HEADER_LEN,
  echoRequest: ICMP_ECHO_REQUEST,
  echoReply: ICMP_ECHO_REPLY,
  room: IPV4_HEADER_LEN,
  max: IPV4_TOTAL_MAX,
  protocol: IP_PROTO_ICMP,
  hasId,
  quotes: (type) => type === ICMP_UNREACHABLE || type === ICMP_TIME_EXCEEDED || type === ICMP_PARAMETER_PROBLEM,
  checksumOk: icmpChecksumOk,
  setChecksum: setIcmpChecksum,
  setType: setIcmpType,
  tos: ipv4Tos,
};

/** ICMP of one stack. Redirects, timestamps and router advertisements are ignored. */
export class IcmpProto extends IcmpBase {
  override readonly name = "icmp";
  override readonly index = 3;
  override readonly ipProtocols: readonly number[] = [IP_PROTO_ICMP];
  override readonly form: IcmpForm = FORM;
  protected override readonly version = 4;
  protected override readonly counts: IcmpCounts = new IcmpCounts();

  protected override quoteOf(buf: Uint8Array, at: number, end: number): Quote | null {
    const quote = parseIcmpQuote(buf, at, end);
    if (quote === null) return null;
    const { src, dst, protocol } = quote.ip;
    return { src, dst, protocol, ipAt: quote.ipAt, transportAt: quote.transportAt, end: quote.end };
  }

  protected override meaningOf(buf: Uint8Array, at: number): Meaning {
    const type = icmpType(buf, at);
    const code = icmpCode(buf, at);
    const unreachable = type === ICMP_UNREACHABLE;
    const tooBig = unreachable && code === ICMP_UNREACHABLE_TOO_BIG;
    return {
      text: textOf(type, code),
      code,
      mtu: tooBig ? icmpNextHopMtu(buf, at) : 0,
      unreachable: unreachable && !tooBig,
      hard: unreachable && HARD_CODES.has(code),
      refused: unreachable && code === ICMP_UNREACHABLE_PORT,
    };
  }

  override stats(): string {
    return this.format([], Array.from({ length: TYPES_COUNTED }, (_, type) => [type, TYPE_NAMES[type] ?? `${type}`]));
  }
}

function textOf(type: number, code: number): string {
  if (type === ICMP_TIME_EXCEEDED) return code === 0 ? "Time to live exceeded" : "Reassembly time exceeded";
  if (type === ICMP_PARAMETER_PROBLEM) return "Parameter problem";
  return UNREACHABLE_TEXTS[code] ?? `Destination unreachable (code ${code})`;
}
