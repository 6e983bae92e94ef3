/**
 * Policy6: which IPv6 destinations a guest may reach, and the reason for each refusal. As nat_policy for IPv4, by the
 * same rules and switches and in the same order.
 *
 * Path: nat6 → policy6 → nat/counters, policy, ip_addr.
 *
 * Never: groups, `::`, addresses that carry one of IPv4 (`::ffff:0:0/96`, `::/96`), link-local ones (a guest's link is
 * none of the host's) and ::1, which the router's address may stand for. Off unless asked for: the metadata services of
 * clouds, fd00:ec2::254 and fd20:ce::254. "Private" are unique local (RFC 4193) and site-local addresses.
 *
 * @module
 */

import { IpAddr, IPV6_LOOPBACK, parseIpAddr, prefixMask } from "../../../kernel/wire/ip_addr.ts";
import { Reason } from "../counters.ts";
import { formatRule6, type NatPolicy, type PolicyOptions, type PolicyRule6 } from "../policy.ts";

/** A network and the reason why nobody gets there, if it is off. */
interface Category {
  readonly reason: Reason;
  readonly net: IpAddr;
  readonly mask: IpAddr;
  readonly on: boolean;
  /** Whether a rule that lies inside it opens it. */
  readonly byRule: boolean;
}

/** The policy of one NAT. */
export class Policy6 {
  /** Whether the host's loopback is open, by the router's address. */
  readonly loopback: boolean;
  readonly #host: boolean;
  readonly #restrict: boolean;
  readonly #allow: readonly PolicyRule6[];
  readonly #deny: readonly PolicyRule6[];
  readonly #categories: readonly Category[];

  /** `policy` has read the rules of `options`. Without `hasLoopback` the router's address stands for nothing. */
  constructor(policy: NatPolicy, options: PolicyOptions, readonly hasLoopback: boolean) {
    this.loopback = hasLoopback && policy.loopback;
    this.#host = options.host ?? true;
    this.#restrict = policy.restrict;
    this.#allow = policy.allow6;
    this.#deny = policy.deny6;
    const { metadata = false, private: isPrivate = true } = options;
    this.#categories = [
      category(Reason.Loopback, "::1", 128, { on: false, byRule: false }),
      // ::/96 has `::` in it, and what was once IPv4-compatible (RFC 4291 2.5.5.1).
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

  /** Whether a guest may send to `addr`, an address of the world; Reason.None if so. Nothing is built. */
  check(protocol: number, addr: IpAddr, port: number): Reason {
    const rule = find(this.#deny, protocol, addr, port);
    const allowed = find(this.#allow, protocol, addr, port);
    for (const { reason, net, mask, on, byRule } of this.#categories) {
      if (!addr.sameNet(net, mask)) continue;
      if (!byRule) return reason;
      if (rule !== null) return Reason.Denied;
      if (on) break;
      if (allowed === null || !isInside(allowed, net, mask)) return reason;
    }
    if (rule !== null) return Reason.Denied;
    return allowed !== null || !this.#restrict ? Reason.None : Reason.Restricted;
  }

  /** Whether a guest may send to the host's loopback, `router` being the address that stands for it. */
  checkLoopback(protocol: number, router: IpAddr, port: number): Reason {
    if (find(this.#deny, protocol, router, port) !== null) return Reason.Denied;
    if (this.loopback) return Reason.None;
    return this.hasLoopback && isExact(find(this.#allow, protocol, router, port)) ? Reason.None : Reason.Loopback;
  }

  /** Whether a guest may send to an address of the host's own. */
  checkHost(protocol: number, addr: IpAddr, port: number): Reason {
    if (find(this.#deny, protocol, addr, port) !== null) return Reason.Denied;
    const allowed = find(this.#allow, protocol, addr, port);
    if (isExact(allowed)) return Reason.None;
    if (!this.#host) return Reason.HostAddr;
    return this.#restrict && allowed === null ? Reason.Restricted : Reason.None;
  }

  /** Whether a guest may send to an address of the NAT's that is on unless it is denied: its name server, its maps. */
  checkNamed(protocol: number, addr: IpAddr, port: number): Reason {
    if (find(this.#deny, protocol, addr, port) !== null) return Reason.Denied;
    return this.#restrict && find(this.#allow, protocol, addr, port) === null ? Reason.Restricted : Reason.None;
  }

  /** The rules about IPv6, a line each. */
  lines(): string[] {
    const named = (rules: readonly PolicyRule6[]) => rules.filter(({ mask }) => mask.w0 !== 0).map(formatRule6);
    return [...named(this.#allow).map((rule) => `allow ${rule}`), ...named(this.#deny).map((rule) => `deny ${rule}`)];
  }
}

function category(reason: Reason, net: string, length: number, how: { on: boolean; byRule: boolean }): Category {
  // What maps IPv4 is an IPv4 address to our parser.
  const addr = net === "::ffff:0:0" ? new IpAddr(0, 0, 0xffff, 0) : net === "::1" ? IPV6_LOOPBACK : parseIpAddr(net)!;
  return { reason, net: addr, mask: prefixMask(length), ...how };
}

function isExact(rule: PolicyRule6 | null): boolean {
  return rule !== null && rule.mask.w3 === -1;
}

/** Whether all of the rule's network is part of the other. */
function isInside(rule: PolicyRule6, net: IpAddr, mask: IpAddr): boolean {
  return rule.net.sameNet(net, mask) && rule.mask.and(mask).equals(mask);
}

/** The narrowest rule that is about this packet. */
function find(rules: readonly PolicyRule6[], protocol: number, addr: IpAddr, port: number): PolicyRule6 | null {
  let best: PolicyRule6 | null = null;
  for (const rule of rules) {
    if (!addr.sameNet(rule.net, rule.mask) || (rule.protocol !== 0 && rule.protocol !== protocol)) continue;
    if (port < rule.portLo || port > rule.portHi) continue;
    if (best === null || rule.mask.compare(best.mask) > 0) best = rule;
  }
  return best;
}
