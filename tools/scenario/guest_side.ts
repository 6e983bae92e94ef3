/**
 * The guest of a scenario, of every kind, with its card on the host's NAT.
 *
 * Path: scenario → guest_side → guest_network (card, NAT), qemu_side, guest_types (what steps see).
 *
 * @module
 */

import { setUpNetns } from "../../devices/host/netns_setup.ts";
import { hostInterfaces } from "../../devices/host/rtnetlink.ts";
import type { Netns } from "../../devices/host/netns.ts";
import { openTap } from "../../devices/host/tun.ts";
import type { Proc } from "../../kernel/proc.ts";
import { ETHER_HEADER_LEN } from "../../kernel/wire/ethernet.ts";
import { formatLease, modelDhcp } from "../vmm/guests/model/dhcp.ts";
import { netnsGuest } from "../vmm/guests/netns_guest.ts";
import { GUEST_MACS } from "../nat/config.ts";
import { ModelCard } from "../vmm/vm.ts";
import { connectGuest } from "./guest_network.ts";
import { formatAddress6, type GuestSide, type GuestSideOptions } from "./guest_types.ts";
import { KernelEndpoint } from "./kernel_endpoint.ts";
import { linuxDhcp } from "./linux_dhcp.ts";
import { LinuxSockets } from "./linux_sockets.ts";
import { poll } from "./environment.ts";
import { withoutDad } from "./linux_environment.ts";
import { qemuGuestSide } from "./qemu_side.ts";
import { SocketEndpoint } from "./socket_endpoint.ts";
import { PacketLog } from "./packet_log.ts";
import type { Environment } from "./environment.ts";

/** Name of the interface in a guest's namespace. */
const DEVICE = "eth0";
/** How long a guest waits for a router advertisement and its address, and how often it looks. */
const RA_WAIT = { what: "address by router advertisement", limitMs: 10_000, periodMs: 20 };

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

/** A kernel of its own behind a virtio card: nothing is shared but the card's memory. */
async function modelGuest(env: Environment, options: GuestSideOptions): Promise<GuestSide> {
  const { host } = env;
  const { style, seed } = options;
  const mac = new Uint8Array(6);
  GUEST_MACS[style].put(mac, 0);
  const card = new ModelCard({ jobs: host.clock.jobs, mac });
  const kernel = await host.neighbor({ name: "guest", port: card.driver, address: null });
  const log = new PacketLog(ETHER_HEADER_LEN);
  const network = connectGuest(env, card.port, log, options);
  const proc = kernel.spawn("programs");
  // As Linux does: the router's advertisement is taken as soon as there is one, whenever the address is asked for.
  if (options.versions?.includes(6) !== false) await proc.writeText("/net/ipifc/1/ctl", "recvra6 on");
  const endpoint = new KernelEndpoint("guest", proc, host.clock, { 4: "", 6: "" });
  return {
    kind: "model",
    endpoint,
    network,
    log,
    model: { card, kernel },
    configure: async (version) => {
      if (version === 6) {
        return formatAddress6(endpoint.addresses[6] = await poll(host.clock, RA_WAIT, () => ownAddress6(proc)));
      }
      const lease = await modelDhcp({ proc: kernel.spawn("dhcp"), clock: host.clock, mac, xid: seed | 1 });
      endpoint.addresses[4] = lease.address;
      return formatLease(lease);
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
  if (options.versions?.includes(6) !== false) withoutDad(netns, DEVICE);
  const loop = { reactor: host.reactor!, clock: host.clock };
  const endpoint = new SocketEndpoint("Linux in a namespace", new LinuxSockets(loop, netns), { 4: "", 6: "" });
  return {
    kind: "netns",
    endpoint,
    network,
    log,
    model: null,
    configure: async (version) => {
      if (version === 6) {
        return formatAddress6(endpoint.addresses[6] = await poll(host.clock, RA_WAIT, () => linuxAddress6(netns)));
      }
      const lease = await linuxDhcp(loop, netns, { device: DEVICE, mac, xid: options.seed | 1 });
      endpoint.addresses[4] = lease.address;
      return formatLease(lease);
    },
    close: async () => {
      endpoint.close();
      network.close();
      await guest.close();
    },
  };
}

/** The address of the interface that is no link-local one, once it is its own: a tentative one claims nothing. */
async function ownAddress6(proc: Proc): Promise<string | null> {
  const lines = (await proc.readText("/net/ipifc/1/local")).split("\n").map((line) => line.split(/ -> | /));
  const found = lines.find(([addr = "", ...claims]) =>
    addr.includes(":") && !addr.startsWith("fe80:") && claims.includes(addr)
  );
  return found?.[0] ?? null;
}

/** The address that Linux in `netns` has made of the router's advertisement; null: none, yet. */
function linuxAddress6(netns: Netns): string | null {
  const device = netns.run(hostInterfaces).find(({ name }) => name === DEVICE);
  const found = device?.addresses.find(({ addr }) => !addr.isV4 && !addr.isLinkLocal);
  return found === undefined ? null : `${found.addr}`;
}
