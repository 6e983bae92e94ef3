/**
 * A guest for scripts: a second kernel whose only way out is a virtio card, and the NAT, a program of its host.
 *
 * Path: boot, mod → boot/guest → vm, kernel, proc, model/dhcp, model/slaac.
 *
 * @module
 */

import { KernelError } from "../../kernel/error.ts";
import type { FramePort } from "../../kernel/host.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { Proc } from "../../kernel/proc.ts";
import type { Clock } from "../../kernel/time.ts";
import type { WaitOptions } from "../../kernel/wait.ts";
import { modelDhcp } from "../vmm/guests/model/dhcp.ts";
import { modelSlaac } from "../vmm/guests/model/slaac.ts";
import { GUEST_MACS, type NatOptions } from "../nat/config.ts";
import { type GuestNetwork, ModelCard, startGuestNetwork } from "../vmm/vm.ts";
import type { HostAddresses } from "./addresses.ts";

/** How a guest is made; manual page nat(4) has the rules and forms. */
export interface GuestOptions extends WaitOptions {
  /** Host name of its kernel, and name of the NAT's control channel in `/srv`. Default `guest`. */
  name?: string;
  /** Its network: router .2, name server .3, itself .15. Default 10.0.2.0/24. */
  subnet?: string;
  /** Its IPv6 network, a /64; null: it has no IPv6. Default fd00:0:0:2::/64 if the host has an IPv6 address. */
  subnet6?: string | null;
  /** Ports of the host that lead to the guest: `tcp:8080:80`, or QEMU's `hostfwd=tcp::8080-:80`. */
  forwards?: readonly string[];
  /** The guest reaches nothing but what `allow` names. Default false. */
  restrict?: boolean;
  /** Rules such as `tcp:192.0.2.0/24:80-443`. */
  allow?: readonly string[];
  /** Rules of what the guest does not reach: they win over all others. */
  deny?: readonly string[];
  /** Whether the router's address leads to services of the host's loopback. Default false. */
  loopback?: boolean;
  /** The servers that the NAT's name server asks. Default: none; it knows its own names only. */
  nameServers?: readonly string[];
  /** Bytes of IP packet on the guest's link. Default 1500. */
  mtu?: number;
}

/** What a guest asks of its host, whose neighbours are such hosts themselves; `Host` of boot is one. */
export interface GuestHost<H> {
  /** The host's kernel. */
  readonly kernel: Kernel;
  /** The clock that both run by. */
  readonly clock: Clock;
  /** A new process of the host. */
  spawn(name: string): Proc;
  /** A host beside this one, with a port of its own. */
  neighbor(options: { name: string; port: FramePort; address: null }): Promise<H>;
  /** Ends it. */
  close(): Promise<void>;
}

/** A guest that has its address. `Host.guest` makes one. */
export class GuestOf<H> {
  /** The guest's kernel: a host as any other, but for its network. */
  readonly host: H;
  /** Its IPv4 address, by DHCP. */
  readonly address: string;
  /** Its IPv6 address, formed from the prefix that the NAT's router advertises (RFC 4862); empty without one. */
  readonly address6: string;
  readonly #network: GuestNetwork;

  /** For {@link addGuest}. */
  constructor(host: H, addresses: { address: string; address6: string }, network: GuestNetwork) {
    this.host = host;
    this.address = addresses.address;
    this.address6 = addresses.address6;
    this.#network = network;
  }

  /** Runs a command of the NAT's control channel, such as `maps`, `stats` or `add udp:53:53`; its answer. */
  command(text: string): string {
    return this.#network.program.command(text);
  }

  /** Ends the NAT: the host has its ports back, and the guest is alone. */
  close(): void {
    this.#network.close();
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Makes a guest of `host`, which has `addresses`. Throws KernelError for options that cannot be, ETIMEDOUT if the guest
 * gets no address; the signal's reason when it is aborted.
 */
export async function addGuest<H extends GuestHost<H>>(
  host: H,
  addresses: HostAddresses,
  options: GuestOptions,
): Promise<GuestOf<H>> {
  const { name = "guest", forwards = [], mtu = 1500 } = options;
  const { clock, kernel: { random } } = host;
  const mac = new Uint8Array(6);
  GUEST_MACS.qemu.put(mac, 0);
  const card = new ModelCard({ jobs: clock.jobs, mac, mtu });
  const proc = host.spawn(`nat of ${name}`);
  const nat = natOptions(addresses, options);
  const network = startGuestNetwork({ proc, clock, random, card: card.port, forwards, name, nat });
  let kernel: H | null = null;
  try {
    kernel = await host.neighbor({ name, port: card.driver, address: null });
    const guest = { proc: kernel.spawn("address"), clock, signal: options.signal };
    const lease = await modelDhcp({ ...guest, mac, xid: random.u32() >>> 0 });
    const address6 = nat.v6 === undefined ? "" : await modelSlaac(guest);
    return new GuestOf(kernel, { address: lease.address, address6 }, network);
  } catch (error) {
    network.close();
    await kernel?.close();
    throw error;
  }
}

function natOptions({ address, address6 }: HostAddresses, options: GuestOptions): NatOptions {
  const { subnet, subnet6, mtu, nameServers = [] } = options;
  if (address === null) throw new KernelError("EINVAL", "Cannot make a guest: the host has no IPv4 address");
  if (address6 === null && typeof subnet6 === "string") {
    throw new KernelError("EINVAL", `Cannot give a guest the network ${subnet6}: the host has no IPv6 address`);
  }
  const { restrict = false, allow = [], deny = [], loopback = false } = options;
  const nat: NatOptions = { hostAddr: address, nameServers, policy: { restrict, allow, deny, loopback } };
  if (subnet !== undefined) nat.subnet = subnet;
  if (mtu !== undefined) nat.mtu = mtu;
  if (address6 !== null && subnet6 !== null) {
    nat.v6 = { hostAddr: address6, ...(subnet6 === undefined ? {} : { subnet: subnet6 }) };
  }
  return nat;
}
