/**
 * The guest of a scenario: whatever it is, with its card on the host's NAT.
 *
 * Path: scenario → guest_side → vm (card, NAT), boot (the model guest's kernel); steps see only what is here.
 *
 * @module
 */

import { HostRandom } from "../../devices/host/clock.ts";
import { setUpNetns } from "../../devices/host/netns_setup.ts";
import { openTap } from "../../devices/host/tun.ts";
import type { FramePort } from "../../kernel/host.ts";
import { SeededRandom } from "../../kernel/random.ts";
import { ETHER_HEADER_LEN } from "../../kernel/wire/ethernet.ts";
import type { Host } from "../boot.ts";
import { tapPort } from "../port_tap.ts";
import { formatLease, modelDhcp } from "../vmm/guests/model_dhcp.ts";
import { netnsGuest } from "../vmm/guests/netns_guest.ts";
import { GUEST_MACS, type NatOptions, type Style } from "../vmm/nat/config.ts";
import type { NatObserver } from "../vmm/nat_observer.ts";
import { type GuestNetwork, ModelCard, startGuestNetwork } from "../vmm/vm.ts";
import { KernelParty } from "./kernel_party.ts";
import { linuxDhcp } from "./linux_dhcp.ts";
import { LinuxParty } from "./linux_party.ts";
import { linuxNeighbour } from "./linux_world.ts";
import { UsageError } from "./options.ts";
import type { Party } from "./party.ts";
import { Watch } from "./watch.ts";
import type { World } from "./world.ts";

/** Name of the interface in a guest's namespace. */
const DEVICE = "eth0";

/** What the card receives leaves the guest. */
const FROM_GUEST = { in: "out", out: "in" } as const;

/** What the guests of a scenario have in common. */
export interface GuestSideOptions {
  readonly style: Style;
  readonly forwards: readonly string[];
  readonly seed: number;
  /** Sees what goes through the NAT. */
  readonly observe?: NatObserver;
}

/** One guest. */
export interface GuestSide {
  readonly kind: "model" | "netns" | "qemu";
  readonly party: Party;
  readonly network: GuestNetwork;
  /** Frames of the guest's link: `out` comes from the guest. */
  readonly watch: Watch;
  /** The card and the kernel of a model guest; null: another guest. */
  readonly model: { readonly card: ModelCard; readonly kernel: Host } | null;
  /** Has the guest ask for its address and use it; what it was given. */
  configure(): Promise<string>;
  /** The hardware address that the guest has found for `addr`, as it writes it; null: none. */
  resolved(addr: string): Promise<string | null>;
  close(): Promise<void>;
}

/** The guest that was asked for. Throws HostError where it cannot be had, KernelError for a bad forward. */
export async function guestSide(
  world: World,
  options: GuestSideOptions & { readonly guest: "model" | "netns" | "qemu" },
): Promise<GuestSide> {
  if (options.guest === "model") return await modelGuest(world, options);
  if (options.guest === "netns") return linuxGuest(world, options);
  throw new UsageError(
    `Cannot have --guest ${options.guest} here yet: "deno task netd --qemu SOCKET" serves a machine`,
  );
}

/** How the NAT of a scenario is made: the guest may reach the host's loopback, and the remote is the name server. */
export function natOptions(world: World, style: Style): NatOptions {
  const hostAddr = `${world.host.address}/24`;
  const net = world.host.address.replace(/\.\d+$/, "");
  const real = { style, subnet: `${net}.0/24`, router: `${net}.254` } as const;
  return {
    ...(style === "real" ? real : {}),
    hostAddr,
    nameServers: [world.remote.address],
    policy: { loopback: true },
  };
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
  const network = connect(world, card.port, watch, options);
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
  const network = connect(world, guest.port, watch, options);
  const netns = guest.port.netns!;
  const loop = { reactor: host.reactor!, clock: host.clock };
  const party = new LinuxParty("Linux in a namespace", loop, netns, "");
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

/** The NAT between the world's host and a card. */
function connect(world: World, card: FramePort, watch: Watch, options: GuestSideOptions): GuestNetwork {
  const { host, wire } = world;
  const seen = tapPort(card, host.clock, (direction, frame) => watch.see(FROM_GUEST[direction], frame));
  const { seed, style, forwards, observe } = options;
  return startGuestNetwork({
    ...{ proc: host.spawn("nat"), clock: host.clock, card: seen, nat: natOptions(world, style), forwards },
    random: wire === "memory" ? new SeededRandom(seed) : new HostRandom(),
    ...(observe === undefined ? {} : { observe }),
  });
}
