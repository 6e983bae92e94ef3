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
import { KernelParty } from "./kernel_party.ts";
import { linuxDhcp } from "./linux_dhcp.ts";
import { LinuxSockets } from "./linux_sockets.ts";
import { linuxNeighbour } from "./linux_world.ts";
import { qemuGuestSide } from "./qemu_side.ts";
import { SocketParty } from "./socket_party.ts";
import { Watch } from "./watch.ts";
import type { World } from "./world.ts";

/** Name of the interface in a guest's namespace. */
const DEVICE = "eth0";

/**
 * The guest that was asked for. Throws HostError where it cannot be had, KernelError for a bad forward,
 * {@link Interrupted}.
 */
export async function guestSide(
  world: World,
  options: GuestSideOptions & { readonly guest: "model" | "netns" | "qemu" },
): Promise<GuestSide> {
  if (options.guest === "model") return await modelGuest(world, options);
  return options.guest === "netns" ? linuxGuest(world, options) : await qemuGuestSide(world, options);
}

/** A second, or third, kernel behind a virtio card: nothing is shared but the card's memory. */
export async function modelGuest(world: World, options: GuestSideOptions): Promise<GuestSide> {
  const { host } = world;
  const { style, seed } = options;
  const mac = new Uint8Array(6);
  GUEST_MACS[style].put(mac, 0);
  const card = new ModelCard({ jobs: host.clock.jobs, mac });
  const kernel = await host.neighbor({ name: "guest", port: card.driver, address: null });
  const watch = new Watch(ETHER_HEADER_LEN);
  const network = connectGuest(world, card.port, watch, options);
  const party = new KernelParty("guest", kernel.spawn("programs"), host.clock, "");
  return {
    ...{ kind: "model", party, network, watch, model: { card, kernel } },
    configure: async () => {
      const lease = await modelDhcp({ proc: kernel.spawn("dhcp"), clock: host.clock, mac, xid: seed | 1 });
      party.address = lease.address;
      return formatLease(lease);
    },
    resolved: async (addr) => {
      const words = (await party.proc.readText("/net/arp")).split("\n").map((line) => line.trim().split(/\s+/));
      return words.find((line) => line[1] === "OK" && line[2] === addr)?.[3] ?? null;
    },
    close: () => Promise.resolve(network.close()),
  };
}

/** Linux' own stack in a namespace whose only interface is ours. */
function linuxGuest(world: World, options: GuestSideOptions): GuestSide {
  const { host } = world;
  const mac = new Uint8Array(6);
  GUEST_MACS[options.style].put(mac, 0);
  const guest = netnsGuest({ openTap, setUpNetns }, host.reactor!, { netns: "new", device: DEVICE, mac });
  const watch = new Watch(ETHER_HEADER_LEN);
  const network = connectGuest(world, guest.port, watch, options);
  const netns = guest.port.netns!;
  const loop = { reactor: host.reactor!, clock: host.clock };
  const party = new SocketParty("Linux in a namespace", new LinuxSockets(loop, netns), "");
  return {
    ...{ kind: "netns", party, network, watch, model: null },
    configure: async () => {
      const lease = await linuxDhcp(loop, netns, { device: DEVICE, mac, xid: options.seed | 1 });
      party.address = lease.address;
      return formatLease(lease);
    },
    resolved: (addr) => Promise.resolve(linuxNeighbour(netns, addr)),
    close: async () => {
      party.close();
      network.close();
      await guest.close();
    },
  };
}
