/**
 * The uplink: the device by which the host kernel is a neighbour of Linux, and the guest's access to the machine behind
 * it.
 *
 * Path: daemon → uplink → netd/options, libc, tun, config.
 *
 * @module
 */

import { EACCES, EPERM, HostError } from "../../devices/host/libc.ts";
import { openTap, openTun, type TapOptions, type TapPort, type TunPort } from "../../devices/host/tun.ts";
import { parseIpAddr } from "../../kernel/wire/ip_addr.ts";
import type { NatOptions } from "../nat/config.ts";
import { netnsOf } from "../vmm/guests/netns_guest.ts";
import type { UplinkChoice } from "./options.ts";

/** Facts for opening it, besides the user's options. */
interface UplinkNeeds {
  readonly offload: boolean;
  /** Whether the machine's loopback must be reachable by it. */
  readonly localnet: boolean;
}

/** Opens it. Throws HostError. */
export function openUplink(choice: UplinkChoice, { offload, localnet }: UplinkNeeds): TapPort | TunPort {
  const { kind, device, attach, peer, netns, mtu, v6 } = choice;
  const options: TapOptions = { offload, localnet };
  if (device !== null) options.name = device;
  if (netns !== null) options.netns = netnsOf(netns);
  if (attach) {
    // As its owner set it up: nothing here needs root.
    options.attach = true;
    options.up = false;
  } else {
    options.mtu = mtu;
    options.address = v6 === null ? peer! : [peer!, v6.peer!];
  }
  try {
    return kind === "tap" ? openTap(options) : openTun(options);
  } catch (error) {
    const isRefused = error instanceof HostError && !attach && (error.errno === EPERM || error.errno === EACCES);
    if (!isRefused) throw error;
    const device = `a ${kind.toUpperCase()} device${choice.device === null ? "" : ` "${choice.device}"`}`;
    throw new HostError(`Cannot make the uplink, ${device}`, error.errno, {
      hint: "needs root or CAP_NET_ADMIN on this machine, or a device that root has made for you: " +
        "--uplink-attach --uplink-device NAME, see netd(1)",
    });
  }
}

/** Options of the NAT where the machine's loopback cannot be reached: no route to it, and no name server on it. */
export function withoutLoopback(nat: NatOptions, gateway: string): NatOptions {
  const outside = (nat.nameServers ?? []).filter((addr) => parseIpAddr(addr)?.isLoopback !== true);
  return {
    ...nat,
    farLoopback: false,
    nameServers: outside.length > 0 ? outside : [gateway],
    policy: { ...nat.policy, loopback: false },
  };
}
