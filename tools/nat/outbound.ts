/**
 * Outbound: a frame of a guest becomes an IP packet of the host's, an answer, or a refusal with a reason.
 *
 * Path: nat → outbound → nat/guest, link, map, way.
 *
 * @module
 */

import { type Block, Checksum } from "../../kernel/block.ts";
import { finishChecksum } from "../../kernel/inet/segment.ts";
import { get16, getWord } from "../../kernel/wire/bytes.ts";
import { DHCP_SERVER_PORT } from "../../kernel/wire/dhcp.ts";
import { DNS_PORT } from "../../kernel/wire/dns.ts";
import {
  ETHER_HEADER_LEN,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  etherTypeAt,
} from "../../kernel/wire/ethernet.ts";
import {
  ICMP_TIME_EXCEEDED,
  ICMP_TIME_EXCEEDED_TTL,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE_PORT,
  ICMP_UNREACHABLE_PROHIBITED,
  ICMP_UNREACHABLE_PROTOCOL,
} from "../../kernel/wire/icmp.ts";
import { type IpAddr, IPV4_LOOPBACK } from "../../kernel/wire/ip_addr.ts";
import { ipv4Ttl, setIpv4Ttl } from "../../kernel/wire/ipv4.ts";
import { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { clampTcpMss, TCP_RST, TCP_SYN, tcpFlags } from "../../kernel/wire/tcp.ts";
import { UDP_HEADER_LEN, udpLength } from "../../kernel/wire/udp.ts";
import type { Nat } from "./nat.ts";
import { translateOutbound6 } from "./v6/outbound6.ts";
import { replyEcho } from "./services/echo.ts";
import { Reason } from "./counters.ts";
import { type Decision, Verdict } from "./decision.ts";
import { errorOutbound } from "./errors.ts";
import type { Guest } from "./guest.ts";
import { translateInbound } from "./inbound.ts";
import { arpFrame, dhcpPacket, errorToGuest, toGuest, udpBlock } from "./link.ts";
import { type MapClass, MapProto, type NatMap, Realm, remoteKey } from "./map.ts";
import { makeMap } from "./make_map.ts";
import { icmpIsQuery, Kind, udpIsSound } from "./packet.ts";
import { filterKey, findWay, mayReach, type Way } from "./way.ts";

const SRC_MAC = 6;
const LIMITED_BROADCAST = -1;
/** What the relay sends on with: the guest's own may say that its name server is one hop away. */
const RELAY_TTL = 64;

/** Translates a frame of a guest (given away). What it answers is valid until the next packet. */
export function translateOutbound(nat: Nat, frame: Block, now: number): Decision {
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
  if (type === ETHERTYPE_IPV4) return packetOut(nat, frame, isGroup);
  if (type === ETHERTYPE_ARP) return arpFrame(nat, frame);
  if (type !== ETHERTYPE_IPV6) return drop(nat, frame, Reason.EtherType);
  return nat.six === null ? drop(nat, frame, Reason.Ipv6) : translateOutbound6(nat.six, frame, isGroup);
}

function packetOut(nat: Nat, block: Block, isGroup: boolean): Decision {
  const { packet } = nat;
  let reason = packet.read(block);
  if (reason === Reason.Protocol && !isGroup) return otherProtocol(nat, block);
  if (reason !== Reason.None) return drop(nat, block, reason);
  if (isDhcp(nat)) return dhcpPacket(nat, block);
  if (isGroup) return drop(nat, block, Reason.LinkBroadcast);
  if (!nat.mayBeGuest(packet.src)) return drop(nat, block, Reason.Source);
  const guest = guestOf(nat);
  if (typeof guest === "number") return drop(nat, block, guest);
  if (packet.kind !== Kind.Fragment) return route(nat, guest);
  const whole = nat.reassembler.add(packet, nat.now);
  if (typeof whole === "number") return drop(nat, block, whole);
  if (whole === null) return nat.decision.set(Verdict.Held, Reason.None, null, null);
  nat.counters.reassembled++;
  reason = packet.read(whole);
  return reason === Reason.None ? route(nat, guest) : drop(nat, whole, reason);
}

/** A protocol that cannot be translated: who asks for it is told so (RFC 792, code 2). */
function otherProtocol(nat: Nat, block: Block): Decision {
  const guest = nat.table.guest(nat.packet.src);
  if (guest === null) return drop(nat, block, Reason.Protocol);
  return refuse(nat, guest, { reason: Reason.Protocol, type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_PROTOCOL });
}

/** To the server's port, and to the router or to everybody: what is for somebody else's server goes its way. */
function isDhcp({ packet, config }: Nat): boolean {
  return packet.kind === Kind.Ports && packet.proto === MapProto.Udp && packet.dstPort === DHCP_SERVER_PORT &&
    (packet.dst === LIMITED_BROADCAST || packet.dst === config.router.w3);
}

/** Who sent the packet; new guests and new hardware addresses are learnt, but not of who has another's address. */
function guestOf(nat: Nat): Guest | Reason {
  const { packet, table, macHi, macLo } = nat;
  const guest = table.guest(packet.src);
  if (guest !== null && guest.mac !== null && guest.mac.lo === macLo && guest.mac.hi === macHi) return guest;
  const mac = new MacAddr(macHi, macLo);
  if (mac.isGroup || mac.isZero) return Reason.Source;
  if (nat.dhcp.isAnothers(packet.src, mac.key, nat.now)) return Reason.Spoofed;
  const added = nat.meet(packet.srcAddr, mac);
  if (added !== null) return added;
  nat.limits.note(nat.now, null, null);
  return Reason.Guests;
}

/** The packet that was read, of `guest`, whole: where does it go? */
function route(nat: Nat, guest: Guest): Decision {
  const { packet, config, counters, decision } = nat;
  const { block, dst } = packet;
  if (packet.kind === Kind.Error) return errorOutbound(nat, guest);
  const isRouter = dst === config.router.w3;
  const isDns = config.dns !== null && dst === config.dns.w3;
  if (packet.kind === Kind.Query && (isRouter || isDns)) {
    if (!packet.isEchoRequest) return drop(nat, block, Reason.NoService);
    counters.echo++;
    replyEcho(packet.buf, packet.at);
    toGuest(nat, block, guest);
    return decision.set(Verdict.Service, Reason.None, null, null);
  }
  if (packet.kind === Kind.Query && !icmpIsQuery(packet.buf[packet.transport]!)) {
    return drop(nat, block, Reason.IcmpType);
  }
  if (dst === guest.addr.w3 || config.broadcasts.has(dst)) return drop(nat, block, Reason.Destination);
  if (!isRouter && !isDns && nat.isOnLink(dst)) return drop(nat, block, Reason.OnLink);
  const { proto, srcPort, dstPort } = packet;
  const way = findWay(nat, guest, { proto, guestPort: srcPort, remoteWord: dst, remotePort: remotePort(nat, dstPort) });
  const reason = mayReach(nat);
  if (reason !== Reason.None) {
    return refuse(nat, guest, { reason, type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_PROHIBITED });
  }
  if (isDns && way.realm !== Realm.Dns && !way.isAnswer) {
    return refuse(nat, guest, { reason: Reason.NoService, type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_PORT });
  }
  return way.realm === Realm.Dns ? toNameServer(nat, guest, way) : toMap(nat, guest, way);
}

/** The remote port of a query is none: its identifier is the guest's. */
function remotePort(nat: Nat, dstPort: number): number {
  return nat.packet.kind === Kind.Query ? 0 : dstPort;
}

/** To our name server: a datagram is a question for the relay; a connection goes to the relay's door of the host. */
function toNameServer(nat: Nat, guest: Guest, way: Way): Decision {
  const { packet } = nat;
  if (packet.proto === MapProto.Udp) return question(nat, guest);
  if (nat.nameDoor === null) {
    return refuse(nat, guest, { reason: Reason.NoService, type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_PORT });
  }
  way.real = nat.nameDoor.addr;
  way.realPort = nat.nameDoor.port;
  return toMap(nat, guest, way);
}

/** The question in the datagram that was read: its answer comes now or later. */
function question(nat: Nat, guest: Guest): Decision {
  const { packet, decision, config } = nat;
  const { block, srcPort } = packet;
  block.own();
  packet.read(block);
  if (!udpIsSound(packet)) return drop(nat, block, Reason.BadTransport);
  const asker = {
    ...{ owner: guest, port: srcPort, byTcp: false },
    answer: (data: Uint8Array) => {
      nat.counters.dns++;
      toGuest(nat, udpBlock({ src: config.dns!, dst: guest.addr, srcPort: DNS_PORT, dstPort: srcPort, data }), guest);
    },
  };
  const { buf, transport } = packet;
  nat.relay.ask(asker, { buf, at: transport + UDP_HEADER_LEN, end: transport + udpLength(buf, transport) }, nat.now);
  block.free();
  return decision.set(Verdict.Service, Reason.None, null, null);
}

/** Sends the packet by the way's map, which is made if there is none. */
function toMap(nat: Nat, guest: Guest, way: Way): Decision {
  const { packet, counters } = nat;
  const { block } = packet;
  const ttl = ipv4Ttl(packet.buf, packet.at);
  const isRouted = way.realm === Realm.World && (way.real === null || !way.real.isLoopback);
  if (ttl === 0) return drop(nat, block, Reason.Ttl);
  if (isRouted && ttl === 1) {
    return refuse(nat, guest, { reason: Reason.Ttl, type: ICMP_TIME_EXCEEDED, code: ICMP_TIME_EXCEEDED_TTL });
  }
  const map = way.map ?? makeMap(nat, guest, { way, loopback: loopbackOf(nat, way) });
  if (typeof map === "number") {
    return refuse(nat, guest, { reason: map, type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_PROHIBITED });
  }
  if (packet.proto === MapProto.Tcp) clampMss(nat);
  use(nat, map, way);
  const hostPort = map.hostPort + packet.srcPort - map.guestPort;
  if (way.real !== null) packet.setDestination(way.real, way.realPort === 0 ? packet.dstPort : way.realPort);
  packet.setSource(way.local, hostPort);
  if (way.realm === Realm.Dns) setIpv4Ttl(packet.buf, packet.at, RELAY_TTL);
  else if (isRouted) setIpv4Ttl(packet.buf, packet.at, ttl - 1);
  map.packetsOut++;
  if (way.target !== null) return hairpin(nat, block, way.target);
  counters.sent++;
  counters.sentBytes += block.length;
  return nat.decision.set(Verdict.Send, Reason.None, map, block);
}

/**
 * To another guest, or to itself, by the host's address (RFC 4787 REQ-9a: with the host's address and port as source).
 * Not by way of the host: a program of its own that has the port at this address would take what is not for it.
 */
function hairpin(nat: Nat, block: Block, target: NatMap): Decision {
  return translateInbound(nat, block.own(), target, nat.now);
}

/** What sending does to a map: it lives on, its remote is let in, its connection is followed. */
function use(nat: Nat, map: NatMap, way: Way): void {
  if (map.isStatic) return;
  const { packet, now } = nat;
  let cls: MapClass = map.class;
  if (packet.proto === MapProto.Tcp) {
    const flags = tcpFlags(packet.buf, packet.transport);
    cls = map.track(remoteKey(packet.dst, packet.dstPort), flags, true);
    // RFC 7857 7.1: who is called does not keep a map alive by refusing.
    if ((flags & TCP_RST) !== 0 && cls === map.class) return;
  } else cls = map.classAfterSending(packet.dstPort);
  if (nat.filters[map.proto]) nat.letIn(map, filterKey(nat, map.proto, way.remoteWord, way.remotePort));
  nat.table.touch(map, cls, now);
}

/**
 * What comes from the network must never reach a map of the host's loopback: it is bound there. One of another
 * machine's has its port to itself on all addresses: bound, it would hide the port from a map of the world; inbound
 * looks at its remotes.
 */
function loopbackOf({ config }: Nat, way: Way): IpAddr | null {
  return way.realm === Realm.Host && config.loopbackFrom.isLoopback ? IPV4_LOOPBACK : null;
}

/** Lowers the segment size that a SYN offers to what the guest's link carries. */
function clampMss(nat: Nat): void {
  const { packet, config } = nat;
  if (config.mss === 0 || (tcpFlags(packet.buf, packet.transport) & TCP_SYN) === 0) return;
  if (packet.block.checksum === Checksum.Owed) {
    finishChecksum(packet.block);
    packet.read(packet.block);
  }
  if (clampTcpMss(packet.buf, packet.transport, packet.end, config.mss)) nat.counters.mssClamped++;
}

/** Refuses the packet and says so to the guest, unless it is to be silent about it. */
function refuse(nat: Nat, guest: Guest, refusal: { reason: Reason; type: number; code: number }): Decision {
  const { type, code, reason } = refusal;
  const { block } = nat.packet;
  if (nat.config.reject || code !== ICMP_UNREACHABLE_PROHIBITED) errorToGuest(nat, block, guest, { type, code });
  return drop(nat, block, reason);
}

/** Drops a block; the reason is counted. */
export function drop(nat: Nat, block: Block, reason: Reason): Decision {
  block.free();
  return nat.decision.set(Verdict.Drop, nat.counters.refuse(reason), null, null);
}
