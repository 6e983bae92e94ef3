/**
 * The shape that guests of every kind have for the steps.
 *
 * Path: guest_side, qemu_side, guest_network → guest_types → endpoint.
 *
 * @module
 */

import type { Host } from "../boot/boot.ts";
import type { Style } from "../nat/config.ts";
import type { NatObserver } from "../nat/observer.ts";
import type { GuestNetwork, ModelCard } from "../vmm/vm.ts";
import type { Endpoint } from "./endpoint.ts";
import { PREFIX6 } from "./environment.ts";
import type { IpVersion } from "./ip_family.ts";
import type { PacketLog } from "./packet_log.ts";

/** How a guest is made. */
export interface GuestSideOptions {
  readonly style: Style;
  /** The versions of IP that are tried. Default both; a guest in real style has IPv4 only. */
  readonly versions?: readonly IpVersion[];
  readonly forwards: readonly string[];
  readonly seed: number;
  /** How long the guest is needed after the steps, in seconds. Default 0. */
  readonly keep?: number;
  /** Called with a line about each action that takes seconds. */
  readonly say?: (line: string) => void;
  /** Settles when the guest is not wanted any more: a boot that goes on is ended then. */
  readonly interrupted?: Promise<void>;
  /** Sees what goes through the NAT. */
  readonly observe?: NatObserver;
}

/** One guest. */
export interface GuestSide {
  readonly kind: "model" | "netns" | "qemu";
  readonly endpoint: Endpoint;
  readonly network: GuestNetwork;
  /** Frames of the guest's link: `out` comes from the guest. */
  readonly log: PacketLog;
  /** The card and the kernel of a model guest; null: another guest. */
  readonly model: { readonly card: ModelCard; readonly kernel: Host } | null;
  /** Has the guest take its address of a version of IP, by DHCP or router advertisement; returns a line about it. */
  configure(version: IpVersion): Promise<string>;
  close(): Promise<void>;
}

/** An address by router advertisement, for people. */
export function formatAddress6(address: string): string {
  return `${address}/${PREFIX6}, from the router's prefix and its own hardware address`;
}
