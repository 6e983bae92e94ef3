/**
 * Way6: by which map a packet between a guest and an IPv6 remote goes, and what its ends are called on the host's side.
 * As nat/way for IPv4.
 *
 * Path: errors6, outbound6, inbound6 → way6 → table, nat6, nat/counters, nat/guest.
 *
 * @module
 */

import { DNS_PORT } from "../../../kernel/wire/dns.ts";
import { IP_UNSPECIFIED, type IpAddr, IPV6_LOOPBACK } from "../../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP, IP_PROTO_TCP, IP_PROTO_UDP } from "../../../kernel/wire/ip_proto.ts";
import { Reason } from "../counters.ts";
import type { Guest } from "../guest.ts";
import { MapProto, type NatMap, Realm, remoteKey } from "../map.ts";
import type { MapEnds } from "../table.ts";
import type { Nat6 } from "./nat6.ts";

/** The answer, one of them a NAT. */
export class Way6 implements MapEnds {
  proto: MapProto = MapProto.Udp;
  guestPort = 0;
  realm: Realm = Realm.World;
  /** The remote as the guest calls it, and its key. */
  remote: IpAddr = IP_UNSPECIFIED;
  remoteWord = 0;
  remotePort = 0;
  map: NatMap | null = null;
  /** The remote as the host calls it; null: the same. */
  real: IpAddr | null = null;
  /** Its port there, of the name server's door; 0: the same. */
  realPort = 0;
  /** The host's address for it. */
  local: IpAddr = IP_UNSPECIFIED;
  /** It answers what came in by a forward. */
  isAnswer = false;
  /** The map of a guest that the remote end is (a hairpin); found by {@link mayReach6}. */
  target: NatMap | null = null;
}

/** What a packet says of its ends. */
export interface Ends6 {
  readonly proto: MapProto;
  readonly guestPort: number;
  readonly remote: IpAddr;
  readonly remotePort: number;
}

/** Fills `six.way` for packets of `guest` with these ends; makes no map. */
export function findWay6(six: Nat6, guest: Guest, ends: Ends6): Way6 {
  const { way, config, keys, nat } = six;
  way.proto = ends.proto;
  way.guestPort = ends.guestPort;
  way.remote = ends.remote;
  way.remoteWord = keys.of(ends.remote);
  way.remotePort = ends.remotePort;
  way.map = way.real = way.target = null;
  way.realPort = 0;
  way.isAnswer = false;
  way.local = config.hostAddr;
  const group = guest.forwards.size === 0 ? undefined : guest.forwards.get(way.proto << 16 | way.guestPort);
  const known = group?.way(remoteKey(way.remoteWord, way.remotePort)) ?? null;
  if (known !== null) {
    way.map = known.map;
    way.real = known.real;
    way.local = known.local;
    way.realm = Realm.World;
    way.isAnswer = true;
    return way;
  }
  way.realm = realmOf(six, way);
  if (way.realm === Realm.Host) way.real = way.local = IPV6_LOOPBACK;
  way.map = nat.table.find(guest, way);
  // A server that sends first uses its forwarded port, or nobody would know it.
  if (way.map === null && group !== undefined && way.realm === Realm.World) {
    way.map = group.maps.find(({ bound }) => bound === null || bound.equals(way.local)) ?? null;
  }
  return way;
}

/** Protocol numbers of rules by {@link MapProto}. */
const PROTOCOLS = [IP_PROTO_UDP, IP_PROTO_TCP, IP_PROTO_ICMP] as const;

/** What the policy says about `six.way`, unless it is an answer; a hairpin gets its target. */
export function mayReach6(six: Nat6): Reason {
  const { way, policy, nat } = six;
  if (way.isAnswer) return Reason.None;
  const { proto, realm, remote, remotePort } = way;
  const protocol = PROTOCOLS[proto];
  if (realm === Realm.Host) return policy.checkLoopback(protocol, remote, remotePort);
  if (realm === Realm.Dns) return policy.checkNamed(protocol, remote, remotePort);
  if (!six.isHosts(remote)) return policy.check(protocol, remote, remotePort);
  // A hairpin (RFC 4787 REQ-9): the guests' own maps are reached whether or not the host is.
  const target = proto === MapProto.Icmp ? null : nat.forwards.findMap(proto, remote, remotePort) ??
    nat.table.findByHost(proto, remotePort);
  way.target = target !== null && target.is6 ? target : null;
  return way.target === null
    ? policy.checkHost(protocol, remote, remotePort)
    : policy.checkNamed(protocol, remote, remotePort);
}

function realmOf({ config }: Nat6, { remote, remotePort }: Way6): Realm {
  if (remote.equals(config.router)) return Realm.Host;
  return config.dns !== null && remotePort === DNS_PORT && remote.equals(config.dns) ? Realm.Dns : Realm.World;
}

/** What the filter of a protocol keys a remote by. */
export function filterKey6({ nat }: Nat6, proto: MapProto, word: number, port: number): number {
  return remoteKey(word, nat.config.filtering[proto] === "address-port" ? port : 0);
}
