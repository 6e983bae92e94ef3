/**
 * A guest for scripts: a second kernel whose only way out is a virtio card, and the NAT, a program of its host.
 *
 * Path: boot, mod → boot/guest → vm, kernel, proc, model/dhcp.
 *
 * @module
 */

import type { FramePort } from "../../kernel/host.ts";
import type { Kernel } from "../../kernel/kernel.ts";
import type { Proc } from "../../kernel/proc.ts";
import type { Clock } from "../../kernel/time.ts";
import { modelDhcp } from "../vmm/guests/model/dhcp.ts";
import { GUEST_MACS, type NatOptions } from "../nat/config.ts";
import { type GuestNetwork, ModelCard, startGuestNetwork } from "../vmm/vm.ts";

/** How a guest is made; manual page nat(4) has the rules and forms. */
export interface GuestOptions {
  /** Host name of its kernel, and name of the NAT's control channel in `/srv`. Default `guest`. */
  name?: string;
  /** Its network: router .2, name server .3, itself .15. Default 10.0.2.0/24. */
  subnet?: string;
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
}

/** A guest that has its address. `Host.guest` makes one. */
export class GuestOf<H> {
  /** The guest's kernel: a host as any other, but for its network. */
  readonly host: H;
  /** The address that it was given by DHCP. */
  readonly address: string;
  readonly #network: GuestNetwork;

  /** For {@link addGuest}. */
  constructor(host: H, address: string, network: GuestNetwork) {
    this.host = host;
    this.address = address;
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
 * Makes a guest of `host`; `cidr` is the host's address with its prefix length. Throws KernelError for options that
 * cannot be, ETIMEDOUT if the guest gets no address.
 */
export async function addGuest<H extends GuestHost<H>>(
  host: H,
  cidr: string,
  options: GuestOptions,
): Promise<GuestOf<H>> {
  const { name = "guest", forwards = [], mtu = 1500 } = options;
  const { clock, kernel: { random } } = host;
  const mac = new Uint8Array(6);
  GUEST_MACS.qemu.put(mac, 0);
  const card = new ModelCard({ jobs: clock.jobs, mac, mtu });
  const proc = host.spawn(`nat of ${name}`);
  const network = startGuestNetwork({
    ...{ proc, clock, random, card: card.port, forwards, name, nat: natOptions(cidr, options) },
  });
  try {
    const kernel = await host.neighbor({ name, port: card.driver, address: null });
    const lease = await modelDhcp({ proc: kernel.spawn("dhcp"), clock, mac, xid: random.u32() >>> 0 });
    return new GuestOf(kernel, lease.address, network);
  } catch (error) {
    network.close();
    throw error;
  }
}

function natOptions(cidr: string, options: GuestOptions): NatOptions {
  const { subnet, mtu, nameServers = [] } = options;
  const { restrict = false, allow = [], deny = [], loopback = false } = options;
  const nat: NatOptions = { hostAddr: cidr, nameServers, policy: { restrict, allow, deny, loopback } };
  if (subnet !== undefined) nat.subnet = subnet;
  if (mtu !== undefined) nat.mtu = mtu;
  return nat;
}
