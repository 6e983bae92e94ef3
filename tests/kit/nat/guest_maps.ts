/**
 * Guests and maps for tests that need no NAT around them.
 *
 * @module
 */

import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../../kernel/wire/mac_addr.ts";
import { AddrHash } from "../../../tools/nat/addr_hash.ts";
import { GuestRecord } from "../../../tools/nat/guest.ts";
import { type Guest, type MapEnds, MapProto, NatMap, Realm } from "../../../tools/nat/map.ts";

const hash = new AddrHash(null);

/** A guest that no table knows. */
export function newGuest(addr: IpAddr, mac: MacAddr | null = null): Guest {
  return new GuestRecord<NatMap>(addr, hash.of(addr), mac);
}

/** A map of `guest` for every remote, unless `ends` says otherwise. */
export function newMap(guest: Guest, ends: Partial<MapEnds> = {}): NatMap {
  const any = { remote: null, remoteHash: 0, remotePort: 0 };
  return new NatMap(guest, { proto: MapProto.Udp, guestPort: 4000, realm: Realm.World, ...any, ...ends });
}
