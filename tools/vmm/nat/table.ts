/**
 * NatTable: the guests and their maps: looking one up, keeping it alive, making room, and letting it expire.
 *
 * Path: outbound, inbound, nat_program (timer) → table → guest, map.
 *
 * Every class of maps has one lifetime, so its list in order of last use is also in order of expiry: refreshing a map
 * moves it to the end, expiry looks at the heads only, and neither ever walks over all maps. Keys are numbers.
 *
 * At a cap, what costs least is given up first: UDP and ICMP the least recently used; TCP a closing connection, then
 * one that never opened; established ones never (RFC 5382 REQ-5): then the new map is refused.
 *
 * @module
 */

import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../../kernel/wire/mac_addr.ts";
import type { NatConfig } from "./config.ts";
import { Reason } from "./counters.ts";
import { Guest } from "./guest.ts";
import { MapClass, type MapProto, type NatMap, Realm } from "./map.ts";

/** What a packet's ends say about the map it needs; its remote end is as the guest sees it. */
export interface MapEnds {
  readonly proto: MapProto;
  readonly guestPort: number;
  readonly realm: Realm;
  readonly remoteWord: number;
  readonly remotePort: number;
}

/** Most guests on a link: a /26 full of them. */
export const GUESTS_MAX = 64;

/** Which classes of a protocol may be given up, cheapest first. */
const VICTIMS: readonly (readonly MapClass[])[] = [
  [MapClass.Dns, MapClass.Udp],
  [MapClass.TcpClosing, MapClass.TcpOpening],
  [MapClass.Icmp],
];

/** All maps of a NAT but its forwards. */
export class NatTable {
  /** No map is over before this time; {@link nextExpiry} makes it exact. */
  deadline = Infinity;
  /** Called when a guest that was known gets its hardware address, or another one. */
  onResolved: (guest: Guest) => void = () => {};
  readonly #guests = new Map<number, Guest>();
  readonly #maps = new Map<number, NatMap>();
  /** Maps of the world by protocol and host port: for hairpins. */
  readonly #byHost = new Map<number, NatMap>();
  readonly #counts: number[] = [0, 0, 0];
  readonly #lifetimes: readonly number[];
  readonly #guestCaps: readonly number[];
  readonly #totalCaps: readonly number[];
  /** Whether maps are keyed by their remote's address, and by its port, by MapProto. */
  readonly #byAddress: readonly boolean[];
  readonly #byPort: readonly boolean[];

  constructor(config: NatConfig) {
    const { lifetimes, guestCaps, totalCaps, mapping } = config;
    const { udp, dns, icmp, tcpOpening, tcpClosing, tcpEstablished } = lifetimes;
    this.#lifetimes = [udp, dns, icmp, tcpOpening, tcpClosing, tcpEstablished];
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
    return this.#guests.values();
  }

  lifetimeOf(map: NatMap): number {
    return this.#lifetimes[map.class]!;
  }

  /** The guest with the address `word` (or the key of an IPv6 address), or null. */
  guest(word: number): Guest | null {
    return this.#guests.get(word) ?? null;
  }

  /**
   * The guest at `addr`, whose hardware address is `mac` (null: not known now); null if there are too many. `key` is
   * what {@link guest} finds it by: of IPv6 a number that no IPv4 address is.
   */
  addGuest(addr: IpAddr, mac: MacAddr | null, key: number = addr.w3): Guest | null {
    const known = this.#guests.get(key);
    if (known !== undefined) {
      if (mac !== null && known.mac?.equals(mac) !== true) {
        known.mac = mac;
        this.onResolved(known);
      }
      return known;
    }
    if (this.#guests.size >= GUESTS_MAX && !this.#forgetGuest()) return null;
    const guest = new Guest(addr, mac);
    this.#guests.set(key, guest);
    return guest;
  }

  #forgetGuest(): boolean {
    for (const [word, guest] of this.#guests) {
      if (!guest.isIdle) continue;
      this.#guests.delete(word);
      return true;
    }
    return false;
  }

  /** Forgets a guest that is idle. */
  removeGuest(guest: Guest): void {
    for (const [word, one] of this.#guests) if (one === guest) this.#guests.delete(word);
  }

  /** What a map for packets to this remote is keyed by: 0 for what does not count. */
  remoteWord(proto: MapProto, word: number): number {
    return this.#byAddress[proto]! ? word : 0;
  }

  remotePort(proto: MapProto, port: number): number {
    return this.#byPort[proto]! ? port : 0;
  }

  /** The map of `guest` for a packet between these ends, or null. */
  find(guest: Guest, ends: MapEnds): NatMap | null {
    const word = this.remoteWord(ends.proto, ends.remoteWord);
    const port = this.remotePort(ends.proto, ends.remotePort);
    let map = this.#maps.get(hashOf(guest.addr.w3, ends, word, port)) ?? null;
    while (map !== null && !isOf(map, guest, ends, word, port)) map = map.nextSame;
    return map;
  }

  /** The map of the world that has the host's `port`, or null. */
  findByHost(proto: MapProto, port: number): NatMap | null {
    return this.#byHost.get(proto << 16 | port) ?? null;
  }

  /** Adds a map that has its host port. */
  add(map: NatMap, now: number): void {
    const key = keyOf(map);
    map.nextSame = this.#maps.get(key) ?? null;
    this.#maps.set(key, map);
    if (map.realm === Realm.World) this.#byHost.set(map.proto << 16 | map.hostPort, map);
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
    this.#unhash(map);
    if (map.realm === Realm.World) this.#byHost.delete(map.proto << 16 | map.hostPort);
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

  /** The map to be given up so that `guest` can have another of `proto`; null: room as it is; a reason: refused. */
  victim(guest: Guest, proto: MapProto): NatMap | null | Reason {
    if (guest.counts[proto]! >= this.#guestCaps[proto]!) return oldest(guest, proto) ?? Reason.GuestCap;
    if (this.#counts[proto]! < this.#totalCaps[proto]!) return null;
    return this.cheapest(guest, proto) ?? Reason.TotalCap;
  }

  /** The map of `proto` that costs least: of who has most, as one greedy guest must not take the others'; or null. */
  cheapest(guest: Guest, proto: MapProto): NatMap | null {
    let greediest = guest;
    for (const other of this.#guests.values()) {
      if (other.counts[proto]! > greediest.counts[proto]!) greediest = other;
    }
    return oldest(greediest, proto) ?? oldest(guest, proto);
  }

  /** Takes out one map whose time is over; null if there is none. */
  expired(now: number): NatMap | null {
    for (const guest of this.#guests.values()) {
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
    for (const guest of this.#guests.values()) {
      for (let cls = 0; cls < guest.lists.length; cls++) {
        const map = guest.lists[cls]!.head;
        if (map !== null) next = Math.min(next, map.lastUse + this.#lifetimes[cls]!);
      }
    }
    return this.deadline = next;
  }

  /** Every map, by guest and class, the least recently used first. */
  *maps(): Generator<NatMap, void, void> {
    for (const guest of this.#guests.values()) {
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

function oldest(guest: Guest, proto: MapProto): NatMap | null {
  for (const cls of VICTIMS[proto]!) {
    const { head } = guest.lists[cls]!;
    if (head !== null) return head;
  }
  return null;
}

function keyOf(map: NatMap): number {
  return hashOf(map.guest.addr.w3, map, map.remoteWord, map.remotePort);
}

function isOf(map: NatMap, guest: Guest, ends: MapEnds, word: number, port: number): boolean {
  return map.guest === guest && map.guestPort === ends.guestPort && map.proto === ends.proto &&
    map.realm === ends.realm && map.remoteWord === word && map.remotePort === port;
}

/** With endpoint-independent mapping and one guest no two maps share a key. */
function hashOf(guest: number, ends: MapEnds, word: number, port: number): number {
  return (ends.realm << 18 | ends.proto << 16 | ends.guestPort) ^ Math.imul(guest, 0x9e3779b1) ^
    Math.imul(word, 0x85ebca6b) ^ Math.imul(port, 0xc2b2ae35);
}
