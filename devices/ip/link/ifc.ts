/**
 * Ifc, Link, NeighborLink: an interface and its link, as the rooms above see them. Three parts of one idea, so they
 * are declared in one place.
 *
 * Path: ipifc, route, conv → ifc → iplifc, block, host, wire/arp.
 *
 * @module
 */

import type { Block } from "../../../kernel/block.ts";
import type { PortOffloads } from "../../../kernel/host.ts";
import type { ArpPacket } from "../../../kernel/wire/arp.ts";
import type { IpAddr } from "../../../kernel/wire/ip_addr.ts";
import type { MacAddr } from "../../../kernel/wire/mac_addr.ts";
import type { Iplifc, IplifcFields } from "./iplifc.ts";

/** One interface. There is one implementation, {@link Ipifc}: calls through this cost no more than calls of it. */
export interface Ifc {
  readonly number: number;
  /** Null while it is not bound. */
  readonly link: Link | null;
  /** Most bytes of an IP packet on its link; of an IPv6 packet, which a router may have lowered. */
  readonly mtu: number;
  readonly mtu6: number;
  /** Bytes of an IPv6 packet that a router advertised (RFC 4861 4.6.4); 0: none did. */
  advertisedMtu: number;
  /** Its addresses, in the order in which they were added. */
  readonly lifcs: readonly Iplifc[];
  /** Whether it has an IPv6 address, even a tentative one: without one it takes no IPv6 packets. */
  readonly speaksIpv6: boolean;
  /** Whether it has the unspecified address of `version`: every unicast packet of it that arrives is for us. */
  acceptsAny(version: 4 | 6): boolean;
  /** Whether 127/8 is behind its link (Linux: route_localnet). */
  readonly localnet: boolean;
  /** Whether datagrams are reassembled before they are forwarded out of it. */
  readonly reassembles: boolean;
  /** Whether it configures itself by router advertisements. */
  receivesAdverts: boolean;
  packetsIn: number;
  /** Whether a snooper wants copies of its packets; if so, `record` makes one. */
  readonly isSnooped: boolean;
  record(block: Block): void;
  hasAddress(addr: IpAddr): boolean;
  isOnLink(addr: IpAddr): boolean;
  /** Our address for talking to the neighbour `addr`; null: there is none. */
  sourceFor(addr: IpAddr): IpAddr | null;
  /** Adds an address; see {@link Ipifc.addAddress} for what it throws. */
  addAddress(fields: IplifcFields, tentative?: boolean): Iplifc;
  confirmAddress(lifc: Iplifc): void;
  dropAddress(lifc: Iplifc): void;
  joinGroup(group: IpAddr): void;
  leaveGroup(group: IpAddr): void;
  /** Sends an IP packet (consumed) to the neighbour `gateway`. */
  send(block: Block, gateway: IpAddr): void;
  /** Brings a packet (consumed) to ourselves, without any link. */
  sendLocal(block: Block): void;
}

/** One interface's bond with its device. */
export interface Link {
  /** What the interface is bound to, for status: `/net/ether0`. */
  readonly device: string;
  /** What the device finishes by itself: the interface finishes the rest before `write`. */
  readonly offloads: PortOffloads;
  /** Most bytes the device takes, link header included, where that is less or more than the medium's usual. */
  readonly mtu?: number;
  /** Whether everything that is sent comes back to ourselves only. */
  readonly isLoopback?: boolean;
  /** How ARP works on it, if its neighbours have hardware addresses. */
  readonly arpLink?: ArpLink;
  /** How neighbour discovery works on it, likewise. */
  readonly ndLink?: NdLink;
  /**
   * Sends an IP packet (consumed) to the neighbour `gateway`. What cannot be sent is dropped and counted on the
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

/** A link whose neighbours have hardware addresses. */
export interface NeighborLink {
  readonly ifc: Ifc;
  /** Its medium's name, for the table. */
  readonly medium: string;
  /** Our hardware address on it. */
  readonly mac: MacAddr;
  /** When an address of ours was last defended, in milliseconds. */
  defendedMs: number;
  /** Sends an IP packet (consumed) to the station `mac`. */
  sendResolved(block: Block, mac: MacAddr): void;
}

/** A link on which ARP works. */
export interface ArpLink extends NeighborLink {
  /** Sends an ARP packet. */
  sendArp(packet: ArpPacket, dst: MacAddr): void;
}

/** A link on which neighbour discovery works. */
export type NdLink = NeighborLink;
