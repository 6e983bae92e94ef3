/**
 * Rules of the policy: reading one, writing one, and finding the one that is about a packet.
 *
 * Path: policy → policy_rule → kernel/ctl, error, ip_addr, ip_proto.
 *
 * A rule is `[proto:]network[:port[-port]]`: `tcp:192.0.2.0/24:80-443`, `udp:*:53`, `10.0.0.0/8`, `icmp:*`. A network
 * of IPv6 stands in brackets, with its length: `tcp:[2001:db8::/32]:443`, `[2001:db8::1]`. `*` is all of both.
 *
 * @module
 */

import { shown } from "../../kernel/ctl.ts";
import { KernelError } from "../../kernel/error.ts";
import { formatMask, IP_UNSPECIFIED, type IpAddr, parseIpAddr, parseIpMask } from "../../kernel/wire/ip_addr.ts";
import { formatIpProto, IP_PROTO_ICMP, IP_PROTO_TCP, IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";

/** Most rules in a list: each packet may be held against all of them. */
export const RULES_MAX = 256;

const PROTOCOLS: Readonly<Record<string, number>> = {
  "*": 0,
  any: 0,
  tcp: IP_PROTO_TCP,
  udp: IP_PROTO_UDP,
  icmp: IP_PROTO_ICMP,
};

/** A network. */
export interface Net {
  readonly net: IpAddr;
  readonly mask: IpAddr;
}

/** What a rule is about. */
export interface PolicyRule extends Net {
  /** IP protocol; 0: any. Of ICMP it is 1 in both versions. */
  readonly protocol: number;
  readonly portLo: number;
  readonly portHi: number;
  /** The version of IP; null: both. */
  readonly version: 4 | 6 | null;
}

/** Reads a rule; EINVAL names what is wrong with it. */
function parsePolicyRule(text: string): PolicyRule {
  const [, inside = null] = /\[([^\]]*)\]/.exec(text) ?? [];
  const parts = (inside === null ? text : text.replace(`[${inside}]`, "*")).split(":");
  const protocol = PROTOCOLS[parts[0]!];
  const isProtocol = protocol !== undefined && (parts[0] !== "*" || parts.length === 3);
  if (isProtocol) parts.shift();
  const [network = "*", ports = "*", ...rest] = parts;
  if (rest.length > 0 || text === "") throw bad(text, "want [proto:]network[:port[-port]]");
  const where = inside === null ? parseNet(network, text) : parseNet6(inside, text);
  const range = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(ports);
  if (ports !== "*" && range === null) throw bad(text, `"${ports}" is no port`);
  const portLo = range === null ? 0 : Number(range[1]);
  const portHi = range === null ? 65535 : Number(range[2] ?? range[1]);
  if (portHi > 65535 || portLo > portHi) throw bad(text, `"${ports}" is no range of ports`);
  return { ...where, protocol: isProtocol ? protocol : 0, portLo, portHi };
}

/** Reads a list of rules; E2BIG if they are too many. */
export function parseRules(texts: readonly string[]): PolicyRule[] {
  if (texts.length > RULES_MAX) {
    throw new KernelError("E2BIG", `Cannot use ${texts.length} rules: the limit is ${RULES_MAX}`);
  }
  return texts.map(parsePolicyRule);
}

/** A rule as {@link parsePolicyRule} reads it. */
export function formatRule({ version, net, mask, protocol, portLo, portHi }: PolicyRule): string {
  const address = version === null ? "0.0.0.0/0" : `${net}${formatMask(mask, version === 4)}`;
  const ports = portLo === 0 && portHi === 65535 ? "" : portLo === portHi ? `:${portLo}` : `:${portLo}-${portHi}`;
  return `${protocol === 0 ? "any" : formatIpProto(protocol)}:${version === 6 ? `[${address}]` : address}${ports}`;
}

/** The narrowest rule that is about this packet, or null. */
export function findRule(
  rules: readonly PolicyRule[],
  protocol: number,
  addr: IpAddr,
  port: number,
): PolicyRule | null {
  let best: PolicyRule | null = null;
  for (const rule of rules) {
    if (!addr.sameNet(rule.net, rule.mask) || (rule.protocol !== 0 && rule.protocol !== protocol)) continue;
    if (port < rule.portLo || port > rule.portHi) continue;
    if (best === null || rule.mask.compare(best.mask) > 0) best = rule;
  }
  return best;
}

/** Whether all of `inner` is part of `outer`. */
export function isInside(inner: Net, outer: Net): boolean {
  return inner.net.sameNet(outer.net, outer.mask) && inner.mask.and(outer.mask).equals(outer.mask);
}

/** Whether the rule is about one address. */
export function isExact(rule: PolicyRule | null): boolean {
  return rule !== null && rule.mask.w3 === -1;
}

type Where = Net & Pick<PolicyRule, "version">;

function parseNet(text: string, rule: string): Where {
  if (text === "*") return { net: IP_UNSPECIFIED, mask: IP_UNSPECIFIED, version: null };
  const slash = text.indexOf("/");
  const addr = parseIpAddr(slash < 0 ? text : text.slice(0, slash));
  const mask = parseIpMask(slash < 0 ? "/32" : text.slice(slash), true);
  if (addr === null || !addr.isV4 || mask === null) throw bad(rule, `"${text}" is no IPv4 network`);
  // 0.0.0.0/0 is everything: of both versions.
  if (mask.w3 === 0) return { net: IP_UNSPECIFIED, mask: IP_UNSPECIFIED, version: null };
  return { net: addr.and(mask), mask, version: 4 };
}

function parseNet6(text: string, rule: string): Where {
  const slash = text.indexOf("/");
  const addr = parseIpAddr(slash < 0 ? text : text.slice(0, slash));
  const mask = parseIpMask(slash < 0 ? "/128" : text.slice(slash), false);
  if (addr === null || addr.isV4 || mask === null) throw bad(rule, `"${text}" is no IPv6 network`);
  return { net: addr.and(mask), mask, version: 6 };
}

function bad(text: string, why: string): KernelError {
  return new KernelError("EINVAL", `Cannot read the rule ${shown(text)}: ${why}`);
}
