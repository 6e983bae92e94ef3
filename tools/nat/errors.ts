/**
 * ICMP errors through the NAT, each way (RFC 5508 4, RFC 4787 REQ-10, RFC 5382 REQ-9).
 *
 * Path: outbound, inbound, nat → errors → nat/guest, icmp_error, nat, nat/counters.
 *
 * An error belongs to the map whose packet it quotes; it neither makes, keeps alive nor ends one (RFC 5508 REQ-6). Its
 * own checksum must be right, as it is computed anew (REQ-3). Those of the quote are only updated, right or not: the
 * transport's by REQ-3c; IP's although REQ-3a would rather drop it, as there are routers that count down the TTL and
 * quote what they have then.
 *
 * Limits: errors of guests about answers of the name server are dropped: nobody waits for them.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import { DNS_PORT } from "../../kernel/wire/dns.ts";
import {
  ICMP_REDIRECT,
  ICMP_SOURCE_QUENCH,
  icmpChecksumOk,
  type IcmpQuote,
  parseIcmpQuote,
  setIcmpChecksum,
} from "../../kernel/wire/icmp.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { ipv4Ttl, setIpv4Dst, setIpv4Src, setIpv4Ttl } from "../../kernel/wire/ipv4.ts";
import { TCP_ACK } from "../../kernel/wire/tcp.ts";
import type { Nat } from "./nat.ts";
import { Reason } from "./counters.ts";
import { type Decision, Verdict } from "./decision.ts";
import type { Guest } from "./guest.ts";
import { quotedPort, setQuotedEnd } from "./icmp_error.ts";
import { toGuest } from "./link.ts";
import { MapProto, type NatMap, Realm, remoteKey } from "./map.ts";
import { Kind, mapProtoOf } from "./packet.ts";
import { filterKey, findWay, mayReach } from "./way.ts";

function drop(nat: Nat, reason: Reason): Decision {
  nat.packet.block.free();
  return nat.decision.set(Verdict.Drop, nat.counters.refuse(reason), null, null);
}

/**
 * The quote of the error that was just read; null: malformed, damaged on its way, or not to be passed on. A redirect is
 * a router's word to its own neighbours (RFC 1812 5.2.7.2), and source quench is no more (RFC 6633 5).
 */
function quoteOf(nat: Nat): IcmpQuote | null {
  const { buf, transport, end } = nat.packet;
  const type = buf[transport]!;
  if (type === ICMP_REDIRECT || type === ICMP_SOURCE_QUENCH) return null;
  return icmpChecksumOk(buf, transport, end) ? parseIcmpQuote(buf, transport, end) : null;
}

/** The error in `nat.packet` of `guest` about a packet that came to it: goes where that packet came from. */
export function errorOutbound(nat: Nat, guest: Guest): Decision {
  const { packet, counters } = nat;
  const { buf, at } = packet;
  const quote = quoteOf(nat);
  const proto = quote === null ? -1 : mapProtoOf(quote.ip.protocol);
  if (quote === null || proto < 0 || quote.ip.dst.w3 !== guest.addr.w3) return drop(nat, Reason.IcmpQuote);
  const guestPort = quotedPort(buf, quote, "destination");
  if (guestPort < 0) return drop(nat, Reason.IcmpQuote);
  const remotePort = proto === MapProto.Icmp ? 0 : quotedPort(buf, quote, "source");
  const remote = quote.ip.src;
  const way = findWay(nat, guest, { proto: proto as MapProto, guestPort, remoteWord: remote.w3, remotePort });
  const { map } = way;
  // To whoever sent the packet, and to nobody else.
  if (map === null || way.realm === Realm.Dns || packet.dst !== remote.w3) return drop(nat, Reason.IcmpQuote);
  const reason = mayTell(nat, map);
  if (reason !== Reason.None) return drop(nat, reason);
  const ttl = ipv4Ttl(buf, at);
  if (ttl <= 1) return drop(nat, Reason.Ttl);
  const real = way.real ?? remote;
  const hostPort = map.hostPort + guestPort - map.guestPort;
  setQuotedEnd(buf, quote, { which: "destination", addr: way.local, port: hostPort });
  if (way.real !== null && proto !== MapProto.Icmp) {
    setQuotedEnd(buf, quote, { which: "source", addr: real, port: remotePort });
  }
  setIpv4Src(buf, at, way.local);
  setIpv4Dst(buf, at, real);
  setIpv4Ttl(buf, at, ttl - 1);
  setIcmpChecksum(buf, packet.transport, packet.end);
  counters.errorsOut++;
  return nat.decision.set(Verdict.Send, Reason.None, map, packet.block);
}

/**
 * Whether the guest may send an error by `nat.way`. A quote is easily forged, and carries what one likes to whom one
 * likes: so only to whom a packet could have come from, which is who is let in, and whom the guest could send to.
 */
function mayTell(nat: Nat, map: NatMap): Reason {
  const { way, config } = nat;
  if (way.isAnswer) return Reason.None;
  if (config.broadcasts.has(way.remoteWord)) return Reason.Destination;
  const key = filterKey(nat, map.proto, way.remoteWord, way.remotePort);
  const isKnown = !map.isStatic && (!nat.filters[map.proto] || map.lets(key, nat.now, nat.table.lifetimeOf(map)));
  return isKnown ? mayReach(nat) : Reason.IcmpQuote;
}

/** Translates an error (a whole IP packet, given away) about a packet that `map` sent. */
export function translateError(nat: Nat, block: Block, map: NatMap, now: number): Decision {
  nat.now = now;
  const { packet } = nat;
  const reason = packet.read(block);
  if (reason !== Reason.None || packet.kind !== Kind.Error) {
    block.free();
    return nat.decision.set(Verdict.Drop, nat.counters.refuse(reason || Reason.Unmapped), null, null);
  }
  return errorInbound(nat, map);
}

/** The error in `nat.packet`, about a packet that `holder`, or a map that it carries, sent: goes to the guest. */
export function errorInbound(nat: Nat, holder: NatMap): Decision {
  const { packet, config, counters } = nat;
  const { buf, at } = packet;
  const quote = quoteOf(nat);
  if (quote === null || mapProtoOf(quote.ip.protocol) !== holder.proto) return drop(nat, Reason.IcmpQuote);
  const port = quotedPort(buf, quote, "source");
  const sender = quote.ip.src;
  if (port < 0 || !holder.holds(port) || !(sender.isLoopback || config.hostWords.has(sender.w3))) {
    return drop(nat, Reason.IcmpQuote);
  }
  const real = quote.ip.dst;
  const quotedRemote = holder.proto === MapProto.Icmp ? 0 : quotedPort(buf, quote, "destination");
  const map = holder.carried === null ? holder : senderOf(nat, holder, { port, real, remotePort: quotedRemote });
  const remotePort = portSeen(map, quotedRemote);
  const seen = calledBy(nat, map, real);
  const lifetime = nat.table.lifetimeOf(map);
  const key = filterKey(nat, map.proto, seen.w3, remotePort);
  if (nat.filters[map.proto] && !map.isStatic && !map.lets(key, nat.now, lifetime)) {
    return drop(nat, Reason.Filtered);
  }
  const guestPort = map.guestPort + port - map.hostPort;
  setQuotedEnd(buf, quote, { which: "source", addr: map.guest.addr, port: guestPort });
  if (!seen.equals(real) && map.proto !== MapProto.Icmp) {
    setQuotedEnd(buf, quote, { which: "destination", addr: seen, port: remotePort });
  }
  // Who found the fault: the remote under the name that the guest knows, the host as the router, others as they are.
  const finder = IpAddr.v4(packet.src);
  if (finder.equals(real)) setIpv4Src(buf, at, seen);
  else if (finder.isLoopback || isGuestsOwn(nat, finder)) setIpv4Src(buf, at, config.router);
  setIpv4Dst(buf, at, map.guest.addr);
  setIpv4Ttl(buf, at, Math.max(1, ipv4Ttl(buf, at) - 1));
  setIcmpChecksum(buf, packet.transport, packet.end);
  counters.errorsIn++;
  toGuest(nat, packet.block, map.guest);
  return nat.decision.set(Verdict.ToGuest, Reason.None, map, null);
}

/** The map that sent what is quoted, of those that the forward `holder` carries; or itself. */
function senderOf(nat: Nat, holder: NatMap, quoted: { port: number; real: IpAddr; remotePort: number }): NatMap {
  for (const map of holder.carried!.get(quoted.port) ?? []) {
    const word = calledBy(nat, map, quoted.real).w3;
    const isOwn = map.proto === MapProto.Tcp
      ? map.isConnected(remoteKey(word, portSeen(map, quoted.remotePort)), TCP_ACK)
      : map.remote(filterKey(nat, map.proto, word, quoted.remotePort)) !== null;
    if (isOwn) return map;
  }
  return holder;
}

/** How the guest calls the remote's `port`: behind the name server's 53 is the door's. */
function portSeen(map: NatMap, port: number): number {
  return map.realm === Realm.Dns ? DNS_PORT : port;
}

/** How the guest calls the remote `real` of one of its packets. */
export function calledBy(nat: Nat, map: NatMap, real: IpAddr): IpAddr {
  const { config } = nat;
  if (map.realm === Realm.Dns) return config.dns ?? real;
  return real.isLoopback || map.realm === Realm.Host || isGuestsOwn(nat, real) ? config.router : real;
}

/** Real style: the guest has the host's address, and calls the host by the router's. */
function isGuestsOwn({ config }: Nat, addr: IpAddr): boolean {
  return config.style === "real" && config.hostWords.has(addr.w3);
}
