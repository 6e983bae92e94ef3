/**
 * The command line of netd.
 *
 * Path: netd, daemon, descriptors → netd/options → uplink_options, netd/given, options/given, resolv_conf,
 * address_checks.
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
import { checkGuestNetwork, checkServer } from "./address_checks.ts";
import { checkAddr, type NetdGiven } from "./given.ts";
import { type FreeNetwork, type UplinkChoice, uplinkOf } from "./uplink_options.ts";

const FD_MAX = 1 << 20;
/**
 * Host number of a guest that gets its address from netd, as with slirp4netns, and the longest prefix with room for it.
 */
const GIVEN_GUEST = 100;
const GIVEN_GUEST_PREFIX_MAX = 25;

/** The guest of the network. */
export type GuestChoice =
  | {
    readonly kind: "qemu";
    readonly path: string;
    /** Frames come as datagrams, not in a stream. */
    readonly isDgram: boolean;
  }
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

/** What is known beside the command line. */
interface NetdFacts {
  /** The guest; left out, the command line names it. */
  readonly guest?: GuestChoice;
  /** Finds a network for `--uplink-nat`. */
  readonly freeNetwork?: FreeNetwork;
}

/** Parses the command line. Throws UsageError, which names the fault. */
export function netdOptions(
  given: NetdGiven,
  resolvConf: () => ResolvConf,
  { guest: known, freeNetwork = () => null }: NetdFacts = {},
): NetdOptions {
  const guest = known ?? guestOf(given);
  const uplink = uplinkOf(given, freeNetwork);
  const names = namesOf(given, uplink, resolvConf);
  return {
    guest,
    uplink,
    nat: natOf(given, uplink, guest, names),
    names,
    disableHostLoopback: given.flag("disable-host-loopback"),
    forwards: forwardsOf(given),
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
  const stream = given.text("qemu");
  const dgram = given.text("qemu-dgram");
  const netns = given.text("netns");
  if ([stream, dgram, netns].filter((one) => one !== null).length !== 1) {
    throw new UsageError("Want one of --qemu, --qemu-dgram and --netns");
  }
  const path = stream ?? dgram;
  if (path !== null) {
    for (const name of ["device", "configure", "userns-path", "macaddress"]) {
      if (given.has(name)) throw new UsageError(`--${name} is for --netns`);
    }
    if (dgram !== null && given.flag("one-off")) throw new UsageError("--one-off is for --qemu: datagrams have no end");
    return { kind: "qemu", path, isDgram: dgram !== null };
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
    ...(uplink.kind !== "socket" ? { farLoopback: !noLoopback, farPeer: peer } : noLoopback ? {} : { machine: peer }),
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
    ...(nat.machine === undefined ? {} : { machine: uplink.v6!.gateway }),
    ...(cidr === null ? {} : { subnet: checkGuestNetwork("cidr6", cidr) }),
  };
  const name = cidr === null ? "uplink-address6" : "cidr6";
  checked(name, cidr ?? uplink.v6!.address, () => natConfig({ hostAddr: nat.hostAddr, v6 }));
  if ((nat.mtu ?? 1500) < IPV6_MTU_MIN) throw bad("mtu", `${nat.mtu}`, `at least ${IPV6_MTU_MIN} with --ipv6`);
  return v6;
}

/** Forwards that make sense; whether their ports can be had is seen when they are opened. */
function forwardsOf(given: NetdGiven): readonly string[] {
  const forwards = given.list("forward");
  for (const spec of forwards) checked("forward", spec, () => parseForward(spec));
  return forwards;
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
