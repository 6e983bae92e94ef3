/**
 * Outbound: a frame of a guest becomes an IP packet of the host's, an answer, or a refusal with a reason.
 *
 * Path: nat → outbound → context, link, link4, map, flow, make_map.
 *
 * @module
 */

import { type Block, Checksum } from "../../kernel/block.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { get16, getWord } from "../../kernel/wire/bytes.ts";
import { DNS_PORT } from "../../kernel/wire/dns.ts";
import {
  ETHER_HEADER_LEN,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  etherTypeAt,
} from "../../kernel/wire/ethernet.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_NONE } from "../../kernel/wire/ip_proto.ts";
import { clampTcpMss, TCP_RST, TCP_SYN, tcpFlags } from "../../kernel/wire/tcp.ts";
import { UDP_HEADER_LEN, udpLength } from "../../kernel/wire/udp.ts";
import type { FamilyContext, NatContext } from "./context.ts";
import { Reason } from "./counters.ts";
import { Decision } from "./decision.ts";
import { errorOutbound } from "./errors.ts";
import { isNowhere, isOnLink, isRouters, mayBeGuest } from "./family_config.ts";
import { filterPort, mayReach, resolveFlow } from "./flow.ts";
import { inbound } from "./inbound.ts";
import { answerEcho, drop, errorToGuest, frameSender, toGuest } from "./link.ts";
import { arpFrame } from "./link4.ts";
import { makeMap } from "./make_map.ts";
import { type Guest, type MapClass, MapProto, type NatMap, Realm } from "./map.ts";
import { type IcmpCode, Kind, udpIsSound } from "./packet.ts";

const SRC_MAC = 6;

/** Translates a frame of a guest (consumed). The decision is valid until the next packet. */
export function translateOutbound(nat: NatContext, frame: Block, now: number): Decision {
  nat.now = now;
  nat.counters.guestFrames++;
  if (frame.extents !== null && frame.wp - frame.rp < ETHER_HEADER_LEN) frame.own();
  const { buf, rp } = frame;
  if (frame.wp - rp < ETHER_HEADER_LEN) return drop(nat, frame, Reason.Short);
  const { hostMac } = nat.config;
  const isGroup = (buf[rp]! & 1) !== 0;
  if (!isGroup && (get16(buf, rp) !== hostMac.hi || getWord(buf, rp + 2) !== hostMac.lo)) {
    return drop(nat, frame, Reason.OtherMac);
  }
  const type = etherTypeAt(buf, rp);
  nat.macHi = get16(buf, rp + SRC_MAC);
  nat.macLo = getWord(buf, rp + SRC_MAC + 2);
  frame.pull(ETHER_HEADER_LEN);
  if (type === ETHERTYPE_IPV4) return packetOut(nat.v4, frame, isGroup);
  if (type === ETHERTYPE_ARP) return arpFrame(nat, frame);
  if (type !== ETHERTYPE_IPV6) return drop(nat, frame, Reason.EtherType);
  return nat.v6 === null ? drop(nat, frame, Reason.Ipv6) : packetOut(nat.v6, frame, isGroup);
}

function packetOut(ctx: FamilyContext, block: Block, isGroup: boolean): Decision {
  const { nat, packet } = ctx;
  const reason = packet.read(block);
  if (reason === Reason.Protocol && !isGroup && !packet.dst.isMulticast) return otherProtocol(ctx);
  if (reason !== Reason.None) return drop(nat, block, reason);
  const served = ctx.link.serve(ctx, isGroup);
  if (served !== null) return served;
  if (isGroup) return drop(nat, block, Reason.LinkBroadcast);
  const guest = senderOf(ctx);
  if (typeof guest === "number") return drop(nat, block, guest);
  return packet.kind === Kind.Fragment ? fragment(ctx, guest) : route(ctx, guest);
}

/** A protocol that cannot be translated: a guest that uses it hears of it (RFC 792, code 2; RFC 4443 3.4, code 1). */
function otherProtocol(ctx: FamilyContext): Decision {
  const { nat, packet, family } = ctx;
  const guest = nat.table.guest(packet.src);
  if (guest === null || packet.protocol === IP_PROTO_NONE) return drop(nat, packet.block, Reason.Protocol);
  errorToGuest(ctx, guest, family.refusals.protocol, packet.namedAt - packet.at);
  return drop(nat, packet.block, Reason.Protocol);
}

/** The guest that sent the packet; it and its hardware address are learnt, unless another has the address. */
function senderOf(ctx: FamilyContext): Guest | Reason {
  const { nat, packet, config } = ctx;
  const { table, macHi, macLo } = nat;
  const guest = table.guest(packet.src);
  if (guest !== null && guest.mac !== null && guest.mac.lo === macLo && guest.mac.hi === macHi) return guest;
  if (!mayBeGuest(config, packet.src)) return Reason.Source;
  const mac = frameSender(nat);
  if (mac.isGroup || mac.isZero) return Reason.Source;
  if (ctx.link.isAnothers(ctx, packet.src, mac)) return Reason.Spoofed;
  const added = nat.meet(packet.src, mac);
  if (added !== null) return added;
  nat.limits.note(nat.now, null, null);
  return Reason.Guests;
}

/** The fragment that was read: routed with the rest of its datagram. */
function fragment(ctx: FamilyContext, guest: Guest): Decision {
  const { nat, packet } = ctx;
  const block = packet.block.own();
  packet.read(block);
  const joined = nat.reassembler.take(packet, nat.now);
  if (typeof joined === "number") return drop(nat, block, joined);
  block.free();
  if (joined === null) return nat.decision.set(Decision.Held, Reason.None, null, null);
  nat.counters.reassembled++;
  const reason = packet.read(joined);
  if (reason !== Reason.None) return drop(nat, joined, reason);
  // RFC 6980: neighbour discovery is never in fragments.
  return packet.kind === Kind.Link ? drop(nat, joined, Reason.Nd) : route(ctx, guest);
}

/** The packet that was read, of `guest`, whole: where does it go? */
function route(ctx: FamilyContext, guest: Guest): Decision {
  const { nat, packet, config, family, flow } = ctx;
  const { block, dst } = packet;
  if (packet.kind === Kind.Error) return errorOutbound(ctx, guest);
  if (packet.kind === Kind.Query) {
    if (isRouters(config, dst)) {
      return packet.isEchoRequest ? answerEcho(ctx, guest) : drop(nat, block, Reason.NoService);
    }
    if (!family.icmpAsks(packet.buf[packet.transport]!)) return drop(nat, block, Reason.IcmpType);
  }
  const isRouter = dst.equals(config.router);
  const isDns = config.dns !== null && dst.equals(config.dns);
  if (dst.equals(guest.addr) || isNowhere(config, dst)) return drop(nat, block, Reason.Destination);
  if (!isRouter && !isDns && isOnLink(config, dst)) return drop(nat, block, Reason.OnLink);
  // The remote port of a query is none: its identifier is the guest's.
  flow.set(packet.proto, packet.srcPort, dst, packet.kind === Kind.Query ? 0 : packet.dstPort);
  resolveFlow(ctx, guest);
  const reason = mayReach(ctx);
  if (reason !== Reason.None) return refuse(ctx, guest, reason, family.refusals.prohibited);
  if (isDns && flow.realm !== Realm.Dns && !flow.isAnswer) {
    return refuse(ctx, guest, Reason.NoService, family.refusals.port);
  }
  return flow.realm === Realm.Dns ? toNameServer(ctx, guest) : toMap(ctx, guest);
}

/** To our name server: a datagram is a question for the relay; a connection goes to the relay's port of the host. */
function toNameServer(ctx: FamilyContext, guest: Guest): Decision {
  const { packet, nameServer, flow, family } = ctx;
  if (packet.proto === MapProto.Udp) return question(ctx, guest);
  if (nameServer === null) return refuse(ctx, guest, Reason.NoService, family.refusals.port);
  flow.real = nameServer.addr;
  flow.realPort = nameServer.port;
  return toMap(ctx, guest);
}

/** The question in the datagram that was read: its answer comes now or later. */
function question(ctx: FamilyContext, guest: Guest): Decision {
  const { nat, packet, config, family } = ctx;
  const { block, srcPort } = packet;
  block.own();
  packet.read(block);
  if (!udpIsSound(packet)) return drop(nat, block, Reason.BadTransport);
  const asker = {
    owner: guest,
    port: srcPort,
    byTcp: false,
    answer(data: Uint8Array) {
      nat.counters.dns++;
      const ends = { src: config.dns!, dst: guest.addr, srcPort: DNS_PORT, dstPort: srcPort };
      toGuest(ctx, family.makeDatagram(ends, data), guest);
    },
  };
  const { buf, transport } = packet;
  nat.relay.ask(asker, { buf, at: transport + UDP_HEADER_LEN, end: transport + udpLength(buf, transport) }, nat.now);
  block.free();
  return nat.decision.served();
}

/** Sends the packet by the flow's map, which is made if there is none. */
function toMap(ctx: FamilyContext, guest: Guest): Decision {
  const { nat, packet, family, flow } = ctx;
  const { block } = packet;
  const hops = family.hops(packet.buf, packet.at);
  const isRouted = flow.realm === Realm.World && (flow.real === null || !flow.real.isLoopback);
  if (hops === 0) return drop(nat, block, Reason.Ttl);
  if (isRouted && hops === 1) return refuse(ctx, guest, Reason.Ttl, family.refusals.hops);
  const map = flow.map ?? makeMap(nat, guest, { ends: flow, loopback: loopbackOf(ctx) });
  if (typeof map === "number") return refuse(ctx, guest, map, family.refusals.prohibited);
  if (packet.proto === MapProto.Tcp) clampMss(ctx);
  use(ctx, map);
  const hostPort = map.hostPort + packet.srcPort - map.guestPort;
  if (flow.real !== null) packet.setDestination(flow.real, flow.realPort === 0 ? packet.dstPort : flow.realPort);
  packet.setSource(flow.local, hostPort);
  // Behind the relay the path begins again: the guest's packet may allow one hop to its name server.
  if (flow.realm === Realm.Dns) family.setHops(packet.buf, packet.at, family.hopsDefault);
  else if (isRouted) family.setHops(packet.buf, packet.at, hops - 1);
  map.packetsOut++;
  if (flow.target !== null) return hairpin(ctx, block, flow.target);
  nat.counters.sent++;
  nat.counters.sentBytes += block.length;
  return nat.decision.set(Decision.Send, Reason.None, map, block);
}

/**
 * To another guest, or to itself, by the host's address (RFC 4787 REQ-9a: with the host's address and port as source).
 * Not through the host: a program of its own that has the port at this address would take the packet.
 */
function hairpin(ctx: FamilyContext, block: Block, target: NatMap): Decision {
  return inbound(ctx, block.own(), target);
}

/** What sending does to a map: it lives on, its remote is let in, its connection is followed. */
function use({ nat, packet, flow }: FamilyContext, map: NatMap): void {
  if (map.isStatic) return;
  let cls: MapClass = map.class;
  if (packet.proto === MapProto.Tcp) {
    const flags = tcpFlags(packet.buf, packet.transport);
    cls = map.track(flow, flags, true);
    // RFC 7857 7.1: a guest that refuses a call does not keep the map alive by it.
    if ((flags & TCP_RST) !== 0 && cls === map.class) return;
  } else cls = map.classAfterSending(packet.dstPort);
  if (nat.filters[map.proto]) nat.letIn(map, flow, filterPort(nat, flow));
  nat.table.touch(map, cls, nat.now);
}

/**
 * A packet from the network must never reach a map of the host's loopback: it is bound there. One of another machine's
 * has its port to itself on all addresses: bound, it would hide the port from a map of the world; inbound checks its
 * remotes.
 */
function loopbackOf({ config, flow }: FamilyContext): IpAddr | null {
  return flow.realm === Realm.Host && config.loopbackFrom.isLoopback ? config.loopback : null;
}

/** Lowers the segment size that a SYN offers to what the guest's link carries. */
function clampMss({ nat, packet, config }: FamilyContext): void {
  if (config.mss === 0 || (tcpFlags(packet.buf, packet.transport) & TCP_SYN) === 0) return;
  if (packet.block.checksum === Checksum.Owed) {
    finishChecksum(packet.block);
    packet.read(packet.block);
  }
  if (clampTcpMss(packet.buf, packet.transport, packet.end, config.mss)) nat.counters.mssClamped++;
}

/** Refuses the packet and reports it to the guest, unless policy is to be silent. */
function refuse(ctx: FamilyContext, guest: Guest, reason: Reason, code: IcmpCode): Decision {
  const { nat, packet, family } = ctx;
  if (nat.config.reject || code !== family.refusals.prohibited) errorToGuest(ctx, guest, code);
  return drop(nat, packet.block, reason);
}
