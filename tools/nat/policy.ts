/**
 * NatPolicy: which destinations a guest may reach, and the reason for each refusal.
 *
 * Path: nat, netd/options, config → policy → nat/counters, kernel/ctl, error, ip_addr.
 *
 * What only this machine or this link knows is off unless asked for: the host's loopback (which the router's address
 * stands for), link-local addresses, and the metadata service of clouds (169.254.169.254). A rule of the allow list
 * asks for such an address if its network lies inside that range.
 *
 * In this order: a rule that denies; what is off; a rule that allows; `restrict`, under which nothing is left. Answers
 * to what came in by a forward are not asked about: who forwards a port has allowed its answers.
 *
 * A rule is `[proto:]network[:port[-port]]`: `tcp:192.0.2.0/24:80-443`, `udp:*:53`, `10.0.0.0/8`, `icmp:*`. A network
 * of IPv6 stands in brackets, with its length: `tcp:[2001:db8::/32]:443`, `[2001:db8::1]`. `*` is all of both.
 *
 * @module
 */

import { shown } from "../../kernel/ctl.ts";
import { KernelError } from "../../kernel/error.ts";
import { formatMask, IpAddr, parseIpAddr, parseIpMask } from "../../kernel/wire/ip_addr.ts";
import { formatIpProto, IP_PROTO_ICMP, IP_PROTO_TCP, IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import { Reason } from "./counters.ts";

/** Most rules in a list: each packet may be held against all of them. */
export const RULES_MAX = 256;

const PROTOCOLS: Readonly<Record<string, number>> = {
  "*": 0,
  any: 0,
  tcp: IP_PROTO_TCP,
  udp: IP_PROTO_UDP,
  icmp: IP_PROTO_ICMP,
};

/** A network as two words: address and mask. */
interface Net {
  readonly word: number;
  readonly mask: number;
}

/** What a rule is about. */
export interface PolicyRule extends Net {
  /** IP protocol; 0: any. */
  readonly protocol: number;
  readonly portLo: number;
  readonly portHi: number;
}

/** A rule about a network of IPv6. */
export interface PolicyRule6 extends Pick<PolicyRule, "protocol" | "portLo" | "portHi"> {
  readonly net: IpAddr;
  readonly mask: IpAddr;
}

/** What is allowed; everything left out is as said there. */
export interface PolicyOptions {
  /** Nothing but what `allow` names. Default false. */
  restrict?: boolean;
  /** Rules of what is allowed, such as `tcp:192.0.2.0/24:80-443`. */
  allow?: readonly string[];
  /** Rules of what is refused; they win over all others. */
  deny?: readonly string[];
  /** The host's loopback services, at the router's address. Default false. */
  loopback?: boolean;
  /** The host's own addresses on its networks. Default true: its neighbours reach them as well. */
  host?: boolean;
  /** 169.254/16 but for the metadata service. Default false. */
  linkLocal?: boolean;
  /** 169.254.169.254. Default false. */
  metadata?: boolean;
  /** Private networks: 10/8, 172.16/12, 192.168/16 (RFC 1918) and 100.64/10 (RFC 6598). Default true. */
  private?: boolean;
}

const LOOPBACK_NET = net(0x7f000000, 8);
const LINK_LOCAL_NET = net(0xa9fe0000, 16);
const METADATA_NET = net(0xa9fea9fe, 32);
const PRIVATE_NETS = [net(0x0a000000, 8), net(0xac100000, 12), net(0xc0a80000, 16), net(0x64400000, 10)];
/** 0/8, 224/4 (multicast) and 240/4 (reserved, 255.255.255.255): nothing that could be reached (RFC 1812 5.3.7). */
const MARTIAN_NETS = [net(0, 8), net(0xe0000000, 3)];

/** A switch and what it is about. */
interface Category {
  readonly reason: Reason;
  readonly nets: readonly Net[];
  readonly on: boolean;
}

/** The policy of one NAT. */
export class NatPolicy {
  readonly restrict: boolean;
  readonly allow: readonly PolicyRule[];
  readonly deny: readonly PolicyRule[];
  /** Those about IPv6, with those about every address: see nat6/policy6. */
  readonly allow6: readonly PolicyRule6[];
  readonly deny6: readonly PolicyRule6[];
  /** Whether all of the host's loopback is open. */
  readonly loopback: boolean;
  readonly #off: readonly Category[];
  readonly #host: boolean;

  /** Throws KernelError for a rule that cannot be read. */
  constructor(options: PolicyOptions = {}) {
    this.restrict = options.restrict ?? false;
    this.allow = parseRules(options.allow ?? []);
    this.deny = parseRules(options.deny ?? []);
    this.allow6 = parseRules6(options.allow ?? []);
    this.deny6 = parseRules6(options.deny ?? []);
    this.loopback = options.loopback ?? false;
    this.#host = options.host ?? true;
    const all: Category[] = [
      { reason: Reason.Loopback, nets: [LOOPBACK_NET], on: false },
      { reason: Reason.Metadata, nets: [METADATA_NET], on: options.metadata ?? false },
      { reason: Reason.LinkLocal, nets: [LINK_LOCAL_NET], on: options.linkLocal ?? false },
      { reason: Reason.Private, nets: PRIVATE_NETS, on: options.private ?? true },
    ];
    this.#off = all.filter(({ reason, on }) => !on || reason === Reason.Metadata);
  }

  /** Whether a guest may send to `word`, an address of the world; Reason.None if so. Nothing is built. */
  check(protocol: number, word: number, port: number): Reason {
    for (const martian of MARTIAN_NETS) if (isIn(martian, word)) return Reason.Destination;
    if (find(this.deny, protocol, word, port) !== null) return Reason.Denied;
    const allowed = find(this.allow, protocol, word, port);
    for (const { reason, nets, on } of this.#off) {
      const net = netOf(nets, word);
      if (net === null) continue;
      if (on) break;
      // No rule lets 127/8 out of a guest (RFC 1122 3.2.1.3): the host's is reached by the router's address.
      if (allowed === null || !isInside(allowed, net) || reason === Reason.Loopback) return reason;
    }
    return allowed !== null || !this.restrict ? Reason.None : Reason.Restricted;
  }

  /** Whether a guest may send to the host's loopback, `router` being the address that stands for it. */
  checkLoopback(protocol: number, router: number, port: number): Reason {
    if (find(this.deny, protocol, router, port) !== null) return Reason.Denied;
    if (this.loopback) return Reason.None;
    const allowed = find(this.allow, protocol, router, port);
    return allowed !== null && allowed.mask === -1 ? Reason.None : Reason.Loopback;
  }

  /** Whether a guest may send to an address of the host's own. */
  checkHost(protocol: number, word: number, port: number): Reason {
    if (find(this.deny, protocol, word, port) !== null) return Reason.Denied;
    const allowed = find(this.allow, protocol, word, port);
    if (allowed !== null && allowed.mask === -1) return Reason.None;
    if (!this.#host) return Reason.HostAddr;
    return this.restrict && allowed === null ? Reason.Restricted : Reason.None;
  }

  /** Whether a guest may send to an address of the NAT's that is on unless it is denied: its name server, its maps. */
  checkNamed(protocol: number, word: number, port: number): Reason {
    if (find(this.deny, protocol, word, port) !== null) return Reason.Denied;
    return this.restrict && find(this.allow, protocol, word, port) === null ? Reason.Restricted : Reason.None;
  }

  /** What is open and what is not, a line each: printed at start. */
  lines(): string[] {
    const off = this.#off.filter(({ on }) => !on).map(({ reason }) => CATEGORY_NAMES[reason]!);
    if (!this.loopback) off.unshift("the host by the router's address");
    if (!this.#host) off.push("the host's own addresses");
    const lines = [this.restrict ? "restricted: only what is allowed below" : `everything but ${off.join(", ")}`];
    for (const rule of this.allow) lines.push(`allow ${formatRule(rule)}`);
    for (const rule of this.deny) lines.push(`deny ${formatRule(rule)}`);
    return lines;
  }
}

const CATEGORY_NAMES: Readonly<Record<number, string>> = {
  [Reason.Loopback]: "loopback",
  [Reason.Metadata]: "metadata",
  [Reason.LinkLocal]: "link-local",
  [Reason.Private]: "private networks",
};

/** Reads a rule; EINVAL names what is wrong with it. */
export function parsePolicyRule(text: string): PolicyRule {
  const parts = text.split(":");
  const protocol = PROTOCOLS[parts[0]!];
  const isProtocol = protocol !== undefined && (parts[0] !== "*" || parts.length === 3);
  if (isProtocol) parts.shift();
  const [network = "*", ports = "*", ...rest] = parts;
  if (rest.length > 0 || text === "") throw bad(text, "want [proto:]network[:port[-port]]");
  const { word, mask } = parseNet(network, text);
  const range = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(ports);
  if (ports !== "*" && range === null) throw bad(text, `"${ports}" is no port`);
  const portLo = range === null ? 0 : Number(range[1]);
  const portHi = range === null ? 65535 : Number(range[2] ?? range[1]);
  if (portHi > 65535 || portLo > portHi) throw bad(text, `"${ports}" is no range of ports`);
  return { protocol: isProtocol ? protocol : 0, word: word & mask, mask, portLo, portHi };
}

/** A rule as {@link parsePolicyRule} reads it. */
export function formatRule(rule: PolicyRule): string {
  const { protocol, word, mask, portLo, portHi } = rule;
  const length = Math.clz32(~mask);
  const address = `${IpAddr.v4(word)}/${length}`;
  return `${protocol === 0 ? "any" : formatIpProto(protocol)}:${address}${formatPorts(portLo, portHi)}`;
}

function parseRules(texts: readonly string[]): PolicyRule[] {
  if (texts.length > RULES_MAX) {
    throw new KernelError("E2BIG", `Cannot use ${texts.length} rules: the limit is ${RULES_MAX}`);
  }
  return texts.filter((text) => !isAbout6(text)).map(parsePolicyRule);
}

function parseRules6(texts: readonly string[]): PolicyRule6[] {
  const both = (text: string) => isAbout6(text) || parsePolicyRule(text).mask === 0;
  return texts.filter(both).map(parsePolicyRule6);
}

function isAbout6(text: string): boolean {
  return text.includes("[");
}

/** Reads a rule about IPv6, or about every address; EINVAL names what is wrong with it. */
export function parsePolicyRule6(text: string): PolicyRule6 {
  const [, inside = "::/0"] = /\[([^\]]*)\]/.exec(text) ?? [];
  const { protocol, portLo, portHi } = parsePolicyRule(text.replace(`[${inside}]`, "*"));
  const slash = inside.indexOf("/");
  const addr = parseIpAddr(slash < 0 ? inside : inside.slice(0, slash));
  const mask = parseIpMask(slash < 0 ? "/128" : inside.slice(slash), false);
  if (addr === null || addr.isV4 || mask === null) throw bad(text, `"${inside}" is no IPv6 network`);
  return { protocol, portLo, portHi, net: addr.and(mask), mask };
}

/** A rule as {@link parsePolicyRule6} reads it. */
export function formatRule6({ net, mask, protocol, portLo, portHi }: PolicyRule6): string {
  const ports = formatPorts(portLo, portHi);
  return `${protocol === 0 ? "any" : formatIpProto(protocol)}:[${net}${formatMask(mask, false)}]${ports}`;
}

function formatPorts(portLo: number, portHi: number): string {
  return portLo === 0 && portHi === 65535 ? "" : portLo === portHi ? `:${portLo}` : `:${portLo}-${portHi}`;
}

function parseNet(text: string, rule: string): Net {
  if (text === "*") return { word: 0, mask: 0 };
  const slash = text.indexOf("/");
  const addr = parseIpAddr(slash < 0 ? text : text.slice(0, slash));
  const mask = slash < 0 ? null : parseIpMask(text.slice(slash), true);
  if (addr === null || !addr.isV4 || (slash >= 0 && mask === null)) throw bad(rule, `"${text}" is no IPv4 network`);
  return { word: addr.w3, mask: mask === null ? -1 : mask.w3 };
}

function bad(text: string, why: string): KernelError {
  return new KernelError("EINVAL", `Cannot read the rule ${shown(text)}: ${why}`);
}

function net(value: number, length: number): Net {
  return { word: value | 0, mask: length === 0 ? 0 : -1 << (32 - length) };
}

function isIn({ word, mask }: Net, addr: number): boolean {
  return ((addr ^ word) & mask) === 0;
}

/** Whether all of `inner` is part of `outer`. */
function isInside(inner: Net, outer: Net): boolean {
  return (inner.mask >>> 0) >= (outer.mask >>> 0) && isIn(outer, inner.word);
}

function netOf(nets: readonly Net[], word: number): Net | null {
  for (const one of nets) if (isIn(one, word)) return one;
  return null;
}

/** The narrowest rule that is about this packet. */
function find(rules: readonly PolicyRule[], protocol: number, word: number, port: number): PolicyRule | null {
  let best: PolicyRule | null = null;
  for (const rule of rules) {
    if (!isIn(rule, word) || (rule.protocol !== 0 && rule.protocol !== protocol)) continue;
    if (port < rule.portLo || port > rule.portHi) continue;
    if (best === null || (rule.mask >>> 0) > (best.mask >>> 0)) best = rule;
  }
  return best;
}
