/**
 * GuestTable: the guests of one NAT: which station is at an address, and how many it may have.
 *
 * Path: table → guest_table → addr_hash, nat/guest, map.
 *
 * A guest that is idle (no maps, no forwards) is a hardware address and nothing else: it goes when another needs its
 * place. A station, which is one hardware address, has a share of the places in each version of IP; at its share only
 * an idle address of its own makes room. The share moves with an address that another station takes over.
 *
 * Limits: {@link GUESTS_MAX} guests, {@link STATION_GUESTS_MAX} of one station and version.
 *
 * @module
 */

import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { type AddrHash, AddrMap, copyAddr } from "./addr_hash.ts";
import { GuestRecord } from "./guest.ts";
import type { Guest, NatMap } from "./map.ts";

/** Most guests on a link: a /24 full of them. One costs 1 KB. */
export const GUESTS_MAX = 256;
/** Most addresses of one station and version: Linux makes 16 of IPv6 (max_addresses), a router of containers more. */
export const STATION_GUESTS_MAX = 64;

/** See above. */
export class GuestTable {
  readonly #guests = new AddrMap<Guest>();
  /** The guest that was found last: the next packet is mostly its as well. */
  #last: Guest | null = null;
  /** Guests of each station and version. */
  readonly #stations = new Map<number, number>();

  /** `onResolved` is called when a guest that was known gets its hardware address, or another one. */
  constructor(readonly hash: AddrHash, readonly onResolved: (guest: Guest) => void = () => {}) {}

  get all(): IterableIterator<Guest> {
    return this.#guests.values();
  }

  /** The guest at `addr`, or null. */
  get(addr: IpAddr): Guest | null {
    const last = this.#last;
    if (last !== null && last.addr.equals(addr)) return last;
    return this.#last = this.#guests.get(this.hash.of(addr), addr, 0);
  }

  /**
   * The guest at `addr`, whose hardware address is `mac` (null: not known now); null if there are too many, or too many
   * of this station.
   */
  add(addr: IpAddr, mac: MacAddr | null): Guest | null {
    const known = this.get(addr);
    if (known !== null) {
      if (mac === null || known.mac?.equals(mac) === true) return known;
      if (!this.#hasShare(mac, addr.isV4)) return null;
      this.#count(known, -1);
      known.mac = mac;
      this.#count(known, 1);
      this.onResolved(known);
      return known;
    }
    if (mac !== null && !this.#hasShare(mac, addr.isV4)) return null;
    if (this.#guests.size >= GUESTS_MAX && !this.#forget(null, true)) return null;
    const guest = new GuestRecord<NatMap>(copyAddr(addr), this.hash.of(addr), mac);
    this.#guests.add(guest);
    this.#count(guest, 1);
    return guest;
  }

  /** Forgets `guest`. */
  remove(guest: Guest): void {
    if (this.get(guest.addr) !== guest) return;
    this.#guests.delete(guest);
    this.#last = null;
    this.#count(guest, -1);
  }

  /** Whether the station may have one address more; an idle one of its own makes room. */
  #hasShare(mac: MacAddr, isV4: boolean): boolean {
    return (this.#stations.get(stationKey(mac, isV4)) ?? 0) < STATION_GUESTS_MAX || this.#forget(mac, isV4);
  }

  #count({ mac, addr }: Guest, by: number): void {
    if (mac === null) return;
    const key = stationKey(mac, addr.isV4);
    const count = (this.#stations.get(key) ?? 0) + by;
    if (count === 0) this.#stations.delete(key);
    else this.#stations.set(key, count);
  }

  /** Forgets the first guest that is idle: of this station and version, or (null) of any. */
  #forget(mac: MacAddr | null, isV4: boolean): boolean {
    for (const guest of this.#guests.values()) {
      if (!guest.isIdle || (mac !== null && (guest.addr.isV4 !== isV4 || guest.mac?.equals(mac) !== true))) continue;
      this.remove(guest);
      return true;
    }
    return false;
  }
}

/** A number for a station and a version of IP. */
function stationKey(mac: MacAddr, isV4: boolean): number {
  return mac.key * 2 + (isV4 ? 0 : 1);
}
