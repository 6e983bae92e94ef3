/**
 * Inbound: a packet that came to a map becomes frames for its guest, an ICMP error for its sender, or a refusal.
 *
 * Path: nat, outbound → inbound → context, errors, flow, link, map.
 *
 * @module
 */

import { type Block, Segment } from "../../kernel/block.ts";
import { mayReportError } from "../../kernel/inet/icmp_error.ts";
import { finishChecksum, pieceLength } from "../../kernel/inet/segment.ts";
import { DNS_PORT } from "../../kernel/wire/dns.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { clampTcpMss, TCP_SYN, tcpFlags } from "../../kernel/wire/tcp.ts";
import type { FamilyContext, NatContext } from "./context.ts";
import { Reason } from "./counters.ts";
import { Decision } from "./decision.ts";
import { errorInbound } from "./errors.ts";
import { isDoorPeer, isHosts, isOnLink } from "./family_config.ts";
import { filterPort } from "./flow.ts";
import { drop, toGuest } from "./link.ts";
import { type MapClass, MapProto, type NatMap, Realm } from "./map.ts";
import { Kind } from "./packet.ts";

/** Translates an IP packet (consumed) that came to the conversation of `holder`. */
export function translateInbound(nat: NatContext, block: Block, holder: NatMap, now: number): Decision {
  nat.now = now;
  return inbound(holder.is6 ? nat.v6! : nat.v4, block, holder);
}

/** As {@link translateInbound}, by the context of the map's version. */
export function inbound(ctx: FamilyContext, block: Block, holder: NatMap): Decision {
  const { nat, packet, family, flow } = ctx;
  nat.counters.received++;
  nat.counters.receivedBytes += block.length;
  const reason = packet.read(block);
  if (reason !== Reason.None) return drop(nat, block, reason);
  if (packet.kind === Kind.Error) return errorInbound(ctx, holder);
  if (packet.kind === Kind.Fragment) return drop(nat, block, Reason.Fragment);
  if (packet.kind === Kind.Link || packet.proto !== holder.proto || !holder.holds(packet.dstPort)) {
    return drop(nat, block, Reason.Unmapped);
  }
  if (packet.kind === Kind.Query && family.icmpAsks(packet.buf[packet.transport]!)) {
    return drop(nat, block, Reason.Unmapped);
  }
  const map = holder.carried === null ? holder : carriedFor(ctx, holder);
  const isLocal = isLocalTo(ctx, map);
  if (!resolveArrival(ctx, map, isLocal)) {
    return drop(nat, block, isMartian(ctx) ? Reason.MartianIn : Reason.Filtered);
  }
  if (!isLetIn(ctx, map)) return drop(nat, block, Reason.Filtered);
  const hops = family.hops(packet.buf, packet.at);
  const isRouted = !isLocal && !packet.src.equals(packet.dst);
  if (isRouted && hops <= 1) return answer(ctx, map, Reason.Ttl);
  if (isTooBig(ctx, isLocal)) return answer(ctx, map, Reason.TooBig);
  use(ctx, map, flow.guestPort);
  return pass(ctx, map, isRouted ? hops - 1 : hops);
}

/**
 * Whether the packet at hand is from the loopback that `map` asks, ours or that of the machine behind the uplink, or
 * from a caller of the machine's sockets. From the machine's address on the uplink Linux answers for a UDP socket that
 * is bound to all addresses. No other machine may have that address, and no other map is asked.
 */
function isLocalTo({ packet, config }: FamilyContext, map: NatMap): boolean {
  const { src } = packet;
  if (src.isLoopback || src.equals(config.loopback)) return true;
  if (map.isStatic) return isDoorPeer(config, src);
  if (map.realm !== Realm.Host || config.farPeer === null) return false;
  return packet.proto === MapProto.Udp && packet.kind === Kind.Ports && src.equals(config.farPeer);
}

/** The map whose connection the packet at hand belongs to, of those that the forward `holder` carries; or itself. */
function carriedFor(ctx: FamilyContext, holder: NatMap): NatMap {
  const { nat, packet, flow } = ctx;
  for (const map of holder.carried!.get(packet.dstPort) ?? []) {
    if (!resolveArrival(ctx, map, isLocalTo(ctx, map)) || !isLetIn(ctx, map)) continue;
    const isOwn = map.proto === MapProto.Tcp
      ? map.isConnected(flow, tcpFlags(packet.buf, packet.transport))
      : nat.filters[map.proto]!;
    if (isOwn) return map;
  }
  return holder;
}

/** Fills the flow with the ends of the packet at hand as the guest knows them; false: the sender is none for `map`. */
function resolveArrival(ctx: FamilyContext, map: NatMap, isLocal: boolean): boolean {
  const { packet, flow } = ctx;
  const seen = seenAs(ctx, map, isLocal);
  if (seen === null) return false;
  const port = map.realm === Realm.Dns ? DNS_PORT : packet.kind === Kind.Query ? 0 : packet.srcPort;
  flow.set(map.proto, map.guestPort + packet.dstPort - map.hostPort, seen, port);
  return true;
}

/** Rewrites the packet and hands it to the guest. */
function pass(ctx: FamilyContext, map: NatMap, hops: number): Decision {
  const { nat, packet, config, family, flow } = ctx;
  const { block } = packet;
  if (packet.proto === MapProto.Tcp && config.mss !== 0) {
    const isSyn = (tcpFlags(packet.buf, packet.transport) & TCP_SYN) !== 0;
    // A SYN has hardly any data: its checksum is finished here, so that its options can be changed.
    if (isSyn && finishChecksum(block) && clampTcpMss(packet.buf, packet.transport, packet.end, config.mss)) {
      nat.counters.mssClamped++;
    }
  }
  packet.setDestination(map.guest.addr, flow.guestPort);
  if (flow.remote !== packet.src) {
    packet.setSource(flow.remote, packet.kind === Kind.Query ? packet.srcPort : flow.remotePort);
  }
  family.setHops(packet.buf, packet.at, hops);
  map.packetsIn++;
  toGuest(ctx, block, map.guest);
  return nat.decision.set(Decision.ToGuest, Reason.None, map, null);
}

/** What receiving does to a map: it lives on, its connection is followed; a forward remembers the remotes. */
function use({ nat, packet, flow }: FamilyContext, map: NatMap, guestPort: number): void {
  if (map.isStatic) {
    const group = map.guest.forwards.get(map.proto << 16 | guestPort);
    group?.remember(flow, map, packet);
    return;
  }
  let cls: MapClass;
  if (map.proto === MapProto.Tcp) {
    cls = map.track(flow, tcpFlags(packet.buf, packet.transport), false);
  } else if (!nat.config.inboundRefresh) return;
  else cls = map.classAfterReceiving;
  flow.known?.use(nat.now);
  nat.table.touch(map, cls, nat.now);
}

/** The address by which the guest knows the sender; null: a sender that this map is not for. */
function seenAs(ctx: FamilyContext, map: NatMap, isLocal: boolean): IpAddr | null {
  const { packet, config, nameServer } = ctx;
  const { src } = packet;
  if (map.realm === Realm.Dns) {
    return nameServer !== null && src.equals(nameServer.addr) && packet.srcPort === nameServer.port ? config.dns : null;
  }
  if (map.realm === Realm.Host) return isLocal ? config.router : null;
  if (isLocal) return map.isStatic ? config.router : null;
  if (isMartian(ctx) || isInner(config, map)) return null;
  // The guest has the host's own address: it would not answer itself.
  if (config.onlyGuest !== null && isHosts(config, src)) return map.isStatic ? config.router : null;
  return src;
}

/** Whether `map` is a forward that the machine's sockets alone lead to: a neighbor might name its address, too. */
function isInner({ doorLink }: FamilyContext["config"], { bound }: NatMap): boolean {
  return doorLink !== null && bound !== null && bound.equals(doorLink.near);
}

/** No address of a station, or one of the guests' network: a guest could not answer it. */
function isMartian({ packet, family, config }: FamilyContext): boolean {
  return family.isMartian(packet.src) || isOnLink(config, packet.src);
}

/** Whether the filter of `map` lets the flow's remote in, which it then finds again as `flow.known`. */
function isLetIn({ nat, flow }: FamilyContext, map: NatMap): boolean {
  flow.known = null;
  if (map.isStatic || !nat.filters[map.proto]) return true;
  const known = flow.known = map.remoteOf(flow, filterPort(nat, flow));
  return known !== null && nat.now - known.lastUse < nat.table.lifetimeOf(map);
}

/**
 * Whether the packet must be refused for its size. What the host itself sent is cut: no path is to be discovered. So is
 * what came in fragments, whatever they say of DF: its sender has cut it, and could do no more if it knew.
 */
function isTooBig({ nat, packet, config, family }: FamilyContext, isLocal: boolean): boolean {
  const { block, buf, at, src } = packet;
  // A segment that will be cut is as large as its pieces.
  const length = block.segment === Segment.None ? block.length : pieceLength(block);
  if (length <= nat.config.mtu || block.fragmentMax > 0 || family.mayCut(buf, at)) return false;
  return !isLocal && !isHosts(config, src);
}

/** Drops the packet and reports it to its sender by an ICMP error of the host's. */
function answer({ nat, packet, family }: FamilyContext, map: NatMap, reason: Reason): Decision {
  const { block } = packet;
  nat.counters.refuse(reason);
  let reply: Block | null = null;
  if (mayReportError(packet.buf, packet.at, packet.end)) {
    if (nat.errorLimiter.take(nat.now)) {
      const { tooBig, hops } = family.refusals;
      const isTooBig = reason === Reason.TooBig;
      const { type, code } = isTooBig ? tooBig : hops;
      const rest = isTooBig ? nat.config.mtu : 0;
      reply = family.makeError(block, { src: packet.dst, dst: packet.src, type, code, rest });
      nat.counters.errorsMade++;
    } else nat.counters.refuse(Reason.IcmpRate);
  }
  block.free();
  return nat.decision.set(reply === null ? Decision.Drop : Decision.Send, reason, map, reply);
}
