/**
 * The guest's link, IPv6: frames to guests, and the services that live on it: neighbour discovery, router
 * advertisements, stateless DHCPv6. As nat/link for IPv4.
 *
 * Path: errors6, inbound6, outbound6 → link6 → nat/guest, fragments6, icmp6_block, icmp6_error.
 *
 * @module
 */

import { type Block, BLOCK_HEADROOM, Segment } from "../../../kernel/block.ts";
import { ETHERTYPE_IPV6 } from "../../../kernel/wire/ethernet.ts";
import {
  ICMP6_NEIGHBOR_ADVERT,
  ICMP6_NEIGHBOR_SOLICIT,
  ICMP6_ROUTER_SOLICIT,
  icmp6ChecksumOk,
} from "../../../kernel/wire/icmp6.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { ipv6HopLimit } from "../../../kernel/wire/ipv6.ts";
import { MacAddr, multicastMacV6 } from "../../../kernel/wire/mac_addr.ts";
import {
  emitNd,
  ND_HOP_LIMIT,
  ndLen,
  type NdMessage,
  type NeighborAdvert,
  type NeighborSolicit,
  parseNd,
} from "../../../kernel/wire/nd.ts";
import { UDP_HEADER_LEN } from "../../../kernel/wire/udp.ts";
import { Reason } from "../counters.ts";
import { type Decision, Verdict } from "../decision.ts";
import type { Guest } from "../guest.ts";
import { sendFrame } from "../link.ts";
import { answerDhcp6, DHCP6_CLIENT_PORT, DHCP6_SERVER_PORT } from "../services/dhcp6.ts";
import { ALL_NODES, answerNeighbor, neighborQuestion, solicitedNode } from "../services/neighbor.ts";
import { routerAdvert } from "../services/router_advert.ts";
import { cutPacket6 } from "./fragments6.ts";
import { icmp6Block, udp6Block } from "./icmp6_block.ts";
import { type Error6Fields, makeError6, mayAnswer6 } from "./icmp6_error.ts";
import type { Nat6 } from "./nat6.ts";
import { udp6IsSound } from "./packet6.ts";

/**
 * Puts an IPv6 packet (given away) into frames for `guest`: cut, if it is too large; held, if its hardware address is
 * to be asked for. False: it cannot be done.
 */
export function toGuest6(six: Nat6, block: Block, guest: Guest): boolean {
  const { nat } = six;
  const { config, counters } = nat;
  const { mac } = guest;
  if (mac === null) {
    nat.unresolved.hold(guest, block, nat.now);
    return true;
  }
  if (block.segment !== Segment.None || block.length <= config.mtu) {
    sendFrame(nat, block, mac, ETHERTYPE_IPV6);
    return true;
  }
  const pieces = cutPacket6(block, config.mtu, six.nextFragmentId(), BLOCK_HEADROOM);
  if (pieces === null) {
    counters.refuse(Reason.TooBig);
    block.free();
    return false;
  }
  counters.fragmented++;
  for (const piece of pieces) sendFrame(nat, piece, mac, ETHERTYPE_IPV6);
  return true;
}

/** Asks for the hardware address of `guest`, of the group of all stations that may have its address. */
export function askGuest6(six: Nat6, guest: Guest): void {
  const group = solicitedNode(guest.addr);
  const question = neighborQuestion(six.nat.config.hostMac, guest.addr);
  sendNd(six, { src: six.config.linkLocal, dst: group }, question, multicastMacV6(group));
}

/** A packet (given away) for the station that the frame at hand came from. */
export function toSender6({ nat }: Nat6, block: Block): void {
  sendFrame(nat, block, senderOf(nat), ETHERTYPE_IPV6);
}

/** Tells `guest` what is wrong with its packet, which was just read and stays the caller's. */
export function errorToGuest6(six: Nat6, block: Block, guest: Guest, error: Omit<Error6Fields, "src" | "dst">): void {
  const { nat, config, packet } = six;
  if (!mayAnswer6(packet)) return;
  if (!nat.errorLimiter.take(nat.now)) {
    nat.counters.refuse(Reason.IcmpRate);
    return;
  }
  nat.counters.errorsMade++;
  toGuest6(six, makeError6(block, { src: config.router, dst: guest.addr, ...error }), guest);
}

/** An ICMPv6 message of the link in the packet that was just read (given away). */
export function linkMessage6(six: Nat6): Decision {
  const { packet } = six;
  const { block, buf, at, transport, end, src, dst } = packet;
  // From beyond the link nobody can send it (RFC 4861 6.1, 7.1).
  const isSound = ipv6HopLimit(buf, at) === ND_HOP_LIMIT && icmp6ChecksumOk(buf, transport, end, src, dst);
  const message = isSound ? parseNd(buf, transport, end) : null;
  block.free();
  switch (message?.type) {
    case ICMP6_ROUTER_SOLICIT:
      return solicited(six, src);
    case ICMP6_NEIGHBOR_SOLICIT:
      return question(six, message, src);
    case ICMP6_NEIGHBOR_ADVERT:
      return learnt(six, message);
  }
  return ignored(six, Reason.Nd);
}

/** Who routes here? */
function solicited(six: Nat6, src: IpAddr): Decision {
  const { nat } = six;
  if (!src.isLinkLocal && !src.isUnspecified && !six.isOnLink(src)) return ignored(six, Reason.Nd);
  if (!six.solicitLimiter.take(nat.now)) return ignored(six, Reason.IcmpRate);
  sendAdvert(six, src.isUnspecified ? ALL_NODES : src, senderOf(nat));
  nat.counters.nd++;
  return nat.decision.set(Verdict.Service, Reason.None, null, null);
}

/** Who has this address? The router's are its own; a guest's is defended against who only asks whether it is free. */
function question(six: Nat6, solicit: NeighborSolicit, src: IpAddr): Decision {
  const { nat } = six;
  const { target } = solicit;
  const isRouter = six.isRouters(target);
  const holder = isRouter || !src.isUnspecified ? null : holderOf(six, target, senderOf(nat));
  if (!src.isUnspecified && six.mayBeGuest(src) && addGuest6(six, src) === Reason.Spoofed) {
    return ignored(six, Reason.Spoofed);
  }
  if (!isRouter && holder === null) return ignored(six, Reason.Nd);
  const owner = { mac: holder?.mac ?? nat.config.hostMac, isRouter };
  const { dst, advert } = answerNeighbor(solicit, src, owner);
  sendNd(six, { src: isRouter ? target : six.config.linkLocal, dst }, advert, senderOf(nat));
  nat.counters.nd++;
  return nat.decision.set(Verdict.Service, Reason.None, null, null);
}

/** A guest says where it is: believed of an address that is a forward's, or that nobody uses. */
function learnt(six: Nat6, { target }: NeighborAdvert): Decision {
  const isGuests = six.mayBeGuest(target) && six.guest(target) !== null;
  const guest = isGuests ? addGuest6(six, target) : Reason.Nd;
  return ignored(six, typeof guest === "number" ? guest : Reason.Nd);
}

/** The guest that uses `addr` and is another station than `mac`. */
function holderOf(six: Nat6, addr: IpAddr, mac: MacAddr): Guest | null {
  const guest = six.guest(addr);
  return guest !== null && guest.mac !== null && !guest.mac.equals(mac) && !guest.isIdle ? guest : null;
}

/** The guest at `addr` that the frame at hand came from: known, or learnt; or why not. */
export function addGuest6(six: Nat6, addr: IpAddr): Guest | Reason {
  const { nat, keys } = six;
  const { table, macHi, macLo } = nat;
  const known = six.guest(addr);
  if (known !== null && known.mac !== null && known.mac.lo === macLo && known.mac.hi === macHi) return known;
  const mac = senderOf(nat);
  if (mac.isGroup || mac.isZero) return Reason.Source;
  if (known !== null && holderOf(six, addr, mac) !== null) return Reason.Spoofed;
  const guest = table.addGuest(addr, mac, keys.ofGuest(addr));
  return guest !== null && guest.addr.equals(addr) ? guest : Reason.Guests;
}

/** A DHCPv6 message in the packet that was just read (given away). */
export function dhcp6Message(six: Nat6): Decision {
  const { packet, nat, config } = six;
  const { block, src } = packet;
  block.own();
  packet.read(block);
  const isAsked = src.isLinkLocal && packet.srcPort === DHCP6_CLIENT_PORT && udp6IsSound(packet);
  const at = packet.transport + UDP_HEADER_LEN;
  const answer = isAsked ? answerDhcp6(serviceOf(six), packet.buf, at, block.wp) : null;
  block.free();
  if (answer === null) return ignored(six, Reason.Dhcp);
  const ports = { srcPort: DHCP6_SERVER_PORT, dstPort: DHCP6_CLIENT_PORT };
  toSender6(six, udp6Block({ src: config.linkLocal, dst: src, ...ports }, answer));
  nat.counters.dhcp++;
  return nat.decision.set(Verdict.Service, Reason.None, null, null);
}

/** Tells everybody about the router, if it is time. */
export function advertise(six: Nat6, now: number): void {
  if (six.adverts.take(now)) sendAdvert(six, ALL_NODES, multicastMacV6(ALL_NODES));
}

function sendAdvert(six: Nat6, dst: IpAddr, mac: MacAddr): void {
  const { nat, config } = six;
  const message = routerAdvert({ ...serviceOf(six), mtu: nat.config.mtu, prefix: config.subnet });
  sendFrame(nat, icmp6Block({ src: config.linkLocal, dst, hopLimit: ND_HOP_LIMIT }, message), mac, ETHERTYPE_IPV6);
}

/** What the services tell; name servers that only IPv4 reaches are none over IPv6. */
function serviceOf({ nat, config }: Nat6) {
  const { list } = nat.relay.servers;
  const nameServers = config.dns === null ? list.filter((addr) => !addr.isV4) : [config.dns];
  return { mac: nat.config.hostMac, nameServers, search: nat.search };
}

function sendNd(six: Nat6, ends: { src: IpAddr; dst: IpAddr }, message: NdMessage, mac: MacAddr): void {
  const bytes = new Uint8Array(ndLen(message));
  emitNd(message, bytes, 0);
  sendFrame(six.nat, icmp6Block({ ...ends, hopLimit: ND_HOP_LIMIT }, bytes), mac, ETHERTYPE_IPV6);
}

function senderOf({ macHi, macLo }: Nat6["nat"]): MacAddr {
  return new MacAddr(macHi, macLo);
}

/** Nothing was to be done; the reason is counted. */
function ignored({ nat }: Nat6, reason: Reason): Decision {
  return nat.decision.set(Verdict.Drop, nat.counters.refuse(reason), null, null);
}
