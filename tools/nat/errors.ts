/**
 * ICMP errors through the NAT, each way (RFC 5508 4, RFC 4787 REQ-10, RFC 5382 REQ-9, RFC 4443).
 *
 * Path: outbound, inbound, nat → errors → context, flow, icmp_error, link.
 *
 * An error belongs to the map whose packet it quotes; it neither makes, keeps alive nor ends one (RFC 5508 REQ-6). Its
 * own checksum must be right, as it is computed again (REQ-3). Those of the quote are only updated, right or not: the
 * transport's by REQ-3c; IP's although REQ-3a would rather drop it, as there are routers that count down the TTL and
 * quote what they have then.
 *
 * Limits: errors of guests about answers of the name server are dropped: no client waits for them.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { DNS_PORT } from "../../kernel/wire/dns.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { TCP_ACK } from "../../kernel/wire/tcp.ts";
import type { FamilyContext, NatContext } from "./context.ts";
import { Reason } from "./counters.ts";
import { Decision } from "./decision.ts";
import { isDoorPeer, isHosts, isNowhere, isOnLink } from "./family_config.ts";
import { filterPort, mayReach, resolveFlow } from "./flow.ts";
import { quotedPort, setQuotedEnd } from "./icmp_error.ts";
import { drop, toGuest } from "./link.ts";
import { type Guest, MapProto, type NatMap, Realm } from "./map.ts";
import { Kind, type QuotedPacket } from "./packet.ts";

/** The error at hand of `guest` about a packet that came to it: goes where that packet came from. */
export function errorOutbound(ctx: FamilyContext, guest: Guest): Decision {
  const { nat, packet, family, flow } = ctx;
  const { buf, at } = packet;
  const quote = family.readQuote(packet);
  const proto = quote === null ? -1 : packet.protoOf(quote.protocol);
  if (quote === null || proto < 0 || !quote.dst.equals(guest.addr)) return drop(nat, packet.block, Reason.IcmpQuote);
  const guestPort = quotedPort(packet, quote, "destination");
  if (guestPort < 0) return drop(nat, packet.block, Reason.IcmpQuote);
  const remote = quote.src;
  const remotePort = proto === MapProto.Icmp ? 0 : quotedPort(packet, quote, "source");
  flow.set(proto as MapProto, guestPort, remote, remotePort);
  const { map } = resolveFlow(ctx, guest);
  // To the sender of the packet, and to no one else.
  if (map === null || flow.realm === Realm.Dns || !packet.dst.equals(remote)) {
    return drop(nat, packet.block, Reason.IcmpQuote);
  }
  const reason = mayReport(ctx, map);
  if (reason !== Reason.None) return drop(nat, packet.block, reason);
  const hops = family.hops(buf, at);
  if (hops <= 1) return drop(nat, packet.block, Reason.Ttl);
  const real = flow.real ?? remote;
  const hostPort = map.hostPort + guestPort - map.guestPort;
  setQuotedEnd(packet, quote, { which: "destination", addr: flow.local, port: hostPort });
  if (flow.real !== null) {
    const port = proto === MapProto.Icmp ? hostPort : remotePort;
    setQuotedEnd(packet, quote, { which: "source", addr: real, port });
  }
  family.setHops(buf, at, hops - 1);
  packet.readdress(flow.local, real);
  nat.counters.errorsOut++;
  return nat.decision.set(Decision.Send, Reason.None, map, packet.block);
}

/**
 * Whether the guest may send an error by the flow. A quote is easily forged, and carries any bytes to any address: so
 * only to a remote that a packet could have come from, one that is let in, and that the guest could send to.
 */
function mayReport(ctx: FamilyContext, map: NatMap): Reason {
  const { flow, config } = ctx;
  if (flow.isAnswer) return Reason.None;
  if (isNowhere(config, flow.remote)) return Reason.Destination;
  const isKnown = !map.isStatic && isOpen(ctx, map);
  return isKnown ? mayReach(ctx) : Reason.IcmpQuote;
}

/** Whether the filter of `map` lets the flow's remote in. */
function isOpen({ nat, flow }: FamilyContext, map: NatMap): boolean {
  if (!nat.filters[map.proto]) return true;
  return map.lets(flow, filterPort(nat, flow), nat.now - nat.table.lifetimeOf(map));
}

/** Translates an error (a whole IP packet, consumed) about a packet that `map` sent. */
export function translateError(nat: NatContext, block: Block, map: NatMap, now: number): Decision {
  nat.now = now;
  const ctx = map.is6 ? nat.v6! : nat.v4;
  const reason = ctx.packet.read(block);
  if (reason === Reason.None && ctx.packet.kind === Kind.Error) return errorInbound(ctx, map);
  return drop(nat, block, reason || Reason.Unmapped);
}

/** The error at hand, about a packet that `holder`, or a map that it carries, sent: goes to the guest. */
export function errorInbound(ctx: FamilyContext, holder: NatMap): Decision {
  const { nat, packet, config, family, flow } = ctx;
  const { buf, at } = packet;
  const quote = family.readQuote(packet);
  if (quote === null || packet.protoOf(quote.protocol) !== holder.proto) {
    return drop(nat, packet.block, Reason.IcmpQuote);
  }
  const port = quotedPort(packet, quote, "source");
  const isOurs = quote.src.isLoopback || isHosts(config, quote.src);
  if (port < 0 || !holder.holds(port) || !isOurs) return drop(nat, packet.block, Reason.IcmpQuote);
  const map = holder.carried === null ? holder : senderOf(ctx, holder, quote);
  resolveQuoted(ctx, map, quote);
  if (!map.isStatic && !isOpen(ctx, map)) return drop(nat, packet.block, Reason.Filtered);
  const { remote, guestPort } = flow;
  const real = quote.dst;
  setQuotedEnd(packet, quote, { which: "source", addr: map.guest.addr, port: guestPort });
  if (!remote.equals(real)) {
    const remotePort = map.proto === MapProto.Icmp ? guestPort : flow.remotePort;
    setQuotedEnd(packet, quote, { which: "destination", addr: remote, port: remotePort });
  }
  family.setHops(buf, at, Math.max(1, family.hops(buf, at) - 1));
  packet.readdress(packet.src.equals(real) ? remote : finderSeen(ctx), map.guest.addr);
  nat.counters.errorsIn++;
  toGuest(ctx, packet.block, map.guest);
  return nat.decision.set(Decision.ToGuest, Reason.None, map, null);
}

/** By which address the guest knows the finder of the fault: host and machine are the router, others as they are. */
function finderSeen({ packet, config, family }: FamilyContext): IpAddr {
  const { src } = packet;
  const isNear = src.isLoopback || src.equals(config.loopback) || isDoorPeer(config, src) || family.isMartian(src) ||
    isOnLink(config, src) ||
    isGuestsOwn(config, src);
  return isNear ? config.router : src;
}

/** Fills the flow with the ends of the packet that an error quotes, which `map` sent, as the guest knows them. */
function resolveQuoted(ctx: FamilyContext, map: NatMap, quote: QuotedPacket): void {
  const { packet, flow } = ctx;
  const port = quotedPort(packet, quote, "source");
  const quotedRemote = map.proto === MapProto.Icmp ? 0 : quotedPort(packet, quote, "destination");
  // Behind the name server's port 53 is the port of the relay's program.
  const remotePort = map.realm === Realm.Dns ? DNS_PORT : quotedRemote;
  flow.set(map.proto, map.guestPort + port - map.hostPort, addrSeen(ctx, map, quote.dst), remotePort);
}

/** The map that sent the quoted packet, of those that the forward `holder` carries; or itself. */
function senderOf(ctx: FamilyContext, holder: NatMap, quote: QuotedPacket): NatMap {
  const { nat, packet, flow } = ctx;
  for (const map of holder.carried!.get(quotedPort(packet, quote, "source")) ?? []) {
    resolveQuoted(ctx, map, quote);
    const isOwn = map.proto === MapProto.Tcp
      ? map.isConnected(flow, TCP_ACK)
      : map.remoteOf(flow, filterPort(nat, flow)) !== null;
    if (isOwn) return map;
  }
  return holder;
}

/** By which address the guest knows the remote `real` of one of its packets. */
export function addrSeen({ config }: FamilyContext, map: NatMap, real: IpAddr): IpAddr {
  if (map.realm === Realm.Dns) return config.dns ?? real;
  const isMachine = real.isLoopback || real.equals(config.loopback) || map.realm === Realm.Host ||
    (map.isStatic && isDoorPeer(config, real)) || isGuestsOwn(config, real);
  return isMachine ? config.router : real;
}

/** Real style: the guest has the host's address, and calls the host by the router's. */
function isGuestsOwn(config: FamilyContext["config"], addr: IpAddr): boolean {
  return config.onlyGuest !== null && isHosts(config, addr);
}
