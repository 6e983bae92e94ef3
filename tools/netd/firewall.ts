/**
 * Judges what nftables' rules do with a new connection of the guest, as far as that is possible without a packet: from
 * the output of `nft -j list ruleset`, which includes the rules of iptables-nft.
 *
 * Path: start_checks → firewall → ip_addr.
 *
 * A rule matches, does not match, or may match. A rule for some ports, some destinations or established connections
 * only does not serve a guest in general: it counts as one that does not match. One that may match ends the judgement:
 * a wrong warning is worse than none.
 *
 * @module
 */

import { type IpAddr, parseIpAddr, parseIpMask } from "../../kernel/wire/ip_addr.ts";

/** The first packet of a connection of the guest's. */
export interface GuestPacket {
  readonly from: IpAddr;
  /** The uplink. */
  readonly inDevice: string;
  /** The interface by which it leaves the machine; null: it is for the machine itself. */
  readonly outDevice: string | null;
}

/** Hook of a chain. */
type Hook = "input" | "forward" | "postrouting";

type Fields = Readonly<Record<string, unknown>>;
/** null: it may be. */
type Truth = boolean | null;

interface Chain {
  readonly key: string;
  readonly type: string;
  readonly hook: string;
  readonly policy: string;
  readonly rules: Fields[][];
}

/** Jumps that are followed: Linux allows 16. */
const DEPTH_MAX = 16;
const TRANSLATIONS = ["masquerade", "snat"];
/** iptables' matches that accept any packet, and those that a new connection does not pass in general. */
const XT_ALWAYS = ["comment"];
const XT_SPECIAL = ["conntrack", "state", "tcp", "udp", "icmp", "icmp6", "multiport", "sctp", "limit", "set", "rt"];

/** The rules of a machine. */
export class Firewall {
  readonly #chains = new Map<string, Chain>();

  /** `text`: the output of `nft -j list ruleset`. Unknown parts are left out. */
  constructor(text: string) {
    const { nftables } = JSON.parse(text) as { nftables?: unknown };
    for (const item of Array.isArray(nftables) ? nftables.filter(isFields) : []) {
      if (isFields(item.chain)) this.#addChain(item.chain);
      if (isFields(item.rule)) this.#addRule(item.rule);
    }
  }

  /** The chain that drops the packet, as `ip filter FORWARD`; null: none does for certain. */
  droppedBy(hook: Hook, packet: GuestPacket): string | null {
    for (const chain of this.#base(hook, packet, "filter")) {
      const end = this.#walk(chain, packet, 0);
      if (end === "drop" || (end === "on" && chain.policy === "drop")) return chain.key;
    }
    return null;
  }

  /** Whether a rule gives the packet another source address, or may do so. */
  translates(packet: GuestPacket): boolean {
    return this.#base("postrouting", packet, "nat").some((chain) => this.#mayTranslate(chain, packet, 0));
  }

  #base(hook: Hook, { from }: GuestPacket, type: string): Chain[] {
    const families = ["inet", from.isV4 ? "ip" : "ip6"];
    return [...this.#chains.values()].filter((chain) =>
      chain.hook === hook && chain.type === type && families.includes(chain.key.split(" ")[0]!)
    );
  }

  /** `on`: the chain's end was reached; `maybe`: undecided. */
  #walk(chain: Chain, packet: GuestPacket, depth: number): "accept" | "drop" | "on" | "maybe" {
    for (const rule of chain.rules) {
      const truth = matches(rule, packet);
      if (truth === false) continue;
      const end = this.#verdict(rule, chain, packet, depth);
      if (end === "on") continue;
      if (end === "return") {
        if (truth === null) return "maybe";
        return "on";
      }
      if (truth === true) return end;
      // A possible drop decides nothing: the next rule is examined.
      if (end !== "drop") return "maybe";
    }
    return "on";
  }

  #verdict(rule: Fields[], chain: Chain, packet: GuestPacket, depth: number) {
    for (const part of rule) {
      if ("accept" in part || "queue" in part) return "accept" as const;
      if ("drop" in part || "reject" in part || xtName(part, "target") === "REJECT") return "drop" as const;
      if ("return" in part) return "return" as const;
      if ("vmap" in part) return "maybe" as const;
      const target = [part.jump, part.goto].find(isFields)?.target;
      if (target === undefined) continue;
      const next = this.#chains.get(`${chain.key.split(" ").slice(0, 2).join(" ")} ${target}`);
      if (next === undefined || depth >= DEPTH_MAX) return "maybe" as const;
      const end = this.#walk(next, packet, depth + 1);
      return end === "on" && "goto" in part ? "return" as const : end;
    }
    return "on" as const;
  }

  #mayTranslate(chain: Chain, packet: GuestPacket, depth: number): boolean {
    return chain.rules.some((rule) =>
      matches(rule, packet, true) !== false && rule.some((part) => {
        const target = [part.jump, part.goto].find(isFields)?.target;
        const next = this.#chains.get(`${chain.key.split(" ").slice(0, 2).join(" ")} ${target}`);
        if (next !== undefined && depth < DEPTH_MAX) return this.#mayTranslate(next, packet, depth + 1);
        const name = xtName(part, "target").toLowerCase();
        return "vmap" in part || TRANSLATIONS.some((word) => word in part || word === name);
      })
    );
  }

  #addChain({ family, table, name, type, hook, policy }: Fields): void {
    const key = `${family} ${table} ${name}`;
    const text = (value: unknown) => typeof value === "string" ? value : "";
    this.#chains.set(key, { key, type: text(type), hook: text(hook), policy: text(policy), rules: [] });
  }

  #addRule({ family, table, chain, expr }: Fields): void {
    if (!Array.isArray(expr)) return;
    this.#chains.get(`${family} ${table} ${chain}`)?.rules.push(expr.filter(isFields));
  }
}

/** Whether a rule matches the packet; with `anyPort` a rule for some ports or destinations may match. */
function matches(rule: readonly Fields[], packet: GuestPacket, anyPort = false): Truth {
  let all: Truth = true;
  for (const part of rule) {
    const one = truthOf(part, packet, anyPort ? null : false);
    if (one === false) return false;
    if (one === null) all = null;
  }
  return all;
}

/** `special`: the result for a match that holds for some packets of the guest only. */
function truthOf(part: Fields, packet: GuestPacket, special: Truth): Truth {
  const name = xtName(part, "match");
  if (name !== "") return XT_ALWAYS.includes(name) ? true : XT_SPECIAL.includes(name) ? special : null;
  if ("limit" in part) return special;
  if (!isFields(part.match)) return true;
  const { op, left, right } = part.match;
  const found = isFields(left) ? compare(left, right, packet, special) : null;
  if (found === "special") return special;
  return found === null || op === "==" || op === "in" ? found : op === "!=" ? !found : null;
}

function compare(left: Fields, right: unknown, packet: GuestPacket, special: Truth): Truth | "special" {
  if (isFields(left.ct)) {
    return left.ct.key !== "state" ? null : listOf(right).includes("new") ? true : special === null ? null : "special";
  }
  const key = isFields(left.meta) ? left.meta.key : null;
  if (key === "iifname" || key === "iif") return anyOf(right, (text) => isDevice(text, packet.inDevice));
  if (key === "oifname" || key === "oif") return anyOf(right, (text) => isDevice(text, packet.outDevice ?? ""));
  if (key === "l4proto") return anyOf(right, (text) => text === "tcp" || text === 6);
  if (key === "nfproto") return anyOf(right, (text) => text === (packet.from.isV4 ? "ipv4" : "ipv6"));
  if (!isFields(left.payload)) return null;
  const { field, protocol } = left.payload;
  if (field === "saddr") return anyOf(right, (value) => isIn(value, packet.from));
  if (field === "protocol" || field === "nexthdr") return anyOf(right, (text) => text === "tcp" || text === 6);
  return ["sport", "dport", "daddr"].includes(`${field}`) || `${protocol}`.startsWith("icmp") ? "special" : null;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : isFields(value) && Array.isArray(value.set) ? value.set : [value];
}

/** Whether a set contains the value. */
function anyOf(right: unknown, isIt: (value: unknown) => Truth): Truth {
  const all = listOf(right).map((value) => typeof value === "string" && value.startsWith("@") ? null : isIt(value));
  return all.includes(true) ? true : all.includes(null) ? null : false;
}

function isDevice(value: unknown, name: string): Truth {
  if (typeof value !== "string") return null;
  return value.endsWith("*") ? name.startsWith(value.slice(0, -1)) : value === name;
}

/** Whether `addr` is the address, or in the network, of a rule. */
function isIn(value: unknown, addr: IpAddr): Truth {
  const prefix = isFields(value) && isFields(value.prefix) ? value.prefix : null;
  if (prefix === null && typeof value !== "string") return null;
  const net = parseIpAddr(`${prefix === null ? value : prefix.addr}`);
  if (net === null) return null;
  const mask = prefix === null ? null : parseIpMask(`/${prefix.len}`, net.isV4);
  return mask === null ? net.equals(addr) : net.sameNet(addr, mask);
}

/** The name of iptables' match or target; empty: it is none. */
function xtName({ xt }: Fields, type: "match" | "target"): string {
  return isFields(xt) && xt.type === type ? `${xt.name}` : "";
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
