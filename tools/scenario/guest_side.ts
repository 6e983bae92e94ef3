/**
 * The guest of a scenario: whatever it is, with its card on the host's NAT.
 *
 * Path: scenario → guest_side → guest_network (card, NAT), qemu_side, guest_types (what steps see).
 *
 * @module
 */

import { setUpNetns } from "../../devices/host/netns_setup.ts";
import { openTap } from "../../devices/host/tun.ts";
import { ETHER_HEADER_LEN } from "../../kernel/wire/ethernet.ts";
import { formatLease, modelDhcp } from "../vmm/guests/model/dhcp.ts";
import { netnsGuest } from "../vmm/guests/netns_guest.ts";
import { GUEST_MACS } from "../nat/config.ts";
import { ModelCard } from "../vmm/vm.ts";
import { connectGuest } from "./guest_network.ts";
import type { GuestSide, GuestSideOptions } from "./guest_types.ts";
import { KernelEndpoint } from "./kernel_endpoint.ts";
import { linuxDhcp } from "./linux_dhcp.ts";
import { LinuxSockets } from "./linux_sockets.ts";
import { linuxNeighbour } from "./linux_environment.ts";
import { qemuGuestSide } from "./qemu_side.ts";
import { SocketEndpoint } from "./socket_endpoint.ts";
import { PacketLog } from "./packet_log.ts";
import type { Environment } from "./environment.ts";

/** Name of the interface in a guest's namespace. */
const DEVICE = "eth0";

/**
 * The guest that was asked for. Throws HostError where it cannot be had, KernelError for a bad forward,
 * {@link Interrupted}.
 */
export async function guestSide(
  env: Environment,
  options: GuestSideOptions & { readonly guest: "model" | "netns" | "qemu" },
): Promise<GuestSide> {
  if (options.guest === "model") return await modelGuest(env, options);
  return options.guest === "netns" ? linuxGuest(env, options) : await qemuGuestSide(env, options);
}

/** A second, or third, kernel behind a virtio card: nothing is shared but the card's memory. */
export async function modelGuest(env: Environment, options: GuestSideOptions): Promise<GuestSide> {
  const { host } = env;
  const { style, seed } = options;
  const mac = new Uint8Array(6);
  GUEST_MACS[style].put(mac, 0);
  const card = new ModelCard({ jobs: host.clock.jobs, mac });
  const kernel = await host.neighbor({ name: "guest", port: card.driver, address: null });
  const log = new PacketLog(ETHER_HEADER_LEN);
  const network = connectGuest(env, card.port, log, options);
  const endpoint = new KernelEndpoint("guest", kernel.spawn("programs"), host.clock, "");
  return {
    ...{ kind: "model", endpoint, network, log, model: { card, kernel } },
    configure: async () => {
      const lease = await modelDhcp({ proc: kernel.spawn("dhcp"), clock: host.clock, mac, xid: seed | 1 });
      endpoint.address = lease.address;
      return formatLease(lease);
    },
    resolved: async (addr) => {
      const words = (await endpoint.proc.readText("/net/arp")).split("\n").map((line) => line.trim().split(/\s+/));
      return words.find((line) => line[1] === "OK" && line[2] === addr)?.[3] ?? null;
    },
    close: () => Promise.resolve(network.close()),
  };
}

/** Linux' own stack in a namespace whose only interface is ours. */
function linuxGuest(env: Environment, options: GuestSideOptions): GuestSide {
  const { host } = env;
  const mac = new Uint8Array(6);
  GUEST_MACS[options.style].put(mac, 0);
  const guest = netnsGuest({ openTap, setUpNetns }, host.reactor!, { netns: "new", device: DEVICE, mac });
  const log = new PacketLog(ETHER_HEADER_LEN);
  const network = connectGuest(env, guest.port, log, options);
  const netns = guest.port.netns!;
  const loop = { reactor: host.reactor!, clock: host.clock };
  const endpoint = new SocketEndpoint("Linux in a namespace", new LinuxSockets(loop, netns), "");
  return {
    ...{ kind: "netns", endpoint, network, log, model: null },
    configure: async () => {
      const lease = await linuxDhcp(loop, netns, { device: DEVICE, mac, xid: options.seed | 1 });
      endpoint.address = lease.address;
      return formatLease(lease);
    },
    resolved: (addr) => Promise.resolve(linuxNeighbour(netns, addr)),
    close: async () => {
      endpoint.close();
      network.close();
      await guest.close();
    },
  };
}
