/**
 * The command line of netd.
 *
 * Path: netd, daemon, descriptors → netd/options → netd/given, options/given, resolv_conf, address_checks.
 *
 * @module
 */

import { SOCKET_MODE } from "../../devices/host/bound_path.ts";
import { KernelError } from "../../kernel/error.ts";
import { IpAddr, parseIpAddr, parseIpMask } from "../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { IPV6_MTU_MIN } from "../../kernel/wire/ipv6.ts";
import { natConfig, type NatOptions, QEMU_GUEST, QEMU_SUBNET } from "../nat/config.ts";
import type { V6Options } from "../nat/config6.ts";
import type { DnsPatience } from "../nat/services/dns_servers.ts";
import { parseForward } from "../nat/forward.ts";
import { NatPolicy, type PolicyOptions } from "../nat/policy.ts";
import { type NameRules, NO_RESOLV_CONF, type ResolvConf, usableServers } from "./resolv_conf.ts";
import { bad, UsageError } from "../options/given.ts";
import { checkEnds, checkGuestNetwork, checkServer, firstOf } from "./address_checks.ts";
import { checkAddr, type NetdGiven } from "./given.ts";

const FD_MAX = 1 << 20;
/**
 * Host number of a guest that gets its address from netd, as with slirp4netns, and the longest prefix with room for it.
 */
const GIVEN_GUEST = 100;
const GIVEN_GUEST_PREFIX_MAX = 25;

/** The guest of the network. */
export type GuestChoice =
  | { readonly kind: "qemu"; readonly path: string }
  | {
    readonly kind: "netns";
    readonly netns: string;
    /** File of its user namespace; null: that of the process, if one was named. */
    readonly userns: string | null;
    readonly device: string;
    /** Hardware address of the interface; null: Linux chooses. */
    readonly mac: MacAddr | null;
    readonly configure: boolean;
  };

/** The uplink of the host kernel. */
export interface UplinkChoice {
  readonly kind: "tap" | "tun";
  /** Name of the device; null: Linux chooses. */
  readonly device: string | null;
  /** Take an existing device that is set up. */
  readonly attach: boolean;
  /** Our address, with its prefix length. */
  readonly address: string;
  /** Linux' address on the device, likewise; null: it is set up by others. */
  readonly peer: string | null;
  readonly gateway: string;
  /** The same of IPv6; null: there is none. */
  readonly v6: Uplink6Choice | null;
  /** Namespace of Linux' side; null: where netd runs. */
  readonly netns: string | null;
  readonly mtu: number;
}

/** The IPv6 uplink of the host kernel. */
export type Uplink6Choice = Pick<UplinkChoice, "address" | "peer" | "gateway">;

/** Servers of the relay, and search domains of the guest. */
interface NameChoice {
  readonly nameServers: readonly string[];
  readonly search: readonly string[];
  readonly patience: DnsPatience;
  /** Servers and domains that are skipped, and why. */
  readonly notes: readonly string[];
  readonly rules: NameRules;
  /** Given by --dns, by --search: the machine's resolv.conf does not change them. */
  readonly isFixed: boolean;
  readonly isSearchFixed: boolean;
}

/** The options of a run. */
export interface NetdOptions {
  readonly names: NameChoice;
  readonly guest: GuestChoice;
  readonly uplink: UplinkChoice;
  readonly nat: NatOptions;
  /** The guest must not reach the machine that netd runs on. */
  readonly disableHostLoopback: boolean;
  readonly forwards: readonly string[];
  readonly apiSocket: string | null;
  /** Mode of the files of its sockets. */
  readonly socketMode: number;
  readonly readyFd: number | null;
  readonly exitFd: number | null;
  readonly oneOff: boolean;
  readonly offload: boolean;
  /** How long after a packet the loop polls for the next without sleeping, in milliseconds. */
  readonly busyPollMs: number;
  readonly quiet: boolean;
}

/** More than a second without sleep is of no use. */
const BUSY_POLL_MAX_MS = 1000;

/** Parses the command line. Throws UsageError, which names the fault. */
export function netdOptions(given: NetdGiven, resolvConf: () => ResolvConf): NetdOptions {
  const guest = guestOf(given);
  const uplink = uplinkOf(given);
  const names = namesOf(given, uplink, resolvConf);
  return {
    guest,
    uplink,
    nat: natOf(given, uplink, guest, names),
    names,
    disableHostLoopback: given.flag("disable-host-loopback"),
    forwards: given.list("forward").map((spec) => forwardOf(spec, uplink)),
    apiSocket: given.text("api-socket"),
    socketMode: given.mode("socket-mode") ?? SOCKET_MODE,
    readyFd: given.number("ready-fd", 0, FD_MAX),
    exitFd: given.number("exit-fd", 0, FD_MAX),
    oneOff: given.flag("one-off"),
    offload: !given.flag("no-offload"),
    busyPollMs: given.number("busy-poll", 0, BUSY_POLL_MAX_MS)!,
    quiet: given.flag("quiet"),
  };
}

function guestOf(given: NetdGiven): GuestChoice {
  const path = given.text("qemu");
  const netns = given.text("netns");
  if ((path === null) === (netns === null)) throw new UsageError("Want one of --qemu and --netns");
  if (path !== null) {
    for (const name of ["device", "configure", "userns-path", "macaddress"]) {
      if (given.has(name)) throw new UsageError(`--${name} is for --netns`);
    }
    return { kind: "qemu", path };
  }
  if (given.flag("one-off")) throw new UsageError("--one-off is for --qemu");
  return {
    kind: "netns",
    netns: netns!,
    configure: given.flag("configure"),
    device: given.text("device")!,
    userns: given.text("userns-path"),
    mac: given.mac("macaddress"),
  };
}

function uplinkOf(given: NetdGiven): UplinkChoice {
  const kind = given.text("uplink")!;
  if (kind !== "tap" && kind !== "tun") throw bad("uplink", kind, "tap or tun");
  const attach = given.flag("uplink-attach");
  const device = given.text("uplink-device");
  if (attach && device === null) throw new UsageError("--uplink-attach wants --uplink-device NAME");
  const address = given.network("uplink-address")!;
  const peer = given.network("uplink-peer");
  if (attach && peer !== null) throw new UsageError("--uplink-peer is not for --uplink-attach: the device is set up");
  const first = firstOf(address);
  const v6 = given.flag("ipv6") ? uplink6Of(given, attach, kind === "tun") : null;
  if (v6 === null) {
    for (const name of ["uplink-address6", "uplink-peer6", "uplink-gateway6", "cidr6"]) {
      if (given.has(name)) throw new UsageError(`--${name} wants --ipv6`);
    }
  }
  const gateway = given.addr("uplink-gateway")?.toString() ?? (peer ?? first).split("/")[0]!;
  const ends = { address, gateway, peer: attach ? null : peer ?? first };
  checkEnds("", ends, kind === "tun");
  return {
    kind,
    device,
    attach,
    v6,
    ...ends,
    netns: given.text("uplink-netns"),
    mtu: given.number("uplink-mtu", 576, 65521)!,
  };
}

function uplink6Of(given: NetdGiven, attach: boolean, isTun: boolean): Uplink6Choice {
  const address = given.network6("uplink-address6")!;
  const peer = given.network6("uplink-peer6");
  if (attach && peer !== null) throw new UsageError("--uplink-peer6 is not for --uplink-attach: the device is set up");
  const first = firstOf(address);
  const gateway = given.addr6("uplink-gateway6")?.toString() ?? (peer ?? first).split("/")[0]!;
  const choice = { address, gateway, peer: attach ? null : peer ?? first };
  checkEnds("6", choice, isTun);
  return choice;
}

function natOf(
  given: NetdGiven,
  uplink: UplinkChoice,
  guest: GuestChoice,
  names: NameChoice,
): NatOptions {
  const peer = uplink.peer?.split("/")[0] ?? uplink.gateway;
  const deny = given.list("deny");
  const allow = given.list("allow");
  for (const [name, rules] of [["allow", allow], ["deny", deny]] as const) {
    for (const rule of rules) checked(name, rule, () => new NatPolicy({ [name]: [rule] }));
  }
  const restrict = given.flag("restrict");
  const noLoopback = given.flag("disable-host-loopback");
  const policy: PolicyOptions = { allow, deny, restrict, loopback: !noLoopback && !restrict };
  const peer6 = uplink.v6?.peer?.split("/")[0] ?? uplink.v6?.gateway;
  if (noLoopback) policy.deny = [...deny, `*:${peer}:*`, ...(peer6 === undefined ? [] : [`*:[${peer6}]:*`])];
  const nat: NatOptions = {
    hostAddr: uplink.address,
    nameServers: names.nameServers,
    search: names.search,
    dnsPatience: names.patience,
    policy,
    farLoopback: !noLoopback,
    farPeer: peer,
    loopbackForwards: false,
    ...(guest.kind === "qemu" ? { guestMac: null } : {}),
  };
  if (given.flag("disable-dns")) nat.dns = null;
  const mtu = given.number("mtu", 576, 65521);
  if (mtu !== null) nat.mtu = mtu;
  const cidr = given.network("cidr");
  if (cidr !== null) nat.subnet = checkGuestNetwork("cidr", cidr);
  if (guest.kind === "netns") Object.assign(nat, givenGuestOf(cidr ?? QEMU_SUBNET));
  if (uplink.v6 !== null) nat.v6 = v6Of(given, uplink, nat);
  checked(cidr === null ? "uplink-address" : "cidr", cidr ?? uplink.address, () => natConfig(nat));
  return nat;
}

/** Names: those of --dns and --search; the machine's resolv.conf is read only if there is no --dns. */
function namesOf(given: NetdGiven, uplink: UplinkChoice, resolvConf: () => ResolvConf): NameChoice {
  const asked = given.list("dns").map((text) => {
    const isOf6 = text.includes(":");
    if (!isOf6) return checkAddr("dns", text).toString();
    if (parseIpAddr(text) === null) throw bad("dns", text, "an IP address");
    if (!given.flag("ipv6")) throw bad("dns", text, "an IPv4 address, or --ipv6");
    return text;
  });
  const noLoopback = given.flag("disable-host-loopback");
  for (const server of asked) {
    checkServer(server, server.includes(":") ? uplink.v6!.address : uplink.address, noLoopback);
  }
  const search = given.list("search");
  for (const text of search) checked("search", text, () => natConfig({ hostAddr: uplink.address, search: [text] }));
  const rules: NameRules = {
    hasIpv6: uplink.v6 !== null,
    hasLoopback: !noLoopback,
    peer: uplink.peer?.split("/")[0] ?? uplink.gateway,
  };
  const isFixed = asked.length > 0;
  const conf = isFixed ? NO_RESOLV_CONF : resolvConf();
  const { nameServers, notes } = isFixed ? { nameServers: asked, notes: [] } : usableServers(conf, rules);
  return {
    nameServers,
    notes,
    rules,
    patience: conf.patience,
    search: search.length > 0 ? search : conf.search,
    isFixed,
    isSearchFixed: search.length > 0,
  };
}

/**
 * The address at which users of slirp4netns expect the guest of a namespace, while DHCP gives addresses from .15 on:
 * .100, if the network has it.
 */
function givenGuestOf(cidr: string): Pick<NatOptions, "guest" | "firstLease"> {
  const [text = "", length = ""] = cidr.split("/");
  if (Number(length) > GIVEN_GUEST_PREFIX_MAX || Number(length) < 1) return {};
  const net = parseIpAddr(text)!.and(parseIpMask(`/${length}`, true)!);
  return { guest: `${IpAddr.v4(net.w3 + GIVEN_GUEST)}`, firstLease: `${IpAddr.v4(net.w3 + QEMU_GUEST)}` };
}

/** IPv6 for the guest. */
function v6Of(given: NetdGiven, uplink: UplinkChoice, nat: NatOptions): V6Options {
  const cidr = given.network6("cidr6");
  const v6: V6Options = {
    hostAddr: uplink.v6!.address,
    ...(cidr === null ? {} : { subnet: checkGuestNetwork("cidr6", cidr) }),
  };
  const name = cidr === null ? "uplink-address6" : "cidr6";
  checked(name, cidr ?? uplink.v6!.address, () => natConfig({ hostAddr: nat.hostAddr, v6 }));
  if ((nat.mtu ?? 1500) < IPV6_MTU_MIN) throw bad("mtu", `${nat.mtu}`, `at least ${IPV6_MTU_MIN} with --ipv6`);
  return v6;
}

/** A possible forward: one at the uplink's address, the only one of the host kernel that others reach. */
function forwardOf(spec: string, { address, v6 }: UplinkChoice): string {
  const { bound } = checked("forward", spec, () => parseForward(spec));
  const own = address.split("/")[0]!;
  if (bound === null || (bound.isV4 ? bound.equals(parseIpAddr(own)!) : !bound.isLoopback)) return spec;
  const at = bound.isV4 ? own : v6?.address.split("/")[0] ?? own;
  throw bad("forward", spec, `${bound} is no address of the host kernel, forwards are at ${at}`);
}

/** The value that `read` converts an option to; an error of `read` is a bad option. */
function checked<T>(name: string, value: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    throw bad(name, value, error.message);
  }
}
