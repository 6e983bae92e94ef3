/**
 * Inbound: a packet that came to a map becomes frames for its guest, an ICMP error for its sender, or a refusal.
 *
 * Path: nat, outbound → inbound → link, map, nat/packet, nat.
 *
 * @module
 */

import { type Block, Segment } from "../../kernel/block.ts";
import { finishChecksum, pieceLength } from "../../kernel/inet/segment.ts";
import { DNS_PORT } from "../../kernel/wire/dns.ts";
import {
  ICMP_ECHO_REPLY,
  ICMP_TIME_EXCEEDED,
  ICMP_TIME_EXCEEDED_TTL,
  ICMP_TIMESTAMP_REPLY,
  ICMP_UNREACHABLE,
  ICMP_UNREACHABLE_TOO_BIG,
} from "../../kernel/wire/icmp.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { ipv4DontFragment, ipv4Ttl, setIpv4Ttl } from "../../kernel/wire/ipv4.ts";
import { clampTcpMss, TCP_SYN, tcpFlags } from "../../kernel/wire/tcp.ts";
import type { Nat } from "./nat.ts";
import { Reason } from "./counters.ts";
import { type Decision, Verdict } from "./decision.ts";
import { errorInbound } from "./errors.ts";
import { makeError, mayAnswer } from "./icmp_error.ts";
import { toGuest } from "./link.ts";
import { type MapClass, MapProto, type NatMap, Realm, remoteKey } from "./map.ts";
import { Kind } from "./packet.ts";
import { filterKey } from "./way.ts";

const LOOPBACK_NET = 127;

/** Translates an IP packet (given away) that came to the conversation of `holder`. */
export function translateInbound(nat: Nat, block: Block, holder: NatMap, now: number): Decision {
  nat.now = now;
  const { packet, counters } = nat;
  counters.received++;
  counters.receivedBytes += block.length;
  const reason = packet.read(block);
  if (reason !== Reason.None) return drop(nat, block, reason);
  if (packet.kind === Kind.Error) return errorInbound(nat, holder);
  if (packet.kind === Kind.Fragment) return drop(nat, block, Reason.Fragment);
  if (packet.proto !== holder.proto || !holder.holds(packet.dstPort)) return drop(nat, block, Reason.Unmapped);
  if (packet.kind === Kind.Query && !isReply(packet.buf[packet.transport]!)) return drop(nat, block, Reason.Unmapped);
  const map = holder.carried === null ? holder : carriedFor(nat, holder);
  const isLocal = isLocalTo(nat, map);
  const seen = seenAs(nat, map, isLocal);
  if (seen === null) return drop(nat, block, isMartian(nat, map) ? Reason.MartianIn : Reason.Filtered);
  if (!isLetIn(nat, map, seen)) return drop(nat, block, Reason.Filtered);
  const ttl = ipv4Ttl(packet.buf, packet.at);
  const isRouted = !isLocal && packet.src !== packet.dst;
  if (isRouted && ttl <= 1) return answer(nat, map, Reason.Ttl);
  if (isTooBig(nat, isLocal)) return answer(nat, map, Reason.TooBig);
  return pass(nat, map, { seen, ttl: isRouted ? ttl - 1 : ttl });
}

/** Whether the packet at hand is from the loopback that `map` asks: ours, or that of the machine behind the uplink. */
function isLocalTo(nat: Nat, map: NatMap): boolean {
  return nat.packet.src >>> 24 === LOOPBACK_NET || isFarAnswer(nat, map);
}

/** The map whose connection the packet at hand belongs to, of those that the forward `holder` carries; or itself. */
function carriedFor(nat: Nat, holder: NatMap): NatMap {
  const { packet, filters } = nat;
  for (const map of holder.carried!.get(packet.dstPort) ?? []) {
    const seen = seenAs(nat, map, isLocalTo(nat, map));
    if (seen === null || !isLetIn(nat, map, seen)) continue;
    const isOwn = map.proto === MapProto.Tcp
      ? map.isConnected(remoteKey(seen, remotePort(nat, map)), tcpFlags(packet.buf, packet.transport))
      : filters[map.proto]!;
    if (isOwn) return map;
  }
  return holder;
}

/** Rewrites the packet and hands it to the guest. */
function pass(nat: Nat, map: NatMap, to: { seen: number; ttl: number }): Decision {
  const { packet, config } = nat;
  const { block } = packet;
  use(nat, map, to.seen);
  if (packet.proto === MapProto.Tcp && config.mss !== 0) {
    const isSyn = (tcpFlags(packet.buf, packet.transport) & TCP_SYN) !== 0;
    // A SYN has no data to speak of: what it owes is paid here, so that its options can be changed.
    if (isSyn && finishChecksum(block) && clampTcpMss(packet.buf, packet.transport, packet.end, config.mss)) {
      nat.counters.mssClamped++;
    }
  }
  const port = remotePort(nat, map);
  packet.setDestination(map.guest.addr, map.guestPort + packet.dstPort - map.hostPort);
  if (to.seen !== packet.src) {
    packet.setSource(IpAddr.v4(to.seen), packet.kind === Kind.Query ? packet.srcPort : port);
  }
  setIpv4Ttl(packet.buf, packet.at, to.ttl);
  map.packetsIn++;
  toGuest(nat, block, map.guest);
  return nat.decision.set(Verdict.ToGuest, Reason.None, map, null);
}

/** What receiving does to a map: it lives on, its connection is followed; a forward remembers who came by it. */
function use(nat: Nat, map: NatMap, seen: number): void {
  const { packet, config, now, table } = nat;
  const port = remotePort(nat, map);
  if (map.isStatic) {
    const group = map.guest.forwards.get(map.proto << 16 | (map.guestPort + packet.dstPort - map.hostPort));
    group?.remember(remoteKey(seen, port), map, packet.srcAddr, packet.dstAddr);
    return;
  }
  let cls: MapClass;
  if (map.proto === MapProto.Tcp) {
    cls = map.track(remoteKey(seen, port), tcpFlags(packet.buf, packet.transport), false);
  } else if (!config.inboundRefresh) return;
  else cls = map.classAfterReceiving;
  if (nat.filters[map.proto]) map.keepOpen(filterKey(nat, map.proto, seen, port), now);
  table.touch(map, cls, now);
}

/**
 * Whether it is the answer of a machine whose loopback the map asks, from its address on the uplink: so Linux answers
 * for a UDP socket that is bound to all addresses. Nobody else may have that address there, and no other map is asked.
 */
export function isFarAnswer({ packet, config }: Nat, map: NatMap): boolean {
  if (packet.src !== config.farPeer || packet.proto !== MapProto.Udp || packet.kind !== Kind.Ports) return false;
  return map.realm === Realm.Host;
}

/** The address by which the guest knows the sender; null: nobody whom this map is for. */
function seenAs(nat: Nat, map: NatMap, isLocal: boolean): number | null {
  const { packet, config, nameDoor } = nat;
  const { src } = packet;
  if (map.realm === Realm.Dns) {
    return src === nameDoor?.addr.w3 && packet.srcPort === nameDoor.port ? config.dns!.w3 : null;
  }
  if (map.realm === Realm.Host) return isLocal ? config.router.w3 : null;
  if (isLocal) return map.isStatic ? config.router.w3 : null;
  if (isMartian(nat, map)) return null;
  // The guest has the host's own address: it would not answer itself.
  if (config.style === "real" && config.hostWords.has(src)) return map.isStatic ? config.router.w3 : null;
  return src;
}

/** Nobody, a group, or the guest itself. */
function isMartian(nat: Nat, map: NatMap): boolean {
  const { src } = nat.packet;
  if (src >>> 28 >= 0xe || src >>> 24 === 0) return true;
  return nat.config.style === "qemu" && src === map.guest.addr.w3;
}

function isLetIn(nat: Nat, map: NatMap, seen: number): boolean {
  if (map.isStatic || !nat.filters[map.proto]) return true;
  return map.lets(filterKey(nat, map.proto, seen, remotePort(nat, map)), nat.now, nat.table.lifetimeOf(map));
}

/** The remote's port as the guest knows it. */
function remotePort({ packet }: Nat, map: NatMap): number {
  if (map.realm === Realm.Dns) return DNS_PORT;
  return packet.kind === Kind.Query ? 0 : packet.srcPort;
}

function isReply(type: number): boolean {
  return type === ICMP_ECHO_REPLY || type === ICMP_TIMESTAMP_REPLY;
}

/**
 * Whether the packet must be refused for its size. What the host itself sent is cut: no path is to be discovered. So is
 * what came in fragments, whatever they say of DF: its sender has cut it, and could do no more if it was told.
 */
function isTooBig(nat: Nat, isLocal: boolean): boolean {
  const { block, buf, at, src } = nat.packet;
  // A segment that will be cut is as large as its pieces.
  const length = block.segment === Segment.None ? block.length : pieceLength(block);
  if (length <= nat.config.mtu || block.fragmentMax > 0 || !ipv4DontFragment(buf, at)) return false;
  return !isLocal && !nat.config.hostWords.has(src);
}

/** Drops the packet and has its sender told by an ICMP error of the host's. */
function answer(nat: Nat, map: NatMap, reason: Reason): Decision {
  const { packet, counters, decision, config } = nat;
  const { block } = packet;
  counters.refuse(reason);
  let reply: Block | null = null;
  if (mayAnswer(block)) {
    if (nat.errorLimiter.take(nat.now)) {
      const ends = { src: packet.dstAddr, dst: packet.srcAddr };
      const error = reason === Reason.TooBig
        ? { type: ICMP_UNREACHABLE, code: ICMP_UNREACHABLE_TOO_BIG, mtu: config.mtu }
        : { type: ICMP_TIME_EXCEEDED, code: ICMP_TIME_EXCEEDED_TTL };
      reply = makeError(block, { ...ends, ...error });
      counters.errorsMade++;
    } else counters.refuse(Reason.IcmpRate);
  }
  block.free();
  return decision.set(reply === null ? Verdict.Drop : Verdict.Send, reason, map, reply);
}

function drop(nat: Nat, block: Block, reason: Reason): Decision {
  block.free();
  return nat.decision.set(Verdict.Drop, nat.counters.refuse(reason), null, null);
}
