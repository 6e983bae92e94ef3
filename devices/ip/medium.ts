/**
 * Medium: how IP rides on a device. One file a medium; each exports one `Medium` record.
 *
 * Path: ip_output → ipifc → medium's Link.write → #ether | loopback queue | pkt conversation | packet port; and back
 * into ip_input.
 *
 * @module
 */

import type { Block } from "../../kernel/block.ts";
import type { PortOffloads } from "../../kernel/host.ts";
import type { IpAddr } from "../../kernel/wire/ip_addr.ts";
import type { ArpLink } from "./arp_store.ts";
import type { Ipifc } from "./ipifc.ts";
import type { NdLink } from "./nd_store.ts";

/** A kind of link that an interface can be bound to. */
export interface Medium {
  /** The word after `bind` on an interface's ctl file. */
  readonly name: string;
  /** Bytes of link header; the MTUs below include it, as Akaros counts them. */
  readonly headerLen: number;
  readonly mtuMin: number;
  readonly mtuMax: number;
  /** Whether the bond outlives the last descriptor (Akaros: ether and loopback do, pkt does not). */
  readonly keeps: boolean;
  /** Binds `ifc` to what `args` name; throws KernelError and leaves nothing behind if it cannot. */
  bind(ifc: Ipifc, args: readonly string[]): Link;
}

/** One interface's bond with its device. */
export interface Link {
  /** What the interface is bound to, for status: `/net/ether0`. */
  readonly device: string;
  /** What the device finishes by itself: the interface finishes the rest before `write`. */
  readonly offloads: PortOffloads;
  /** Most bytes the device takes, link header included, where that is less or more than the medium's usual. */
  readonly mtu?: number;
  /** Whether what is sent comes back to ourselves and nobody else. */
  readonly isLoopback?: boolean;
  /** How ARP works on it, if its neighbours have hardware addresses. */
  readonly arpLink?: ArpLink;
  /** How neighbour discovery works on it, likewise. */
  readonly ndLink?: NdLink;
  /**
   * Sends an IP packet (given away) to the neighbour `gateway`. What cannot be sent is dropped and counted on the
   * interface: by now the sender is gone.
   */
  write(block: Block, gateway: IpAddr): void;
  /** An address was added: announce it (gratuitous ARP, an unsolicited advertisement). */
  addAddress?(addr: IpAddr): void;
  /** An address was removed. */
  removeAddress?(addr: IpAddr): void;
  /** Lets packets to the multicast `group` in. */
  joinGroup?(group: IpAddr): void;
  /** Keeps them out again. */
  leaveGroup?(group: IpAddr): void;
  /** A packet that a user wrote to the interface's data file, as if it had come from the wire (pkt). */
  inject?(block: Block): void;
  /** Lets go of the device; nothing is received after it. */
  unbind(): void;
}
