/**
 * The host ports of a forward: claimed when it is added, taken from guests' maps that have them, and given back.
 *
 * Path: nat → forward_ports → nat/forward, takeover, map, context.
 *
 * @module
 */

import { KernelError } from "../../kernel/error.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { NatContext } from "./context.ts";
import { mayBeGuest } from "./family_config.ts";
import { type DoorPlace, formatForward, type Forward, type ForwardSpec } from "./forward.ts";
import { NatMap, Realm } from "./map.ts";
import { carry, Fate, fateOf, uncarry } from "./takeover.ts";

/** A NAT that can end a map. */
interface ForwardContext extends NatContext {
  close(map: NatMap): void;
}

/** Adds the forward that is `asked` for, to the guest at `addr`. Throws KernelError: a conflict, or no port. */
export function openForward(nat: ForwardContext, asked: ForwardSpec, addr: IpAddr): Forward {
  nat.forwards.requireFree(asked);
  requireReach(nat, asked);
  const config = addr.isV4 ? nat.config : nat.config.v6;
  if (config === null || !mayBeGuest(config, addr)) {
    throw new KernelError("EINVAL", `Cannot forward to ${addr}: no guest's address`);
  }
  const guest = nat.table.addGuest(addr, null);
  if (guest === null) throw new KernelError("ENOSPC", `Cannot forward to ${addr}: too many guests`);
  const { proto, guestPort } = asked;
  const map = new NatMap(guest, { proto, guestPort, realm: Realm.World, remote: null, remoteHash: 0, remotePort: 0 });
  map.isStatic = true;
  map.count = asked.count;
  const place = placeOf(nat, asked);
  map.bound = place.bound;
  map.hostPort = asked.hostPort;
  claim(nat, map, asked, place.anyPort);
  const forward = { spec: { ...asked, hostPort: asked.hostPort || map.hostPort }, map };
  nat.forwards.add(forward);
  try {
    nat.doors?.open(forward.spec, map.hostPort);
  } catch (error) {
    takeOut(nat, forward.spec);
    throw error;
  }
  return forward;
}

/** Takes out the forward that `spec` names; the maps that it carries get their ports back. ENOENT: there is none. */
export function closeForward(nat: ForwardContext, spec: ForwardSpec): Forward {
  const forward = takeOut(nat, spec);
  nat.doors?.close(forward.spec);
  return forward;
}

function takeOut(nat: ForwardContext, named: ForwardSpec): Forward {
  const forward = nat.forwards.remove(named);
  const carried = [...forward.map.carried?.values() ?? []].flat();
  for (const map of carried) uncarry(map);
  nat.ports.close(forward.map);
  for (const map of carried) reopen(nat, map);
  return forward;
}

/** Where the host kernel's ports of a forward are to be. */
function placeOf({ doors }: NatContext, asked: ForwardSpec): DoorPlace {
  if (doors === null) return { bound: asked.bound, anyPort: false };
  return doors.place?.(asked) ?? { bound: null, anyPort: true };
}

/** EADDRNOTAVAIL: that address of the host cannot be reached from elsewhere. */
function requireReach({ config, doors }: NatContext, spec: ForwardSpec): void {
  const { bound } = spec;
  if (doors !== null || bound === null || !bound.isLoopback || config.loopbackForwards) return;
  const own = bound.isV4 ? config.hostAddr : config.v6?.hostAddr ?? config.hostAddr;
  const text = formatForward(spec);
  throw new KernelError(
    "EADDRNOTAVAIL",
    `Cannot forward ${text}: ${bound} of the host is not reached from elsewhere, forwards are at ${own}`,
  );
}

/** Claims a forward's host ports, taking them from guests' maps (see nat/takeover). EADDRINUSE: another has one. */
function claim(nat: ForwardContext, forward: NatMap, spec: ForwardSpec, anyPort: boolean): void {
  const carried: NatMap[] = [];
  const ended: NatMap[] = [];
  for (const map of holders(nat, spec)) {
    const { hostAddr } = (map.is6 ? nat.v6! : nat.v4).config;
    const fate = fateOf(map, forward, { is6: forward.is6, hostAddr });
    if (fate !== Fate.Leave) (fate === Fate.Carry ? carried : ended).push(map);
  }
  for (const map of [...carried, ...ended]) nat.ports.close(map);
  const refusal = openPorts(nat, forward, anyPort);
  if (refusal !== "") {
    for (const map of [...carried, ...ended]) reopen(nat, map);
    throw new KernelError("EADDRINUSE", `Cannot forward ${formatForward(spec)}: ${refusal}`);
  }
  for (const map of carried) carry(forward, map);
  for (const map of ended) nat.evict(map, map.guest);
}

/**
 * Opens the ports of a forward. With `anyPort` those of the machine are what was asked for: where another forward leads
 * to the same number, any other serves.
 */
function openPorts({ ports }: NatContext, forward: NatMap, anyPort: boolean): string {
  const refusal = ports.open(forward);
  if (refusal === "" || !anyPort || forward.count > 1) return refusal;
  forward.hostPort = 0;
  return ports.open(forward);
}

/** The guests' maps that have a host port of `spec` and a conversation of their own. */
function holders({ table }: NatContext, spec: ForwardSpec): NatMap[] {
  const found: NatMap[] = [];
  for (let i = 0; i < spec.count && spec.hostPort !== 0; i++) {
    for (const map of table.holdersOf(spec.proto, spec.hostPort + i)) {
      if (map.carrier === null) found.push(map);
    }
  }
  return found;
}

/** Gives a map its host port back, or ends it. */
function reopen(nat: ForwardContext, map: NatMap): void {
  if (nat.ports.open(map) !== "") nat.close(map);
}
