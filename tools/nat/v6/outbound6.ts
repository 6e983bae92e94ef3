/**
 * Outbound6: an IPv6 frame of a guest becomes a packet of the host's, an answer, or a refusal with a reason. As
 * nat/outbound for IPv4.
 *
 * Path: outbound → outbound6 → link6, v6/packet6, way6, map.
 *
 * @module
 */

import { type Block, Checksum } from "../../../kernel/block.ts";
import { finishChecksum } from "../../../kernel/inet/segment.ts";
import { DNS_PORT } from "../../../kernel/wire/dns.ts";
import {
  ICMP6_ECHO_REPLY,
  ICMP6_PARAMETER_NEXT_HEADER,
  ICMP6_PARAMETER_PROBLEM,
  ICMP6_TIME_EXCEEDED,
  ICMP6_TIME_EXCEEDED_HOPS,
  ICMP6_UNREACHABLE,
  ICMP6_UNREACHABLE_PORT,
  ICMP6_UNREACHABLE_PROHIBITED,
  icmp6ChecksumOk,
  setIcmp6Type,
} from "../../../kernel/wire/icmp6.ts";
import { IPV6_LOOPBACK } from "../../../kernel/wire/ip_addr.ts";
import { IP_PROTO_NONE } from "../../../kernel/wire/ip_proto.ts";
import { IPV6_HOP_LIMIT_DEFAULT, ipv6HopLimit, setIpv6HopLimit } from "../../../kernel/wire/ipv6.ts";
import { clampTcpMss, TCP_RST, TCP_SYN, tcpFlags } from "../../../kernel/wire/tcp.ts";
import { UDP_HEADER_LEN, udpLength } from "../../../kernel/wire/udp.ts";
import { Reason } from "../counters.ts";
import { type Decision, Verdict } from "../decision.ts";
import type { Guest } from "../guest.ts";
import { makeMap } from "../make_map.ts";
import { type MapClass, MapProto, type NatMap, Realm, remoteKey } from "../map.ts";
import { DHCP6_SERVER_PORT } from "../services/dhcp6.ts";
import { errorOutbound6 } from "./errors6.ts";
import { addFragment6 } from "./fragments6.ts";
import { udp6Block } from "./icmp6_block.ts";
import { translateInbound6 } from "./inbound6.ts";
import { addGuest6, dhcp6Message, errorToGuest6, linkMessage6, toGuest6, toSender6 } from "./link6.ts";
import type { Nat6 } from "./nat6.ts";
import { Kind6, udp6IsSound } from "./packet6.ts";
import { filterKey6, findWay6, mayReach6, type Way6 } from "./way6.ts";

/** ff02::1:2, and its site-scoped sister: everybody who serves DHCPv6. */
const DHCP6_GROUP = 0x10002;

/** Translates the packet in `block` (given away), the payload of a frame of a guest. */
export function translateOutbound6(six: Nat6, block: Block, isGroup: boolean): Decision {
  const { packet } = six;
  let reason = packet.read(block);
  if (reason === Reason.Protocol && !isGroup && !packet.dst.isMulticast) return otherProtocol(six);
  if (reason !== Reason.None) return drop6(six, block, reason);
  const { src, dst, kind } = packet;
  if (kind === Kind6.Link) return linkMessage6(six);
  if (isDhcp(six)) return dhcp6Message(six);
  if (isGroup || dst.isMulticast) return drop6(six, block, Reason.LinkBroadcast);
  if (src.isLinkLocal) return fromLink(six);
  if (!six.mayBeGuest(src)) return drop6(six, block, Reason.Source);
  const guest = addGuest6(six, src);
  if (typeof guest === "number") {
    if (guest === Reason.Guests) six.nat.limits.note(six.nat.now, null, null);
    return drop6(six, block, guest);
  }
  if (kind !== Kind6.Fragment) return route(six, guest);
  const whole = addFragment6(six);
  if (typeof whole === "number") return drop6(six, block, whole);
  if (whole === null) return six.nat.decision.set(Verdict.Held, Reason.None, null, null);
  six.nat.counters.reassembled++;
  reason = packet.read(whole);
  if (reason === Reason.None && packet.kind === Kind6.Link) reason = Reason.Nd; // RFC 6980: never in fragments.
  return reason === Reason.None ? route(six, guest) : drop6(six, whole, reason);
}

/** A protocol that cannot be translated: who asks for it is told so (RFC 4443 3.4, code 1), if it is a guest. */
function otherProtocol(six: Nat6): Decision {
  const { packet } = six;
  const guest = six.guest(packet.src);
  if (guest === null || packet.protocol === IP_PROTO_NONE) return drop6(six, packet.block, Reason.Protocol);
  const rest = packet.namedAt - packet.at;
  const error = { type: ICMP6_PARAMETER_PROBLEM, code: ICMP6_PARAMETER_NEXT_HEADER, rest };
  return refuse(six, guest, { reason: Reason.Protocol, ...error });
}

function isDhcp({ packet }: Nat6): boolean {
  return packet.kind === Kind6.Ports && packet.proto === MapProto.Udp && packet.dstPort === DHCP6_SERVER_PORT &&
    packet.dst.isMulticast && packet.dst.w3 === DHCP6_GROUP;
}

/** From a link-local address nobody gets further than to the router: it may be pinged. */
function fromLink(six: Nat6): Decision {
  const { packet } = six;
  return packet.isEchoRequest && six.isRouters(packet.dst) ? echo(six) : drop6(six, packet.block, Reason.Source);
}

/** The packet that was read, of `guest`, whole: where does it go? */
function route(six: Nat6, guest: Guest): Decision {
  const { packet, config } = six;
  const { block, dst, kind, proto, srcPort, dstPort } = packet;
  if (kind === Kind6.Error) return errorOutbound6(six, guest);
  if (kind === Kind6.Query && six.isRouters(dst)) {
    return packet.isEchoRequest ? echo(six) : drop6(six, block, Reason.NoService);
  }
  if (kind === Kind6.Query && !packet.isEchoRequest) return drop6(six, block, Reason.IcmpType);
  const isRouter = dst.equals(config.router);
  const isDns = config.dns !== null && dst.equals(config.dns);
  if (dst.equals(packet.src) || dst.isUnspecified) return drop6(six, block, Reason.Destination);
  if (!isRouter && !isDns && six.isOnLink(dst)) return drop6(six, block, Reason.OnLink);
  // The remote port of an echo is none: its identifier is the guest's.
  const remotePort = kind === Kind6.Query ? 0 : dstPort;
  const way = findWay6(six, guest, { proto, guestPort: srcPort, remote: dst, remotePort });
  const reason = mayReach6(six);
  if (reason !== Reason.None) return refuse(six, guest, prohibited(reason));
  if (isDns && way.realm !== Realm.Dns && !way.isAnswer) {
    return refuse(six, guest, { reason: Reason.NoService, type: ICMP6_UNREACHABLE, code: ICMP6_UNREACHABLE_PORT });
  }
  return way.realm === Realm.Dns ? toNameServer(six, guest, way) : toMap(six, guest, way);
}

/** Answers the echo request that was read, in place. Id, sequence, data, traffic class and flow label stay. */
function echo(six: Nat6): Decision {
  const { packet, nat } = six;
  const { block, buf, transport, end, src, dst } = packet;
  if (!icmp6ChecksumOk(buf, transport, end, src, dst)) return drop6(six, block, Reason.BadTransport);
  const { srcPort: id } = packet;
  packet.setSource(dst, id);
  packet.setDestination(src, id);
  setIcmp6Type(buf, transport, ICMP6_ECHO_REPLY);
  setIpv6HopLimit(buf, packet.at, IPV6_HOP_LIMIT_DEFAULT);
  nat.counters.echo++;
  const guest = six.guest(src);
  if (guest === null) toSender6(six, block);
  else toGuest6(six, block, guest);
  return nat.decision.set(Verdict.Service, Reason.None, null, null);
}

/** To our name server: a datagram is a question for the relay; a connection goes to the relay's door of the host. */
function toNameServer(six: Nat6, guest: Guest, way: Way6): Decision {
  const { packet, nat } = six;
  if (packet.proto === MapProto.Udp) return question(six, guest);
  if (nat.nameDoor6 === null || packet.proto === MapProto.Icmp) {
    return refuse(six, guest, { reason: Reason.NoService, type: ICMP6_UNREACHABLE, code: ICMP6_UNREACHABLE_PORT });
  }
  way.real = nat.nameDoor6.addr;
  way.realPort = nat.nameDoor6.port;
  return toMap(six, guest, way);
}

/** The question in the datagram that was read: its answer comes now or later. */
function question(six: Nat6, guest: Guest): Decision {
  const { packet, nat, config } = six;
  const { block, srcPort } = packet;
  block.own();
  packet.read(block);
  if (!udp6IsSound(packet)) return drop6(six, block, Reason.BadTransport);
  const asker = {
    ...{ owner: guest, port: srcPort, byTcp: false },
    answer: (data: Uint8Array) => {
      nat.counters.dns++;
      const ends = { src: config.dns!, dst: guest.addr, srcPort: DNS_PORT, dstPort: srcPort };
      toGuest6(six, udp6Block(ends, data), guest);
    },
  };
  const { buf, transport } = packet;
  nat.relay.ask(asker, { buf, at: transport + UDP_HEADER_LEN, end: transport + udpLength(buf, transport) }, nat.now);
  block.free();
  return nat.decision.set(Verdict.Service, Reason.None, null, null);
}

/** Sends the packet by the way's map, which is made if there is none. */
function toMap(six: Nat6, guest: Guest, way: Way6): Decision {
  const { packet, nat } = six;
  const { block } = packet;
  const hopLimit = ipv6HopLimit(packet.buf, packet.at);
  const isRouted = way.realm === Realm.World && (way.real === null || !way.real.isLoopback);
  if (hopLimit === 0) return drop6(six, block, Reason.Ttl);
  if (isRouted && hopLimit === 1) {
    return refuse(six, guest, { reason: Reason.Ttl, type: ICMP6_TIME_EXCEEDED, code: ICMP6_TIME_EXCEEDED_HOPS });
  }
  const loopback = way.realm === Realm.Host ? IPV6_LOOPBACK : null;
  const map = way.map ?? makeMap(nat, guest, { way, loopback });
  if (typeof map === "number") return refuse(six, guest, prohibited(map));
  if (packet.proto === MapProto.Tcp) clampMss(six);
  use(six, map, way);
  const hostPort = map.hostPort + packet.srcPort - map.guestPort;
  if (way.real !== null) packet.setDestination(way.real, way.realPort === 0 ? packet.dstPort : way.realPort);
  packet.setSource(way.local, hostPort);
  if (way.realm === Realm.Dns) setIpv6HopLimit(packet.buf, packet.at, IPV6_HOP_LIMIT_DEFAULT);
  else if (isRouted) setIpv6HopLimit(packet.buf, packet.at, hopLimit - 1);
  map.packetsOut++;
  // Not by way of the host: a program of its own that has the port at this address would take what is not for it.
  if (way.target !== null) return translateInbound6(six, block.own(), way.target, nat.now);
  nat.counters.sent++;
  nat.counters.sentBytes += block.length;
  return nat.decision.set(Verdict.Send, Reason.None, map, block);
}

/** What sending does to a map: it lives on, its remote is let in, its connection is followed. */
function use(six: Nat6, map: NatMap, way: Way6): void {
  if (map.isStatic) return;
  const { packet, nat } = six;
  let cls: MapClass = map.class;
  if (packet.proto === MapProto.Tcp) {
    const flags = tcpFlags(packet.buf, packet.transport);
    cls = map.track(remoteKey(way.remoteWord, packet.dstPort), flags, true);
    // RFC 7857 7.1: who is called does not keep a map alive by refusing.
    if ((flags & TCP_RST) !== 0 && cls === map.class) return;
  } else cls = map.classAfterSending(packet.dstPort);
  if (nat.filters[map.proto]) nat.letIn(map, filterKey6(six, map.proto, way.remoteWord, way.remotePort));
  nat.table.touch(map, cls, nat.now);
}

/** Lowers the segment size that a SYN offers to what the guest's link carries. */
function clampMss({ packet, config, nat }: Nat6): void {
  if (config.mss === 0 || (tcpFlags(packet.buf, packet.transport) & TCP_SYN) === 0) return;
  if (packet.block.checksum === Checksum.Owed) {
    finishChecksum(packet.block);
    packet.read(packet.block);
  }
  if (clampTcpMss(packet.buf, packet.transport, packet.end, config.mss)) nat.counters.mssClamped++;
}

/** What a guest is told, and what is counted. */
interface Refused {
  readonly reason: Reason;
  readonly type: number;
  readonly code: number;
  readonly rest?: number;
}

function prohibited(reason: Reason): Refused {
  return { reason, type: ICMP6_UNREACHABLE, code: ICMP6_UNREACHABLE_PROHIBITED };
}

/** Refuses the packet and says so to the guest, unless it is to be silent about it. */
function refuse(six: Nat6, guest: Guest, { reason, type, code, rest = 0 }: Refused): Decision {
  const { block } = six.packet;
  const isPolicy = type === ICMP6_UNREACHABLE && code === ICMP6_UNREACHABLE_PROHIBITED;
  if (six.nat.config.reject || !isPolicy) errorToGuest6(six, block, guest, { type, code, rest });
  return drop6(six, block, reason);
}

function drop6({ nat }: Nat6, block: Block, reason: Reason): Decision {
  block.free();
  return nat.decision.set(Verdict.Drop, nat.counters.refuse(reason), null, null);
}
