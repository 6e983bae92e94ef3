/**
 * Addresses on netd's command line that cannot work on any machine: they are refused before anything is opened.
 *
 * Path: options → address_checks.
 *
 * @module
 */

import { IpAddr, parseIpAddr, parseIpMask } from "../../kernel/wire/ip_addr.ts";
import { bad } from "../options/given.ts";

/** Prefix lengths of networks without a network and a broadcast address (RFC 3021). */
const PAIR_PREFIX_MIN = 31;

/** The ends of an uplink, in one version of IP. */
interface UplinkEnds {
  /** The host kernel's address, with its prefix length. */
  readonly address: string;
  /** Linux' likewise; null: it is set up by others. */
  readonly peer: string | null;
  readonly gateway: string;
}

interface Network {
  readonly addr: IpAddr;
  readonly mask: IpAddr;
  readonly length: number;
}

function read(text: string): Network {
  const [address = "", length = ""] = text.split("/");
  const addr = parseIpAddr(address)!;
  return { addr, mask: parseIpMask(`/${length}`, addr.isV4)!, length: Number(length) };
}

/** The first host address of the network of `address`, or the second if that is its own; of a pair the other. */
export function firstOf(address: string): string {
  const { addr, mask, length } = read(address);
  const net = addr.and(mask);
  const isPair = length >= (addr.isV4 ? PAIR_PREFIX_MIN : 127);
  const at = (number: number) => new IpAddr(net.w0, net.w1, net.w2, net.w3 + number);
  const [first, second] = isPair ? [at(0), at(1)] : [at(1), at(2)];
  return `${first.equals(addr) ? second : first}/${length}`;
}

/**
 * Throws UsageError unless the uplink's ends can be neighbours; `suffix` ends the options' names. On a TUN device a
 * gateway need not be a neighbour: it has only one other end.
 */
export function checkEnds(suffix: "" | "6", { address, gateway, peer }: UplinkEnds, isTun = false): void {
  const own = read(address);
  const name = `uplink-address${suffix}`;
  const net = `${own.addr.and(own.mask)}/${own.length}`;
  const reason = whyNoHost(own.addr, own);
  if (reason !== "") throw bad(name, address, reason);
  if (peer !== null) {
    const { addr } = read(peer);
    const why = whyNoHost(addr, own);
    // A default that is derived from the address is an error of the address.
    if (!addr.sameNet(own.addr, own.mask)) {
      if (peer === firstOf(address)) throw bad(name, address, "its network has no room for Linux' address");
      throw bad(`uplink-peer${suffix}`, peer, `not in ${net}, the network of --${name}`);
    }
    if (addr.equals(own.addr)) throw bad(`uplink-peer${suffix}`, peer, `that is the host kernel's own address`);
    if (why !== "") throw bad(`uplink-peer${suffix}`, peer, why);
  }
  const way = parseIpAddr(gateway)!;
  if (way.equals(own.addr)) throw bad(`uplink-gateway${suffix}`, gateway, "that is the host kernel's own address");
  if (isTun || way.sameNet(own.addr, own.mask) || (suffix === "6" && way.isLinkLocal)) return;
  throw bad(`uplink-gateway${suffix}`, gateway, `not in ${net}, the network of --${name}`);
}

/** Why `addr` cannot be an address of a station in `network`; empty: it can. */
function whyNoHost(addr: IpAddr, { mask, length }: Network): string {
  if (addr.isUnspecified || addr.isLoopback || addr.isMulticast || addr.isLimitedBroadcast) {
    return "no address of a station on a link";
  }
  if (!addr.isV4 || length >= PAIR_PREFIX_MIN) return "";
  const host = addr.and(mask.not());
  if (host.w3 === 0) return "the address of the network itself";
  return host.w3 === mask.not().w3 ? "the network's broadcast address" : "";
}

/** The guests' network. Throws UsageError if no guest can have an address in it. */
export function checkGuestNetwork(name: string, text: string): string {
  const { addr } = read(text);
  if (addr.isMulticast || addr.isLoopback || addr.isLimitedBroadcast || addr.isUnspecified || addr.isLinkLocal) {
    throw bad(name, text, "no network that stations have addresses of");
  }
  return text;
}

/** Throws UsageError unless the host kernel at `address` can reach the name server. */
export function checkServer(text: string, address: string, noLoopback: boolean): void {
  const server = parseIpAddr(text)!;
  const own = read(address);
  if (server.isLoopback) {
    if (!server.isV4) throw bad("dns", text, "the machine's ::1 is not reached");
    if (noLoopback) throw bad("dns", text, "--disable-host-loopback closes the machine's loopback");
    return;
  }
  if (server.equals(own.addr)) throw bad("dns", text, "that is the host kernel's own address, and no server is there");
  const isHere = server.sameNet(own.addr, own.mask);
  const why = server.isLinkLocal && !server.isV4 ? "a link-local address" : whyNoHost(server, isHere ? own : ANY);
  if (why !== "") throw bad("dns", text, why);
}

/** A network without addresses of its own to keep away from. */
const ANY: Network = { addr: IpAddr.v4(0), mask: IpAddr.v4(-1), length: 32 };
