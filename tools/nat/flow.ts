/**
 * Flow: by which map a packet between a guest and a remote goes, and what its ends are called on the host's side.
 *
 * Path: errors, outbound, inbound → flow → addr_hash, family_config, nat/forward, policy, table.
 *
 * First the forwards that the remote came by; then by where the remote is (its realm): a forward that could have been
 * meant, a map that is there, or none yet. Whether it may be gone is the policy's to say ({@link mayReach}).
 *
 * @module
 */

import { DNS_PORT } from "../../kernel/wire/dns.ts";
import { IP_UNSPECIFIED, type IpAddr } from "../../kernel/wire/ip_addr.ts";
import { IP_PROTO_ICMP, IP_PROTO_TCP, IP_PROTO_UDP } from "../../kernel/wire/ip_proto.ts";
import type { AddrHash } from "./addr_hash.ts";
import { Reason } from "./counters.ts";
import { type FamilyConfig, isHosts } from "./family_config.ts";
import type { ForwardTable } from "./forward.ts";
import { type Guest, MapProto, type NatMap, Realm } from "./map.ts";
import type { NatPolicy } from "./policy.ts";
import type { Remote } from "./remotes.ts";
import type { NatTable, PacketEnds } from "./table.ts";

/** The result, one of them a NAT and version. */
export class Flow implements PacketEnds {
  proto: MapProto = MapProto.Udp;
  guestPort = 0;
  realm: Realm = Realm.World;
  /** The remote as the guest calls it, lent by the packet or the configuration. */
  remote: IpAddr = IP_UNSPECIFIED;
  remotePort = 0;
  map: NatMap | null = null;
  /** The remote as the host calls it; null: the same. */
  real: IpAddr | null = null;
  /** Its port there, of the name server's program; 0: the same. */
  realPort = 0;
  /** The host's address for it. */
  local: IpAddr = IP_UNSPECIFIED;
  /** It answers a packet that came in by a forward. */
  isAnswer = false;
  /** Of a packet that came in: the remote as the map's filter knows it; null: it does not filter. */
  known: Remote<NatMap> | null = null;
  /** The map of a guest that the remote end is (a hairpin); found by {@link mayReach}. */
  target: NatMap | null = null;

  #hash = 0;
  #isHashed = false;

  constructor(readonly hashes: AddrHash) {}

  /** The number of the remote's address: worked out at most once a packet. */
  get remoteHash(): number {
    if (!this.#isHashed) {
      this.#hash = this.hashes.of(this.remote);
      this.#isHashed = true;
    }
    return this.#hash;
  }

  /** Overwrites it with the ends that a packet shows; {@link resolveFlow} finds the rest. */
  set(proto: MapProto, guestPort: number, remote: IpAddr, remotePort: number): void {
    this.proto = proto;
    this.guestPort = guestPort;
    this.remote = remote;
    this.remotePort = remotePort;
    this.#isHashed = false;
  }
}

/** What finding a flow needs. */
interface FlowContext {
  readonly nat: { readonly table: NatTable; readonly forwards: ForwardTable };
  readonly config: FamilyConfig;
  readonly policy: NatPolicy;
  readonly flow: Flow;
}

/** Fills `flow`, which has the ends of a packet of `guest`; makes no map. */
export function resolveFlow({ nat, config, flow }: FlowContext, guest: Guest): Flow {
  flow.map = flow.real = flow.target = null;
  flow.realPort = 0;
  flow.isAnswer = false;
  const group = guest.forwards.size === 0 ? undefined : guest.forwards.get(flow.proto << 16 | flow.guestPort);
  const known = group === undefined ? null : group.pathTo(flow);
  if (known !== null) {
    flow.map = known.map;
    flow.real = known.real;
    flow.local = known.local;
    flow.realm = Realm.World;
    flow.isAnswer = true;
    return flow;
  }
  flow.realm = realmOf(config, flow);
  flow.local = config.hostAddr;
  if (flow.realm === Realm.Host) {
    flow.real = config.loopback;
    flow.local = config.loopbackFrom;
  }
  flow.map = nat.table.find(guest, flow);
  // A server that sends first uses its forwarded port, or its clients would not know it.
  if (flow.map === null && group !== undefined && flow.realm === Realm.World) flow.map = group.mapAt(flow.local);
  return flow;
}

/** Protocol numbers of rules by {@link MapProto}. */
const PROTOCOLS = [IP_PROTO_UDP, IP_PROTO_TCP, IP_PROTO_ICMP] as const;

/** What the policy says about `flow`, unless it is an answer; a hairpin gets its target. */
export function mayReach({ nat, config, policy, flow }: FlowContext): Reason {
  if (flow.isAnswer) return Reason.None;
  const { proto, realm, remote, remotePort } = flow;
  const protocol = PROTOCOLS[proto];
  if (realm === Realm.Host) return policy.checkLoopback(protocol, remote, remotePort);
  if (realm === Realm.Dns) return policy.checkNamed(protocol, remote, remotePort);
  if (!isHosts(config, remote)) return policy.check(protocol, remote, remotePort);
  // A hairpin (RFC 4787 REQ-9): the guests' own maps are reached whether or not the host is.
  flow.target = proto === MapProto.Icmp ? null : targetOf(nat, flow);
  return flow.target === null
    ? policy.checkHost(protocol, remote, remotePort)
    : policy.checkNamed(protocol, remote, remotePort);
}

/** The forward or the map that has the remote end, an address and port of the host's. */
function targetOf({ forwards, table }: FlowContext["nat"], { proto, remote, remotePort }: Flow): NatMap | null {
  const map = forwards.find(proto, remote, remotePort) ?? table.findByHost(proto, remotePort);
  return map !== null && map.is6 !== remote.isV4 ? map : null;
}

function realmOf({ router, dns }: FamilyConfig, { remote, remotePort }: Flow): Realm {
  if (remote.equals(router)) return Realm.Host;
  return dns !== null && remotePort === DNS_PORT && remote.equals(dns) ? Realm.Dns : Realm.World;
}

/** The port by which a filter knows the remote of `flow`; 0: by none. */
export function filterPort({ filtersPorts }: { readonly filtersPorts: readonly boolean[] }, flow: Flow): number {
  return filtersPorts[flow.proto]! ? flow.remotePort : 0;
}
