/**
 * NatPolicy: which destinations a guest may reach by one version of IP, and the reason for each refusal.
 *
 * Path: nat, flow, netd/options, config → policy → nat/counters, policy_rule, ip_addr.
 *
 * What only this machine or this link knows is off unless asked for: the host's loopback (which the router's address
 * stands for), link-local addresses, and the metadata services of clouds. A rule of the allow list asks for such an
 * address if its network lies inside that range. No rule opens 127/8 and ::1 themselves (RFC 1122 3.2.1.3), nor the
 * link-local addresses of IPv6: a guest's link is not the host's.
 *
 * In this order, of both versions: what is no destination at all; a rule that denies; what is off, unless a rule asks
 * for it; a rule that allows; `restrict`, under which nothing is left. Answers to packets that came in by a forward are
 * not checked: the forward has allowed them.
 *
 * @module
 */

import { IpAddr, IPV6_LOOPBACK, parseIpAddr, prefixMask } from "../../kernel/wire/ip_addr.ts";
import { Reason } from "./counters.ts";
import { findRule, formatRule, isExact, isInside, type Net, parseRules, type PolicyRule } from "./policy_rule.ts";

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

/** A network that stands apart from the rest. */
interface Category extends Net {
  readonly reason: Reason;
  readonly on: boolean;
  /** Whether a rule that lies inside it opens it. */
  readonly byRule: boolean;
}

/** Which of them are on. */
type Switches = Required<Pick<PolicyOptions, "metadata" | "linkLocal" | "private">>;

/** The first that an address is in counts. 0/8, 224/4 and 240/4 cannot be reached (RFC 1812 5.3.7). */
function categories4({ metadata, linkLocal, private: isPrivate }: Switches): Category[] {
  return [
    category(Reason.Destination, "0.0.0.0", 8, { on: false, byRule: false }),
    category(Reason.Destination, "224.0.0.0", 3, { on: false, byRule: false }),
    category(Reason.Loopback, "127.0.0.0", 8, { on: false, byRule: false }),
    category(Reason.Metadata, "169.254.169.254", 32, { on: metadata, byRule: true }),
    category(Reason.LinkLocal, "169.254.0.0", 16, { on: linkLocal, byRule: true }),
    // RFC 1918, and RFC 6598.
    category(Reason.Private, "10.0.0.0", 8, { on: isPrivate, byRule: true }),
    category(Reason.Private, "172.16.0.0", 12, { on: isPrivate, byRule: true }),
    category(Reason.Private, "192.168.0.0", 16, { on: isPrivate, byRule: true }),
    category(Reason.Private, "100.64.0.0", 10, { on: isPrivate, byRule: true }),
  ];
}

/** Unique local (RFC 4193) and site-local addresses are private; ::/96 has `::` and IPv4-compatible addresses in it. */
function categories6({ metadata, private: isPrivate }: Switches): Category[] {
  return [
    category(Reason.Loopback, "::1", 128, { on: false, byRule: false }),
    category(Reason.Destination, "::", 96, { on: false, byRule: false }),
    category(Reason.Destination, "::ffff:0:0", 96, { on: false, byRule: false }),
    category(Reason.Destination, "ff00::", 8, { on: false, byRule: false }),
    category(Reason.LinkLocal, "fe80::", 10, { on: false, byRule: false }),
    category(Reason.Metadata, "fd00:ec2::254", 128, { on: metadata, byRule: true }),
    category(Reason.Metadata, "fd20:ce::254", 128, { on: metadata, byRule: true }),
    category(Reason.Private, "fc00::", 7, { on: isPrivate, byRule: true }),
    category(Reason.Private, "fec0::", 10, { on: isPrivate, byRule: true }),
  ];
}

function category(reason: Reason, text: string, length: number, how: { on: boolean; byRule: boolean }): Category {
  // The prefix that maps IPv4 is an IPv4 address to the parser.
  const net = text === "::ffff:0:0" ? new IpAddr(0, 0, 0xffff, 0) : text === "::1" ? IPV6_LOOPBACK : parseIpAddr(text)!;
  return { reason, net, mask: prefixMask(text.includes(":") ? length : 96 + length), ...how };
}

/** The policy of one NAT for one version of IP. */
export class NatPolicy {
  /** Whether all of the host's loopback is open, by the router's address. */
  readonly loopback: boolean;
  readonly #restrict: boolean;
  readonly #host: boolean;
  readonly #allow: readonly PolicyRule[];
  readonly #deny: readonly PolicyRule[];
  readonly #categories: readonly Category[];
  /** By an address' first byte: 1 if a category may have it. Most have none, and need no look at each. */
  readonly #apart = new Uint8Array(256);

  /**
   * Throws KernelError for a rule that cannot be read, of either version. Without `hasLoopback` the router's address
   * stands for nothing.
   */
  constructor(options: PolicyOptions = {}, readonly version: 4 | 6 = 4, readonly hasLoopback: boolean = true) {
    const ours = (rules: readonly PolicyRule[]) =>
      rules.filter((rule) => rule.version === null || rule.version === version);
    this.#allow = ours(parseRules(options.allow ?? []));
    this.#deny = ours(parseRules(options.deny ?? []));
    this.#restrict = options.restrict ?? false;
    this.loopback = hasLoopback && (options.loopback ?? false);
    this.#host = options.host ?? true;
    const { metadata = false, linkLocal = false, private: isPrivate = true } = options;
    const switches = { metadata, linkLocal, private: isPrivate };
    const all = version === 4 ? categories4(switches) : categories6(switches);
    // One that is on says nothing, but for the metadata services, which lie inside others.
    this.#categories = all.filter(({ on, reason }) => !on || reason === Reason.Metadata);
    for (const { net, mask } of this.#categories) {
      const bits = firstByte(mask, version);
      for (let byte = 0; byte < 256; byte++) if ((byte & bits) === firstByte(net, version)) this.#apart[byte] = 1;
    }
  }

  /** Whether a guest may send to `addr`, an address of the world; Reason.None if so. Nothing is built. */
  check(protocol: number, addr: IpAddr, port: number): Reason {
    const found = this.#categoryOf(addr);
    if (found !== null && found.reason === Reason.Destination) return Reason.Destination;
    if (findRule(this.#deny, protocol, addr, port) !== null) return Reason.Denied;
    const allowed = findRule(this.#allow, protocol, addr, port);
    if (found !== null && !found.on && !(found.byRule && allowed !== null && isInside(allowed, found))) {
      return found.reason;
    }
    return allowed !== null || !this.#restrict ? Reason.None : Reason.Restricted;
  }

  #categoryOf(addr: IpAddr): Category | null {
    if (this.#apart[firstByte(addr, this.version)] === 0) return null;
    for (const one of this.#categories) if (addr.sameNet(one.net, one.mask)) return one;
    return null;
  }

  /** Whether a guest may send to the host's loopback, `router` being the address that stands for it. */
  checkLoopback(protocol: number, router: IpAddr, port: number): Reason {
    if (findRule(this.#deny, protocol, router, port) !== null) return Reason.Denied;
    if (this.loopback) return Reason.None;
    const isAllowed = this.hasLoopback && isExact(findRule(this.#allow, protocol, router, port));
    return isAllowed ? Reason.None : Reason.Loopback;
  }

  /** Whether a guest may send to an address of the host's own. */
  checkHost(protocol: number, addr: IpAddr, port: number): Reason {
    if (findRule(this.#deny, protocol, addr, port) !== null) return Reason.Denied;
    const allowed = findRule(this.#allow, protocol, addr, port);
    if (isExact(allowed)) return Reason.None;
    if (!this.#host) return Reason.HostAddr;
    return this.#restrict && allowed === null ? Reason.Restricted : Reason.None;
  }

  /** Whether a guest may send to an address of the NAT's that is on unless it is denied: its name server, its maps. */
  checkNamed(protocol: number, addr: IpAddr, port: number): Reason {
    if (findRule(this.#deny, protocol, addr, port) !== null) return Reason.Denied;
    return this.#restrict && findRule(this.#allow, protocol, addr, port) === null ? Reason.Restricted : Reason.None;
  }

  /** What is open and what is not, a line each; of IPv6 the rules that are about nothing else. */
  lines(): string[] {
    const named = (rules: readonly PolicyRule[]) => rules.filter(({ version }) => this.version === 4 || version === 6);
    const rules = [
      ...named(this.#allow).map((rule) => `allow ${formatRule(rule)}`),
      ...named(this.#deny).map((rule) => `deny ${formatRule(rule)}`),
    ];
    if (this.version === 6) return rules;
    const names = this.#categories.filter(({ on, reason }) => !on && reason !== Reason.Destination)
      .map(({ reason }) => CATEGORY_NAMES[reason]!);
    const off = [...new Set(names)];
    if (!this.loopback) off.unshift("the host by the router's address");
    if (!this.#host) off.push("the host's own addresses");
    return [this.#restrict ? "restricted: only what is allowed below" : `everything but ${off.join(", ")}`, ...rules];
  }
}

/** The first byte of an address as it is written. */
function firstByte({ w0, w3 }: IpAddr, version: 4 | 6): number {
  return (version === 4 ? w3 : w0) >>> 24;
}

const CATEGORY_NAMES: Readonly<Record<number, string>> = {
  [Reason.Loopback]: "loopback",
  [Reason.Metadata]: "metadata",
  [Reason.LinkLocal]: "link-local",
  [Reason.Private]: "private networks",
};
