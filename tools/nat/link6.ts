/**
 * The guests' link, IPv6: the services that live on it, which are neighbour discovery, router advertisements and
 * stateless DHCPv6.
 *
 * Path: nat → link6 → context, icmp6_block, link, services/dhcp6.
 *
 * Guests make their addresses themselves, of the prefix that the router advertises (RFC 4862), and as many as they
 * like: each is a guest of its own in the table. A station that uses an address has it as long as it has maps; another
 * station that sends from it is refused, and one that asks whether it is free learns that it is not.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { ALL_NODES, solicitedNode } from "../../kernel/inet/addr6.ts";
import { TokenBucket } from "../../kernel/inet/token_bucket.ts";
import { ETHERTYPE_IPV6 } from "../../kernel/wire/ethernet.ts";
import {
  ICMP6_NEIGHBOR_ADVERT,
  ICMP6_NEIGHBOR_SOLICIT,
  ICMP6_ROUTER_SOLICIT,
  icmp6ChecksumOk,
} from "../../kernel/wire/icmp6.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { ipv6HopLimit } from "../../kernel/wire/ipv6.ts";
import { type MacAddr, multicastMacV6 } from "../../kernel/wire/mac_addr.ts";
import {
  emitNd,
  ND_HOP_LIMIT,
  ndLen,
  type NdMessage,
  type NeighborAdvert,
  type NeighborSolicit,
  parseNd,
} from "../../kernel/wire/nd.ts";
import { UDP_HEADER_LEN } from "../../kernel/wire/udp.ts";
import { copyAddr } from "./addr_hash.ts";
import type { FamilyContext, NatLink } from "./context.ts";
import { Reason } from "./counters.ts";
import type { Decision } from "./decision.ts";
import { isOnLink, isRouters, mayBeGuest } from "./family_config.ts";
import { icmp6Block } from "./icmp6_block.ts";
import { answerEcho, drop, frameSender, ignore, sendFrame } from "./link.ts";
import { MapProto } from "./map_class.ts";
import type { Guest } from "./map.ts";
import { Kind, udpIsSound } from "./packet.ts";
import { answerDhcp6, DHCP6_CLIENT_PORT, DHCP6_SERVER_PORT } from "./services/dhcp6.ts";
import { answerNeighbor, neighborQuestion } from "./services/neighbor.ts";
import { type AdvertTimer, routerAdvert } from "./services/router_advert.ts";

/** ff02::1:2, and its site-scoped sister: all servers of DHCPv6. */
const DHCP6_GROUP = 0x10002;
/** Answers to routers' solicitations a second. */
const SOLICITS_PER_SECOND = 10;
const SOLICITS_BURST = 10;

/** The link of one NAT. */
export class Link6 implements NatLink {
  readonly etherType = ETHERTYPE_IPV6;
  readonly solicitLimiter: TokenBucket = new TokenBucket(SOLICITS_PER_SECOND, SOLICITS_BURST);

  constructor(readonly adverts: AdvertTimer) {}

  serve(ctx: FamilyContext, isGroup: boolean): Decision | null {
    const { nat, packet } = ctx;
    if (packet.kind === Kind.Link) return linkMessage(ctx, this.solicitLimiter);
    if (isDhcp(ctx)) return dhcpMessage(ctx);
    if (isGroup || packet.dst.isMulticast || !packet.src.isLinkLocal) return null;
    // A packet from a link-local address goes no further than to the router, which may be pinged.
    const isPing = packet.isEchoRequest && isRouters(ctx.config, packet.dst);
    return isPing ? answerEcho(ctx, null) : drop(nat, packet.block, Reason.Source);
  }

  isAnothers({ nat }: FamilyContext, addr: IpAddr, mac: MacAddr): boolean {
    return holderOf(nat, addr, mac) !== null;
  }

  /** Asks the group of all stations that may have the guest's address. */
  ask(ctx: FamilyContext, guest: Guest): void {
    const group = solicitedNode(guest.addr);
    const question = neighborQuestion(ctx.nat.config.hostMac, guest.addr);
    sendNd(ctx, { src: routerOf(ctx), dst: group }, question, multicastMacV6(group));
  }

  /** Advertises the router to all stations, if it is time. */
  advertise(ctx: FamilyContext, now: number): void {
    if (this.adverts.take(now)) sendAdvert(ctx, ALL_NODES, multicastMacV6(ALL_NODES));
  }
}

/** The router's own address on the link. */
function routerOf({ config }: FamilyContext): IpAddr {
  return config.linkLocal ?? config.router;
}

function isDhcp({ packet }: FamilyContext): boolean {
  return packet.kind === Kind.Ports && packet.proto === MapProto.Udp && packet.dstPort === DHCP6_SERVER_PORT &&
    packet.dst.isMulticast && packet.dst.w3 === DHCP6_GROUP;
}

/** An ICMPv6 message of the link in the packet that was just read (consumed). */
function linkMessage(ctx: FamilyContext, solicitLimiter: TokenBucket): Decision {
  const { nat, packet } = ctx;
  const { block, buf, at, transport, end } = packet;
  const src = copyAddr(packet.src);
  // From beyond the link it cannot be sent (RFC 4861 6.1, 7.1).
  const isSound = ipv6HopLimit(buf, at) === ND_HOP_LIMIT && icmp6ChecksumOk(buf, transport, end, packet);
  const message = isSound ? parseNd(buf, transport, end) : null;
  block.free();
  switch (message?.type) {
    case ICMP6_ROUTER_SOLICIT:
      if (!src.isLinkLocal && !src.isUnspecified && !isOnLink(ctx.config, src)) break;
      return solicitLimiter.take(nat.now) ? solicited(ctx, src) : ignore(nat, Reason.IcmpRate);
    case ICMP6_NEIGHBOR_SOLICIT:
      return question(ctx, message, src);
    case ICMP6_NEIGHBOR_ADVERT:
      return learn(ctx, message);
  }
  return ignore(nat, Reason.Nd);
}

/** A station asks for routers. */
function solicited(ctx: FamilyContext, src: IpAddr): Decision {
  const { nat } = ctx;
  sendAdvert(ctx, src.isUnspecified ? ALL_NODES : src, frameSender(nat));
  nat.counters.nd++;
  return nat.decision.served();
}

/** For the router's addresses all questions are answered; for a guest's, only duplicate-address probes. */
function question(ctx: FamilyContext, solicit: NeighborSolicit, src: IpAddr): Decision {
  const { nat, config } = ctx;
  const { target } = solicit;
  const isRouter = isRouters(config, target);
  const holder = isRouter || !src.isUnspecified ? null : holderOf(nat, target, frameSender(nat));
  if (!src.isUnspecified && mayBeGuest(config, src) && meetAt(ctx, src) === Reason.Spoofed) {
    return ignore(nat, Reason.Spoofed);
  }
  if (!isRouter && holder === null) return ignore(nat, Reason.Nd);
  const owner = { mac: holder?.mac ?? nat.config.hostMac, isRouter };
  const { dst, advert } = answerNeighbor(solicit, src, owner);
  sendNd(ctx, { src: isRouter ? target : routerOf(ctx), dst }, advert, frameSender(nat));
  nat.counters.nd++;
  return nat.decision.served();
}

/** A guest advertises itself: believed of an address that is a forward's, or that is not in use. */
function learn(ctx: FamilyContext, { target }: NeighborAdvert): Decision {
  const { nat } = ctx;
  const isGuests = mayBeGuest(ctx.config, target) && nat.table.guest(target) !== null;
  const reason = isGuests ? meetAt(ctx, target) : Reason.Nd;
  return ignore(nat, reason === Reason.None ? Reason.Nd : reason);
}

/** The guest that uses `addr` and is another station than `mac`. */
function holderOf({ table }: FamilyContext["nat"], addr: IpAddr, mac: MacAddr): Guest | null {
  const guest = table.guest(addr);
  return guest !== null && guest.mac !== null && !guest.mac.equals(mac) && !guest.isIdle ? guest : null;
}

/** The station that sent the frame at hand has `addr`: learnt, or why not. */
function meetAt({ nat }: FamilyContext, addr: IpAddr): Reason {
  const mac = frameSender(nat);
  if (mac.isGroup || mac.isZero) return Reason.Source;
  if (holderOf(nat, addr, mac) !== null) return Reason.Spoofed;
  return nat.meet(addr, mac) === null ? Reason.Guests : Reason.None;
}

/** A DHCPv6 message in the packet that was just read (consumed). */
function dhcpMessage(ctx: FamilyContext): Decision {
  const { nat, packet, family } = ctx;
  const { block } = packet;
  block.own();
  packet.read(block);
  const isAsked = packet.src.isLinkLocal && packet.srcPort === DHCP6_CLIENT_PORT && udpIsSound(packet);
  const at = packet.transport + UDP_HEADER_LEN;
  const answer = isAsked ? answerDhcp6(serviceOf(ctx), packet.buf, at, block.wp) : null;
  block.free();
  if (answer === null) return ignore(nat, Reason.Dhcp);
  const ports = { srcPort: DHCP6_SERVER_PORT, dstPort: DHCP6_CLIENT_PORT };
  const datagram: Block = family.makeDatagram({ src: routerOf(ctx), dst: packet.src, ...ports }, answer);
  sendFrame(nat, datagram, frameSender(nat), ETHERTYPE_IPV6);
  nat.counters.dhcp++;
  return nat.decision.served();
}

function sendAdvert(ctx: FamilyContext, dst: IpAddr, mac: MacAddr): void {
  const { nat, config } = ctx;
  const message = routerAdvert({ ...serviceOf(ctx), mtu: nat.config.mtu, prefix: config.subnet });
  sendFrame(nat, icmp6Block({ src: routerOf(ctx), dst, hopLimit: ND_HOP_LIMIT }, message), mac, ETHERTYPE_IPV6);
}

/** What the services announce; name servers that only IPv4 reaches are none over IPv6. */
function serviceOf({ nat, config }: FamilyContext) {
  const { list } = nat.relay.servers;
  const nameServers = config.dns === null ? list.filter((addr) => !addr.isV4) : [config.dns];
  return { mac: nat.config.hostMac, nameServers, search: nat.search };
}

function sendNd({ nat }: FamilyContext, ends: { src: IpAddr; dst: IpAddr }, message: NdMessage, mac: MacAddr): void {
  const bytes = new Uint8Array(ndLen(message));
  emitNd(message, bytes, 0);
  sendFrame(nat, icmp6Block({ ...ends, hopLimit: ND_HOP_LIMIT }, bytes), mac, ETHERTYPE_IPV6);
}
