/**
 * The command line of netd.
 *
 * Path: netd → options → given; parseForward, natConfig, NatPolicy (to refuse at once what they would refuse later).
 *
 * @module
 */

import { SOCKET_MODE } from "../../devices/host/bound_path.ts";
import { KernelError } from "../../kernel/error.ts";
import { IpAddr, parseIpAddr, parseIpMask } from "../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { IPV6_MTU_MIN } from "../../kernel/wire/ipv6.ts";
import { natConfig, type NatOptions } from "../vmm/nat/config.ts";
import type { V6Options } from "../vmm/nat6/config6.ts";
import { parseForward } from "../vmm/nat_forward.ts";
import { NatPolicy, type PolicyOptions } from "../vmm/nat_policy.ts";
import { bad, checkAddr, Given, UsageError } from "./given.ts";

export { UsageError } from "./given.ts";

const FD_MAX = 1 << 20;

/** Whom the network is for. */
export type GuestChoice =
  | { readonly kind: "qemu"; readonly path: string }
  | {
    readonly kind: "netns";
    readonly netns: string;
    /** File of the user namespace it is below; null: that of the process, if that is how it is named. */
    readonly userns: string | null;
    readonly device: string;
    /** Hardware address of the interface; null: Linux chooses. */
    readonly mac: MacAddr | null;
    readonly configure: boolean;
  };

/** How the host kernel reaches the world. */
export interface UplinkChoice {
  readonly kind: "tap" | "tun";
  /** Name of the device; null: Linux chooses. */
  readonly device: string | null;
  /** Take a device that is there and set up. */
  readonly attach: boolean;
  /** Our address, with its prefix length. */
  readonly address: string;
  /** Linux' address on the device, likewise; null: it is not ours to set. */
  readonly peer: string | null;
  readonly gateway: string;
  /** The same of IPv6; null: there is none. */
  readonly v6: Uplink6Choice | null;
  /** Namespace of Linux' side; null: where netd runs. */
  readonly netns: string | null;
  readonly mtu: number;
}

/** How the host kernel reaches the world of IPv6. */
export type Uplink6Choice = Pick<UplinkChoice, "address" | "peer" | "gateway">;

/** What the user asked for. */
export interface NetdOptions {
  readonly guest: GuestChoice;
  readonly uplink: UplinkChoice;
  readonly nat: NatOptions;
  /** The guest is not to reach the machine that netd runs on. */
  readonly disableHostLoopback: boolean;
  readonly forwards: readonly string[];
  readonly apiSocket: string | null;
  /** Mode of the files of its sockets. */
  readonly socketMode: number;
  readonly readyFd: number | null;
  readonly exitFd: number | null;
  readonly oneOff: boolean;
  readonly offload: boolean;
  /** How long after a packet the loop looks for the next without sleeping, in milliseconds. */
  readonly busyPollMs: number;
  readonly quiet: boolean;
}

/** More than a second without sleep is for nobody. */
const BUSY_POLL_MAX_MS = 1000;

/** The text of `--help`. */
export const USAGE = `usage: deno task netd (--qemu SOCKET | --netns NAME|PID|PATH) [options]

User-mode networking for a guest, by rewriting packets: no connection ends here.

  --qemu SOCKET             listen for QEMU: -netdev stream,id=n,server=off,addr.type=unix,addr.path=SOCKET
  --netns NAME|PID|PATH     make an interface in that network namespace
    --device NAME           its name (default tap0)
    --macaddress MAC        its hardware address (default: Linux chooses)
    -c, --configure         give it address and default route at once; else a DHCP client inside asks
    --userns-path PATH      user namespace it is below, if only its owner may enter (default: that of PID)

  --uplink tap|tun          device that leads to the world (default tap)
    --uplink-device NAME    its name (default: Linux chooses)
    --uplink-attach         use the device NAME, which is there and set up; needs no root if it is yours
    --uplink-address A/L    our address on it (default 10.99.0.2/24)
    --uplink-peer A/L       Linux' address on it (default: the first of that network)
    --uplink-gateway A      where packets for the world go (default: the peer)
    --uplink-netns NAME     namespace of Linux' side (default: where netd runs)
    --uplink-mtu N          default 1500

  -6, --ipv6                the guest has IPv6: addresses that it makes itself, a router and a name server
    --uplink-address6 A/L   our address on the uplink (default fd99::2/64)
    --uplink-peer6 A/L      Linux' address on it (default: the first of that network)
    --uplink-gateway6 A     where packets for the IPv6 world go (default: the peer)
    --cidr6 A/64            the guest's network (default fd00:0:0:2::/64: router ::2, name server ::3)

  --cidr A/L                the guest's network (default 10.0.2.0/24: router .2, name server .3, guests from .15)
  -m, --mtu N               MTU of the guest's link, told by DHCP (default 1500)
  --dns A                   name server that the relay asks; repeatable (default: of /etc/resolv.conf, else the peer)
  --disable-dns             no name server of netd's: DHCP tells those that the relay would ask
  --search DOMAIN           told by DHCP; repeatable
  --forward SPEC            tcp|udp:[addr:]hostport[-hostport]:guestport, or QEMU's hostfwd=; repeatable
  --restrict                the guest reaches nothing but what --allow names
  --allow RULE, --deny RULE [proto:]network[:port[-port]]; repeatable
  --disable-host-loopback   the guest does not reach the machine that netd runs on: neither its 127.0.0.1 by the
                            router's address, nor the peer's address

  -a, --api-socket PATH     commands of natctl come here
  --socket-mode MODE        permissions of the sockets of --qemu and --api-socket, in octal (default 0600)
  -r, --ready-fd N          "1" is written there when all is set up
  -e, --exit-fd N           netd ends when this pipe can be read: when its other end is closed
  --one-off                 netd ends when QEMU disconnects
  --no-offload              no unfinished checksums and uncut segments between guest and uplink
  --busy-poll MS            look for packets so long after the last one without sleeping (default 0): takes a core
                            while packets come, and answers a ping in two thirds of the time
  --quiet                   print nothing but errors
  --help                    print this

Exit status: 0 after SIGINT, SIGTERM, or the guest's end; 1 if something cannot be had; 2 for a bad option.
`;

/** Reads the command line; null: help is wanted. Throws {@link UsageError}, which names what is wrong. */
export function parseOptions(args: readonly string[], resolvConf: () => readonly string[]): NetdOptions | null {
  const given = new Given(args);
  if (given.flag("help")) return null;
  const guest = guestOf(given);
  const uplink = uplinkOf(given);
  return {
    guest,
    uplink,
    nat: natOf(given, uplink, guest.kind === "qemu" ? null : undefined, resolvConf),
    disableHostLoopback: given.flag("disable-host-loopback"),
    forwards: given.list("forward").map((spec) => checked("forward", spec, () => (parseForward(spec), spec))),
    apiSocket: given.text("api-socket"),
    socketMode: given.mode("socket-mode") ?? SOCKET_MODE,
    readyFd: given.number("ready-fd", 0, FD_MAX),
    exitFd: given.number("exit-fd", 0, FD_MAX),
    oneOff: given.flag("one-off"),
    offload: !given.flag("no-offload"),
    busyPollMs: given.number("busy-poll", 0, BUSY_POLL_MAX_MS) ?? 0,
    quiet: given.flag("quiet"),
  };
}

function guestOf(given: Given): GuestChoice {
  const path = given.text("qemu");
  const netns = given.text("netns");
  if ((path === null) === (netns === null)) throw new UsageError("Want one of --qemu and --netns");
  if (path !== null) {
    for (const name of ["device", "configure", "userns-path", "macaddress"]) {
      if (given.flag(name) || given.text(name) !== null) throw new UsageError(`--${name} is for --netns`);
    }
    return { kind: "qemu", path };
  }
  if (given.flag("one-off")) throw new UsageError("--one-off is for --qemu");
  return {
    ...{ kind: "netns", netns: netns!, configure: given.flag("configure") },
    device: given.text("device") ?? "tap0",
    userns: given.text("userns-path"),
    mac: given.mac("macaddress"),
  };
}

function uplinkOf(given: Given): UplinkChoice {
  const kind = given.text("uplink") ?? "tap";
  if (kind !== "tap" && kind !== "tun") throw bad("uplink", kind, "tap or tun");
  const attach = given.flag("uplink-attach");
  const device = given.text("uplink-device");
  if (attach && device === null) throw new UsageError("--uplink-attach wants --uplink-device NAME");
  const address = given.network("uplink-address") ?? "10.99.0.2/24";
  const peer = given.network("uplink-peer");
  if (attach && peer !== null) throw new UsageError("--uplink-peer is not for --uplink-attach: the device is set up");
  const first = firstOf(address);
  const v6 = given.flag("ipv6") ? uplink6Of(given, attach) : null;
  if (v6 === null) {
    for (const name of ["uplink-address6", "uplink-peer6", "uplink-gateway6", "cidr6"]) {
      if (given.text(name) !== null) throw new UsageError(`--${name} wants --ipv6`);
    }
  }
  const gateway = given.addr("uplink-gateway")?.toString() ?? (peer ?? first).split("/")[0]!;
  return {
    ...{ kind, device, attach, address, gateway, v6 },
    peer: attach ? null : peer ?? first,
    netns: given.text("uplink-netns"),
    mtu: given.number("uplink-mtu", 576, 65521) ?? 1500,
  };
}

function uplink6Of(given: Given, attach: boolean): Uplink6Choice {
  const address = given.network6("uplink-address6") ?? "fd99::2/64";
  const peer = given.network6("uplink-peer6");
  if (attach && peer !== null) throw new UsageError("--uplink-peer6 is not for --uplink-attach: the device is set up");
  const [text = "", length = ""] = address.split("/");
  const net = parseIpAddr(text)!.and(parseIpMask(`/${length}`, false)!);
  const one = new IpAddr(net.w0, net.w1, net.w2, net.w3 + 1);
  const first = one.equals(parseIpAddr(text)!) ? new IpAddr(net.w0, net.w1, net.w2, net.w3 + 2) : one;
  const gateway = given.addr6("uplink-gateway6")?.toString() ?? (peer ?? `${first}`).split("/")[0]!;
  return { address, gateway, peer: attach ? null : peer ?? `${first}/${length}` };
}

/** The first host address of the network of `address`, or the second if that is its own. */
function firstOf(address: string): string {
  const [text = "", length = ""] = address.split("/");
  const own = parseIpAddr(text)!;
  const net = own.and(parseIpMask(`/${length}`, true)!);
  const first = IpAddr.v4(net.w3 + 1);
  return `${first.equals(own) ? IpAddr.v4(net.w3 + 2) : first}/${length}`;
}

function natOf(
  given: Given,
  uplink: UplinkChoice,
  guestMac: null | undefined,
  resolvConf: () => readonly string[],
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
  const [asked6, asked] = nameServersOf(given);
  const machines = resolvConf();
  const outside = machines.filter((addr) => !addr.startsWith("127."));
  const found = asked.length > 0 ? asked : outside.length > 0 ? outside : machines;
  const nat: NatOptions = {
    hostAddr: uplink.address,
    nameServers: found.length > 0 ? found : [peer],
    search: given.list("search"),
    policy,
    farLoopback: !noLoopback,
    ...(guestMac === undefined ? {} : { guestMac }),
  };
  if (given.flag("disable-dns")) nat.dns = null;
  const mtu = given.number("mtu", 576, 65521);
  if (mtu !== null) nat.mtu = mtu;
  const cidr = given.network("cidr");
  if (cidr !== null) nat.subnet = cidr;
  if (uplink.v6 !== null) nat.v6 = v6Of(given, uplink, asked6, nat);
  checked(cidr === null ? "uplink-address" : "cidr", cidr ?? uplink.address, () => natConfig(nat));
  return nat;
}

/** The name servers that were asked for, IPv6 first. */
function nameServersOf(given: Given): [string[], string[]] {
  const all = given.list("dns");
  const isOf6 = (text: string) => text.includes(":");
  const asked6 = all.filter(isOf6);
  for (const text of asked6) if (parseIpAddr(text) === null) throw bad("dns", text, "an IP address");
  if (asked6.length > 0 && !given.flag("ipv6")) throw bad("dns", asked6[0]!, "an IPv4 address, or --ipv6");
  return [asked6, all.filter((text) => !isOf6(text)).map((text) => checkAddr("dns", text).toString())];
}

/** IPv6 for the guest. */
function v6Of(given: Given, uplink: UplinkChoice, nameServers: readonly string[], nat: NatOptions): V6Options {
  const cidr = given.network6("cidr6");
  const v6: V6Options = {
    ...{ hostAddr: uplink.v6!.address, uplinkMtu: uplink.mtu },
    ...(cidr === null ? {} : { subnet: cidr }),
    ...(nameServers.length === 0 ? {} : { nameServers }),
  };
  const name = cidr === null ? "uplink-address6" : "cidr6";
  checked(name, cidr ?? uplink.v6!.address, () => natConfig({ hostAddr: nat.hostAddr, v6 }));
  if ((nat.mtu ?? 1500) < IPV6_MTU_MIN) throw bad("mtu", `${nat.mtu}`, `at least ${IPV6_MTU_MIN} with --ipv6`);
  return v6;
}

/** What `read` makes of an option; what it refuses is a bad option. */
function checked<T>(name: string, value: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    throw bad(name, value, error.message);
  }
}
