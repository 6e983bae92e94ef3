/**
 * Guest: one address on the guest's link: its hardware address, its maps in order of use, how many it has, and the
 * remotes that they let in.
 *
 * Path: outbound, table, errors → nat/guest → nat/forward, map, remotes, ip_addr.
 *
 * @module
 */

import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../kernel/wire/mac_addr.ts";
import type { ForwardGroup } from "./forward.ts";
import { MAP_CLASS_NAMES, type NatMap } from "./map.ts";
import { RemoteList } from "./remotes.ts";

/** Maps of one class in order of last use. As all have one lifetime, that is the order in which they expire. */
export class MapList {
  /** The least recently used. */
  head: NatMap | null = null;
  tail: NatMap | null = null;

  /** Puts `map`, which is in no list, last. */
  add(map: NatMap): void {
    map.prev = this.tail;
    map.next = null;
    if (this.tail === null) this.head = map;
    else this.tail.next = map;
    this.tail = map;
  }

  remove(map: NatMap): void {
    if (map.prev === null) this.head = map.next;
    else map.prev.next = map.next;
    if (map.next === null) this.tail = map.prev;
    else map.next.prev = map.prev;
    map.prev = map.next = null;
  }
}

/** One guest. */
export class Guest {
  /** Null until it has sent a frame. */
  mac: MacAddr | null;
  /** By {@link MapClass}. */
  readonly lists: readonly MapList[] = MAP_CLASS_NAMES.map(() => new MapList());
  /** Maps by {@link MapProto}; forwards are not among them. */
  readonly counts: number[] = [0, 0, 0];
  /** The remotes that the filters of its maps let in. */
  readonly remotes: RemoteList<NatMap> = new RemoteList();
  /** Forwards to it, by protocol and port: `proto << 16 | port`. */
  readonly forwards: Map<number, ForwardGroup> = new Map();

  constructor(readonly addr: IpAddr, mac: MacAddr | null) {
    this.mac = mac;
  }

  /** Whether nothing would be lost by forgetting it. */
  get isIdle(): boolean {
    const [udp, tcp, icmp] = this.counts;
    return udp === 0 && tcp === 0 && icmp === 0 && this.forwards.size === 0;
  }
}
