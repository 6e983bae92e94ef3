/**
 * What guests may reach by the machine's sockets, by the numeric destination of each packet: no time lies between check
 * and use, whatever a name server says.
 *
 * Path: uplink → policy → destination, ip_addr.
 *
 * The NAT's policy comes first. Here stands what sockets add to it: a process reaches what a neighbour on a TAP does
 * not. To connect to 0.0.0.0 or `::` is to connect to the machine itself, and so is any of its own addresses, which
 * answer for services that are bound to all of them.
 *
 * @module
 */

import type { HostSockets } from "../../kernel/host_sockets.ts";
import { IpAddr, IPV6_LOOPBACK, parseIpAddr, prefixMask } from "../../kernel/wire/ip_addr.ts";
import type { LinkEnds } from "./context.ts";
import type { DestinationPolicy } from "./destination.ts";

/** What is open beside the world. */
export interface UplinkPolicy {
  /** The machine's loopback, at the link's peer, and its other addresses. */
  readonly hostLoopback: boolean;
  /** Nothing goes out but answers to callers of forwards. Default false. */
  readonly isClosed?: boolean;
}

/** A network as `address/length`. */
interface Net {
  readonly net: IpAddr;
  readonly mask: IpAddr;
}

function netOf(text: string): Net {
  const [address = "", length = ""] = text.split("/");
  const addr = parseIpAddr(address)!;
  const mask = prefixMask(Number(length) + (addr.isV4 ? 96 : 0));
  return { net: addr.and(mask), mask };
}

/** No host's address (RFC 6890), and what no station sends to: "this network", groups, reserved ones. */
const CLOSED: readonly Net[] = ["0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8"].map(netOf);
/**
 * IPv6 addresses with an IPv4 address in them, which Linux or a relay would take for that: mapped ones are none on the
 * wire (RFC 4291 2.5.5.2), compatible ones are gone.
 */
const EMBEDDED: readonly Net[] = ["::/96"].map(netOf);
/** Those that lead to an IPv4 network by translation (RFC 6052), or by 6to4 (RFC 3056): where the address stands. */
const TRANSLATED: readonly (Net & { readonly embedded: (addr: IpAddr) => number })[] = [
  { ...netOf("64:ff9b::/96"), embedded: ({ w3 }) => w3 },
  { ...netOf("2002::/16"), embedded: ({ w0, w1 }) => (w0 << 16) | (w1 >>> 16) },
];
/** IPv4 networks that are no part of the Internet: inside a translated address they mean the translator's own. */
const PRIVATE4: readonly Net[] = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "224.0.0.0/3",
].map(netOf);
const LINK_LOCAL: readonly Net[] = ["169.254.0.0/16", "fe80::/10"].map(netOf);

function isIn(nets: readonly Net[], addr: IpAddr): boolean {
  return nets.some(({ net, mask }) => addr.isV4 === net.isV4 && addr.sameNet(net, mask));
}

/** Whether an IPv6 address has an IPv4 address in it that is not to be reached. */
function isDisguised(addr: IpAddr): boolean {
  if (addr.isV4) return false;
  if (isIn(EMBEDDED, addr) && !addr.equals(IPV6_LOOPBACK)) return true;
  return TRANSLATED.some(({ net, mask, embedded }) =>
    addr.sameNet(net, mask) && isIn(PRIVATE4, IpAddr.v4(embedded(addr)))
  );
}

/** The policy of an uplink whose link has `ends`. Metadata services are link-local: the NAT's policy is about them. */
export function destinationPolicy(
  { hostLoopback, isClosed = false }: UplinkPolicy,
  ends: { readonly v4: LinkEnds; readonly v6: LinkEnds },
  sockets: Pick<HostSockets, "isLocal">,
): DestinationPolicy {
  if (isClosed) return () => "closed";
  return (addr) => {
    const { peer } = addr.isV4 ? ends.v4 : ends.v6;
    if (addr.equals(peer) || addr.isLoopback) return hostLoopback ? "loopback" : "closed";
    if (isIn(CLOSED, addr) || isDisguised(addr)) return "closed";
    // Of IPv6 it needs an interface, which was not named. Of IPv4 the NAT has let it pass.
    if (!addr.isV4 && isIn(LINK_LOCAL, addr)) return "closed";
    return !hostLoopback && sockets.isLocal(addr) ? "closed" : "ok";
  };
}
