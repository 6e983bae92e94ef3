/**
 * The NAT between a scenario's host and the card of its guest, of whatever kind, and the addresses of its link.
 *
 * Path: guest_side, qemu_side, guest_steps → guest_network → vm (NAT).
 *
 * @module
 */

import { HostRandom } from "../../devices/host/clock.ts";
import type { FramePort } from "../../kernel/host.ts";
import { eui64 } from "../../kernel/inet/addr6.ts";
import { SeededRandom } from "../../kernel/random.ts";
import { tapPort } from "../boot/observe_port.ts";
import { GUEST_MACS, type NatOptions } from "../nat/config.ts";
import { type GuestNetwork, startGuestNetwork } from "../vmm/vm.ts";
import { type Environment, PREFIX6 } from "./environment.ts";
import type { GuestSideOptions } from "./guest_types.ts";
import type { IpVersion } from "./ip_family.ts";
import type { PacketLog } from "./packet_log.ts";

/** Frames that the card receives leave the guest. */
const FROM_GUEST = { in: "out", out: "in" } as const;

/** Addresses of a guest's link, as the guest knows them. */
export interface GuestNames {
  readonly router: string;
  /** The relay; null: the guest asks the remote itself. */
  readonly dns: string | null;
  /** The address that the guest is to have. */
  readonly guest: string;
}

/** The addresses of one version of IP; null: the guest has none. */
export function guestNames({ program }: GuestNetwork, version: IpVersion): GuestNames | null {
  const { config } = program.nat;
  const { router, dns, guest } = config;
  if (version === 4) return { router: `${router}`, dns: dns === null ? null : `${dns}`, guest: `${guest}` };
  const { v6 } = config;
  if (v6 === null) return null;
  // Each guest makes its address of the router's prefix and its hardware address (RFC 4862).
  const own = eui64(v6.subnet, GUEST_MACS[config.style]);
  return { router: `${v6.router}`, dns: v6.dns === null ? null : `${v6.dns}`, guest: `${own}` };
}

/** How the NAT of a scenario is made: the guest may reach the host's loopback, and the remote is the name server. */
function natOptions(env: Environment, { style, versions = [4, 6] }: GuestSideOptions): NatOptions {
  const { addresses, remote, sockets } = env;
  const net = addresses[4].replace(/\.\d+$/, "");
  const real = { style, subnet: `${net}.0/24`, router: `${net}.254` } as const;
  return {
    ...(style === "real" ? real : {}),
    hostAddr: `${addresses[4]}/24`,
    // A guest in real style has the host's address, and there is no such thing in IPv6.
    v6: style === "qemu" && versions.includes(6) ? { hostAddr: `${addresses[6]}/${PREFIX6}` } : null,
    nameServers: versions.map((version) => remote.addresses[version]),
    policy: { loopback: true },
    ...(sockets === null ? {} : { doors: sockets.doors }),
  };
}

/** Starts the NAT between the world's host and a card. Throws KernelError for a bad forward. */
export function connectGuest(
  env: Environment,
  card: FramePort,
  log: PacketLog,
  options: GuestSideOptions,
): GuestNetwork {
  const { host, wire } = env;
  const { seed, forwards, observe } = options;
  const seen = tapPort(card, host.clock, (direction, frame) => log.see(FROM_GUEST[direction], frame));
  return startGuestNetwork({
    proc: host.spawn("nat"),
    clock: host.clock,
    card: seen,
    nat: natOptions(env, options),
    forwards,
    random: wire === "memory" ? new SeededRandom(seed) : new HostRandom(),
    ...(observe === undefined ? {} : { observe }),
  });
}
