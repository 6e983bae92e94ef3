/**
 * What the guests of a scenario have in common, whatever they are.
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
import type { PacketLog } from "./packet_log.ts";

/** How a guest is made. */
export interface GuestSideOptions {
  readonly style: Style;
  readonly forwards: readonly string[];
  readonly seed: number;
  /** How long the guest is needed after the steps, in seconds. Default 0. */
  readonly keep?: number;
  /** Told what is being done, where that takes seconds. */
  readonly say?: (line: string) => void;
  /** Settles when the guest is not wanted any more: what takes seconds is given up then. */
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
  /** Has the guest ask for its address and use it; what it was given. */
  configure(): Promise<string>;
  /** The hardware address that the guest has found for `addr`, as it writes it; null: none. */
  resolved(addr: string): Promise<string | null>;
  close(): Promise<void>;
}
