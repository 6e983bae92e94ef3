/**
 * What a NAT is made from: addresses in two styles, how it maps and filters, lifetimes and limits, all with defaults.
 *
 * Path: nat, service_config, table → config → policy, map_class, family_config, dns_servers, config6,
 * limits.
 *
 * - `qemu`: a network of its own, by default 10.0.2.0/24: router .2, name server .3, guests from .15 on.
 * - `real`: the guest has the host's address, mask and router; the router's address means the host.
 *
 * @module
 */

import { KernelError } from "../../kernel/error.ts";
import { ETHER_MTU } from "../../kernel/wire/ethernet.ts";
import { IpAddr, IPV4_LOOPBACK, parseIpAddr, parseIpMask } from "../../kernel/wire/ip_addr.ts";
import { MacAddr, parseMacAddr } from "../../kernel/wire/mac_addr.ts";
import { encodeDnsName } from "../../kernel/wire/dns_name.ts";
import type { PolicyOptions } from "./policy.ts";
import type { DnsPatience } from "./services/dns_servers.ts";
import type { ForwardDoors } from "./forward.ts";
import { v6Config, type V6Options } from "./config6.ts";
import type { FamilyConfig } from "./family_config.ts";
import { type Caps, GUEST_CAPS, type Lifetimes, lifetimesOf, TOTAL_CAPS } from "./limits.ts";
import { MAP_PROTO_NAMES } from "./map_class.ts";

/** How the guest is addressed. */
export type Style = "qemu" | "real";

/** What a mapping, or a filter, looks at of the remote end (RFC 4787 4.1, 5): nothing, its address, its port too. */
export type Dependence = "endpoint" | "address" | "address-port";

/** One for every protocol, or one each; what is left out is the default. */
export type DependenceOption = Dependence | Partial<Record<typeof MAP_PROTO_NAMES[number], Dependence>>;

/** The router's hardware address (Akaros). */
export const HOST_MAC: MacAddr = new MacAddr(0x0001, 0x0203040a);
/** The guest's: its last byte tells it the style before it has an address (Akaros). */
export const GUEST_MACS: Readonly<Record<Style, MacAddr>> = {
  qemu: new MacAddr(0x0001, 0x0203040b),
  real: new MacAddr(0x0001, 0x0203040c),
};

/** Network of the qemu style, and the last bytes of the addresses in it (QEMU `-netdev user`). */
export const QEMU_SUBNET = "10.0.2.0/24";
const QEMU_ROUTER = 2;
const QEMU_DNS = 3;
/** The first guest. */
export const QEMU_GUEST = 15;

/** Smallest MTU: what every host takes (RFC 791 3.1). */
const GUEST_MTU_MIN = 576;
/** Largest MTU: as slirp4netns and passt. */
const GUEST_MTU_MAX = 65535;

/** How a NAT is made; what is left out is the default. */
export interface NatOptions {
  /** How guests are addressed. Default qemu. */
  style?: Style;
  /** Address that the host sends from, such as `10.0.0.1/24`: the source of what guests send. */
  hostAddr: string;
  /** Other addresses of the host, with their prefix lengths. */
  hostAddrs?: readonly string[];
  /** qemu style: the guest's network. real style: the host's, such as `10.0.0.0/24`. */
  subnet?: string;
  /** The address that guests send to. Default: the second of the subnet. */
  router?: string;
  /** The guest that a forward leads to unless it names one, until another is heard of: see `Nat.meet`. */
  guest?: string;
  /** First address that DHCP gives. Default: the guest's. */
  firstLease?: string;
  /**
   * Opens forwards on the machine behind the uplink. Default: they are ports of the host kernel alone.
   *
   * @internal
   */
  doors?: ForwardDoors;
  /** Whether a forward may be at an address of the host's loopback. Default true. */
  loopbackForwards?: boolean;
  /** Address that the NAT answers for as a name server; null: guests ask the host's servers themselves. */
  dns?: string | null;
  /** The servers that answer, of either version of IP: those of the host, the first to be asked first. */
  nameServers?: readonly string[];
  /** How long a server may take, and how often all are asked. Default: as resolv.conf(5). */
  dnsPatience?: DnsPatience;
  /** The router's hardware address. */
  hostMac?: MacAddr;
  /** The guest's hardware address, if it is known before the guest has said anything. */
  guestMac?: MacAddr | null;
  /**
   * The loopback that the router's address stands for (where the policy allows it) is not the host's own but that of
   * the machine behind its uplink (ipifc(3), `localnet`): it is talked to from the host's address. Default false.
   */
  farLoopback?: boolean;
  /**
   * With `farLoopback`: that machine's address on the uplink. Linux answers from it for a UDP socket that is bound to
   * all addresses, though 127.0.0.1 was asked: such an answer comes from the router, too.
   */
  farPeer?: string;
  /**
   * An address on the uplink that stands for the machine there and its loopback, as that of a socket uplink does:
   * guests know it by the router's address. In the place of `farLoopback`. Default: there is none.
   */
  machine?: string;
  /** Bytes of IP packet on the guest's link. */
  mtu?: number;
  /** Largest MSS that a SYN may offer, either way; 0: as it is. Default: what fits the guest's MTU. */
  mss?: number;
  /** What a mapping depends on. Default: endpoint. */
  mapping?: DependenceOption;
  /** What a filter looks at. Default: address. */
  filtering?: DependenceOption;
  /** Whether packets from the network keep a map alive (RFC 4787 REQ-6; RFC 7857 wants to be able to say no). */
  inboundRefresh?: boolean;
  /** How long an idle map lives. */
  lifetimes?: Partial<Lifetimes>;
  /** Most maps of one guest. */
  guestCaps?: Partial<Caps>;
  /** Most maps of all guests. */
  totalCaps?: Partial<Caps>;
  /** What guests may reach. */
  policy?: PolicyOptions;
  /** Tells a guest of a refusal (ICMP, code 13 "administratively prohibited"); false: silence. Default true. */
  reject?: boolean;
  /** What DHCP tells besides: */
  hostName?: string;
  /** Domains that guests search. */
  search?: readonly string[];
  /** Length of a lease. Default 3600. */
  leaseSeconds?: number;
  /** Fixed addresses, by hardware address as twelve hex digits. */
  reservations?: Readonly<Record<string, string>>;
  /** IPv6 for the guests; null: theirs is refused. Default null. */
  v6?: V6Options | null;
  /** Names that the NAT answers for itself: `name: address`, below {@link NatOptions.zoneName}. */
  zone?: Readonly<Record<string, string>>;
  /** Domain of the zone. Default `internal`. */
  zoneName?: string;
}

/** The options with every default filled in and every text read. */
export interface NatConfig extends FamilyConfig {
  readonly style: Style;
  readonly prefix: number;
  readonly guest: IpAddr;
  readonly firstLease: IpAddr;
  readonly loopbackForwards: boolean;
  readonly nameServers: readonly IpAddr[];
  readonly hostMac: MacAddr;
  readonly guestMac: MacAddr | null;
  readonly mtu: number;
  /** By MapProto (RFC 7857 5 and 6: each protocol has its own). */
  readonly mapping: readonly Dependence[];
  readonly filtering: readonly Dependence[];
  readonly inboundRefresh: boolean;
  readonly lifetimes: Lifetimes;
  readonly guestCaps: Caps;
  readonly totalCaps: Caps;
  readonly reject: boolean;
  readonly hostName: string;
  readonly search: readonly string[];
  readonly leaseSeconds: number;
  readonly reservations: ReadonlyMap<number, IpAddr>;
  readonly zone: ReadonlyMap<string, IpAddr>;
  readonly zoneName: string;
  readonly v6: FamilyConfig | null;
}

/** Bytes of an IPv4 and a TCP header without options: what an MSS leaves out (RFC 9293 3.7.1). */
const TCP_IP_HEADERS = 40;

/** Reads `options`; EINVAL names what cannot be. */
export function natConfig(options: NatOptions): NatConfig {
  const { style = "qemu", mtu = ETHER_MTU } = options;
  if (!(mtu >= GUEST_MTU_MIN && mtu <= GUEST_MTU_MAX && Number.isInteger(mtu))) {
    throw new KernelError("EINVAL", `Cannot use the MTU ${mtu}: not in ${GUEST_MTU_MIN} … ${GUEST_MTU_MAX}`);
  }
  const hostTexts = [options.hostAddr, ...options.hostAddrs ?? []];
  const hostAddrs = hostTexts.map((text) => addr(text.split("/")[0]!, "host address"));
  const hostAddr = hostAddrs[0]!;
  const link = addresses(options, style, hostAddr);
  if (style === "qemu") requireApart(link, hostTexts);
  const doorLink = options.doors?.link?.[4] ?? null;
  const { hostName = "guest", search = [], leaseSeconds = 3600 } = options;
  const hostMac = options.hostMac ?? HOST_MAC;
  const machine = options.machine === undefined ? null : addr(options.machine, "machine");
  const isFar = machine !== null || options.farLoopback === true;
  const farPeer = isFar && options.farPeer !== undefined ? addr(options.farPeer, "far peer") : null;
  return {
    style,
    hostAddr,
    hostAddrs: doorLink === null ? hostAddrs : [...hostAddrs, doorLink.near],
    linkLocal: null,
    onlyGuest: style === "real" ? link.guest : null,
    broadcasts: [...new Set([...hostTexts, `${link.subnet}/${link.prefix}`].flatMap(broadcastsOf))],
    ...link,
    loopbackForwards: options.loopbackForwards ?? true,
    nameServers: (options.nameServers ?? []).map(nameServer),
    hasLoopback: true,
    loopback: machine ?? IPV4_LOOPBACK,
    loopbackFrom: isFar ? hostAddr : IPV4_LOOPBACK,
    farPeer: machine ?? farPeer,
    doorLink,
    hostMac,
    guestMac: options.guestMac === undefined ? GUEST_MACS[style] : options.guestMac,
    mtu,
    mss: options.mss ?? mtu - TCP_IP_HEADERS,
    mapping: byProto(options.mapping, "endpoint"),
    filtering: byProto(options.filtering, "address"),
    inboundRefresh: options.inboundRefresh ?? true,
    lifetimes: lifetimesOf(options),
    guestCaps: { ...GUEST_CAPS, ...options.guestCaps },
    totalCaps: { ...TOTAL_CAPS, ...options.totalCaps },
    reject: options.reject ?? true,
    hostName,
    search: search.map(domain),
    leaseSeconds,
    reservations: reservationsOf(options.reservations ?? {}, link),
    zone: new Map(Object.entries(options.zone ?? {}).map(([name, text]) => [name.toLowerCase(), addr(text, "zone")])),
    zoneName: (options.zoneName ?? "internal").toLowerCase(),
    v6: options.v6 === undefined || options.v6 === null ? null : v6Config(options.v6, {
      style,
      mtu,
      mss: options.mss,
      hostMac,
      hasDns: link.dns !== null,
      hasLoopback: options.farLoopback !== true,
      doorLink: options.doors?.link?.[6] ?? null,
    }),
  };
}

function byProto(option: DependenceOption | undefined, usual: Dependence): Dependence[] {
  return MAP_PROTO_NAMES.map((name) => typeof option === "string" ? option : option?.[name] ?? usual);
}

type Addresses = Pick<NatConfig, "subnet" | "mask" | "prefix" | "router" | "guest" | "firstLease" | "dns">;

/** The addresses on the guest's link. */
function addresses(options: NatOptions, style: Style, hostAddr: IpAddr): Addresses {
  if (style === "real" && (options.subnet === undefined || options.router === undefined)) {
    throw new KernelError("EINVAL", "Cannot give a guest the host's address without the host's subnet and router");
  }
  const [net = "", length = ""] = (options.subnet ?? QEMU_SUBNET).split("/");
  const mask = parseIpMask(`/${length}`, true);
  const prefix = Number(length);
  if (mask === null || prefix < 1 || prefix > (style === "qemu" ? 28 : 31)) {
    throw new KernelError("EINVAL", `Cannot use the subnet "${options.subnet}": want address/length with room in it`);
  }
  const subnet = addr(net, "subnet").and(mask);
  const at = (number: number) => IpAddr.v4(subnet.w3 + number);
  const pick = (text: string | undefined, number: number) => text === undefined ? at(number) : addr(text, "guest link");
  const router = pick(options.router, QEMU_ROUTER);
  const guest = style === "real" ? hostAddr : pick(options.guest, prefix > 27 ? 4 : QEMU_GUEST);
  const firstLease = options.firstLease === undefined ? guest : addr(options.firstLease, "first lease");
  const ownDns = options.dns === undefined ? (style === "qemu" ? at(QEMU_DNS) : null) : null;
  const dns = typeof options.dns === "string" ? addr(options.dns, "guest link") : ownDns;
  for (const one of [router, guest, firstLease, ...(dns === null || style === "real" ? [] : [dns])]) {
    if (!one.sameNet(subnet, mask)) throw new KernelError("EINVAL", `Cannot use ${one}: not in ${subnet}/${length}`);
  }
  if (router.equals(guest) || (dns !== null && (dns.equals(guest) || dns.equals(router)))) {
    throw new KernelError("EINVAL", "Cannot use one address for two of guest, router and name server");
  }
  return { subnet, mask, prefix, router, guest, firstLease, dns };
}

/** The words of the network and of the broadcast address of `addr/length`; none without a length. */
function broadcastsOf(text: string): number[] {
  const [net = "", length = ""] = text.split("/");
  const mask = parseIpMask(`/${length}`, true);
  if (mask === null || Number(length) > 30) return [];
  const word = addr(net, "host address").w3;
  return [word & mask.w3, word | ~mask.w3];
}

/** RFC 4787 REQ-7: what has an address of the guests' network on the host's side could not be reached. */
function requireApart({ subnet, mask, prefix }: Addresses, hostTexts: readonly string[]): void {
  for (const text of hostTexts) {
    const [net = "", length = "32"] = text.split("/");
    const common = (parseIpMask(`/${length}`, true) ?? mask).and(mask);
    if (!addr(net, "host address").sameNet(subnet, common)) continue;
    throw new KernelError(
      "EINVAL",
      `Cannot use the subnet ${subnet}/${prefix} for guests: the host has ${text}, so take another`,
    );
  }
}

function reservationsOf(
  texts: Readonly<Record<string, string>>,
  { subnet, mask, router, dns }: Addresses,
): Map<number, IpAddr> {
  const reservations = new Map<number, IpAddr>();
  for (const [text, at] of Object.entries(texts)) {
    const mac = parseMacAddr(text);
    if (mac === null) throw new KernelError("EINVAL", `Cannot reserve ${at} for "${text}": no hardware address`);
    const one = addr(at, "reservation");
    const isFree = one.sameNet(subnet, mask) && !one.equals(router) && dns?.equals(one) !== true;
    if (!isFree) throw new KernelError("EINVAL", `Cannot reserve ${one} for ${mac}: no guest's address`);
    reservations.set(mac.key, one);
  }
  return reservations;
}

function nameServer(text: string): IpAddr {
  const parsed = parseIpAddr(text);
  if (parsed === null || parsed.isMulticast || parsed.isUnspecified) {
    throw new KernelError("EINVAL", `Cannot use "${text}" as name server: no IP address of a station`);
  }
  return parsed;
}

/** What is searched must be names: DHCP could not tell others. */
function domain(text: string): string {
  const isName = text !== "" && text !== "." && /^[\x21-\x7e]+$/.test(text) && encodeDnsName(text) !== null;
  if (!isName) throw new KernelError("EINVAL", `Cannot search "${text}": no domain name`);
  return text.endsWith(".") ? text.slice(0, -1) : text;
}

function addr(text: string, what: string): IpAddr {
  const parsed = parseIpAddr(text);
  if (parsed === null || !parsed.isV4) {
    throw new KernelError("EINVAL", `Cannot use "${text}" as ${what}: no IPv4 address`);
  }
  return parsed;
}
