/**
 * A real Linux network stack as the guest: a network namespace with an interface whose other end is ours, as with
 * slirp4netns and pasta.
 *
 * Path: guest_tap, netd/machine, open_guest → netns_guest → guests/guest, block, host.
 *
 * The interface is meant as the namespace's only uplink. So by default its loopback is brought up as well and, if there
 * is an address, a default route is set; without an address a DHCP client inside does that.
 *
 * @module
 */

import type { BlockPool } from "../../../kernel/block.ts";
import type { FramePort } from "../../../kernel/host.ts";
import type { Guest, Loop, Pollable } from "./guest.ts";

/** Options of a guest of this kind. */
export interface NetnsGuestOptions {
  /**
   * Which namespace: the name of one of `ip netns`, a process in it, a path such as `/proc/123/ns/net`, or `"new"` for
   * one that ends with the guest. Default new.
   */
  netns?: string | number;
  /** Name of the interface in it, at most 15 bytes. Default `tap0`. */
  device?: string;
  /** Bytes of IP packet on it. Default 1500. */
  mtu?: number;
  /** Take an existing persistent TAP of that name that no program holds; otherwise make one. Default false. */
  take?: boolean;
  /** Its hardware address, 6 bytes. Default: Linux chooses. */
  mac?: Uint8Array;
  /** Hardware address of our end, 6 bytes. Default: a random one. */
  portMac?: Uint8Array;
  /** Its addresses, such as `10.0.2.15/24`; one IPv4 address at most. Default none: for a DHCP client to find. */
  address?: string | readonly string[];
  /** Gateway of its default route; needs an address. Default: no such route. */
  gateway?: string;
  /**
   * Hand over unfinished checksums and large segments, both ways: for a receiver that can finish them. Default false.
   */
  offload?: boolean;
  /** Where received blocks come from. Default: a pool of its own. */
  pool?: BlockPool;
}

/** Our end of a TAP device. */
export interface TapEnd extends FramePort, Pollable {
  /** The namespace that the other end is in; null: that of this program. */
  readonly netns: { readonly name: string; readonly path: string } | null;
}

/** Options for the maker of the TAP device: those of `openTap` of devices/host. */
export interface TapRequest {
  name: string;
  netns: string;
  mtu: number;
  queueLength?: number;
  take?: boolean;
  mac?: Uint8Array;
  portMac?: Uint8Array;
  address?: string | readonly string[];
  offload?: boolean;
  pool?: BlockPool;
}

/** The parts of the operating system that it needs; `devices/host` has both. */
export interface NetnsHost<Tap extends TapEnd = TapEnd> {
  /** Makes a TAP device inside a namespace. Throws with nothing left behind. */
  openTap(request: TapRequest): Tap;
  /** Brings up the loopback there, and sets the default route if a gateway is given. */
  setUpNetns(path: string, options: { device: string; gateway?: string }): void;
}

/** A namespace as a guest. */
export interface NetnsGuest<Tap extends TapEnd = TapEnd> extends Guest {
  readonly port: Tap;
  /** Name of the namespace, or its path; a new one's name is for `ip netns exec NAME …`. */
  readonly netns: string;
  /** A file by which programs enter it: `nsenter --net=PATH …`. */
  readonly path: string;
}

/**
 * Makes the guest and lets `loop` drain its port. Throws the HostError of the maker: ENOENT for no such namespace,
 * EPERM without the right to enter it, EBUSY for an interface that exists.
 */
export function netnsGuest<Tap extends TapEnd>(
  host: NetnsHost<Tap>,
  loop: Loop,
  options: NetnsGuestOptions = {},
): NetnsGuest<Tap> {
  const { device = "tap0", gateway } = options;
  if (gateway !== undefined && options.address === undefined) {
    throw new TypeError(`Cannot route to gateway ${gateway}: the guest has no address`);
  }
  const port = host.openTap(tapRequest(options, device));
  try {
    const { name, path } = port.netns!;
    host.setUpNetns(path, { device, ...(gateway === undefined ? {} : { gateway }) });
    loop.add(port);
    const close = () => {
      port.close();
      return Promise.resolve();
    };
    return { name: `netns:${name}`, netns: name, path, port, close };
  } catch (error) {
    port.close();
    throw error;
  }
}

/** The options for the device's maker; missing ones are left out. */
export function tapRequest(options: NetnsGuestOptions, device: string = "tap0"): TapRequest {
  const { take, mac, portMac, address, offload, pool } = options;
  const wanted: TapRequest = { name: device, netns: netnsOf(options.netns ?? "new"), mtu: options.mtu ?? 1500 };
  if (take !== undefined) wanted.take = take;
  if (mac !== undefined) wanted.mac = mac;
  if (portMac !== undefined) wanted.portMac = portMac;
  if (address !== undefined) wanted.address = address;
  if (offload !== undefined) wanted.offload = offload;
  if (pool !== undefined) wanted.pool = pool;
  return wanted;
}

/** A name or path; a number, also one written as text, is that of a process. */
export function netnsOf(wanted: string | number): string {
  return /^\d+$/.test(`${wanted}`) ? `/proc/${wanted}/ns/net` : `${wanted}`;
}
