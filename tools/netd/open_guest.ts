/**
 * Opens the guest that the user named: QEMU at a socket, or an interface in a network namespace.
 *
 * Path: daemon, netd → open_guest → guest_tap, netns_guest, kept, netd/life.
 *
 * @module
 */

import { openNetns, requireFile } from "../../devices/host/netns.ts";
import { setUpNetns } from "../../devices/host/netns_setup.ts";
import { openTap, type TapPort } from "../../devices/host/tun.ts";
import { UnixDatagram, UnixListener } from "../../devices/host/unix_socket.ts";
import { IpAddr } from "../../kernel/wire/ip_addr.ts";
import { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { natConfig, type NatOptions } from "../nat/config.ts";
import type { Guest, Loop } from "../vmm/guests/guest.ts";
import { netnsGuest, type NetnsGuestOptions, type NetnsHost, netnsOf, tapRequest } from "../vmm/guests/netns_guest.ts";
import { qemuGuest } from "../vmm/guests/qemu/guest.ts";
import { QemuDgramPort } from "../vmm/guests/qemu/dgram.ts";
import { QemuStreamPort } from "../vmm/guests/qemu/stream.ts";
import { openBelow, usernsToEnter } from "./guest_tap.ts";
import type { KeptLink } from "./kept.ts";
import { isThere, ProcessEnd, watch } from "./life.ts";
import type { GuestChoice, NetdOptions } from "./options.ts";

/** Last word of the IPv6 address that `--configure` gives: ::f. */
const GIVEN_GUEST6 = 0xf;

/** A guest, and the facts that depend on it. */
export interface OpenedGuest {
  readonly guest: Guest;
  /** Its hardware address for the NAT, if that is known. */
  readonly nat: NatOptions;
  /** Calls `left` whenever the guest disconnects and another may connect. */
  readonly onLeft: (left: () => void) => void;
  /** Settings that Linux drops when its interface goes down; null: nothing was set, or it is not ours. */
  readonly kept: KeptLink | null;
  /** Calls `ended` with a reason when the guest is gone. Returns a function that stops that. */
  readonly watch: (ended: (why: string) => void) => () => void;
}

/** Throws HostError unless the guest's namespace exists; called before anything is made for it. */
export function requireGuest(choice: GuestChoice): void {
  if (choice.kind === "qemu") return;
  const { path } = openNetns(netnsOf(choice.netns));
  requireFile(`Cannot open network namespace "${choice.netns}"`, path, "there is no such namespace or process");
}

/** Opens it, and lets `loop` poll it. Throws HostError, with nothing left behind. */
export async function openGuest(options: NetdOptions, loop: Loop): Promise<OpenedGuest> {
  const { guest: choice } = options;
  return choice.kind === "qemu" ? openQemu(choice, options, loop) : await openNetnsGuest(choice, options, loop);
}

/** QEMU's own datagram socket is beside ours. */
const QEMU_SUFFIX = ".qemu";

function openQemu({ path, isDgram }: QemuChoice, { nat, oneOff, socketMode }: NetdOptions, loop: Loop): OpenedGuest {
  const mtu = nat.mtu ?? 1500;
  const peer = path + QEMU_SUFFIX;
  const port = isDgram
    ? new QemuDgramPort(new UnixDatagram(path, peer, socketMode), peer, { mtu })
    : new QemuStreamPort(new UnixListener(path, socketMode), { mtu });
  let left = () => {};
  const watchLink = (ended: (why: string) => void) => {
    port.onLink = (up) => {
      if (up) return;
      left();
      if (oneOff) ended("the machine has left");
    };
    return () => void (port.onLink = null);
  };
  const onLeft = (listener: () => void) => void (left = listener);
  return { guest: qemuGuest(port, loop), nat, kept: null, watch: watchLink, onLeft };
}

type QemuChoice = Extract<GuestChoice, { kind: "qemu" }>;
type NetnsChoice = Extract<GuestChoice, { kind: "netns" }>;

async function openNetnsGuest(choice: NetnsChoice, options: NetdOptions, loop: Loop): Promise<OpenedGuest> {
  const { nat, offload } = options;
  const { device, configure, mac } = choice;
  const wanted: NetnsGuestOptions = {
    netns: choice.netns,
    device,
    mtu: nat.mtu ?? 1500,
    offload,
    take: true,
    ...(mac === null ? {} : { mac: bytesOf(mac) }),
    ...(configure ? addressesOf(nat) : {}),
  };
  const userns = usernsToEnter(choice);
  const guest = netnsGuest(userns === null ? { openTap, setUpNetns } : await below(userns, wanted), loop, wanted);
  try {
    // Without an address of ours the guest is the first station that sends.
    const guestMac = configure ? MacAddr.at(guest.port.device.mac, 0) : null;
    const { port, path } = guest;
    const isWhole = () => !port.gone && isThere(path);
    const why = () => `the guest's ${isThere(path) ? `interface ${port.name}` : "namespace"} is gone`;
    const watchGuest = (ended: (why: string) => void) => {
      const process = ProcessEnd.of(path, () => watching.look());
      const watching = watch(isWhole, () => ended(why()), process !== null);
      port.onGone = watching.look;
      if (process !== null) loop.add(process);
      return () => {
        watching.stop();
        process?.close();
      };
    };
    const kept = userns === null ? keptOf(port, wanted) : null;
    return { guest, nat: { ...nat, guestMac }, kept, watch: watchGuest, onLeft: () => {} };
  } catch (error) {
    guest.close().catch(() => {});
    throw error;
  }
}

/** Settings of the guest's interface. Below a user namespace they cannot be made from here. */
function keptOf({ device, netns }: TapPort, { address = [], gateway }: NetnsGuestOptions): KeptLink | null {
  if (address.length === 0) return null;
  const addresses = typeof address === "string" ? [address] : address;
  return { what: "guest's interface", device, netns, addresses, ...(gateway === undefined ? {} : { gateway }) };
}

/** Stands for the operating system where the interface is already set up. */
async function below(userns: string, wanted: NetnsGuestOptions): Promise<NetnsHost<TapPort>> {
  const request = tapRequest({ ...wanted, netns: netnsOf(wanted.netns!) }, wanted.device);
  const port = await openBelow(userns, request, wanted.gateway);
  return { openTap: () => port, setUpNetns: () => {} };
}

/** Address and router that the guest gets at once: those of the NAT. */
function addressesOf(nat: NatOptions): { address: string | string[]; gateway: string } {
  const { guest, prefix, router, v6 } = natConfig(nat);
  const address = `${guest}/${prefix}`;
  if (v6 === null) return { address, gateway: `${router}` };
  // Its default route comes with the router's advertisement.
  const { subnet } = v6;
  return { address: [address, `${new IpAddr(subnet.w0, subnet.w1, 0, GIVEN_GUEST6)}/64`], gateway: `${router}` };
}

function bytesOf(mac: MacAddr): Uint8Array {
  const bytes = new Uint8Array(6);
  mac.put(bytes, 0);
  return bytes;
}
