/**
 * The NAT between a scenario's host and the card of its guest, whatever that is.
 *
 * Path: guest_side, qemu_side → guest_network → vm (NAT).
 *
 * @module
 */

import { HostRandom } from "../../devices/host/clock.ts";
import type { FramePort } from "../../kernel/host.ts";
import { SeededRandom } from "../../kernel/random.ts";
import { tapPort } from "../boot/observe_port.ts";
import type { NatOptions, Style } from "../nat/config.ts";
import { type GuestNetwork, startGuestNetwork } from "../vmm/vm.ts";
import type { GuestSideOptions } from "./guest_types.ts";
import type { PacketLog } from "./packet_log.ts";
import type { Environment } from "./environment.ts";

/** What the card receives leaves the guest. */
const FROM_GUEST = { in: "out", out: "in" } as const;

/** How the NAT of a scenario is made: the guest may reach the host's loopback, and the remote is the name server. */
function natOptions(env: Environment, style: Style): NatOptions {
  const hostAddr = `${env.host.address}/24`;
  const net = env.host.address.replace(/\.\d+$/, "");
  const real = { style, subnet: `${net}.0/24`, router: `${net}.254` } as const;
  return {
    ...(style === "real" ? real : {}),
    hostAddr,
    nameServers: [env.remote.address],
    policy: { loopback: true },
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
  const { seed, style, forwards, observe } = options;
  const seen = tapPort(card, host.clock, (direction, frame) => log.see(FROM_GUEST[direction], frame));
  return startGuestNetwork({
    ...{ proc: host.spawn("nat"), clock: host.clock, card: seen, nat: natOptions(env, style), forwards },
    random: wire === "memory" ? new SeededRandom(seed) : new HostRandom(),
    ...(observe === undefined ? {} : { observe }),
  });
}
