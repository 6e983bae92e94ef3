/**
 * What Linux knows of its interfaces, addresses, routes and neighbours in this thread's network namespace.
 *
 * Path: netd/machine, start_checks, linux_sockets → rtnetlink → libc, wire/bytes, ip_addr, mac_addr.
 *
 * Every question is answered at once, on this thread: it may be asked during a visit to a namespace (netns).
 *
 * Limit: {@link ANSWER_MAX} bytes of a list; a longer one is cut.
 *
 * @module
 */

import { get16le, get32le, put16le, put32le } from "../../kernel/wire/bytes.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { call, libc, withLibc } from "./libc.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 0x80003;
const MSG_DONTWAIT = 0x40;

const NETLINK_ROUTE = 0;
const NETLINK_NETFILTER = 12;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST = 0x1;
const NLM_F_DUMP = 0x300;
const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;
const RTM_NEWNEIGH = 28;
const RTM_GETNEIGH = 30;
/** NFNL_SUBSYS_NFTABLES and NFT_MSG_GETCHAIN (linux/netfilter/nfnetlink.h, nf_tables.h), and struct nfgenmsg. */
const NFT_GETCHAIN = 10 << 8 | 4;
const NFGENMSG_LEN = 4;
/** Bytes of struct nlmsghdr, ifinfomsg, ifaddrmsg, rtmsg, ndmsg and rtattr. */
const HEADER_LEN = 16;
const LINK_LEN = 16;
const ADDR_LEN = 8;
const ROUTE_LEN = 12;
const NEIGHBOR_LEN = 12;
const ATTR_LEN = 4;
const RTA_DST = 1;
const RTA_SRC = 2;
const RTA_IIF = 3;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFLA_IFNAME = 3;
const IFLA_MASTER = 10;
const IFF_UP = 1;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const MAC_LEN = 6;

/** Most bytes of a list that are read: some thousand interfaces. */
const ANSWER_MAX = 1 << 22;
/** Linux puts no more into one message. */
const MESSAGE_MAX = 1 << 16;

/** An address of an interface. */
interface HostAddress {
  readonly addr: IpAddr;
  readonly prefix: number;
}

/** An interface. */
export interface HostInterface {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  /** Number of the bridge it is part of; 0: of none. */
  readonly master: number;
  readonly addresses: readonly HostAddress[];
}

/** How Linux sends a packet. */
export interface HostRoute {
  /** `unicast`: to another station; `local`: to Linux itself; `other`: broadcast, multicast. */
  readonly kind: "unicast" | "local" | "other";
  /** Number of the interface. */
  readonly device: number;
  readonly gateway: IpAddr | null;
}

/** A packet whose route is asked for. */
interface RouteQuestion {
  readonly to: IpAddr;
  /** A packet that comes in from there by the interface `device`: how it is forwarded. */
  readonly incoming?: { readonly from: IpAddr; readonly device: number };
}

const ROUTE_KINDS: ReadonlyMap<number, HostRoute["kind"]> = new Map([[1, "unicast"], [2, "local"]]);

/** A request's answers: type and body of each message. Answers the error number of a refusal as a number. */
type Answer = { readonly type: number; readonly body: Uint8Array };

/** The interfaces, with their addresses. Throws HostError. */
export function hostInterfaces(): HostInterface[] {
  const links = list(RTM_GETLINK, LINK_LEN).filter(({ type }) => type === RTM_NEWLINK);
  const addresses = new Map<number, HostAddress[]>();
  for (const { type, body } of list(RTM_GETADDR, ADDR_LEN)) {
    if (type !== RTM_NEWADDR) continue;
    const attrs = attributes(body, ADDR_LEN);
    const bytes = attrs.get(IFA_LOCAL) ?? attrs.get(IFA_ADDRESS);
    if (bytes === undefined) continue;
    const index = get32le(body, 4);
    addresses.set(index, [...addresses.get(index) ?? [], { addr: addrOf(bytes), prefix: body[1]! }]);
  }
  return links.map(({ body }) => {
    const attrs = attributes(body, LINK_LEN);
    const index = get32le(body, 4);
    const name = new TextDecoder().decode(attrs.get(IFLA_IFNAME) ?? new Uint8Array()).replace(/\0.*$/s, "");
    const master = attrs.get(IFLA_MASTER);
    return {
      index,
      name,
      up: (get32le(body, 8) & IFF_UP) !== 0,
      master: master === undefined ? 0 : get32le(master, 0),
      addresses: addresses.get(index) ?? [],
    };
  });
}

/** The route of a packet; the error number if Linux has none. Throws HostError if it cannot be asked. */
export function hostRoute({ to, incoming }: RouteQuestion): HostRoute | number {
  const body = new Uint8Array(ROUTE_LEN);
  body[0] = to.isV4 ? AF_INET : AF_INET6;
  body[1] = to.isV4 ? 32 : 128;
  const attrs = [attribute(RTA_DST, bytesOf(to))];
  if (incoming !== undefined) {
    body[2] = body[1];
    const device = new Uint8Array(4);
    put32le(device, 0, incoming.device);
    attrs.push(attribute(RTA_SRC, bytesOf(incoming.from)), attribute(RTA_IIF, device));
  }
  const answers = ask(RTM_GETROUTE, 0, [body, ...attrs]);
  if (typeof answers === "number") return answers;
  const found = answers.find(({ type }) => type === RTM_NEWROUTE)!.body;
  const got = attributes(found, ROUTE_LEN);
  const device = got.get(RTA_OIF);
  const gateway = got.get(RTA_GATEWAY);
  return {
    kind: ROUTE_KINDS.get(found[7]!) ?? "other",
    device: device === undefined ? 0 : get32le(device, 0),
    gateway: gateway === undefined ? null : addrOf(gateway),
  };
}

/** The hardware address of the neighbour `addr`; null: Linux has found none (yet). Throws HostError. */
export function hostNeighbor(addr: IpAddr): MacAddr | null {
  for (const { type, body } of list(RTM_GETNEIGH, NEIGHBOR_LEN)) {
    if (type !== RTM_NEWNEIGH) continue;
    const attrs = attributes(body, NEIGHBOR_LEN);
    const dst = attrs.get(NDA_DST);
    const mac = attrs.get(NDA_LLADDR);
    if (dst === undefined || mac?.length !== MAC_LEN || !addrOf(dst).equals(addr)) continue;
    return MacAddr.at(mac, 0);
  }
  return null;
}

function list(type: number, bodyLen: number): Answer[] {
  const answers = ask(type, NLM_F_DUMP, [new Uint8Array(bodyLen)]);
  return typeof answers === "number" ? [] : answers;
}

/**
 * Whether nftables has any chain here (rules of iptables-nft are chains of it too); false also where it cannot be
 * asked. Throws HostError.
 */
export function hasFirewallChains(): boolean {
  const answers = ask(NFT_GETCHAIN, NLM_F_DUMP, [new Uint8Array(NFGENMSG_LEN)], NETLINK_NETFILTER);
  return typeof answers !== "number" && answers.length > 0;
}

/** Sends a request and reads its answers; the error number if it is refused. */
function ask(
  type: number,
  flags: number,
  parts: readonly Uint8Array[],
  family = NETLINK_ROUTE,
): Answer[] | number {
  const length = HEADER_LEN + parts.reduce((sum, part) => sum + part.length, 0);
  const request = new Uint8Array(length);
  put32le(request, 0, length);
  put16le(request, 4, type);
  put16le(request, 6, NLM_F_REQUEST | flags);
  let at = HEADER_LEN;
  for (const part of parts) {
    request.set(part, at);
    at += part.length;
  }
  return withLibc(() => {
    const attempt = "Cannot ask Linux for its interfaces, routes and rules";
    const fd = call(attempt, libc().socket(AF_NETLINK, SOCK_RAW_CLOEXEC, family));
    try {
      // Safe because the length is that of the view.
      call(attempt, libc().write(fd, request, BigInt(length)));
      return read(fd, attempt, flags !== 0);
    } finally {
      libc().close(fd);
    }
  });
}

function read(fd: number, attempt: string, isList: boolean): Answer[] | number {
  const answers: Answer[] = [];
  const room = new Uint8Array(MESSAGE_MAX);
  for (let total = 0; total < ANSWER_MAX;) {
    // Linux has answered before the request was sent: there is something, or there never will be.
    const count = call(attempt, libc().recvfrom(fd, room, BigInt(MESSAGE_MAX), MSG_DONTWAIT, null, null));
    total += count;
    for (let at = 0; at + HEADER_LEN <= count;) {
      const length = get32le(room, at);
      const type = get16le(room, at + 4);
      if (length < HEADER_LEN || at + length > count || type === NLMSG_DONE) return answers;
      if (type === NLMSG_ERROR) return -(get32le(room, at + HEADER_LEN) | 0);
      answers.push({ type, body: room.slice(at + HEADER_LEN, at + length) });
      at += length + 3 & ~3;
    }
    if (!isList) break;
  }
  return answers;
}

function attribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ATTR_LEN + value.length);
  put16le(bytes, 0, bytes.length);
  put16le(bytes, 2, type);
  bytes.set(value, ATTR_LEN);
  return bytes;
}

function attributes(body: Uint8Array, from: number): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (let at = from; at + ATTR_LEN <= body.length;) {
    const length = get16le(body, at);
    if (length < ATTR_LEN) break;
    found.set(get16le(body, at + 2) & 0x3fff, body.subarray(at + ATTR_LEN, at + length));
    at += length + 3 & ~3;
  }
  return found;
}

function bytesOf(addr: IpAddr): Uint8Array {
  const bytes = new Uint8Array(addr.isV4 ? 4 : 16);
  if (addr.isV4) addr.putV4(bytes, 0);
  else addr.put(bytes, 0);
  return bytes;
}

function addrOf(bytes: Uint8Array): IpAddr {
  return bytes.length === 4 ? IpAddr.v4At(bytes, 0) : IpAddr.at(bytes, 0);
}
