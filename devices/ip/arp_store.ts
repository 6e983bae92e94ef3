/**
 * The neighbours of ARP.
 *
 * Path: arp → arp_store → neighbor_store.
 *
 * @module
 */

import type { ArpPacket } from "../../kernel/wire/arp.ts";
import type { MacAddr } from "../../kernel/wire/mac_addr.ts";
import { Neighbor, type NeighborLink, NeighborStore } from "./neighbor_store.ts";

/** Most neighbours of a stack (Akaros). */
export const ARP_ENTRIES_MAX = 256;

/** A link that ARP works on. */
export interface ArpLink extends NeighborLink {
  /** When an address of ours was last defended. */
  defendedMs: number;
  /** Sends an ARP packet. */
  sendArp(packet: ArpPacket, dst: MacAddr): void;
}

/** One neighbour. */
export class ArpEntry extends Neighbor<ArpLink> {
  /** What `lastUse` was at the last answer. */
  usesSeen = 0;
}

/** The entries. */
export class ArpStore extends NeighborStore<ArpEntry> {
  constructor() {
    super(ARP_ENTRIES_MAX);
  }
}
