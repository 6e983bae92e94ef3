/**
 * Making a map for a packet that has none: room for it, and a port of the host's. The same for both versions of IP.
 *
 * Path: outbound, outbound6 → make_map → table, nat.door.
 *
 * @module
 */

import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { type Counters, Reason } from "./counters.ts";
import type { Guest } from "./guest.ts";
import type { LimitReport } from "./limit_report.ts";
import { NatMap } from "./map.ts";
import type { MapEnds, NatTable } from "./table.ts";

/** What of a NAT a new map needs. */
export interface MapMaker {
  readonly table: NatTable;
  readonly counters: Counters;
  readonly limits: LimitReport;
  readonly door: { open(map: NatMap): string };
  readonly now: number;
  evict(victim: NatMap, guest: Guest): void;
}

/** A new map for packets of `guest` that go `way`, bound to the host's `loopback` if that is not null; or why not. */
export function makeMap(
  nat: MapMaker,
  guest: Guest,
  { way, loopback }: { readonly way: MapEnds; readonly loopback: IpAddr | null },
): NatMap | Reason {
  const { table, counters, limits, now } = nat;
  const { proto, guestPort, realm } = way;
  const victim = table.victim(guest, proto, now);
  if (typeof victim === "number") {
    limits.note(now, guest, proto);
    return victim;
  }
  if (victim !== null) nat.evict(victim, guest);
  const word = table.remoteWord(proto, way.remoteWord);
  const map = new NatMap(guest, proto, guestPort, realm, word, table.remotePort(proto, way.remotePort));
  map.bound = loopback;
  if (nat.door.open(map) !== "" && !openInstead(nat, map)) {
    limits.note(now, guest, proto);
    return Reason.NoPort;
  }
  counters.mapsMade++;
  table.add(map, now);
  return map;
}

/** The host has no more conversations, as its own programs have many: then a map must go although no cap says so. */
function openInstead(nat: MapMaker, map: NatMap): boolean {
  const victim = nat.table.cheapest(map.guest, map.proto, nat.now);
  if (victim === null) return false;
  nat.evict(victim, map.guest);
  return nat.door.open(map) === "";
}
