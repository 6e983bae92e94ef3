/**
 * NatTable: the guests and their maps: looking one up, keeping it alive, making room, and letting it expire.
 *
 * Path: make_map, nat, flow → table → addr_hash, guest_table, map, victims.
 *
 * Every class of maps has one lifetime, so its list in order of last use is also in order of expiry: refreshing a map
 * moves it to the end, expiry looks at the heads only, and neither ever walks over all maps. Maps are hashed once and
 * compared word by word (see addr_hash): an address of either version is its four words.
 *
 * At a cap, what costs least is given up first (see victims). If nothing may be given up, the new map is refused.
 *
 * Shares: a guest has at most its own cap, so that there is always room for others; when all is taken, the guest that
 * has most gives up one, of maps and of remotes alike. A station (a hardware address) has at most
 * {@link STATION_GUESTS_MAX} addresses of each version.
 *
 * Limits: {@link GUESTS_MAX} guests, {@link FILTER_REMOTES_MAX} remotes, and the caps of the configuration.
 *
 * @module
 */

import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { AddrHash, copyAddr, type RemoteAddr } from "./addr_hash.ts";
import type { NatConfig } from "./config.ts";
import { Reason } from "./counters.ts";
import { GuestTable } from "./guest_table.ts";
import { type Guest, type MapClass, type MapEnds, type MapProto, type NatMap, Realm } from "./map.ts";
import type { Remote } from "./remotes.ts";
import { cheapestOf } from "./victims.ts";

/** What a packet's ends say about the map it needs; its remote end is as the guest sees it. */
export interface PacketEnds extends MapEnds {
  readonly remote: IpAddr;
}

export { GUESTS_MAX } from "./guest_table.ts";

/** Most remotes that all filters together let in: 190 bytes each, 4.6 MB. */
export const FILTER_REMOTES_MAX = 24_576;
/** All maps of a NAT but its forwards. */
export class NatTable {
  /** No map is over before this time; {@link nextExpiry} makes it exact. */
  deadline = Infinity;
  /** Called when a guest that was known gets its hardware address, or another one. */
  onResolved: (guest: Guest) => void = () => {};
  readonly #guests: GuestTable;
  readonly #maps = new Map<number, NatMap>();
  /** Maps by protocol and host port, those of the host's loopback apart: for hairpins and forwards. */
  readonly #byHost = new Map<number, NatMap>();
  readonly #counts: number[] = [0, 0, 0];
  readonly #lifetimes: readonly number[];
  readonly #guestCaps: readonly number[];
  readonly #totalCaps: readonly number[];
  /** Whether maps are keyed by their remote's address, and by its port, by MapProto. */
  readonly #byAddress: readonly boolean[];
  readonly #byPort: readonly boolean[];
  /** The map that was found last: the next packet is mostly its as well. */
  #last: NatMap | null = null;
  #remotes = 0;
  readonly #remoteGone = (remote: Remote<NatMap>) => {
    remote.map.guest.remotes.remove(remote);
    this.#remotes--;
  };

  /** `hash` numbers the addresses of this NAT. */
  constructor(config: NatConfig, readonly hash: AddrHash = new AddrHash(null)) {
    this.#guests = new GuestTable(hash, (guest) => this.onResolved(guest));
    const { lifetimes, guestCaps, totalCaps, mapping } = config;
    this.#lifetimes = [
      lifetimes.udp,
      lifetimes.dns,
      lifetimes.icmp,
      lifetimes.tcpOpening,
      lifetimes.tcpClosing,
      lifetimes.tcpEstablished,
      lifetimes.udpUnanswered,
      lifetimes.tcpHalfClosed,
    ];
    this.#guestCaps = [guestCaps.udp, guestCaps.tcp, guestCaps.icmp];
    this.#totalCaps = [totalCaps.udp, totalCaps.tcp, totalCaps.icmp];
    this.#byAddress = mapping.map((one) => one !== "endpoint");
    this.#byPort = mapping.map((one) => one === "address-port");
  }

  /** Maps in it, by protocol or all. */
  count(proto?: MapProto): number {
    return proto === undefined ? this.#counts.reduce((sum, count) => sum + count, 0) : this.#counts[proto]!;
  }

  get guests(): IterableIterator<Guest> {
    return this.#guests.all;
  }

  lifetimeOf(map: NatMap): number {
    return this.#lifetimes[map.class]!;
  }

  /** The guest at `addr`, or null. */
  guest(addr: IpAddr): Guest | null {
    return this.#guests.get(addr);
  }

  /** As {@link GuestTable.add}. */
  addGuest(addr: IpAddr, mac: MacAddr | null): Guest | null {
    return this.#guests.add(addr, mac);
  }

  /** Forgets a guest that is idle. */
  removeGuest(guest: Guest): void {
    this.#guests.remove(guest);
  }

  /** Whose a new map for a packet between these ends is. */
  mapEnds({ proto, guestPort, realm, remote, remoteHash, remotePort }: PacketEnds): MapEnds {
    const byAddress = this.#byAddress[proto]!;
    return {
      proto,
      guestPort,
      realm,
      remote: byAddress ? copyAddr(remote) : null,
      remoteHash: byAddress ? remoteHash : 0,
      remotePort: this.#byPort[proto]! ? remotePort : 0,
    };
  }

  /** The map of `guest` for a packet between these ends, or null. */
  find(guest: Guest, ends: PacketEnds): NatMap | null {
    const hash = this.#byAddress[ends.proto]! ? ends.remoteHash : 0;
    const port = this.#byPort[ends.proto]! ? ends.remotePort : 0;
    const last = this.#last;
    if (last !== null && isOf(last, guest, ends, port)) return last;
    let map = this.#maps.get(hashOf(guest, ends, hash, port)) ?? null;
    while (map !== null && !isOf(map, guest, ends, port)) map = map.nextSame;
    return this.#last = map;
  }

  /** The map of the world that has the host's `port`, or null. */
  findByHost(proto: MapProto, port: number): NatMap | null {
    const map = this.#byHost.get(proto << 16 | port) ?? null;
    return map !== null && map.realm === Realm.World ? map : null;
  }

  /** The maps, of whatever realm, that have the host's `port`: at most one bound nowhere and one at each loopback. */
  holdersOf(proto: MapProto, port: number): NatMap[] {
    const keys = [0, LOOPBACK_KEY, LOOPBACK_KEY | IP6_KEY].map((where) => where | proto << 16 | port);
    return keys.map((key) => this.#byHost.get(key)).filter((map) => map !== undefined);
  }

  /** Adds a map that has its host port. */
  add(map: NatMap, now: number): void {
    const key = keyOf(map);
    map.nextSame = this.#maps.get(key) ?? null;
    this.#maps.set(key, map);
    this.#byHost.set(hostKey(map), map);
    map.live = true;
    map.lastUse = now;
    this.#setDeadline(map.class, now);
    map.guest.lists[map.class]!.add(map);
    map.guest.counts[map.proto]!++;
    this.#counts[map.proto]!++;
  }

  /** Takes a map out. */
  remove(map: NatMap): void {
    if (!map.live) return;
    map.live = false;
    this.#last = null;
    this.#unhash(map);
    this.#byHost.delete(hostKey(map));
    map.clearRemotes(this.#remoteGone);
    map.guest.lists[map.class]!.remove(map);
    map.guest.counts[map.proto]!--;
    this.#counts[map.proto]!--;
  }

  /** A map was used: it lives for another lifetime of what it is now. */
  touch(map: NatMap, cls: MapClass, now: number): void {
    if (!map.live) return;
    map.lastUse = now;
    const { lists } = map.guest;
    const to = lists[cls]!;
    if (to.tail === map) return;
    lists[map.class]!.remove(map);
    if (map.class !== cls) this.#setDeadline(cls, now);
    map.class = cls;
    to.add(map);
  }

  #setDeadline(cls: MapClass, now: number): void {
    const deadline = now + this.#lifetimes[cls]!;
    if (deadline < this.deadline) this.deadline = deadline;
  }

  /** The filter of `map` lets the remote `at` in from now on. Returns whether another was forgotten for it. */
  letIn(map: NatMap, at: RemoteAddr, port: number, now: number): boolean {
    const known = map.remoteOf(at, port);
    if (known !== null) {
      known.use(now);
      return false;
    }
    const isFull = this.#remotes >= FILTER_REMOTES_MAX;
    if (isFull) this.#forgetRemote();
    this.#remotes++;
    map.guest.remotes.add(map.addRemote(at, port, now));
    return isFull;
  }

  /** Remotes that all filters let in. */
  get remotes(): number {
    return this.#remotes;
  }

  /** Forgets a remote of the guest that has most. */
  #forgetRemote(): void {
    let most: Guest | null = null;
    for (const guest of this.#guests.all) {
      if (most === null || guest.remotes.count > most.remotes.count) most = guest;
    }
    const remote = most!.remotes.oldest()!;
    remote.map.removeRemote(remote);
    this.#remoteGone(remote);
  }

  /** The map to be given up so that `guest` can have another of `proto`; null: room as it is; a reason: refused. */
  victim(guest: Guest, proto: MapProto, now: number): NatMap | null | Reason {
    if (guest.counts[proto]! >= this.#guestCaps[proto]!) return this.#oldest(guest, proto, now) ?? Reason.GuestCap;
    if (this.#counts[proto]! < this.#totalCaps[proto]!) return null;
    return this.cheapest(guest, proto, now) ?? Reason.TotalCap;
  }

  /** The map of `proto` that costs least: of the guest that has most, so that it does not take the others'; or null. */
  cheapest(guest: Guest, proto: MapProto, now: number): NatMap | null {
    let greediest = guest;
    for (const other of this.#guests.all) {
      if (other.counts[proto]! > greediest.counts[proto]!) greediest = other;
    }
    return this.#oldest(greediest, proto, now) ?? this.#oldest(guest, proto, now);
  }

  #oldest(guest: Guest, proto: MapProto, now: number): NatMap | null {
    return cheapestOf(guest, { proto, crowd: this.#guestCaps[proto]! >> 3 }, now);
  }

  /** Takes out one map whose time is over; null if there is none. */
  expired(now: number): NatMap | null {
    for (const guest of this.#guests.all) {
      for (let cls = 0; cls < guest.lists.length; cls++) {
        const map = guest.lists[cls]!.head;
        if (map === null || map.lastUse + this.#lifetimes[cls]! > now) continue;
        this.remove(map);
        return map;
      }
    }
    return null;
  }

  /** When the first map's time is over, if none is used until then; Infinity without maps. */
  nextExpiry(): number {
    let next = Infinity;
    for (const guest of this.#guests.all) {
      for (let cls = 0; cls < guest.lists.length; cls++) {
        const map = guest.lists[cls]!.head;
        if (map !== null) next = Math.min(next, map.lastUse + this.#lifetimes[cls]!);
      }
    }
    return this.deadline = next;
  }

  /** Every map, by guest and class, the least recently used first. */
  *maps(): Generator<NatMap, void, void> {
    for (const guest of this.#guests.all) {
      for (const list of guest.lists) {
        for (let map = list.head; map !== null; map = map.next) yield map;
      }
    }
  }

  #unhash(map: NatMap): void {
    const key = keyOf(map);
    const first = this.#maps.get(key);
    if (first === map) {
      if (map.nextSame === null) this.#maps.delete(key);
      else this.#maps.set(key, map.nextSame);
    } else {
      let before = first!;
      while (before.nextSame !== map) before = before.nextSame!;
      before.nextSame = map.nextSame;
    }
    map.nextSame = null;
  }
}

/** Bits of a key of `byHost` beside protocol and port. */
const LOOPBACK_KEY = 1 << 18;
const IP6_KEY = 1 << 19;

function hostKey(map: NatMap): number {
  const where = map.bound === null ? 0 : map.is6 ? LOOPBACK_KEY | IP6_KEY : LOOPBACK_KEY;
  return where | map.proto << 16 | map.hostPort;
}

function keyOf(map: NatMap): number {
  return hashOf(map.guest, map, map.remoteHash, map.remotePort);
}

function isOf(map: NatMap, guest: Guest, ends: PacketEnds, port: number): boolean {
  return map.guest === guest && map.guestPort === ends.guestPort && map.proto === ends.proto &&
    map.realm === ends.realm && map.remotePort === port && (map.remote === null || map.remote.equals(ends.remote));
}

/** With endpoint-independent mapping and one guest no two maps share a key. */
function hashOf(guest: Guest, ends: MapEnds, remoteHash: number, port: number): number {
  return (ends.realm << 18 | ends.proto << 16 | ends.guestPort) ^ Math.imul(guest.hash, 0x9e3779b1) ^
    Math.imul(remoteHash, 0x85ebca6b) ^ Math.imul(port, 0xc2b2ae35);
}
