/**
 * What a NAT leaves open: which addresses of the host its guests reach, and which ports the world reaches.
 *
 * Path: control, daemon → exposure → nat, forward.
 *
 * @module
 */

import type { FamilyContext } from "./context.ts";
import { formatForward } from "./forward.ts";
import { MAP_PROTO_NAMES } from "./map.ts";
import type { Nat } from "./nat.ts";

/** What is open, a line each: printed at startup so that exposed ports are visible. */
export function exposureOf(nat: Nat): string[] {
  const { policy } = nat.v4;
  const lines = policy.lines().map((line) => `guest reaches ${line}`);
  const { loopbackFrom, router } = nat.config;
  if (policy.loopback && !loopbackFrom.isLoopback) {
    lines.push(`guest reaches 127.0.0.1 of this machine as ${router}`);
  }
  for (const { spec, map } of nat.forwards.list) {
    const usual = spec.bound === null ? "on every address of the host" : `on ${spec.bound}`;
    lines.push(`${formatForward(spec)} exposes guest ${map.guest.addr} ${nat.doors?.reachedAt?.(spec) ?? usual}`);
  }
  const open = MAP_PROTO_NAMES.filter((_, proto) => !nat.filters[proto]);
  if (open.length > 0) lines.push(`anybody reaches every ${open.join(", ")} port that a guest has sent from`);
  if (nat.v6 !== null) lines.push(...exposure6(nat.v6));
  lines.push(...nat.refusedForwards());
  return lines;
}

/** What is open over IPv6, a line each. */
function exposure6({ config, policy }: FamilyContext): string[] {
  const { subnet, hostAddr, router } = config;
  const lines = [`guests of ${subnet}/64 are ${hostAddr} to the IPv6 world`];
  if (policy.loopback) lines.push(`guest reaches ::1 of the host as ${router}`);
  return [...lines, ...policy.lines()];
}
