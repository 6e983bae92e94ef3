/**
 * Every `stats` file of a host, as numbers.
 *
 * Path: scenario, keep_alive → scenario/counters → boot.
 *
 * @module
 */

import type { Host } from "../boot/boot.ts";

const STATS_FILES = ["ipifc", "icmp", "icmpv6", "udp", "tcp", "ether0"] as const;

/** Numbers of the stats files, by protocol and name; of `Name: in out` lines both, as `Name in` and `Name out`. */
export async function counters(host: Host): Promise<Record<string, Record<string, number>>> {
  const reader = host.spawn("counters");
  const tables: Record<string, Record<string, number>> = {};
  for (const name of STATS_FILES) {
    if (name === "ether0" && host.port?.kind !== "frame") continue;
    const text = await reader.readText(`/net/${name}/stats`);
    const values: Record<string, number> = tables[name] = {};
    for (const line of text.split("\n")) {
      const [, what, first, second] = /^([\w ]+): (\d+)(?: (\d+))?$/.exec(line.trim()) ?? [];
      if (what === undefined) continue;
      values[second === undefined ? what : `${what} in`] = Number(first);
      if (second !== undefined) values[`${what} out`] = Number(second);
    }
  }
  reader.exit();
  return tables;
}
