/**
 * Guest: one address on the guest's link: its hardware address, its maps in order of use, how many it has, and the
 * remotes that they let in.
 *
 * Path: guest_table, map → nat/guest → addr_hash, forward_group, map_class, remotes.
 *
 * The kind of the maps is a parameter, as a map names its guest.
 *
 * @module
 */

import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../kernel/wire/mac_addr.ts";
import type { AddrEntry } from "./addr_hash.ts";
import type { ForwardGroup } from "./forward_group.ts";
import { MAP_CLASS_NAMES } from "./map_class.ts";
import { RemoteList } from "./remotes.ts";

/** What a guest needs of its maps. */
interface Linked<M> {
  prev: M | null;
  next: M | null;
  readonly bound: IpAddr | null;
}

/** Maps of one class in order of last use. As all have one lifetime, that is the order in which they expire. */
class MapList<M extends Linked<M>> {
  /** The least recently used. */
  head: M | null = null;
  tail: M | null = null;
  count = 0;

  /** Puts `map`, which is in no list, last. */
  add(map: M): void {
    this.count++;
    map.prev = this.tail;
    map.next = null;
    if (this.tail === null) this.head = map;
    else this.tail.next = map;
    this.tail = map;
  }

  remove(map: M): void {
    this.count--;
    if (map.prev === null) this.head = map.next;
    else map.prev.next = map.next;
    if (map.next === null) this.tail = map.prev;
    else map.next.prev = map.prev;
    map.prev = map.next = null;
  }
}

/** One guest. */
export class GuestRecord<M extends Linked<M>> implements AddrEntry<GuestRecord<M>> {
  readonly port = 0;
  nextSame: GuestRecord<M> | null = null;
  /** Null until it has sent a frame. */
  mac: MacAddr | null;
  /** By {@link MapClass}. */
  readonly lists: readonly MapList<M>[] = MAP_CLASS_NAMES.map(() => new MapList<M>());
  /** Maps by {@link MapProto}; forwards are not among them. */
  readonly counts: number[] = [0, 0, 0];
  /** The remotes that the filters of its maps let in. */
  readonly remotes: RemoteList<M> = new RemoteList();
  /** Forwards to it, by protocol and port: `proto << 16 | port`. */
  readonly forwards: Map<number, ForwardGroup<M>> = new Map();

  /** `hash` is its address' (see addr_hash). */
  constructor(readonly addr: IpAddr, readonly hash: number, mac: MacAddr | null) {
    this.mac = mac;
  }

  /** Whether nothing would be lost by forgetting it. */
  get isIdle(): boolean {
    const [udp, tcp, icmp] = this.counts;
    return udp === 0 && tcp === 0 && icmp === 0 && this.forwards.size === 0;
  }
}
