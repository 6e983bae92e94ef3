/**
 * Making a map for a packet that has none: room for it, and a port of the host's. The same for both versions of IP.
 *
 * Path: outbound → make_map → map, table.
 *
 * @module
 */

import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { type Counters, Reason } from "./counters.ts";
import type { LimitReport } from "./limit_report.ts";
import { type Guest, NatMap } from "./map.ts";
import type { NatTable, PacketEnds } from "./table.ts";

/** What of a NAT a new map needs. */
interface MapMaker {
  readonly table: NatTable;
  readonly counters: Counters;
  readonly limits: LimitReport;
  readonly ports: { open(map: NatMap): string };
  readonly now: number;
  evict(victim: NatMap, guest: Guest): void;
}

/** A new map for packets of `guest` between `ends`, bound to the host's `loopback` if that is not null; or why not. */
export function makeMap(
  nat: MapMaker,
  guest: Guest,
  { ends, loopback }: { readonly ends: PacketEnds; readonly loopback: IpAddr | null },
): NatMap | Reason {
  const { table, counters, limits, now } = nat;
  const { proto } = ends;
  const victim = table.victim(guest, proto, now);
  if (typeof victim === "number") {
    limits.note(now, guest, proto);
    return victim;
  }
  if (victim !== null) nat.evict(victim, guest);
  const map = new NatMap(guest, table.mapEnds(ends));
  map.bound = loopback;
  if (nat.ports.open(map) !== "" && !openInstead(nat, map)) {
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
  return nat.ports.open(map) === "";
}
