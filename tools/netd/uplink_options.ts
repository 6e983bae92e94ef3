/**
 * The uplink on netd's command line: the machine's sockets, or a device.
 *
 * Path: netd/options, netd/uplink, start_checks → uplink_options → netd/given, options/given, address_checks.
 *
 * @module
 */

import { UsageError } from "../options/given.ts";
import { checkEnds, firstOf } from "./address_checks.ts";
import type { NetdGiven } from "./given.ts";

/** The ends of the uplink, in one version of IP. */
export interface UplinkEnds {
  /** Our address, with its prefix length. */
  readonly address: string;
  /** The other end's, likewise; null: it is set up by others. */
  readonly peer: string | null;
  readonly gateway: string;
}

/** What every uplink has. */
interface AnyUplink extends UplinkEnds {
  /** The ends of IPv6; null: there are none. */
  readonly v6: UplinkEnds | null;
}

/** An uplink of the machine's own sockets. */
export interface SocketUplink extends AnyUplink {
  readonly kind: "socket";
  /** Source address of what guests send, or the interface that has it; null: the route's. */
  readonly outbound: string | null;
  readonly outbound6: string | null;
}

/** An uplink of a device. */
export interface DeviceUplink extends AnyUplink {
  readonly kind: "tap" | "tun";
  /** Name of the device; null: Linux chooses. */
  readonly device: string | null;
  /** Take an existing device that is set up. */
  readonly attach: boolean;
  /** Namespace of Linux' side; null: where netd runs. */
  readonly netns: string | null;
  readonly mtu: number;
  /** Set forwarding and the rules of the machine. */
  readonly nat: boolean;
}

/** The uplink of the host kernel. */
export type UplinkChoice = SocketUplink | DeviceUplink;

/**
 * The ends of the link between the host kernel and the machine's sockets: no address of a network (RFC 7335), and a
 * unique local one (RFC 4193) with "akarino" in it. They appear nowhere
 * else. Beside a device the same link serves forwards.
 */
export const SOCKET_ENDS: UplinkEnds = { address: "192.0.0.2/29", peer: "192.0.0.1/29", gateway: "192.0.0.1" };
export const SOCKET_ENDS6: UplinkEnds = {
  address: "fd61:6b61:7269:6e6f::2/64",
  peer: "fd61:6b61:7269:6e6f::1/64",
  gateway: "fd61:6b61:7269:6e6f::1",
};

/**
 * A network, as an address and a prefix length, that the machine does not have in that namespace; null: the usual one.
 */
export type FreeNetwork = (netns: string | null) => string | null;

/** Options of the uplinks of one kind only. */
const DEVICE_OPTIONS = [
  "uplink-device",
  "uplink-attach",
  "uplink-address",
  "uplink-peer",
  "uplink-gateway",
  "uplink-netns",
  "uplink-mtu",
  "uplink-nat",
  "uplink-address6",
  "uplink-peer6",
  "uplink-gateway6",
];
const SOCKET_OPTIONS = ["outbound-addr", "outbound-addr6"];

/** Reads the uplink. Throws UsageError. */
export function uplinkOf(given: NetdGiven, freeNetwork: FreeNetwork): UplinkChoice {
  const kind = given.choice("uplink", ["socket", "tap", "tun"]);
  for (const name of kind === "socket" ? DEVICE_OPTIONS : SOCKET_OPTIONS) {
    if (given.has(name)) {
      throw new UsageError(`--${name} is for --uplink ${kind === "socket" ? "tap or --uplink tun" : "socket"}`);
    }
  }
  return kind === "socket" ? socketUplinkOf(given) : deviceUplinkOf(given, kind, freeNetwork);
}

function socketUplinkOf(given: NetdGiven): SocketUplink {
  const v6 = given.flag("ipv6") ? SOCKET_ENDS6 : null;
  if (v6 === null) requireNoIpv6(given, "cidr6", "outbound-addr6");
  return {
    kind: "socket",
    ...SOCKET_ENDS,
    v6,
    outbound: given.text("outbound-addr"),
    outbound6: given.text("outbound-addr6"),
  };
}

function requireNoIpv6(given: NetdGiven, ...names: readonly string[]): void {
  for (const name of names) {
    if (given.has(name)) throw new UsageError(`--${name} wants --ipv6`);
  }
}

function deviceUplinkOf(given: NetdGiven, kind: "tap" | "tun", freeNetwork: FreeNetwork): DeviceUplink {
  const attach = given.flag("uplink-attach");
  const nat = given.flag("uplink-nat");
  if (attach && nat) throw new UsageError("--uplink-nat is not for --uplink-attach: the device is set up");
  const device = given.text("uplink-device");
  if (attach && device === null) throw new UsageError("--uplink-attach wants --uplink-device NAME");
  // No rule of others names its network.
  const free = nat && !given.has("uplink-address") ? freeNetwork(given.text("uplink-netns")) : null;
  const address = free ?? given.network("uplink-address")!;
  const peer = given.network("uplink-peer");
  if (attach && peer !== null) throw new UsageError("--uplink-peer is not for --uplink-attach: the device is set up");
  const first = firstOf(address);
  const v6 = given.flag("ipv6") ? uplink6Of(given, attach, kind === "tun") : null;
  if (v6 === null) requireNoIpv6(given, "uplink-address6", "uplink-peer6", "uplink-gateway6", "cidr6");
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
    nat,
  };
}

function uplink6Of(given: NetdGiven, attach: boolean, isTun: boolean): UplinkEnds {
  const address = given.network6("uplink-address6")!;
  const peer = given.network6("uplink-peer6");
  if (attach && peer !== null) throw new UsageError("--uplink-peer6 is not for --uplink-attach: the device is set up");
  const first = firstOf(address);
  const gateway = given.addr6("uplink-gateway6")?.toString() ?? (peer ?? first).split("/")[0]!;
  const choice = { address, gateway, peer: attach ? null : peer ?? first };
  checkEnds("6", choice, isTun);
  return choice;
}
