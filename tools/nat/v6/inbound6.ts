/**
 * Inbound6: a packet that came to a map of IPv6 becomes frames for its guest, an ICMPv6 error for its sender, or a
 * refusal. As nat/inbound for IPv4.
 *
 * Path: outbound6, nat → inbound6 → link6, v6/packet6, map, errors6.
 *
 * @module
 */

import { type Block, Segment } from "../../../kernel/block.ts";
import { finishChecksum, pieceLength } from "../../../kernel/inet/segment.ts";
import { DNS_PORT } from "../../../kernel/wire/dns.ts";
import {
  ICMP6_ECHO_REPLY,
  ICMP6_PACKET_TOO_BIG,
  ICMP6_TIME_EXCEEDED,
  ICMP6_TIME_EXCEEDED_HOPS,
} from "../../../kernel/wire/icmp6.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { ipv6HopLimit, setIpv6HopLimit } from "../../../kernel/wire/ipv6.ts";
import { clampTcpMss, TCP_SYN, tcpFlags } from "../../../kernel/wire/tcp.ts";
import { Reason } from "../counters.ts";
import { type Decision, Verdict } from "../decision.ts";
import { type MapClass, MapProto, type NatMap, Realm, remoteKey } from "../map.ts";
import { errorInbound6 } from "./errors6.ts";
import { makeError6, mayAnswer6 } from "./icmp6_error.ts";
import { toGuest6 } from "./link6.ts";
import type { Nat6 } from "./nat6.ts";
import { Kind6 } from "./packet6.ts";
import { filterKey6 } from "./way6.ts";

/** Translates a packet (given away) that came to the conversation of `holder`. */
export function translateInbound6(six: Nat6, block: Block, holder: NatMap, now: number): Decision {
  const { packet, nat } = six;
  nat.now = now;
  nat.counters.received++;
  nat.counters.receivedBytes += block.length;
  const reason = packet.read(block);
  if (reason !== Reason.None) return drop(six, block, reason);
  if (packet.kind === Kind6.Error) return errorInbound6(six, holder);
  if (packet.kind === Kind6.Fragment) return drop(six, block, Reason.Fragment);
  if (packet.kind === Kind6.Link || packet.proto !== holder.proto) return drop(six, block, Reason.Unmapped);
  if (packet.kind === Kind6.Query && packet.buf[packet.transport] !== ICMP6_ECHO_REPLY) {
    return drop(six, block, Reason.Unmapped);
  }
  const map = holder.carried === null ? holder : carriedFor(six, holder);
  if (!map.holds(packet.dstPort)) return drop(six, block, Reason.Unmapped);
  const guestPort = map.guestPort + packet.dstPort - map.hostPort;
  const seen = seenAs(six, map);
  if (seen === null) return drop(six, block, isMartian(six) ? Reason.MartianIn : Reason.Filtered);
  const word = six.keys.of(seen);
  if (!isLetIn(six, map, word)) return drop(six, block, Reason.Filtered);
  const hopLimit = ipv6HopLimit(packet.buf, packet.at);
  const isRouted = map.realm === Realm.World && !packet.src.isLoopback && !packet.src.equals(packet.dst);
  if (isRouted && hopLimit <= 1) return answer(six, map, Reason.Ttl);
  if (map.realm !== Realm.Dns && isTooBig(six)) return answer(six, map, Reason.TooBig);
  setIpv6HopLimit(packet.buf, packet.at, isRouted ? hopLimit - 1 : hopLimit);
  return pass(six, map, { seen, word, guestPort });
}

/** As nat/inbound's: whose connection it is, of the maps that the forward `holder` carries. */
function carriedFor(six: Nat6, holder: NatMap): NatMap {
  const { packet, nat, keys } = six;
  for (const map of holder.carried!.get(packet.dstPort) ?? []) {
    const seen = seenAs(six, map);
    if (seen === null) continue;
    const word = keys.of(seen);
    if (!isLetIn(six, map, word)) continue;
    const isOwn = map.proto === MapProto.Tcp
      ? map.isConnected(remoteKey(word, remotePort(six, map)), tcpFlags(packet.buf, packet.transport))
      : nat.filters[map.proto]!;
    if (isOwn) return map;
  }
  return holder;
}

/** Rewrites the packet and hands it to the guest. */
function pass(six: Nat6, map: NatMap, to: { seen: IpAddr; word: number; guestPort: number }): Decision {
  const { packet, config, nat } = six;
  const { block } = packet;
  use(six, map, to);
  if (packet.proto === MapProto.Tcp && config.mss !== 0) {
    const isSyn = (tcpFlags(packet.buf, packet.transport) & TCP_SYN) !== 0;
    // A SYN has no data to speak of: what it owes is paid here, so that its options can be changed.
    if (isSyn && finishChecksum(block) && clampTcpMss(packet.buf, packet.transport, packet.end, config.mss)) {
      nat.counters.mssClamped++;
    }
  }
  packet.setDestination(map.guest.addr, to.guestPort);
  if (!to.seen.equals(packet.src)) packet.setSource(to.seen, map.realm === Realm.Dns ? DNS_PORT : packet.srcPort);
  map.packetsIn++;
  toGuest6(six, block, map.guest);
  return nat.decision.set(Verdict.ToGuest, Reason.None, map, null);
}

/** What receiving does to a map: it lives on, its connection is followed; a forward remembers who came by it. */
function use(six: Nat6, map: NatMap, { word, guestPort }: { word: number; guestPort: number }): void {
  const { packet, nat } = six;
  const port = remotePort(six, map);
  if (map.isStatic) {
    const group = map.guest.forwards.get(map.proto << 16 | guestPort);
    group?.remember(remoteKey(word, port), map, packet.src, packet.dst);
    return;
  }
  let cls: MapClass;
  if (map.proto === MapProto.Tcp) {
    cls = map.track(remoteKey(word, port), tcpFlags(packet.buf, packet.transport), false);
  } else if (!nat.config.inboundRefresh) return;
  else cls = map.classAfterReceiving;
  if (nat.filters[map.proto]) map.keepOpen(filterKey6(six, map.proto, word, port), nat.now);
  nat.table.touch(map, cls, nat.now);
}

/** The address by which the guest knows the sender; null: nobody whom this map is for. */
function seenAs(six: Nat6, map: NatMap): IpAddr | null {
  const { packet, config, nat } = six;
  const { src } = packet;
  if (map.realm === Realm.Dns) {
    const { nameDoor6 } = nat;
    return nameDoor6 !== null && src.equals(nameDoor6.addr) && packet.srcPort === nameDoor6.port ? config.dns : null;
  }
  if (map.realm === Realm.Host) return src.isLoopback ? config.router : null;
  if (src.isLoopback) return map.isStatic ? config.router : null;
  return isMartian(six) ? null : src;
}

/** Nobody, a link-local address, or one of the guests' network. */
function isMartian(six: Nat6): boolean {
  const { src } = six.packet;
  return src.isUnspecified || src.isLinkLocal || six.isOnLink(src);
}

function isLetIn(six: Nat6, map: NatMap, word: number): boolean {
  const { nat } = six;
  if (map.isStatic || !nat.filters[map.proto]) return true;
  return map.lets(filterKey6(six, map.proto, word, remotePort(six, map)), nat.now, nat.table.lifetimeOf(map));
}

/** The remote's port as the guest knows it. */
function remotePort({ packet }: Nat6, map: NatMap): number {
  if (map.realm === Realm.Dns) return DNS_PORT;
  return packet.kind === Kind6.Query ? 0 : packet.srcPort;
}

/**
 * Whether the packet must be refused for its size. What came in fragments is cut again: its sender has done what it can
 * (RFC 8200 5). What the host itself sent is cut, as no path is to be discovered.
 */
function isTooBig(six: Nat6): boolean {
  const { packet, nat } = six;
  const { block, src } = packet;
  // A segment that will be cut is as large as its pieces.
  const length = block.segment === Segment.None ? block.length : pieceLength(block);
  return length > nat.config.mtu && block.fragmentMax === 0 && !src.isLoopback && !six.isHosts(src);
}

/** Drops the packet and has its sender told by an ICMPv6 error of the host's. */
function answer({ packet, nat }: Nat6, map: NatMap, reason: Reason): Decision {
  const { block, src, dst } = packet;
  nat.counters.refuse(reason);
  let reply: Block | null = null;
  if (mayAnswer6(packet)) {
    if (nat.errorLimiter.take(nat.now)) {
      const error = reason === Reason.TooBig
        ? { type: ICMP6_PACKET_TOO_BIG, code: 0, rest: nat.config.mtu }
        : { type: ICMP6_TIME_EXCEEDED, code: ICMP6_TIME_EXCEEDED_HOPS };
      reply = makeError6(block, { src: dst, dst: src, ...error });
      nat.counters.errorsMade++;
    } else nat.counters.refuse(Reason.IcmpRate);
  }
  block.free();
  return nat.decision.set(reply === null ? Verdict.Drop : Verdict.Send, reason, map, reply);
}

function drop({ nat }: Nat6, block: Block, reason: Reason): Decision {
  block.free();
  return nat.decision.set(Verdict.Drop, nat.counters.refuse(reason), null, null);
}
