/**
 * What the IPv6 side of a NAT is made from: the host's address, the guests' network, and the
 * addresses in it.
 *
 * Path: nat/config → config6 → family_config, addr6.
 *
 * The router is called by the link-local address that its hardware address makes, and by ::2 of the guests' network;
 * the name server by ::3. Guests make their own addresses (RFC 4862), so the network is a /64.
 *
 * @module
 */

import { KernelError } from "../../kernel/error.ts";
import { eui64, LINK_LOCAL_PREFIX } from "../../kernel/inet/addr6.ts";
import { IpAddr, IPV6_LOOPBACK, parseIpAddr, parseIpMask, prefixMask } from "../../kernel/wire/ip_addr.ts";
import { IPV6_MTU_MIN } from "../../kernel/wire/ipv6.ts";
import type { MacAddr } from "../../kernel/wire/mac_addr.ts";
import type { FamilyConfig } from "./family_config.ts";

/** The guests' network unless told otherwise: a unique local one (RFC 4193). */
const SUBNET6 = "fd00:0:0:2::/64";
const ROUTER = 2;
const DNS = 3;
/** Bytes of an IPv6 and a TCP header without options: what an MSS leaves out. */
const TCP_IP6_HEADERS = 60;

/** How it is made; what is left out is the default. */
export interface V6Options {
  /** Address that the host sends from, such as `2001:db8::2/64`: the source of what guests send. */
  hostAddr: string;
  /** Other addresses of the host, with their prefix lengths. */
  hostAddrs?: readonly string[];
  /** The guests' network, a /64. */
  subnet?: string;
  /** As that of the NAT, of IPv6. */
  machine?: string;
}

/** What the rest of the NAT has settled. */
interface V6Given {
  readonly style: "qemu" | "real";
  readonly mtu: number;
  readonly mss: number | undefined;
  readonly hostMac: MacAddr;
  readonly hasDns: boolean;
  /** Whether the router's address stands for the host's loopback. */
  readonly hasLoopback: boolean;
  readonly doorLink: FamilyConfig["doorLink"];
}

/** Reads `options`; EINVAL names what cannot be. */
export function v6Config(options: V6Options, given: V6Given): FamilyConfig {
  if (given.style === "real") throw new KernelError("EINVAL", "Cannot give a guest IPv6 in real style");
  if (given.mtu < IPV6_MTU_MIN) {
    throw new KernelError("EINVAL", `Cannot use the MTU ${given.mtu} with IPv6: less than ${IPV6_MTU_MIN}`);
  }
  const hostTexts = [options.hostAddr, ...options.hostAddrs ?? []];
  const hostAddrs = hostTexts.map((text) => addr6(text.split("/")[0]!, "host address"));
  const [net = "", length = ""] = (options.subnet ?? SUBNET6).split("/");
  if (length !== "64") {
    throw new KernelError("EINVAL", `Cannot use the subnet "${options.subnet}": want an IPv6 address and /64`);
  }
  const mask = prefixMask(64);
  const subnet = addr6(net, "subnet").and(mask);
  requireApart(subnet, mask, hostTexts);
  const at = (number: number) => new IpAddr(subnet.w0, subnet.w1, 0, number);
  const machine = options.machine === undefined ? null : addr6(options.machine, "machine");
  return {
    hostAddr: hostAddrs[0]!,
    hostAddrs: given.doorLink === null ? hostAddrs : [...hostAddrs, given.doorLink.near],
    subnet,
    mask,
    router: at(ROUTER),
    linkLocal: eui64(LINK_LOCAL_PREFIX, given.hostMac),
    onlyGuest: null,
    broadcasts: [],
    hasLoopback: machine !== null || given.hasLoopback,
    loopback: machine ?? IPV6_LOOPBACK,
    loopbackFrom: machine === null ? IPV6_LOOPBACK : hostAddrs[0]!,
    farPeer: machine,
    doorLink: given.doorLink,
    dns: given.hasDns ? at(DNS) : null,
    mss: given.mss === 0 ? 0 : Math.min(given.mss ?? given.mtu, given.mtu - TCP_IP6_HEADERS),
  };
}

/** What has an address of the guests' network on the host's side could not be reached. */
function requireApart(subnet: IpAddr, mask: IpAddr, hostTexts: readonly string[]): void {
  for (const text of hostTexts) {
    const [net = "", length = "128"] = text.split("/");
    const own = parseIpMask(`/${length}`, false);
    if (own === null) throw new KernelError("EINVAL", `Cannot use "${text}" as host address: no prefix length`);
    if (!addr6(net, "host address").sameNet(subnet, own.and(mask))) continue;
    throw new KernelError(
      "EINVAL",
      `Cannot use the subnet ${subnet}/64 for guests: the host has ${text}, so take another`,
    );
  }
}

function addr6(text: string, what: string): IpAddr {
  const parsed = parseIpAddr(text);
  const isGood = parsed !== null && !parsed.isV4 && !parsed.isMulticast && !parsed.isUnspecified &&
    !parsed.isLinkLocal && !parsed.isLoopback;
  if (!isGood) throw new KernelError("EINVAL", `Cannot use "${text}" as ${what}: no IPv6 address of a network`);
  return parsed;
}
