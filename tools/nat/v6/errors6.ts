/**
 * ICMPv6 errors through the NAT, each way (RFC 4443; RFC 5508 4 for what a NAT does). As nat/errors for IPv4.
 *
 * Path: inbound6, outbound6, undo6 → errors6 → icmp6_error, nat/guest, link6, nat6.
 *
 * An error belongs to the map whose packet it quotes; it neither makes, keeps alive nor ends one. Its own checksum must
 * be right, as it is computed anew; that of the quote is only updated.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import { DNS_PORT } from "../../../kernel/wire/dns.ts";
import { icmp6ChecksumOk, type Icmp6Quote, parseIcmp6Quote, setIcmp6Checksum } from "../../../kernel/wire/icmp6.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import { ipv6HopLimit, setIpv6Dst, setIpv6HopLimit, setIpv6Src } from "../../../kernel/wire/ipv6.ts";
import { TCP_ACK } from "../../../kernel/wire/tcp.ts";
import { Reason } from "../counters.ts";
import { type Decision, Verdict } from "../decision.ts";
import type { Guest } from "../guest.ts";
import { MapProto, type NatMap, Realm, remoteKey } from "../map.ts";
import { quotedPort6, setQuotedEnd6 } from "./icmp6_error.ts";
import { toGuest6 } from "./link6.ts";
import type { Nat6 } from "./nat6.ts";
import { Kind6, mapProtoOf6 } from "./packet6.ts";
import { filterKey6, findWay6, mayReach6 } from "./way6.ts";

/** The quote of the error that was just read; null: malformed, or damaged on its way. */
function quoteOf({ packet }: Nat6): Icmp6Quote | null {
  const { buf, transport, end, src, dst } = packet;
  return icmp6ChecksumOk(buf, transport, end, src, dst) ? parseIcmp6Quote(buf, transport, end) : null;
}

/** The error in `six.packet` of `guest` about a packet that came to it: goes where that packet came from. */
export function errorOutbound6(six: Nat6, guest: Guest): Decision {
  const { packet, nat } = six;
  const { buf, at } = packet;
  const quote = quoteOf(six);
  const proto = quote === null ? -1 : mapProtoOf6(quote.protocol);
  if (quote === null || proto < 0 || !quote.ip.dst.equals(guest.addr)) return drop(six, Reason.IcmpQuote);
  const guestPort = quotedPort6(buf, quote, "destination");
  if (guestPort < 0) return drop(six, Reason.IcmpQuote);
  const remotePort = proto === MapProto.Icmp ? 0 : quotedPort6(buf, quote, "source");
  const remote = quote.ip.src;
  const way = findWay6(six, guest, { proto: proto as MapProto, guestPort, remote, remotePort });
  const { map } = way;
  // To whoever sent the packet, and to nobody else.
  if (map === null || way.realm === Realm.Dns || !packet.dst.equals(remote)) return drop(six, Reason.IcmpQuote);
  const reason = mayTell(six, map);
  if (reason !== Reason.None) return drop(six, reason);
  const hopLimit = ipv6HopLimit(buf, at);
  if (hopLimit <= 1) return drop(six, Reason.Ttl);
  const real = way.real ?? remote;
  const hostPort = map.hostPort + guestPort - map.guestPort;
  setQuotedEnd6(buf, quote, { which: "destination", addr: way.local, port: hostPort });
  if (way.real !== null) {
    setQuotedEnd6(buf, quote, { which: "source", addr: real, port: portOf(proto, remotePort, hostPort) });
  }
  setIpv6HopLimit(buf, at, hopLimit - 1);
  readdress(six, way.local, real);
  nat.counters.errorsOut++;
  return nat.decision.set(Verdict.Send, Reason.None, map, packet.block);
}

/** Both "ports" of an echo are its identifier. */
function portOf(proto: number, port: number, id: number): number {
  return proto === MapProto.Icmp ? id : port;
}

/**
 * Whether the guest may send an error by `six.way`. A quote is easily forged, and carries what one likes to whom one
 * likes: so only to whom a packet could have come from, which is who is let in, and whom the guest could send to.
 */
function mayTell(six: Nat6, map: NatMap): Reason {
  const { way, nat } = six;
  if (way.isAnswer) return Reason.None;
  const key = filterKey6(six, map.proto, way.remoteWord, way.remotePort);
  const isKnown = !map.isStatic && (!nat.filters[map.proto] || map.lets(key, nat.now, nat.table.lifetimeOf(map)));
  return isKnown ? mayReach6(six) : Reason.IcmpQuote;
}

/** Translates an error (a whole packet, given away) about a packet that `map` sent. */
export function translateError6(six: Nat6, block: Block, map: NatMap, now: number): Decision {
  const { packet, nat } = six;
  nat.now = now;
  const reason = packet.read(block);
  if (reason === Reason.None && packet.kind === Kind6.Error) return errorInbound6(six, map);
  block.free();
  return nat.decision.set(Verdict.Drop, nat.counters.refuse(reason || Reason.Unmapped), null, null);
}

/** The error in `six.packet`, about a packet that `holder`, or a map that it carries, sent: goes to the guest. */
export function errorInbound6(six: Nat6, holder: NatMap): Decision {
  const { packet, nat, config, keys } = six;
  const { buf, at } = packet;
  const quote = quoteOf(six);
  if (quote === null || mapProtoOf6(quote.protocol) !== holder.proto) return drop(six, Reason.IcmpQuote);
  const port = quotedPort6(buf, quote, "source");
  const sender = quote.ip.src;
  const isOurs = sender.isLoopback || six.isHosts(sender);
  if (port < 0 || !holder.holds(port) || !isOurs) return drop(six, Reason.IcmpQuote);
  const real = quote.ip.dst;
  const quoted = holder.proto === MapProto.Icmp ? 0 : quotedPort6(buf, quote, "destination");
  const map = holder.carried === null ? holder : senderOf(six, holder, { port, real, remotePort: quoted });
  // The port of the name server's door is 53 to the guest.
  const remotePort = map.realm === Realm.Dns ? DNS_PORT : quoted;
  const seen = calledBy6(six, map, real);
  const key = filterKey6(six, map.proto, keys.of(seen), remotePort);
  const isOpen = map.isStatic || !nat.filters[map.proto] || map.lets(key, nat.now, nat.table.lifetimeOf(map));
  if (!isOpen) return drop(six, Reason.Filtered);
  const guestPort = map.guestPort + port - map.hostPort;
  setQuotedEnd6(buf, quote, { which: "source", addr: map.guest.addr, port: guestPort });
  if (!seen.equals(real)) {
    setQuotedEnd6(buf, quote, { which: "destination", addr: seen, port: portOf(map.proto, remotePort, guestPort) });
  }
  // Who found the fault: the remote under the name that the guest knows, the host as the router, others as they are.
  const finder = packet.src;
  const isNear = finder.isLoopback || finder.isLinkLocal || six.isOnLink(finder);
  setIpv6HopLimit(buf, at, Math.max(1, ipv6HopLimit(buf, at) - 1));
  readdress(six, finder.equals(real) ? seen : isNear ? config.router : finder, map.guest.addr);
  nat.counters.errorsIn++;
  toGuest6(six, packet.block, map.guest);
  return nat.decision.set(Verdict.ToGuest, Reason.None, map, null);
}

/** The map that sent what is quoted, of those that the forward `holder` carries; or itself. */
function senderOf(six: Nat6, holder: NatMap, quoted: { port: number; real: IpAddr; remotePort: number }): NatMap {
  for (const map of holder.carried!.get(quoted.port) ?? []) {
    const word = six.keys.of(calledBy6(six, map, quoted.real));
    const isOwn = map.proto === MapProto.Tcp
      ? map.isConnected(remoteKey(word, map.realm === Realm.Dns ? DNS_PORT : quoted.remotePort), TCP_ACK)
      : map.remote(filterKey6(six, map.proto, word, quoted.remotePort)) !== null;
    if (isOwn) return map;
  }
  return holder;
}

/** How the guest calls the remote `real` of one of its packets. */
export function calledBy6({ config }: Nat6, map: NatMap, real: IpAddr): IpAddr {
  if (map.realm === Realm.Dns) return config.dns ?? real;
  return map.realm === Realm.Host || real.isLoopback ? config.router : real;
}

/** The error gets other ends, and the checksum that follows from them. */
function readdress({ packet }: Nat6, src: IpAddr, dst: IpAddr): void {
  const { buf, at, transport, end } = packet;
  setIpv6Src(buf, at, src);
  setIpv6Dst(buf, at, dst);
  setIcmp6Checksum(buf, transport, end, src, dst);
}

function drop({ packet, nat }: Nat6, reason: Reason): Decision {
  packet.block.free();
  return nat.decision.set(Verdict.Drop, nat.counters.refuse(reason), null, null);
}
