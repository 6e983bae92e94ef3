/**
 * Way: by which map a packet between a guest and a remote goes, and what its ends are called on the host's side.
 *
 * Path: errors, outbound, inbound → way → table, nat/counters, nat/guest, map.
 *
 * First the forwards that the remote came by; then by where the remote is (its realm): a forward that could have been
 * meant, a map that is there, or none yet. Whether it may be gone is the policy's to say ({@link mayReach}).
 *
 * @module
 */

import { type IpAddr, IPV4_LOOPBACK } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP, IP_PROTO_TCP, IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import { DNS_PORT } from "../../kernel/wire/dns.ts";
import { Reason } from "./counters.ts";
import type { Guest } from "./guest.ts";
import { MapProto, type NatMap, Realm, remoteKey } from "./map.ts";
import type { Nat } from "./nat.ts";
import type { MapEnds } from "./table.ts";

/** The answer, one of them a NAT. */
export class Way implements MapEnds {
  proto: MapProto = MapProto.Udp;
  guestPort = 0;
  realm: Realm = Realm.World;
  /** The remote as the guest calls it. */
  remoteWord = 0;
  remotePort = 0;
  map: NatMap | null = null;
  /** The remote as the host calls it; null: the same. */
  real: IpAddr | null = null;
  /** Its port there, of the name server's door; 0: the same. */
  realPort = 0;
  /** The host's address for it. */
  local: IpAddr = IPV4_LOOPBACK;
  /** It answers what came in by a forward. */
  isAnswer = false;
  /** The map of a guest that the remote end is (a hairpin); found by {@link mayReach}. */
  target: NatMap | null = null;
}

/** Fills `nat.way` for packets of `guest` with these ends; makes no map. */
export function findWay(nat: Nat, guest: Guest, ends: Omit<MapEnds, "realm">): Way {
  const { way, config } = nat;
  way.proto = ends.proto;
  way.guestPort = ends.guestPort;
  way.remoteWord = ends.remoteWord;
  way.remotePort = ends.remotePort;
  way.map = way.real = way.target = null;
  way.realPort = 0;
  way.isAnswer = false;
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
  way.realm = realmOf(nat, way);
  way.local = config.hostAddr;
  if (way.realm === Realm.Host) {
    way.real = IPV4_LOOPBACK;
    way.local = config.loopbackFrom;
  }
  way.map = nat.table.find(guest, way);
  // A server that sends first uses its forwarded port, or nobody would know it.
  if (way.map === null && group !== undefined && way.realm === Realm.World) {
    way.map = group.maps.find(({ bound }) => bound === null || bound.equals(way.local)) ?? null;
  }
  return way;
}

/** IP protocol numbers by {@link MapProto}. */
const PROTOCOLS = [IP_PROTO_UDP, IP_PROTO_TCP, IP_PROTO_ICMP] as const;

/** What the policy says about `nat.way`, unless it is an answer; a hairpin gets its target. */
export function mayReach(nat: Nat): Reason {
  const { way, policy, config } = nat;
  if (way.isAnswer) return Reason.None;
  const { proto, realm, remoteWord, remotePort } = way;
  const protocol = PROTOCOLS[proto];
  if (realm === Realm.Host) return policy.checkLoopback(protocol, remoteWord, remotePort);
  if (realm === Realm.Dns) return policy.checkNamed(protocol, remoteWord, remotePort);
  if (!config.hostWords.has(remoteWord)) return policy.check(protocol, remoteWord, remotePort);
  // A hairpin (RFC 4787 REQ-9): the guests' own maps are reached whether or not the host is.
  way.target = proto === MapProto.Icmp ? null : targetOf(nat);
  return way.target === null
    ? policy.checkHost(protocol, remoteWord, remotePort)
    : policy.checkNamed(protocol, remoteWord, remotePort);
}

/** The forward or the map that has the remote end, an address and port of the host's. */
function targetOf({ way, forwards, table }: Nat): NatMap | null {
  const { proto, remoteWord, remotePort } = way;
  const map = forwards.find(proto, remoteWord, remotePort) ?? table.findByHost(proto, remotePort);
  return map === null || map.is6 ? null : map;
}

function realmOf(nat: Nat, way: Way): Realm {
  const { router, dns } = nat.config;
  if (way.remoteWord === router.w3) return Realm.Host;
  return dns !== null && way.remoteWord === dns.w3 && way.remotePort === DNS_PORT ? Realm.Dns : Realm.World;
}

/** What the filter of a protocol keys a remote by. */
export function filterKey(nat: Nat, proto: MapProto, word: number, port: number): number {
  return remoteKey(word, nat.config.filtering[proto] === "address-port" ? port : 0);
}
