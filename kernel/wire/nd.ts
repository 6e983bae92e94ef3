/**
 * Neighbour discovery: solicitations and advertisements of routers and neighbours (RFC 4861 4), and the DNS servers of
 * RFC 8106 5.1.
 *
 * Path: icmp/icmp6, neighbor/nd, neighbor → wire/nd → wire/icmp6, mac_addr, wire/bytes, ip_addr.
 *
 *     | type | code 0 | checksum 2 | fixed part | options: type, length in units of 8 bytes, … |
 *       router solicitation:     0 4
 *       router advertisement:    hop limit, flags, lifetime 2, reachable 4, retransmit 4
 *       neighbor solicitation:   0 4, target 16
 *       neighbor advertisement:  flags and 0 4, target 16
 *
 * Emitted messages carry no checksum yet: `setIcmp6Checksum` needs the addresses. The receiver checks the hop limit
 * (255) and the checksum before it parses.
 *
 * Limits: redirects are not parsed; options that are not known are skipped; of an option that is repeated the last
 * counts, except prefixes and DNS servers, which add up, bounded by the message's length.
 *
 * @module
 */

import { get16, get32, put16, put32 } from "./bytes.ts";
import { ICMP6_NEIGHBOR_ADVERT, ICMP6_NEIGHBOR_SOLICIT, ICMP6_ROUTER_ADVERT, ICMP6_ROUTER_SOLICIT } from "./icmp6.ts";
import { IP_ADDR_LEN, IpAddr } from "./ip_addr.ts";
import { MacAddr } from "./mac_addr.ts";

/** The hop limit that a receiver demands: no sender beyond the link can produce it (RFC 4861 3.1). */
export const ND_HOP_LIMIT = 255;

const OPTION_SOURCE_MAC = 1;
const OPTION_TARGET_MAC = 2;
const OPTION_PREFIX = 3;
const OPTION_MTU = 5;
const OPTION_DNS = 25;
const MAC_OPTION_LEN = 8;
const MTU_OPTION_LEN = 8;
const PREFIX_OPTION_LEN = 32;

/** Lengths of the fixed parts, ICMP header included. */
const ROUTER_SOLICIT_LEN = 8;
const ROUTER_ADVERT_LEN = 16;
const NEIGHBOR_LEN = 24;
/** Where a neighbour message has its target. */
const TARGET = 8;

/** A router solicitation (RFC 4861 4.1). */
export interface RouterSolicit {
  /** Which of the four it is. */
  readonly type: typeof ICMP6_ROUTER_SOLICIT;
  /** The sender's hardware address; null: it says none. */
  readonly sourceMac: MacAddr | null;
}

/** A router advertisement (RFC 4861 4.2). */
export interface RouterAdvert {
  /** Which of the four it is. */
  readonly type: typeof ICMP6_ROUTER_ADVERT;
  /** The hop limit for hosts, or 0: unspecified. */
  readonly hopLimit: number;
  /** Addresses come from DHCPv6. */
  readonly managed: boolean;
  /** Other configuration comes from DHCPv6. */
  readonly otherConfig: boolean;
  /** Lifetime as a default router, in seconds; 0: it is none. */
  readonly lifetimeS: number;
  /** In milliseconds; 0: unspecified. */
  readonly reachableMs: number;
  /** In milliseconds; 0: unspecified. */
  readonly retransMs: number;
  /** The sender's hardware address; null: it says none. */
  readonly sourceMac: MacAddr | null;
  /** The link's MTU in bytes, or 0: absent. */
  readonly mtu: number;
  /** The networks that it advertises. */
  readonly prefixes: readonly NdPrefix[];
  /** Name servers (RFC 8106). */
  readonly dnsServers: readonly IpAddr[];
  /** How long the DNS servers may be used, in seconds. */
  readonly dnsLifetimeS: number;
}

/** A prefix of the link (RFC 4861 4.6.2). */
export interface NdPrefix {
  /** The network. */
  readonly prefix: IpAddr;
  /** In bits. */
  readonly length: number;
  /** Its addresses are neighbours. */
  readonly onLink: boolean;
  /** For autoconfiguration of addresses (RFC 4862). */
  readonly autonomous: boolean;
  /** In seconds; 0xffffffff: for ever. */
  readonly validS: number;
  /** In seconds; 0xffffffff: for ever. */
  readonly preferredS: number;
}

/** A neighbor solicitation (RFC 4861 4.3). */
export interface NeighborSolicit {
  /** Which of the four it is. */
  readonly type: typeof ICMP6_NEIGHBOR_SOLICIT;
  /** The address in question. */
  readonly target: IpAddr;
  /** The sender's hardware address; null: it says none. */
  readonly sourceMac: MacAddr | null;
}

/** A neighbor advertisement (RFC 4861 4.4). */
export interface NeighborAdvert {
  /** Which of the four it is. */
  readonly type: typeof ICMP6_NEIGHBOR_ADVERT;
  /** The address in question. */
  readonly target: IpAddr;
  /** The sender is a router. */
  readonly isRouter: boolean;
  /** It answers a solicitation. */
  readonly solicited: boolean;
  /** It replaces what is known. */
  readonly override: boolean;
  /** The address's hardware address; null: it says none. */
  readonly targetMac: MacAddr | null;
}

/** Any of the four; `type` distinguishes them. */
export type NdMessage = RouterSolicit | RouterAdvert | NeighborSolicit | NeighborAdvert;

/** Reads the message from `at` to `end`; null if it is malformed (RFC 4861 6.1, 7.1) or not of neighbour discovery. */
export function parseNd(buf: Uint8Array, at: number, end: number): NdMessage | null {
  if (end - at < ROUTER_SOLICIT_LEN || buf[at + 1] !== 0) return null;
  switch (buf[at]) {
    case ICMP6_ROUTER_SOLICIT: {
      const options = parseOptions(buf, at + ROUTER_SOLICIT_LEN, end);
      return options && { type: ICMP6_ROUTER_SOLICIT, sourceMac: options.sourceMac };
    }
    case ICMP6_ROUTER_ADVERT:
      return parseRouterAdvert(buf, at, end);
    case ICMP6_NEIGHBOR_SOLICIT:
    case ICMP6_NEIGHBOR_ADVERT:
      return parseNeighbor(buf, at, end);
    default:
      return null;
  }
}

/** Writes a message without its checksum and returns its length (`ndLen`). */
export function emitNd(message: NdMessage, buf: Uint8Array, at: number): number {
  put32(buf, at, message.type << 24);
  put32(buf, at + 4, 0);
  switch (message.type) {
    case ICMP6_ROUTER_SOLICIT:
      emitMacOption(OPTION_SOURCE_MAC, message.sourceMac, buf, at + ROUTER_SOLICIT_LEN);
      break;
    case ICMP6_ROUTER_ADVERT:
      emitRouterAdvert(message, buf, at);
      break;
    case ICMP6_NEIGHBOR_SOLICIT:
      message.target.put(buf, at + TARGET);
      emitMacOption(OPTION_SOURCE_MAC, message.sourceMac, buf, at + NEIGHBOR_LEN);
      break;
    case ICMP6_NEIGHBOR_ADVERT:
      buf[at + 4] = (message.isRouter ? 0x80 : 0) | (message.solicited ? 0x40 : 0) | (message.override ? 0x20 : 0);
      message.target.put(buf, at + TARGET);
      emitMacOption(OPTION_TARGET_MAC, message.targetMac, buf, at + NEIGHBOR_LEN);
      break;
  }
  return ndLen(message);
}

/** How many bytes `emitNd` writes. */
export function ndLen(message: NdMessage): number {
  switch (message.type) {
    case ICMP6_ROUTER_SOLICIT:
      return ROUTER_SOLICIT_LEN + macOptionLen(message.sourceMac);
    case ICMP6_ROUTER_ADVERT:
      return ROUTER_ADVERT_LEN + macOptionLen(message.sourceMac) + (message.mtu === 0 ? 0 : MTU_OPTION_LEN) +
        message.prefixes.length * PREFIX_OPTION_LEN + dnsOptionLen(message.dnsServers);
    case ICMP6_NEIGHBOR_SOLICIT:
      return NEIGHBOR_LEN + macOptionLen(message.sourceMac);
    case ICMP6_NEIGHBOR_ADVERT:
      return NEIGHBOR_LEN + macOptionLen(message.targetMac);
  }
}

/** One line of text: `nd who-has fe80::2 (52:54:00:12:34:56)`. */
export function formatNd(message: NdMessage): string {
  switch (message.type) {
    case ICMP6_ROUTER_SOLICIT:
      return `nd routers?${formatMac(message.sourceMac)}`;
    case ICMP6_ROUTER_ADVERT: {
      const prefixes = message.prefixes.map(({ prefix, length }) => ` prefix ${prefix}/${length}`).join("");
      const dns = message.dnsServers.map((server) => ` dns ${server}`).join("");
      return `nd router for ${message.lifetimeS} s${formatMac(message.sourceMac)} mtu ${message.mtu}${prefixes}${dns}`;
    }
    case ICMP6_NEIGHBOR_SOLICIT:
      return `nd who-has ${message.target}${formatMac(message.sourceMac)}`;
    case ICMP6_NEIGHBOR_ADVERT: {
      const flags = [message.isRouter && "router", message.solicited && "solicited", message.override && "override"];
      return [`nd ${message.target} is-at${formatMac(message.targetMac)}`, ...flags.filter(Boolean)].join(" ");
    }
  }
}

/** The options of a message. */
interface NdOptions {
  sourceMac: MacAddr | null;
  targetMac: MacAddr | null;
  mtu: number;
  prefixes: NdPrefix[];
  dnsServers: IpAddr[];
  dnsLifetimeS: number;
}

function parseRouterAdvert(buf: Uint8Array, at: number, end: number): RouterAdvert | null {
  if (end - at < ROUTER_ADVERT_LEN) return null;
  const options = parseOptions(buf, at + ROUTER_ADVERT_LEN, end);
  if (options === null) return null;
  const flags = buf[at + 5]!;
  return {
    type: ICMP6_ROUTER_ADVERT,
    hopLimit: buf[at + 4]!,
    managed: (flags & 0x80) !== 0,
    otherConfig: (flags & 0x40) !== 0,
    lifetimeS: get16(buf, at + 6),
    reachableMs: get32(buf, at + 8),
    retransMs: get32(buf, at + 12),
    sourceMac: options.sourceMac,
    mtu: options.mtu,
    prefixes: options.prefixes,
    dnsServers: options.dnsServers,
    dnsLifetimeS: options.dnsLifetimeS,
  };
}

function parseNeighbor(buf: Uint8Array, at: number, end: number): NeighborSolicit | NeighborAdvert | null {
  if (end - at < NEIGHBOR_LEN) return null;
  const target = IpAddr.at(buf, at + TARGET);
  const options = parseOptions(buf, at + NEIGHBOR_LEN, end);
  if (options === null || target.isMulticast) return null;
  if (buf[at] === ICMP6_NEIGHBOR_SOLICIT) {
    return { type: ICMP6_NEIGHBOR_SOLICIT, target, sourceMac: options.sourceMac };
  }
  const flags = buf[at + 4]!;
  return {
    type: ICMP6_NEIGHBOR_ADVERT,
    target,
    isRouter: (flags & 0x80) !== 0,
    solicited: (flags & 0x40) !== 0,
    override: (flags & 0x20) !== 0,
    targetMac: options.targetMac,
  };
}

/** Reads all options; null if one of them has no length or exceeds the message (RFC 4861 4.6). */
function parseOptions(buf: Uint8Array, at: number, end: number): NdOptions | null {
  const options: NdOptions = {
    sourceMac: null,
    targetMac: null,
    mtu: 0,
    prefixes: [],
    dnsServers: [],
    dnsLifetimeS: 0,
  };
  for (let i = at; i < end;) {
    if (end - i < 2) return null;
    const length = buf[i + 1]! * 8;
    if (length === 0 || length > end - i) return null;
    parseOption(buf, i, i + length, options);
    i += length;
  }
  return options;
}

function parseOption(buf: Uint8Array, at: number, end: number, options: NdOptions): void {
  const length = end - at;
  const kind = buf[at];
  // Options of an unexpected length are skipped like unknown ones: RFC 4861 4.6 leaves room for longer ones.
  if (kind === OPTION_SOURCE_MAC && length === MAC_OPTION_LEN) options.sourceMac = MacAddr.at(buf, at + 2);
  else if (kind === OPTION_TARGET_MAC && length === MAC_OPTION_LEN) options.targetMac = MacAddr.at(buf, at + 2);
  else if (kind === OPTION_MTU && length === MTU_OPTION_LEN) options.mtu = get32(buf, at + 4);
  else if (kind === OPTION_PREFIX && length === PREFIX_OPTION_LEN) options.prefixes.push(parsePrefix(buf, at));
  else if (kind === OPTION_DNS && length >= 8 + IP_ADDR_LEN) {
    options.dnsLifetimeS = get32(buf, at + 4);
    for (let i = at + 8; i + IP_ADDR_LEN <= end; i += IP_ADDR_LEN) options.dnsServers.push(IpAddr.at(buf, i));
  }
}

function parsePrefix(buf: Uint8Array, at: number): NdPrefix {
  const flags = buf[at + 3]!;
  return {
    prefix: IpAddr.at(buf, at + 16),
    length: Math.min(buf[at + 2]!, 128),
    onLink: (flags & 0x80) !== 0,
    autonomous: (flags & 0x40) !== 0,
    validS: get32(buf, at + 4),
    preferredS: get32(buf, at + 8),
  };
}

function emitRouterAdvert(advert: RouterAdvert, buf: Uint8Array, at: number): void {
  buf[at + 4] = advert.hopLimit;
  buf[at + 5] = (advert.managed ? 0x80 : 0) | (advert.otherConfig ? 0x40 : 0);
  put16(buf, at + 6, advert.lifetimeS);
  put32(buf, at + 8, advert.reachableMs);
  put32(buf, at + 12, advert.retransMs);
  let i = at + ROUTER_ADVERT_LEN;
  i += emitMacOption(OPTION_SOURCE_MAC, advert.sourceMac, buf, i);
  if (advert.mtu !== 0) {
    put32(buf, i, (OPTION_MTU << 24) | (1 << 16));
    put32(buf, i + 4, advert.mtu);
    i += MTU_OPTION_LEN;
  }
  for (const prefix of advert.prefixes) {
    emitPrefix(prefix, buf, i);
    i += PREFIX_OPTION_LEN;
  }
  if (advert.dnsServers.length === 0) return;
  put32(buf, i, (OPTION_DNS << 24) | ((1 + 2 * advert.dnsServers.length) << 16));
  put32(buf, i + 4, advert.dnsLifetimeS);
  advert.dnsServers.forEach((server, n) => server.put(buf, i + 8 + n * IP_ADDR_LEN));
}

function emitPrefix(prefix: NdPrefix, buf: Uint8Array, at: number): void {
  put32(buf, at, (OPTION_PREFIX << 24) | (4 << 16) | (prefix.length << 8));
  buf[at + 3] = (prefix.onLink ? 0x80 : 0) | (prefix.autonomous ? 0x40 : 0);
  put32(buf, at + 4, prefix.validS);
  put32(buf, at + 8, prefix.preferredS);
  put32(buf, at + 12, 0);
  prefix.prefix.put(buf, at + 16);
}

/** Writes a link address option, or nothing for null, and returns its length. */
function emitMacOption(kind: number, mac: MacAddr | null, buf: Uint8Array, at: number): number {
  if (mac === null) return 0;
  put16(buf, at, (kind << 8) | 1);
  mac.put(buf, at + 2);
  return MAC_OPTION_LEN;
}

function macOptionLen(mac: MacAddr | null): number {
  return mac === null ? 0 : MAC_OPTION_LEN;
}

function dnsOptionLen(servers: readonly IpAddr[]): number {
  return servers.length === 0 ? 0 : 8 + servers.length * IP_ADDR_LEN;
}

function formatMac(mac: MacAddr | null): string {
  return mac === null ? "" : ` (${mac})`;
}
